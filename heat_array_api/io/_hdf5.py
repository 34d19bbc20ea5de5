"""HDF5 through h5py: each rank reads and writes its own slab."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._comm.recording import breaks
from .._core.array import Array
from .._core.layout import Shape
from .._creation import Split
from .._options import UNSET
from ._agreement import at_root, members
from ._agreement import progress as bar
from ._atomic import replacing
from ._hdf5_datasets import Storage, Target, h5py_module, write_all
from ._hdf5_stream import writing
from ._read import Slab, Source, load
from ._save_arguments import as_variables, by_name, storage_of

__all__ = ["load_hdf5", "save_hdf5"]


@breaks
def load_hdf5(
    path: str | os.PathLike[str],
    dataset: str,
    *,
    split: Split = UNSET,
    dtype: Any = None,
    device: Any = None,
    comm: Any = None,
    selection: Any = None,
    progress: bool | None = None,
) -> Array:
    """Load a dataset of an HDF5 file, each rank only its own slab.

    Parameters
    ----------
    path : str or path-like
        The file; every rank must be able to read it.
    dataset : str
        The name of the dataset, with its groups: ``"group/name"``.
    split : int or None, optional
        The axis along which the array is split evenly; None: every rank reads all of it.
        The default split if not given (see `set_options`).
    dtype : dtype, optional
        Convert to this dtype. By default the file's own, in native byte order.
    device : Device or str, optional
        "cpu" or "cuda".
    comm : Communicator or mpi4py communicator, optional
        The ranks that hold the array; the world by default.
    selection : slices and integers, optional
        The part of the dataset to read, as an index: ``np.s_[100:200, ::2]``.
        The rest is not read.
    progress : bool, optional
        Whether rank 0 shows a bar; by default for much data on a terminal.

    Returns
    -------
    Array
        Shape and values of the dataset, or of its part; balanced along `split`.

    Raises
    ------
    OSError
        If the file cannot be opened or read on any rank. All errors are raised on all ranks.
    KeyError
        If it has no such dataset.
    TypeError
        If its dtype is not one of the standard's (strings, compounds ...), or complex
        values would become real.

    Notes
    -----
    Messages: two small allgathers, by which the ranks learn of each other's errors. Split along a
    last axis of short parts, rows are read whole and redistributed: one all-to-all for 4 MiB.
    """

    @contextmanager
    def open_source(name: str) -> Iterator[Source]:
        h5py = h5py_module()
        with h5py.File(name, "r") as file:
            try:
                found = file[dataset]
            except KeyError:
                listed = members("members", list(file))
                raise KeyError(f"dataset {dataset!r} is not in {name!r}; {listed}") from None
            if not isinstance(found, h5py.Dataset):
                listed = members("members", list(found))
                raise KeyError(f"dataset {dataset!r} of {name!r} is a group; {listed}")
            if found.shape is None:
                raise ValueError(f"dataset {dataset!r} of {name!r} has no values (null dataspace)")
            yield _Dataset(found)

    return load("load_hdf5", open_source, path, split, dtype, device, comm, selection, progress)


class _Dataset:
    """A dataset as a `Source`."""

    def __init__(self, found: Any) -> None:
        self._found = found

    @property
    def shape(self) -> Shape:
        return tuple(self._found.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        stored: np.dtype[Any] = self._found.dtype
        return stored.newbyteorder("=")

    @property
    def chunks(self) -> Shape | None:
        chunks: Shape | None = self._found.chunks
        return chunks

    def read(self, slab: Slab, dtype: np.dtype[Any] | None) -> np.ndarray[Any, Any]:
        return np.asarray(self._found[slab])


@breaks
def save_hdf5(
    x: Array | Mapping[str, Array],
    path: str | os.PathLike[str],
    dataset: str | None = None,
    *,
    mode: str = "w",
    attributes: Mapping[str, Any] | None = None,
    chunks: tuple[int, ...] | bool | None = None,
    gzip: int | None = None,
    strategy: str | None = None,
    progress: bool | None = None,
) -> None:
    """Save arrays as datasets of an HDF5 file, each rank its own slab.

    Parameters
    ----------
    x : Array, or mapping of names to arrays
        Any layout and dtype; bfloat16 becomes float32.
    path : str or path-like
        The file, which takes this name once it is whole.
    dataset : str, optional
        The name of the one dataset, with its groups: ``"group/name"``; default "data".
    mode : {"w", "a"}
        "w": a new file. "a": datasets of a file that exists are kept, but for those of the
        same names; it is copied first, so that a failure leaves it as it was.
    attributes : mapping, optional
        Of the dataset; or by name, ``{name: attributes}``. The name "" stands for the file.
    chunks : tuple of int or True, optional
        The shape of chunks; True: one that h5py finds. Default: consecutive bytes, no chunks.
    gzip : int, optional
        The level of compression, 0 to 9; implies chunks.
    strategy : {"mpio", "offset", "chunks", "root"}, optional
        How the shards get into the file; chosen by default (docs, "Reading and writing").
    progress : bool, optional
        Whether rank 0 shows a bar; by default for much data on a terminal.

    Raises
    ------
    OSError
        If the file cannot be written by any rank. All errors are raised on all ranks, and the
        file of that name, if there was one, is as before.
    TypeError, ValueError
        If arguments do not fit.

    Notes
    -----
    Messages: some small allgathers. Of arrays that are not split along their first axis all-to-alls
    of 4 MiB a rank; with gzip the compressed chunks, to rank 0.
    """
    func = "save_hdf5"
    variables, comm = as_variables(func, x, dataset)
    storage = storage_of(func, chunks, gzip)
    notes = by_name(func, "attributes", attributes, x, variables)
    if mode not in ("w", "a"):
        raise ValueError(f"{func}: mode is {mode!r}; expected 'w' or 'a'")
    total = sum(array.nbytes for array in variables.values())
    with replacing(func, comm, path, keep=mode == "a") as unfinished:
        at_root(func, comm, lambda: _create(unfinished, variables, storage, notes))
        targets = [Target(name, array, storage) for name, array in variables.items()]
        with bar(func, total, comm, progress) as advance:
            write_all(func, comm, unfinished, targets, strategy, advance)


def _create(
    path: str,
    variables: Mapping[str, Array],
    storage: Storage,
    notes: Mapping[str, Mapping[str, Any] | None],
) -> None:
    h5py = h5py_module()
    with writing(h5py.File, path, "r+" if os.path.getsize(path) else "w") as file:
        for name, x in variables.items():
            if name in file:
                del file[name]
            file.create_dataset(name, x.shape, x.dtype, **storage.options(x.shape))
        for name, attributes in notes.items():
            place = file[name] if name else file
            place.attrs.update(attributes or {})
