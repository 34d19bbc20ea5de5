"""Which part of a file each rank writes, and how elements get to that rank.

`consecutive` divides an array into runs of bytes, `whole_chunks` into boxes of whole chunks, and
`to_root` sends it to rank 0. All three are generators that yield some 4 MiB at a time, so that a
rank needs little memory beside its shard. Consumers ``del`` a part before they ask for the next.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .._comm.communicator import Communicator
from .._comm.division import Division
from .._core.array import Array
from .._core.dtypes import carrier, to_numpy_dtype
from .._core.layout import Layout, Shape
from .._core.redistribute import redistribute
from .._reshape import reshape
from ._agreement import ROUND, Deferred, T, Values
from ._hdf5_stream import write_bytes


def as_numpy(t: Tensor) -> Values:
    """Return a tensor as a contiguous NumPy array in main memory."""
    dtype = to_numpy_dtype(t.dtype)
    values = carrier(t.detach().resolve_conj().resolve_neg().contiguous().cpu()).numpy()
    return values.view(dtype)


def box(corner: Shape, shape: Shape, start: int = 0) -> tuple[slice, ...]:
    """Return the part of a dataset that begins at a corner, moved by `start` rows."""
    slices = [slice(first, first + n) for first, n in zip(corner, shape, strict=True)]
    if start:
        slices[0] = slice(slices[0].start + start, slices[0].stop + start)
    return tuple(slices)


def consecutive(x: Array, base: int = 0) -> Iterator[tuple[int, Values]]:
    """Yield pieces that are consecutive in C order, for this rank to write: (start, values).

    All ranks yield equally often, and all elements together once; `base` is added to `start`. A
    replicated array is shared out evenly. An array split along its first axis is not sent. Of
    others, some rows at a time are redistributed by one all-to-all.
    """
    layout = x._layout
    if layout.split is None:
        flat = Layout.balanced((x.size,), 0, layout.comm)
        own = x._local.reshape(-1)[flat.start : flat.start + flat.count]
        yield base + flat.start, as_numpy(own)
        return
    before = math.prod(layout.shape[: layout.split])
    if before == 1:
        after = math.prod(layout.shape[layout.split + 1 :])
        yield base + layout.start * after, as_numpy(x._local)
        return
    row = math.prod(layout.shape[1:])
    width = max(row * x.dtype.itemsize, 1)
    if width > ROUND * layout.comm.size:  # a single row is too large
        for i in range(layout.shape[0]):
            yield from consecutive(x[i], base + i * row)
        return
    rows = ROUND * layout.comm.size // width
    for first in range(0, layout.shape[0], rows):
        start, values = _even_share(x[first : first + rows])
        yield base + first * row + start, values
        del values  # before the next round is redistributed


def _even_share(x: Array) -> tuple[int, Values]:
    """Return this rank's even share of the elements in C order: (start, values)."""
    flat = reshape(x, (-1,))
    even = redistribute(flat, flat._layout.split_along(0))
    return even._layout.start, as_numpy(even._local)


def whole_chunks(x: Array, chunks: Shape, axis: int = 0) -> Iterator[tuple[Shape, Tensor]]:
    """Yield boxes of whole chunks, for this rank to write: (corner, values).

    All ranks yield equally often, and all elements together once: some 4 MiB at a time, rows of
    chunks along an axis. A replicated array is shared out along that axis. If it is the split
    axis, a rank has the chunks that begin in its shard, and only rows of chunks that end in
    another shard are sent (one all-to-all). Otherwise some rows of chunks at a time are
    redistributed (one all-to-all each); rows of more than 4 MiB are divided along a later axis.
    """
    shape, step = x.shape, chunks[axis]
    others = math.prod(n for i, n in enumerate(shape) if i != axis)
    width = max(others * step * x.dtype.itemsize, 1)
    if x.split is not None and axis < x.split and width > ROUND:
        yield from _each_row(x, axis, step, lambda row: whole_chunks(row, chunks, axis + 1))
        return
    for first, values in _rows_of_chunks(x, axis, step, max(1, ROUND // width) * step):
        yield (*[0] * axis, first, *[0] * (x.ndim - axis - 1)), values
        del values


def to_root(x: Array, axis: int = 0) -> Iterator[tuple[Shape, Array]]:
    """Yield boxes of some 4 MiB, all of them on rank 0: (corner, array).

    Messages: one all-to-all each, unless the array is replicated.
    """
    if not x.size or not x.shape:
        yield (0,) * x.ndim, x
        return
    n = x.shape[axis]
    width = x.nbytes // n
    if width > ROUND and axis + 1 < x.ndim:
        yield from _each_row(x, axis, 1, lambda row: to_root(row, axis + 1))
        return
    rows = max(1, ROUND // width)
    for first in range(0, n, rows):
        block = x[(*_all(axis), slice(first, first + rows))]
        counts = (block.shape[axis], *[0] * (x.comm.size - 1))
        target = Layout.of(block.shape, axis, counts, x.comm)
        yield (*[0] * axis, first, *[0] * (x.ndim - axis - 1)), redistribute(block, target)


def _each_row(
    x: Array, axis: int, step: int, boxes_of: Callable[[Array], Iterator[tuple[Shape, T]]]
) -> Iterator[tuple[Shape, T]]:
    """Yield the boxes of `step` indices of an axis at a time, with corners in the whole array."""
    for first in range(0, x.shape[axis], step):
        for corner, values in boxes_of(x[(*_all(axis), slice(first, first + step))]):
            yield (*corner[:axis], first, *corner[axis + 1 :]), values
            del values


def _rows_of_chunks(x: Array, axis: int, rows: int, step: int) -> Iterator[tuple[int, Tensor]]:
    """Yield this rank's chunks of `rows` indices along an axis, `step` indices at a time."""
    shape, comm = x.shape, x.comm
    if x.split is None:
        shares = _intervals(_even_chunks(shape, axis, rows, comm))
        yield from _in_steps(x._local, 0, axis, shares, comm, step)
    elif x.split == axis:
        interiors = _interiors(x._layout, rows)
        yield from _in_steps(x._local, x._layout.start, axis, interiors, comm, step)
        yield from _straddling(x, rows)
    else:
        for first in range(0, shape[axis], step * comm.size):
            block = x[(*_all(axis), slice(first, first + step * comm.size))]
            own = redistribute(block, _even_chunks(block.shape, axis, rows, comm))
            yield first + own._layout.start, own._local
            del block, own


Interval = tuple[int, int]


def _all(axes: int) -> tuple[slice, ...]:
    return (slice(None),) * axes


def _even_chunks(shape: Shape, axis: int, rows: int, comm: Communicator) -> Layout:
    """Return a layout in which the ranks have about equally many whole chunks."""
    n = shape[axis]
    chunks = Division.balanced(-(-n // rows), comm.size)
    return Layout.of(shape, axis, Division(np.minimum(chunks.offsets * rows, n)), comm)


def _intervals(layout: Layout) -> list[Interval]:
    """Return the rows of each rank as (first, end)."""
    bounds = [0, *itertools.accumulate(layout.counts)]
    return list(itertools.pairwise(bounds))


def _interiors(layout: Layout, rows: int) -> list[Interval]:
    """Return, for each rank, the rows whose chunks lie entirely in its shard."""
    assert layout.split is not None
    n = layout.shape[layout.split]
    found = []
    for first, end in _intervals(layout):
        begin = min(-(-first // rows) * rows, n)
        found.append((begin, max(begin, n if end == n else end // rows * rows)))
    return found


def _in_steps(
    local: Tensor, start: int, axis: int, intervals: list[Interval], comm: Communicator, step: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield the rows of this rank's interval, `step` at a time; `local` begins at row `start`."""
    first, end = intervals[comm.rank]
    for offset in range(0, max(b - a for a, b in intervals), step):
        at = min(first + offset, end)
        yield at, local[(*_all(axis), slice(at - start, min(at + step, end) - start))]


def _straddling(x: Array, rows: int) -> Iterator[tuple[int, Tensor]]:
    """Yield the chunk that begins in this rank's shard and ends in another, if there is one."""
    layout, local = x._layout, x._local
    axis, rank = layout.split, layout.comm.rank
    assert axis is not None
    n = layout.shape[axis]
    shards, interiors = _intervals(layout), _interiors(layout, rows)
    # In each shard: the rows before its whole chunks, and those after them.
    both = list(zip(shards, interiors, strict=True))
    heads = [min(begin, end) - first for (first, end), (begin, _) in both]
    tails = [max(end - stop, 0) for (_, end), (_, stop) in both]
    sent = tuple(head + tail for head, tail in zip(heads, tails, strict=True))
    kept = tuple(
        min(rows, n - stop) if tail else 0 for (_, stop), tail in zip(interiors, tails, strict=True)
    )
    if not sum(sent):
        return
    head, count, tail = heads[rank], layout.count, tails[rank]
    edges = torch.cat(
        [local.narrow(axis, 0, head), local.narrow(axis, count - tail, tail)], dim=axis
    )
    array = Array(edges, layout.with_length(axis, sum(sent), sent))
    own = redistribute(array, layout.with_length(axis, sum(sent), kept))
    yield interiors[rank][1], own._local


def write_at(
    func: str,
    comm: Communicator,
    path: str,
    x: Array,
    offset: int,
    advance: Callable[[int], object] = lambda nbytes: None,
) -> None:
    """Write the elements of an array at byte `offset` of a file, each rank its own pieces.

    An error of any rank is raised on all, after the last piece, since the ranks exchange pieces.
    `advance` is called with the number of bytes written.
    """
    later = Deferred(func, comm)
    file = later.run(lambda: os.open(path, os.O_WRONLY))
    for start, values in consecutive(x):
        later.run(partial(_write_all, file, values, offset + start * values.dtype.itemsize))
        later.run(partial(advance, values.nbytes))
        del values
    if file is not None:
        later.run(partial(os.fsync, file))
        later.run(partial(os.close, file), always=True)
    later.finish()


def _write_all(file: int | None, values: Values, offset: int) -> None:
    if file is not None and values.size:
        data = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
        write_bytes(file, data, offset)
