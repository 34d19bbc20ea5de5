"""HDF5 through h5py: independent read-only opens, one slab per rank."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._array import Array
from .._conversion import Split
from .._layout import Shape
from .._options import UNSET
from ._slab import Source, load, members, missing_package

__all__ = ["load_hdf5"]


def load_hdf5(
    path: str | os.PathLike[str],
    dataset: str,
    *,
    split: Split = UNSET,
    dtype: Any = None,
    device: Any = None,
    comm: Any = None,
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

    Returns
    -------
    Array
        Shape and values of the dataset; balanced along `split`.

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
    Messages: two small allgathers, by which the ranks learn of each other's errors.
    """

    @contextmanager
    def open_source(name: str) -> Iterator[Source]:
        try:
            import h5py
        except ImportError:
            raise missing_package("h5py", "io") from None
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

    return load("load_hdf5", open_source, path, split, dtype, device, comm)


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

    def read(self, slab: tuple[slice, ...], dtype: np.dtype[Any] | None) -> np.ndarray[Any, Any]:
        return np.asarray(self._found[slab])
