"""Writing shards into the datasets of an HDF5 file; NetCDF-4 files are HDF5 files, too.

Rank 0 creates the file with all names, shapes and attributes, and closes it. Then the shards go
into its datasets by one of four strategies:

==========  ================================================================================
"mpio"      all ranks write through parallel HDF5, if h5py is built with MPI; not compressed
"offset"    the dataset is consecutive bytes of the file, where each rank writes its own;
            not chunked
"chunks"    each rank compresses whole chunks (gzip and shuffle), which rank 0 writes as
            they are
"root"      rank 0 writes everything and receives some rows at a time; for very small
            arrays, and for all other cases
==========  ================================================================================
"""

from __future__ import annotations

import itertools
import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from .._comm.communicator import Communicator
from .._comm.trace import note
from .._core.array import Array
from .._core.collectives import all_to_all
from .._core.layout import Shape
from ._agreement import at_root, attempt, optional_package
from ._hdf5_stream import writing
from ._write import ROUND, as_numpy, box, to_root, whole_chunks, write_at

__all__ = ["STRATEGIES", "Place", "Storage", "Target", "write_all"]


STRATEGIES = ("mpio", "offset", "chunks", "root")


SMALL = 1 << 16
"""Bytes of an array up to which opening a file on every rank does not pay."""


Advance = Callable[[int], object]


class Storage(NamedTuple):
    """How a dataset is stored.

    `chunks` is the shape of the chunks; True: h5py chooses; None: not chunked. `gzip` is the level
    of compression, after a shuffle of the bytes; None: not compressed.
    """

    chunks: Shape | bool | None = None
    gzip: int | None = None

    @property
    def chunked(self) -> bool:
        return self.chunks is not None or self.gzip is not None

    def options(self, shape: Shape) -> dict[str, Any]:
        """Return the keywords for `create_dataset`."""
        chunks = True if self.chunks is None else self.chunks
        if self.gzip is not None and shape:
            return {
                "chunks": chunks,
                "compression": "gzip",
                "compression_opts": self.gzip,
                "shuffle": True,
            }
        h5py = optional_package("h5py")
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if self.chunked and shape:
            if h5py.get_config().mpi:  # for "mpio"
                properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            return {"chunks": chunks, "dcpl": properties}
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        return {"dcpl": properties}


class Target(NamedTuple):
    """An array, and the dataset to write it into."""

    name: str
    array: Array
    storage: Storage = Storage()
    start: int = 0
    """The row of the dataset at which the array begins."""


class Place(NamedTuple):
    """What rank 0 reports about a dataset that it has created."""

    offset: int | None
    allocated: bool
    chunks: Shape | None
    filters: tuple[int, ...]


def _place_of(dataset: Any) -> Place:
    properties = dataset.id.get_create_plist()
    filters = tuple(properties.get_filter(i)[0] for i in range(properties.get_nfilters()))
    status = dataset.id.get_space_status()
    allocated = status == optional_package("h5py").h5d.SPACE_STATUS_ALLOCATED
    return Place(dataset.id.get_offset(), allocated, dataset.chunks, filters)


def write_all(
    func: str,
    comm: Communicator,
    path: str,
    targets: list[Target],
    strategy: str | None,
    advance: Advance,
) -> None:
    """Write arrays into the datasets that rank 0 has created in a file and closed."""
    h5py = optional_package("h5py")

    def places() -> dict[str, Place]:
        with h5py.File(path, "r") as file:
            return {target.name: _place_of(file[target.name]) for target in targets}

    found: Mapping[str, Place] = at_root(func, comm, places)
    for target in targets:
        place = found[target.name]
        chosen = _choose(func, target, place, strategy)
        note(f"io: {chosen}", target.array.nbytes)
        if chosen == "offset":
            assert place.offset is not None
            row = math.prod(target.array.shape[1:]) * target.array.dtype.itemsize
            offset = place.offset + target.start * row
            write_at(func, comm, path, target.array, offset, advance)
        else:
            _WRITERS[chosen](func, comm, path, target, place, advance)


def _choose(func: str, target: Target, place: Place, strategy: str | None) -> str:
    h5py = optional_package("h5py")
    can = {
        "mpio": h5py.get_config().mpi
        and place.allocated
        and not place.filters
        and target.array.size > 0
        and target.array.ndim > 0,
        "offset": place.offset is not None and not place.filters,
        "chunks": place.chunks is not None
        and set(place.filters) <= {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE}
        and target.start == 0
        and target.array.size > 0,
        "root": True,
    }
    if strategy is not None:
        if strategy not in STRATEGIES:
            raise ValueError(f"{func}: strategy is {strategy!r}; expected one of {STRATEGIES}")
        if not can[strategy]:
            if target.array.nbytes <= SMALL:
                return "root"
            raise ValueError(
                f"{func}: strategy {strategy!r} cannot write {target.name!r} "
                f"({'chunked' if place.chunks else 'not chunked'}, filters {place.filters})"
            )
        return strategy
    if target.array.nbytes <= SMALL:
        return "root"
    return next(name for name in STRATEGIES if can[name])


# ---------------------------------------------------------------------- strategies


def _by_mpio(
    func: str, comm: Communicator, path: str, target: Target, place: Place, advance: Advance
) -> None:
    """Write whole chunks or rows, each rank independently.

    Collective writes of HDF5 would exchange the rows, but hang if one rank fails. So the rows are
    redistributed before.
    """
    h5py = optional_package("h5py")
    x = target.array
    problem: Exception | None = None
    chunks = (1,) * x.ndim if place.chunks is None else place.chunks
    attempt(
        func, comm, lambda: os.close(os.open(path, os.O_RDWR))
    )  # h5py would hang in opening, too
    opened = attempt(func, comm, lambda: h5py.File(path, "r+", driver="mpio", comm=comm.mpi))
    for corner, values in whole_chunks(x, chunks):
        try:
            if problem is None and values.numel():
                opened[target.name][box(corner, values.shape, target.start)] = as_numpy(values)
                advance(values.nbytes)
        except Exception as error:
            problem = error
        del values

    def finish() -> None:
        try:
            opened.close()
        finally:
            if problem is not None:
                raise problem

    attempt(func, comm, finish)


def _by_root(
    func: str, comm: Communicator, path: str, target: Target, place: Place, advance: Advance
) -> None:
    x = target.array
    with _at_root(func, comm, path) as file:
        for corner, block in to_root(x):
            file.run(partial(_store, target, corner, block), target.name)
            advance(block.nbytes // comm.size)
            del block


def _store(target: Target, corner: Shape, block: Array, dataset: Any) -> None:
    values = as_numpy(block._local)
    if not target.array.shape:
        dataset[()] = values
    elif values.size:
        dataset[box(corner, values.shape, target.start)] = values


class _at_root:
    """A file open on rank 0 while all ranks exchange rows; its error is raised at the end."""

    def __init__(self, func: str, comm: Communicator, path: str) -> None:
        self._func, self._comm, self._path = func, comm, path
        self._open = ExitStack()
        self._file: Any = None
        self._problem: Exception | None = None

    def __enter__(self) -> _at_root:
        if self._comm.rank == 0:
            self._guarded(self._begin)
        return self

    def _begin(self) -> None:
        self._file = self._open.enter_context(
            writing(optional_package("h5py").File, self._path, "r+")
        )

    def _guarded(self, step: Callable[[], object]) -> None:
        if self._problem is None:
            try:
                step()
            except Exception as error:
                self._problem = error

    def run(self, step: Callable[[Any], object], name: str) -> None:
        """Run a step with a dataset on rank 0."""
        if self._comm.rank == 0:
            self._guarded(lambda: step(self._file[name]))

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            self._open.close()
        except Exception as problem:
            self._problem = problem  # the error of the disk, rather than one that followed from it
        if kind is None:
            attempt(self._func, self._comm, self._raise)

    def _raise(self) -> None:
        if self._problem is not None:
            raise self._problem


def _by_chunks(
    func: str, comm: Communicator, path: str, target: Target, place: Place, advance: Advance
) -> None:
    assert place.chunks is not None
    chunks = place.chunks
    deflate = optional_package("h5py").h5z.FILTER_DEFLATE
    # A box may hold many chunks: they are sent in batches of equal numbers from each rank.
    in_batch = max(1, ROUND // (math.prod(chunks) * target.array.dtype.itemsize))
    with _at_root(func, comm, path) as file:
        for first, values in whole_chunks(target.array, chunks):
            packed = _packed(as_numpy(values), chunks, place.filters, deflate, target.storage.gzip)
            left = math.prod(-(-n // c) for n, c in zip(values.shape, chunks, strict=True))
            going_on = True
            while going_on:
                batch = [
                    (tuple(a + b for a, b in zip(first, corner, strict=True)), data)
                    for corner, data in itertools.islice(packed, in_batch)
                ]
                left -= len(batch)
                found, going_on = _gather_bytes(batch, left > 0, comm)
                file.run(partial(_store_chunks, found), target.name)
            advance(values.nbytes)
            del values, packed


def _packed(
    values: np.ndarray[Any, Any],
    chunks: Shape,
    filters: tuple[int, ...],
    deflate: int,
    level: int | None,
) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """Yield (corner, bytes) of each chunk, padded with zeros and filtered."""
    if not values.size:
        return
    starts = [range(0, n, c) for n, c in zip(values.shape, chunks, strict=True)]
    for corner in itertools.product(*starts):
        part = values[tuple(slice(i, i + c) for i, c in zip(corner, chunks, strict=True))]
        if part.shape != chunks:
            whole = np.zeros(chunks, values.dtype)
            whole[tuple(slice(0, n) for n in part.shape)] = part
            part = whole
        data: Any = np.ascontiguousarray(part).reshape(-1).view(np.uint8)
        for code in filters:
            if code == deflate:
                data = zlib.compress(data, 4 if level is None else level)
            else:  # shuffle: the first bytes of all elements, then the second bytes ...
                data = np.ascontiguousarray(data.reshape(-1, values.dtype.itemsize).T)
        yield corner, bytes(data)


def _gather_bytes(
    packed: list[tuple[tuple[int, ...], bytes]], more: bool, comm: Communicator
) -> tuple[list[tuple[tuple[int, ...], Any]], bool]:
    """Return the chunks of all ranks on rank 0, and whether any rank has `more`.

    Messages: one small allgather, one all-to-all.
    """
    told = comm.allgather_object(([(corner, len(data)) for corner, data in packed], more))
    data = torch.from_numpy(np.frombuffer(bytearray().join(d for _, d in packed), np.uint8))
    packed.clear()  # the bytes are in `data` now
    none = data.new_empty(0)
    sizes = [sum(size for _, size in head) if comm.rank == 0 else 0 for head, _ in told]
    received = all_to_all([data, *[none] * (comm.size - 1)], [(n,) for n in sizes], comm)
    found = []
    for (head, _), part in zip(told, received, strict=True) if comm.rank == 0 else ():
        at = 0
        for corner, size in head:
            found.append((corner, part[at : at + size].numpy()))
            at += size
    return found, any(goes_on for _, goes_on in told)


def _store_chunks(chunks: list[tuple[tuple[int, ...], Any]], dataset: Any) -> None:
    for corner, data in chunks:
        dataset.id.write_direct_chunk(corner, data)


_WRITERS = {"mpio": _by_mpio, "root": _by_root, "chunks": _by_chunks}
