"""An array as the consecutive bytes of a file: which of them a rank writes, in C order."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._array import Array
from .._comm import Communicator
from .._dtypes import carrier, to_numpy_dtype
from .._layout import Layout, Shape, balanced_counts
from .._redistribute import redistribute
from .._reshape import reshape
from ._agreement import attempt
from ._stream import write_bytes

__all__ = ["as_numpy", "pieces", "whole_chunks", "write_at"]

ROUND = 4 << 20
"""Bytes that a rank redistributes at once where its shard is not consecutive in the file."""

Values = np.ndarray[Any, Any]


def as_numpy(t: Tensor) -> Values:
    """Return a tensor as a contiguous array of NumPy's, in the machine's memory."""
    dtype = to_numpy_dtype(t.dtype)
    values = carrier(t.detach().resolve_conj().resolve_neg().contiguous().cpu()).numpy()
    return values.view(dtype)


def pieces(x: Array) -> Iterator[tuple[int, Values]]:
    """Yield this rank's elements, in pieces that are consecutive in C order: (start, values).

    All ranks yield as often, and together all elements once. A replicated array is dealt out
    evenly; one split along its first axis is sent as it is; of others some rows at a time are
    redistributed by one all-to-all.
    """
    layout = x._layout
    if layout.split is None:
        flat = Layout.balanced((x.size,), 0, layout.comm)
        own = x._local.reshape(-1)[flat.start : flat.start + flat.count]
        yield flat.start, as_numpy(own)
        return
    before = math.prod(layout.shape[: layout.split])
    if before == 1:
        yield layout.start * math.prod(layout.shape[layout.split + 1 :]), as_numpy(x._local)
        return
    row = math.prod(layout.shape[1:])
    width = max(row * x.dtype.itemsize, 1)
    rows = max(1, ROUND * layout.comm.size // width)
    for first in range(0, layout.shape[0], rows):
        block = reshape(x[first : first + rows], (-1,))
        even = redistribute(block, Layout.balanced(block.shape, 0, layout.comm))
        yield first * row + even._layout.start, as_numpy(even._local)


def whole_chunks(x: Array, rows: int, at_once: int = 1) -> Iterator[tuple[int, Tensor]]:
    """Yield this rank's chunks of `rows` rows, whole ones: (first row, rows).

    All ranks yield as often, and together all rows once, those of `at_once` chunks at a time. A
    replicated array is dealt out. Of one split along its first axis a rank has the chunks that
    begin in its shard: rows are sent only of those that end in another (one all-to-all). Of
    others some rows at a time are redistributed (an all-to-all each).
    """
    shape, comm, step = x.shape, x.comm, at_once * rows
    if x.split is None:
        dealt = _intervals(_dealt_chunks(shape, rows, comm))
        yield from _in_steps(x._local, 0, dealt, comm, step)
    elif x.split == 0:
        yield from _in_steps(x._local, x._layout.start, _interiors(x._layout, rows), comm, step)
        yield from _straddling(x, rows)
    else:
        for first in range(0, shape[0], step * comm.size):
            block = x[first : first + step * comm.size]
            own = redistribute(block, _dealt_chunks(block.shape, rows, comm))
            yield first + own._layout.start, own._local


Interval = tuple[int, int]


def _dealt_chunks(shape: Shape, rows: int, comm: Communicator) -> Layout:
    """Return a layout in which every rank has whole chunks, about as many."""
    bounds = np.cumsum([0, *balanced_counts(-(-shape[0] // rows), comm.size)]) * rows
    counts = tuple(int(c) for c in np.diff(np.minimum(bounds, shape[0])))
    return Layout.of(shape, 0, counts, comm)


def _intervals(layout: Layout) -> list[Interval]:
    """Return the rows of each rank: (first, end)."""
    bounds = [0, *itertools.accumulate(layout.counts)]
    return list(itertools.pairwise(bounds))


def _interiors(layout: Layout, rows: int) -> list[Interval]:
    """Return the rows of each rank whose chunks lie in its shard."""
    n = layout.shape[0]
    found = []
    for first, end in _intervals(layout):
        begin = min(-(-first // rows) * rows, n)
        found.append((begin, max(begin, n if end == n else end // rows * rows)))
    return found


def _in_steps(
    local: Tensor, start: int, intervals: list[Interval], comm: Communicator, step: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield the rows of this rank's interval, `step` at a time; `local` begins at row `start`."""
    first, end = intervals[comm.rank]
    for offset in range(0, max(b - a for a, b in intervals), step):
        at = min(first + offset, end)
        yield at, local[at - start : min(at + step, end) - start]


def _straddling(x: Array, rows: int) -> Iterator[tuple[int, Tensor]]:
    """Yield the chunk that begins in this rank's shard and ends in another one, if any does."""
    layout, local = x._layout, x._local
    n, rank = layout.shape[0], layout.comm.rank
    shards, interiors = _intervals(layout), _interiors(layout, rows)
    # Of each shard: the rows before the chunks that lie in it, and those behind them.
    both = list(zip(shards, interiors, strict=True))
    heads = [min(begin, end) - first for (first, end), (begin, _) in both]
    tails = [max(end - stop, 0) for (_, end), (_, stop) in both]
    sent = [head + tail for head, tail in zip(heads, tails, strict=True)]
    kept = [
        min(rows, n - stop) if tail else 0 for (_, stop), tail in zip(interiors, tails, strict=True)
    ]
    shape = (sum(sent), *layout.shape[1:])
    if not shape[0]:
        return
    edges = torch.cat([local[: heads[rank]], local[len(local) - tails[rank] :]])
    array = Array(edges, Layout.of(shape, 0, tuple(sent), layout.comm))
    own = redistribute(array, Layout.of(shape, 0, tuple(kept), layout.comm))
    yield interiors[rank][1], own._local


def write_at(
    func: str,
    comm: Communicator,
    path: str,
    x: Array,
    offset: int,
    advance: Callable[[int], object] = lambda nbytes: None,
) -> None:
    """Write the elements of an array from byte `offset` of a file on, each rank its own.

    An error of any rank is raised on all of them, after the last piece: they exchange pieces.
    `advance` is told of the bytes written.
    """
    problem: OSError | None = None
    file = None
    try:
        file = os.open(path, os.O_WRONLY)
    except OSError as error:
        problem = error
    for start, values in pieces(x):
        if file is None or problem is not None:
            continue
        try:
            _write_all(file, values, offset + start * values.dtype.itemsize)
            advance(values.nbytes)
        except OSError as error:
            problem = error

    def finish() -> None:
        if file is not None:
            try:
                if problem is None:
                    os.fsync(file)
            finally:
                os.close(file)
        if problem is not None:
            raise problem

    attempt(func, comm, finish)


def _write_all(file: int, values: Values, offset: int) -> None:
    if values.size:
        data = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
        write_bytes(file, data, offset)
