"""HDF5 through h5py: `load_hdf5` and `save_hdf5`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .._comm.recording import breaks
from .._core.array import Array
from .._creation import Split
from .._options import UNSET
from ._agreement import at_root, members, optional_package
from ._agreement import progress as bar
from ._arguments import (
    ReadOptions,
    Storage,
    as_variables,
    by_name,
    check_mode,
    documented,
    name_of,
    storage_of,
)
from ._atomic import replacing
from ._external import check_member
from ._hdf5_datasets import Target, write_all
from ._hdf5_stream import writing
from ._read import Source, load


@breaks
@documented
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
    allow_external: bool = False,
) -> Array:
    """Load a dataset of an HDF5 file, each rank only its own shard.

    Parameters
    ----------
    {source}
    dataset : str
        The name of the dataset, with its groups: ``"group/name"``.
    {external}
    {reading}

    Examples
    --------
    >>> xp.io.save_hdf5(xp.reshape(xp.arange(6, split=0), (3, 2)), "a.h5", "run/x")
    >>> x = xp.io.load_hdf5("a.h5", "run/x", split=0, selection=np.s_[::2])
    >>> print(x)
    [[0 1]
     [4 5]]
    """
    dataset = name_of("load_hdf5", "dataset", dataset)

    @contextmanager
    def open_source(name: str) -> Iterator[Source]:
        h5py = optional_package("h5py")
        with h5py.File(name, "r") as file:
            if not allow_external:
                check_member(file, dataset)
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
            yield Source(found)

    options = ReadOptions(split, dtype, device, comm, selection, progress)
    return load("load_hdf5", open_source, path, options)


@breaks
@documented
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
    """Save arrays as datasets of an HDF5 file, each rank its own shard.

    Parameters
    ----------
    {saved}
    {target}
    dataset : str, optional
        The name of a single dataset, with its groups: ``"group/name"``; by default "data".
    {mode}
    {attributes}
    {storage}
    {saving}

    Notes
    -----
    Messages: some small allgathers. Arrays that are not split along their first axis: one
    all-to-all for every 4 MiB a rank. With gzip, the compressed chunks are sent to rank 0.

    Examples
    --------
    >>> x = xp.ones((4, 3), split=0)
    >>> xp.io.save_hdf5(x, "a.h5", attributes={"units": "K"}, gzip=4)
    >>> xp.io.info("a.h5")["data"].attributes
    {'units': 'K'}
    """
    func = "save_hdf5"
    variables, comm = as_variables(func, x, dataset)
    storage = storage_of(func, chunks, gzip)
    notes = by_name(func, "attributes", attributes, x, variables)
    check_mode(func, mode)
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
    h5py = optional_package("h5py")
    with writing(h5py.File, path, "r+" if os.path.getsize(path) else "w") as file:
        for name, x in variables.items():
            check_member(file, name)  # it would be written to another file
            if name in file:
                del file[name]
            file.create_dataset(name, x.shape, x.dtype, **storage.options(x.shape))
        for name, attributes in notes.items():
            place = file[name] if name else file
            place.attrs.update(attributes or {})
