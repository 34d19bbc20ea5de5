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
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._comm.communicator import Communicator
from .._comm.trace import note
from .._core.arguments import as_choice
from .._core.array import Array
from .._core.collectives import all_to_all
from .._core.layout import Shape
from ._agreement import ROUND, Deferred, at_root, attempt, optional_package
from ._arguments import Storage
from ._hdf5_stream import writing
from ._write import as_numpy, box, to_root, whole_chunks, write_at

STRATEGIES = ("mpio", "offset", "chunks", "root")

MOST_BYTES_AT_ROOT = 1 << 16
"""Bytes of an array up to which opening a file on every rank does not pay."""

Advance = Callable[[int], object]


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


def check_strategy(func: str, strategy: str | None) -> None:
    if strategy is not None:
        as_choice(func, "strategy", strategy, STRATEGIES)


def _choose(func: str, target: Target, place: Place, strategy: str | None) -> str:
    h5py, x = optional_package("h5py"), target.array
    plain = not place.filters
    known = set(place.filters) <= {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE}
    can = {
        "mpio": h5py.get_config().mpi and place.allocated and plain and x.size and x.ndim,
        "offset": plain and place.offset is not None,
        "chunks": known and place.chunks is not None and target.start == 0 and x.size,
        "root": True,
    }
    if strategy is not None and can[strategy]:
        return strategy
    if x.nbytes <= MOST_BYTES_AT_ROOT:
        return "root"
    if strategy is not None:
        raise ValueError(
            f"{func}: strategy {strategy!r} cannot write {target.name!r} "
            f"({'chunked' if place.chunks else 'not chunked'}, filters {place.filters})"
        )
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
    chunks = (1,) * x.ndim if place.chunks is None else place.chunks
    # If one rank may not open the file, h5py would hang in opening it.
    attempt(func, comm, lambda: os.close(os.open(path, os.O_RDWR)))
    opened = attempt(func, comm, lambda: h5py.File(path, "r+", driver="mpio", comm=comm.mpi))
    later = Deferred(func, comm)
    for corner, values in whole_chunks(x, chunks):
        if values.numel():
            place_of_values = box(corner, values.shape, target.start)
            later.run(partial(_assign, opened, target.name, place_of_values, values))
            later.run(partial(advance, values.nbytes))
        del values
    later.run(opened.close, always=True)
    later.finish()


def _assign(file: Any, name: str, place: tuple[slice, ...], values: Tensor) -> None:
    file[name][place] = as_numpy(values)


def _by_root(
    func: str, comm: Communicator, path: str, target: Target, place: Place, advance: Advance
) -> None:
    x = target.array
    with _at_root(func, comm, path) as run:
        for corner, block in to_root(x):
            run(partial(_store, target, corner, block), target.name)
            advance(block.nbytes // comm.size)
            del block


def _store(target: Target, corner: Shape, block: Array, dataset: Any) -> None:
    values = as_numpy(block._local)
    if not target.array.shape:
        dataset[()] = values
    elif values.size:
        dataset[box(corner, values.shape, target.start)] = values


Run = Callable[[Callable[[Any], object], str], None]
"""Runs a step with the dataset of a name on rank 0."""


@contextmanager
def _at_root(func: str, comm: Communicator, path: str) -> Iterator[Run]:
    """Open a file on rank 0 while all ranks exchange rows; an error is raised at the end."""
    later = Deferred(func, comm)
    file: Any = None
    with ExitStack() as opened:

        def run(step: Callable[[Any], object], name: str) -> None:
            if comm.rank == 0:
                later.run(lambda: step(file[name]))

        if comm.rank == 0:
            h5py = optional_package("h5py")
            file = later.run(lambda: opened.enter_context(writing(h5py.File, path, "r+")))
        yield run
        try:
            opened.close()
        except Exception as error:
            later.problem = error  # the error of the disk, rather than one that followed from it
    later.finish()


def _by_chunks(
    func: str, comm: Communicator, path: str, target: Target, place: Place, advance: Advance
) -> None:
    assert place.chunks is not None
    chunks = place.chunks
    # A box may hold many chunks: they are sent in batches of equal numbers from each rank.
    in_batch = max(1, ROUND // (math.prod(chunks) * target.array.dtype.itemsize))
    with _at_root(func, comm, path) as run:
        for first, values in whole_chunks(target.array, chunks):
            packed = _packed(as_numpy(values), chunks, place.filters, target.storage.gzip)
            left = math.prod(-(-n // c) for n, c in zip(values.shape, chunks, strict=True))
            going_on = True
            while going_on:
                batch = [
                    (tuple(a + b for a, b in zip(first, corner, strict=True)), data)
                    for corner, data in itertools.islice(packed, in_batch)
                ]
                left -= len(batch)
                found, going_on = _gather_bytes(batch, left > 0, comm)
                run(partial(_store_chunks, found), target.name)
            advance(values.nbytes)
            del values, packed


def _packed(
    values: np.ndarray[Any, Any], chunks: Shape, filters: tuple[int, ...], level: int | None
) -> Iterator[tuple[Shape, bytes]]:
    """Yield (corner, bytes) of each chunk, padded with zeros and filtered."""
    if not values.size:
        return
    deflate = optional_package("h5py").h5z.FILTER_DEFLATE
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
    packed: list[tuple[Shape, bytes]], more: bool, comm: Communicator
) -> tuple[list[tuple[Shape, Any]], bool]:
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


def _store_chunks(chunks: list[tuple[Shape, Any]], dataset: Any) -> None:
    for corner, data in chunks:
        dataset.id.write_direct_chunk(corner, data)


_WRITERS = {"mpio": _by_mpio, "root": _by_root, "chunks": _by_chunks}
