"""Results made of rows of other arrays, by one all-to-all: concat, flip, roll, tile, pad.

Each of these functions says, from metadata alone, which intervals of which arrays every
rank needs along one axis (its *wants*); `fetch` brings them there. A rank's own rows
are not sent, so only what changes rank is a message.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from ._dtypes import carrier, uncarry
from ._layout import Layout, Shape
from ._primitives import exchange

__all__ = ["Segment", "Want", "arrange", "arrange_shards", "fetch", "join", "overlap"]


class Want(NamedTuple):
    """Rows ``[begin, end)``, along the axis in question, of the array number `source`."""

    source: int
    begin: int
    end: int


class Segment(NamedTuple):
    """A run of result rows: source rows from `start`, upwards, downwards, or one row repeated."""

    start: int
    length: int
    step: int  # 1, -1 or 0


def overlap(a: int, b: int, c: int, d: int) -> tuple[int, int]:
    """Return ``[a, b)`` intersected with ``[c, d)``; an empty one ends where it begins."""
    begin = max(a, c)
    return begin, max(min(b, d), begin)


def join(pieces: Sequence[Tensor], axis: int) -> Tensor:
    """Concatenate; a single piece stays the view that it is."""
    return pieces[0] if len(pieces) == 1 else torch.cat(tuple(pieces), dim=axis)


def fetch(
    tensors: Sequence[Tensor],
    layouts: Sequence[Layout],
    axis: int,
    wants: Sequence[Sequence[Want]],
) -> list[Tensor]:
    """Bring every rank the rows that it wants.

    Parameters
    ----------
    tensors : sequence of Tensor
        This rank's shards of the sources, all of one dtype.
    layouts : sequence of Layout
        Of the sources; each is split, along any axis, with any counts.
    axis : int
        The axis that the wants speak of.
    wants : sequence of sequence of Want
        ``wants[r]``: what rank r is to hold; at least one, if only an empty interval.

    Returns
    -------
    list of Tensor
        For each want of this rank its rows, complete along all other axes.

    Notes
    -----
    Messages: none if every rank holds all rows that it wants, else one all-to-all.
    """
    me = layouts[0].comm.rank
    if all(_is_local(layouts, axis, rank, theirs) for rank, theirs in enumerate(wants)):
        return [_piece(tensors, layouts, axis, me, want) for want in wants[me]]
    dtype = tensors[0].dtype
    tensors = [carrier(t) for t in tensors]
    shapes = [
        [_piece_shape(layouts[want.source], axis, rank, want) for want in wants[me]]
        for rank in range(len(wants))
    ]
    sizes = [
        [0 if rank == me else math.prod(shape) for shape in row] for rank, row in enumerate(shapes)
    ]
    send, send_counts = _pack(tensors, layouts, axis, wants)
    received = exchange(send, send_counts, [sum(row) for row in sizes], layouts[0].comm)
    parts = received.split_with_sizes([n for row in sizes for n in row])
    results = []
    for i, want in enumerate(wants[me]):
        split = layouts[want.source].split
        assert split is not None
        pieces = []
        attached = i > 0  # a received piece, even an empty one, keeps the result on the tape
        for rank, row in enumerate(shapes):
            if rank == me:
                pieces.append(_piece(tensors, layouts, axis, me, want))
            elif row[i][split] or not attached:
                pieces.append(parts[rank * len(row) + i].view(row[i]))
                attached = True
        results.append(uncarry(join(pieces, split), dtype))
    return results


def _pack(
    tensors: Sequence[Tensor],
    layouts: Sequence[Layout],
    axis: int,
    wants: Sequence[Sequence[Want]],
) -> tuple[Tensor, list[int]]:
    """Return what this rank sends to the others, flat, and how much to each; to itself nothing."""
    me = layouts[0].comm.rank
    # Rows of every source, but none: what is sent is on the tape of every rank or of none.
    pieces = [t.narrow(axis, 0, 0).reshape(-1) for t in tensors]
    counts = []
    for rank, theirs in enumerate(wants):
        count = 0
        if rank != me:
            for want in theirs:
                piece = _piece(tensors, layouts, axis, me, want)
                if piece.numel():
                    pieces.append(piece.reshape(-1))
                    count += piece.numel()
        counts.append(count)
    return torch.cat(pieces), counts


def _piece(
    tensors: Sequence[Tensor], layouts: Sequence[Layout], axis: int, me: int, want: Want
) -> Tensor:
    """Return what this rank holds of the wanted rows: a view."""
    begin, end = _inside(layouts[want.source], axis, me, want)
    t = tensors[want.source]
    return t.narrow(axis, begin, end - begin) if end > begin else t.narrow(axis, 0, 0)


def _inside(layout: Layout, axis: int, rank: int, want: Want) -> tuple[int, int]:
    """Return which local rows of the shard of `rank` are wanted."""
    if layout.split != axis:
        return want.begin, want.end
    first = layout.offsets[rank]
    begin, end = overlap(want.begin, want.end, first, layout.offsets[rank + 1])
    return begin - first, end - first


def _piece_shape(layout: Layout, axis: int, rank: int, want: Want) -> Shape:
    begin, end = _inside(layout, axis, rank, want)
    shape = layout.shape_of(rank)
    return (*shape[:axis], end - begin, *shape[axis + 1 :])


def _is_local(layouts: Sequence[Layout], axis: int, rank: int, wants: Sequence[Want]) -> bool:
    """Whether `rank` holds all that it wants."""
    for k, begin, end in wants:
        layout = layouts[k]
        if layout.comm.size == 1:
            continue
        if layout.split != axis:
            return False
        if begin < end and (begin < layout.offsets[rank] or end > layout.offsets[rank + 1]):
            return False
    return True


# ---------------------------------------------------------------------- segments of one array


def arrange(t: Tensor, axis: int, segments: Sequence[Segment]) -> Tensor:
    """Return the rows of `t` that `segments` name, in their order: a local operation."""
    carried = carrier(t)
    pieces = []
    for start, length, step in segments:
        low, count = _rows(start, length, step)
        piece = carried.narrow(axis, low, count)
        pieces.append(_oriented(piece, axis, length, step))
    return uncarry(join(pieces, axis), t.dtype)


def arrange_shards(
    t: Tensor, source: Layout, target: Layout, segments: Sequence[Segment]
) -> Tensor:
    """Return this rank's shard of the rows that `segments` name, along the split axis.

    Parameters
    ----------
    t : Tensor
        This rank's shard.
    source, target : Layout
        Of the operand and of the result; both are split along the same axis.
    segments : sequence of Segment
        Together as long as the split axis of `target`.

    Notes
    -----
    Messages: one all-to-all of the rows that change rank, none if there are none.
    """
    axis = target.split
    assert axis is not None
    comm = target.comm
    ends = list(accumulate(segment.length for segment in segments))
    mine: list[Segment] = []
    wants = []
    for rank in range(comm.size):
        parts = _clip(segments, ends, target.offsets[rank], target.offsets[rank + 1])
        if rank == comm.rank:
            mine = parts
        wants.append([Want(0, low, low + n) for low, n in (_rows(*part) for part in parts)])
    rows = fetch([t], [source], axis, wants)
    return uncarry(
        join(
            [
                _oriented(carrier(piece), axis, part.length, part.step)
                for piece, part in zip(rows, mine, strict=True)
            ],
            axis,
        ),
        t.dtype,
    )


def _rows(start: int, length: int, step: int) -> tuple[int, int]:
    """Return the first of the distinct rows of a segment, counted upwards, and their number."""
    if length == 0:
        return 0, 0
    if step == 0:
        return start, 1
    return (start, length) if step > 0 else (start - length + 1, length)


def _oriented(rows: Tensor, axis: int, length: int, step: int) -> Tensor:
    """Return the rows of a segment, received in upward order, in the segment's own order."""
    if step > 0 or length == 0:
        return rows
    if step < 0:
        return rows.flip(axis)
    return rows.expand(*rows.shape[:axis], length, *rows.shape[axis + 1 :])


def _clip(segments: Sequence[Segment], ends: Sequence[int], begin: int, end: int) -> list[Segment]:
    """Return the parts of the segments that make result rows ``[begin, end)``; never none."""
    parts = []
    for (start, length, step), last in zip(segments, ends, strict=True):
        first = last - length
        low, high = overlap(first, last, begin, end)
        if high > low:
            parts.append(Segment(start + step * (low - first), high - low, step))
    return parts or [Segment(0, 0, 1)]
