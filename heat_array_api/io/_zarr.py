"""Zarr stores: folders with a file for each chunk. Each rank writes whole chunks."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

from torch import Tensor

from .._comm.communicator import Communicator
from .._comm.recording import breaks
from .._comm.trace import note
from .._core.arguments import as_flag
from .._core.array import Array
from .._core.layout import Shape
from .._creation import Split
from .._options import UNSET
from ._agreement import Deferred, at_root, members, optional_package
from ._agreement import progress as bar
from ._arguments import (
    ReadOptions,
    as_variables,
    by_name,
    check_chunks,
    check_mode,
    documented,
    lengths_of,
    name_of,
    path_of,
    progress_of,
)
from ._atomic import replacing
from ._external import check_folder, reading_store
from ._metadata import check_names, check_places, places_of, stored_attributes
from ._read import Source, load
from ._write import as_numpy, box, whole_chunks

CHUNK = 16 << 20
"""Bytes of a chunk by default."""


@breaks
@documented
def load_zarr(
    path: str | os.PathLike[str],
    array: str | None = None,
    *,
    split: Split = UNSET,
    dtype: Any = None,
    device: Any = None,
    comm: Any = None,
    selection: Any = None,
    progress: bool | None = None,
    allow_external: bool = False,
) -> Array:
    """Load an array of a Zarr store, each rank only its own shard.

    Parameters
    ----------
    {source}
    array : str, optional
        The name of the array in its group: ``"group/name"``. Default: the store is the array.
    {external}
    {reading}

    Examples
    --------
    >>> xp.io.save_zarr({"x": xp.arange(6, split=0)}, "a.zarr")
    >>> x = xp.io.load_zarr("a.zarr", "x", split=0)
    >>> print(x)
    [0 1 2 3 4 5]
    """
    array = None if array is None else name_of("load_zarr", "array", array)
    allow_external = as_flag("load_zarr", "allow_external", allow_external)

    @contextmanager
    def open_source(name: str) -> Iterator[Source]:
        store = reading_store(name, allow_external)
        found = optional_package("zarr", "zarr").open(store, mode="r")
        yield Source(_member(found, array, name))

    options = ReadOptions(split, dtype, device, comm, selection, progress)
    return load("load_zarr", open_source, path, options)


def _member(found: Any, array: str | None, name: str) -> Any:
    """Return the array that a store is (None), or that is in its group."""
    if array is not None:
        if hasattr(found, "shape"):
            raise KeyError(f"array {array!r} is not in {name!r}, which is an array itself")
        try:
            found = found[array]
        except KeyError:
            listed = members("members", [key for key, _ in found.members()], array)
            raise KeyError(f"array {array!r} is not in {name!r}; {listed}") from None
    if not hasattr(found, "shape"):
        listed = members("members", [key for key, _ in found.members()])
        raise KeyError(f"{name if array is None else array!r} is a group; {listed}")
    return found


@breaks
@documented
def save_zarr(
    x: Array | Mapping[str, Array],
    path: str | os.PathLike[str],
    array: str | None = None,
    *,
    mode: str = "w",
    attributes: Mapping[str, Any] | None = None,
    chunks: tuple[int, ...] | None = None,
    progress: bool | None = None,
) -> None:
    """Save arrays as a Zarr store, each rank whole chunks.

    Parameters
    ----------
    {saved}
    {target}
    array : str, optional
        The name of a single array in a group; by default the store is the array.
    {mode}
    {attributes}
    chunks : tuple of int, optional
        The shape of chunks; by default about 16 MiB, whole rows as far as they fit.
    {saving}

    Notes
    -----
    Messages: some small allgathers. Chunks that two shards share are sent to one rank, since two
    ranks writing one chunk would lose data: one all-to-all for every 4 MiB a rank.

    Examples
    --------
    >>> xp.io.save_zarr(xp.ones((4, 3), split=0), "a.zarr", chunks=(2, 3))
    >>> xp.io.info("a.zarr")["data"].chunks
    (2, 3)
    """
    func = "save_zarr"
    alone = not isinstance(x, Mapping) and array is None
    variables, comm = as_variables(func, x, array, "array")
    path, progress = path_of(func, path), progress_of(func, progress)
    check_mode(func, mode)
    if chunks is not None:
        chunks = lengths_of(func, chunks, "a tuple of lengths")
    if alone and mode == "a":
        raise ValueError(f"{func}: array is None; expected a name in mode 'a'")
    for name, value in variables.items():
        check_chunks(func, name, value.shape, value.dtype, chunks, grows=range(value.ndim), gib=2)
    shapes = {name: _chunks(value, chunks) for name, value in variables.items()}
    if not alone:
        check_names(func, "zarr", variables)
    notes = stored_attributes(func, "zarr", by_name(func, "attributes", attributes, x, variables))
    if alone and notes.get(""):
        raise ValueError(f"{func}: attributes of '', but the store is an array; give it a name")
    if mode == "a":
        found = at_root(func, comm, lambda: _places(path, variables))
        check_places(func, "zarr", variables, found)

    def create(path: str) -> None:
        zarr = optional_package("zarr", "zarr")
        with _store(path) as store:
            group = None if alone else zarr.open_group(store, mode="a")
            for name, value in variables.items():
                where = {"store": store} if group is None else {"name": name}
                make = zarr.create_array if group is None else group.create_array
                make(
                    **where,
                    shape=value.shape,
                    dtype=value.dtype,
                    chunks=shapes[name],
                    attributes=notes.get(name, {}),
                    overwrite=True,
                )
            if group is not None:
                group.attrs.update(notes.get("", {}))

    total = sum(value.nbytes for value in variables.values())
    with replacing(func, comm, path, keep=mode == "a", folder=True) as unfinished:
        at_root(func, comm, lambda: create(unfinished))
        with bar(func, total, comm, progress) as advance:
            for name, value in variables.items():
                note("io: whole chunks", value.nbytes)
                _write(
                    func, comm, unfinished, None if alone else name, value, shapes[name], advance
                )


def _places(path: str, names: Iterable[str]) -> dict[str, str]:
    """Return what an old store has where new arrays and their groups would be."""
    check_folder(path)
    if not os.path.isdir(path) or not os.listdir(path):
        return {}
    zarr = optional_package("zarr", "zarr")
    found: dict[str, str] = {}
    for place in ("", *places_of(names)):
        if os.path.isdir(os.path.join(path, place)):
            with suppress(FileNotFoundError):  # an ordinary folder
                inner = zarr.open(path, path=place, mode="r")
                found[place] = "array" if hasattr(inner, "shape") else "group"
    return found


def _chunks(x: Array, chunks: Shape | None) -> Shape:
    if chunks is not None:
        return chunks if x.shape else ()
    found: list[int] = []
    left = CHUNK // x.dtype.itemsize
    for n in reversed(x.shape):
        found.insert(0, max(1, min(n, left)))
        left //= found[0]
    return tuple(found)


@contextmanager
def _store(path: str) -> Iterator[Any]:
    """Yield a folder as a store; on leaving, wait until nothing is being written to it."""
    store = _store_class()(path)
    try:
        yield store
    finally:
        store.end()


@functools.cache
def _store_class() -> Any:
    class Store(optional_package("zarr", "zarr").storage.LocalStore):  # type: ignore[misc]  # untyped
        """A folder whose writing can be ended.

        zarr writes chunks in several threads. If one fails, it raises at once while others still
        make files, in a folder that is being removed.
        """

        def __init__(self, root: str, *, read_only: bool = False) -> None:
            super().__init__(root, read_only=read_only)
            self._running = 0
            self._ended = False
            self._changed = threading.Condition()

        async def set(self, key: str, value: Any) -> None:
            with self._changed:
                if self._ended:
                    raise OSError("the store has been closed")
                self._running += 1
            try:
                await super().set(key, value)
            finally:
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()

        def end(self) -> None:
            with self._changed:
                self._ended = True
                self._changed.wait_for(lambda: not self._running)

    return Store


def _write(
    func: str,
    comm: Communicator,
    path: str,
    name: str | None,
    x: Array,
    chunks: Shape,
    advance: Any,
) -> None:
    """Write this rank's chunks, some rows of them at a time."""
    later = Deferred(func, comm)
    found: Any = None
    with ExitStack() as stack:

        def store(slab: Any, values: Tensor) -> None:
            nonlocal found
            if found is None:
                folder = stack.enter_context(_store(path))
                found = optional_package("zarr", "zarr").open(folder, mode="r+")
                found = found if name is None else found[name]
            found[slab] = as_numpy(values)
            advance(values.nbytes)

        if x.shape:
            for corner, values in whole_chunks(x, chunks):
                if values.numel():
                    later.run(partial(store, box(corner, values.shape), values))
                del values
        elif comm.rank == 0:
            later.run(partial(store, (), x._local))
        later.run(stack.close, always=True)
    later.finish()
