"""HDF5 through h5py: `load_hdf5` and `save_hdf5`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from .._comm.recording import breaks
from .._core.arguments import as_flag
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
    check_chunks,
    check_mode,
    documented,
    name_of,
    path_of,
    progress_of,
    storage_of,
)
from ._atomic import replacing
from ._external import check_member
from ._hdf5_datasets import Target, check_strategy, write_all
from ._hdf5_stream import writing
from ._metadata import check_names, check_places, places_of, stored_attributes
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
    allow_external = as_flag("load_hdf5", "allow_external", allow_external)

    options = ReadOptions(split, dtype, device, comm, selection, progress)
    return load("load_hdf5", partial(opened, dataset, allow_external=allow_external), path, options)


@contextmanager
def opened(dataset: str, name: str, *, allow_external: bool = False) -> Iterator[Source]:
    """Yield a dataset of the file `name`, open for reading."""
    h5py = optional_package("h5py")
    with h5py.File(name, "r") as file:
        if not allow_external:
            check_member(file, dataset)
        try:
            found = file[dataset]
        except KeyError:
            raise KeyError(
                f"dataset {dataset!r} is not in {name!r}; {_listed(file, dataset)}"
            ) from None
        if not isinstance(found, h5py.Dataset):
            listed = members("members", list(found))
            raise KeyError(f"dataset {dataset!r} of {name!r} is a group; {listed}")
        if found.shape is None:
            raise ValueError(f"dataset {dataset!r} of {name!r} has no values (null dataspace)")
        yield Source(found)


def _listed(file: Any, dataset: str) -> str:
    """Return which names there are, in the last group on the way to one that is not there."""
    h5py = optional_package("h5py")
    *groups, last = [part for part in dataset.split("/") if part] or [""]
    place = file
    for i, part in enumerate(groups):
        inner = place.get(part)
        if not isinstance(inner, h5py.Group):
            last = groups[i]
            break
        place = inner
    within = "" if place == file else f"in {place.name!r} "
    return within + members("members", place, last)


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
    variables, comm = as_variables(func, x, dataset, "dataset")
    path = path_of(func, path)
    storage = storage_of(func, chunks, gzip)
    for name, array in variables.items():
        grows = [axis for axis, n in enumerate(array.shape) if not n]  # stored in other chunks
        check_chunks(func, name, array.shape, array.dtype, storage.chunks, grows=grows)
    check_names(func, "hdf5", variables)
    notes = stored_attributes(func, "hdf5", by_name(func, "attributes", attributes, x, variables))
    check_mode(func, mode)
    check_strategy(func, strategy)
    progress = progress_of(func, progress)
    if mode == "a":
        found = at_root(func, comm, lambda: _places(path, variables))
        check_places(func, "hdf5", variables, found)
    total = sum(array.nbytes for array in variables.values())
    with replacing(func, comm, path, keep=mode == "a") as unfinished:
        at_root(func, comm, lambda: _create(unfinished, variables, storage, notes))
        targets = [Target(name, array, storage) for name, array in variables.items()]
        with bar(func, total, comm, progress) as advance:
            write_all(func, comm, unfinished, targets, strategy, advance)


def _places(path: str, names: Iterable[str]) -> dict[str, str]:
    """Return what an old file has where new datasets and their groups would be."""
    if not os.path.exists(path) or not os.path.getsize(path):
        return {}
    h5py = optional_package("h5py")
    found: dict[str, str] = {}
    with h5py.File(path, "r") as file:
        for name in names:
            check_member(file, name)  # it would be written to another file
        for place in places_of(names):
            inner = file.get(place)
            if inner is not None:
                kind = "array" if isinstance(inner, h5py.Dataset) else "group"
                found[place] = kind if isinstance(inner, (h5py.Dataset, h5py.Group)) else "type"
    return found


def _create(
    path: str,
    variables: Mapping[str, Array],
    storage: Storage,
    notes: Mapping[str, Mapping[str, Any]],
) -> None:
    h5py = optional_package("h5py")
    with writing(h5py.File, path, "r+" if os.path.getsize(path) else "w") as file:
        for name, x in variables.items():
            if file.get(name, getlink=True) is not None:  # a link that leads nowhere, too
                del file[name]
            # HDF5 has no chunks of a length of 0, and none longer than the axis.
            chosen = storage if x.size else Storage(True if storage.chunked else None, storage.gzip)
            file.create_dataset(name, x.shape, x.dtype, **chosen.options(x.shape))
        for name, attributes in notes.items():
            place = file[name] if name else file
            place.attrs.update(attributes)
