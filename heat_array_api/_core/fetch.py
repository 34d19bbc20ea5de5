"""Results made of rows of other arrays, by one all-to-all: concat, flip, roll, tile, pad.

Each of these functions says, from metadata alone, which intervals of which arrays every
rank needs along one axis (its *wants*); `plan_fetch` turns that into a plan, which the
functions cache, and `fetch` brings the rows there. A rank's own rows are not sent, so only
what changes rank is a message.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from .._comm.communicator import Communicator
from .collectives import exchange
from .dtypes import on_bits
from .layout import Layout, Shape, resized
from .tape import tracked

__all__ = [
    "Fetch",
    "Segment",
    "Want",
    "arrange",
    "arrange_locally",
    "fetch",
    "join",
    "overlap",
    "plan_fetch",
]


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


class _Cut(NamedTuple):
    """Rows of this rank's shard of a source, along the axis of the exchange."""

    source: int
    begin: int
    length: int


class Fetch(NamedTuple):
    """What this rank sends, receives and puts together: see `plan_fetch` and `fetch`."""

    axis: int
    own: tuple[_Cut, ...]  # for each want, what this rank holds of it
    cuts: tuple[_Cut, ...]  # sent, in the order of the ranks
    send_counts: tuple[int, ...]
    recv_counts: tuple[int, ...]
    sizes: tuple[int, ...]  # of what is received: for each rank, for each want
    # For each want the axis to join along, and its pieces in order: their places in `sizes`
    # and shapes; -1 is this rank's own.
    pieces: tuple[tuple[int, tuple[tuple[int, Shape], ...]], ...]
    comm: Communicator | None  # None: nobody sends anything


def plan_fetch(layouts: Sequence[Layout], axis: int, wants: Sequence[Sequence[Want]]) -> Fetch:
    """Plan to bring every rank the rows that it wants; from metadata alone.

    Parameters
    ----------
    layouts : sequence of Layout
        Of the sources; each is split, along any axis, with any counts.
    axis : int
        The axis that the wants speak of.
    wants : sequence of sequence of Want
        ``wants[r]``: what rank r is to hold; at least one, if only an empty interval.
    """
    comm = layouts[0].comm
    me = comm.rank
    mine = wants[me]
    own = tuple(_cut(layouts, axis, me, want) for want in mine)
    if all(_is_local(layouts, axis, rank, theirs) for rank, theirs in enumerate(wants)):
        return Fetch(axis, own, (), (), (), (), (), None)
    cuts, send_counts = [], []
    for rank, theirs in enumerate(wants):
        sent = [_cut(layouts, axis, me, want) for want in theirs] if rank != me else []
        sent = [cut for cut in sent if cut.length]
        cuts += sent
        send_counts.append(
            sum(math.prod(_cut_shape(layouts, axis, me, cut)) for cut in sent),
        )
    shapes = [
        [_cut_shape(layouts, axis, rank, _cut(layouts, axis, rank, want)) for want in mine]
        for rank in range(comm.size)
    ]
    sizes = [
        [0 if rank == me else math.prod(shape) for shape in row] for rank, row in enumerate(shapes)
    ]
    pieces = []
    for i, want in enumerate(mine):
        split = layouts[want.source].split
        assert split is not None
        listed: list[tuple[int, Shape]] = []
        attached = i > 0  # a received piece, even an empty one, keeps the result on the tape
        for rank, row in enumerate(shapes):
            if rank == me:
                listed.append((-1, row[i]))
            elif row[i][split] or not attached:
                listed.append((rank * len(mine) + i, row[i]))
                attached = True
        pieces.append((split, tuple(listed)))
    return Fetch(
        axis,
        own,
        tuple(cuts),
        tuple(send_counts),
        tuple(sum(row) for row in sizes),
        tuple(n for row in sizes for n in row),
        tuple(pieces),
        comm,
    )


def fetch(tensors: Sequence[Tensor], plan: Fetch) -> list[Tensor]:
    """Bring every rank the rows that it wants.

    Parameters
    ----------
    tensors : sequence of Tensor
        This rank's shards of the sources, all of one dtype.
    plan : Fetch
        Of `plan_fetch`.

    Returns
    -------
    list of Tensor
        For each want of this rank its rows, complete along all other axes.

    Notes
    -----
    Messages: none if every rank holds all rows that it wants, else one all-to-all.
    """
    axis = plan.axis
    if plan.comm is None:
        results = [tensors[k].narrow(axis, begin, length) for k, begin, length in plan.own]
        if any(map(tracked, tensors)):
            # What this rank needs no row of may still have come by messages; all ranks or none
            # answer them on the way back.
            needed = {cut.source for cut in plan.own}
            spare = [t.narrow(axis, 0, 0) for k, t in enumerate(tensors) if k not in needed]
            results[0] = join([results[0], *spare], axis)
        return results
    # Rows of every source, but none: what is sent is on the tape of every rank or of none.
    blocks = [t.narrow(axis, 0, 0).reshape(-1) for t in tensors]
    blocks += [tensors[k].narrow(axis, begin, n).reshape(-1) for k, begin, n in plan.cuts]
    received = exchange(torch.cat(blocks), plan.send_counts, plan.recv_counts, plan.comm)
    parts = received.split_with_sizes(plan.sizes)
    results = []
    for (k, begin, length), (split, pieces) in zip(plan.own, plan.pieces, strict=True):
        own = tensors[k].narrow(axis, begin, length)
        results.append(join([own if i < 0 else parts[i].view(shape) for i, shape in pieces], split))
    return results


def _cut(layouts: Sequence[Layout], axis: int, rank: int, want: Want) -> _Cut:
    """Return which rows of the shard of `rank` are wanted."""
    k, begin, end = want
    layout = layouts[k]
    if layout.split == axis:
        first = layout.offsets[rank]
        begin, end = overlap(begin, end, first, layout.offsets[rank + 1])
        begin, end = begin - first, end - first
    return _Cut(k, begin, end - begin) if end > begin else _Cut(k, 0, 0)


def _cut_shape(layouts: Sequence[Layout], axis: int, rank: int, cut: _Cut) -> Shape:
    shape = layouts[cut.source].shape_of(rank)
    return resized(shape, axis, cut.length)


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


def arrange(t: Tensor, layout: Layout, result: Layout, segments: tuple[Segment, ...]) -> Tensor:
    """Return this rank's shard of the rows that `segments` name, along the split axis.

    Parameters
    ----------
    t : Tensor
        This rank's shard of the operand.
    layout, result : Layout
        Of the operand and of the result; both are split along the same axis.
    segments : tuple of Segment
        Together as long as the split axis of `result`.

    Notes
    -----
    Messages: one all-to-all of the rows that change rank, none if there are none.
    """
    assert result.split is not None
    plan, runs = _plan_arrange(layout, result, segments)
    return _in_order(fetch([t], plan), result.split, runs)


@lru_cache(maxsize=1024)
def _plan_arrange(
    layout: Layout, result: Layout, segments: tuple[Segment, ...]
) -> tuple[Fetch, tuple[Segment, ...]]:
    """Return what to fetch, and which parts of the segments this rank makes of it."""
    assert result.split is not None
    ends = [*accumulate(segment.length for segment in segments)]
    runs = [_clip(segments, ends, a, b) for a, b in pairwise(result.offsets)]
    wants = [
        [Want(0, low, low + n) for low, n in (_rows(*part) for part in parts)] for parts in runs
    ]
    return plan_fetch([layout], result.split, wants), tuple(runs[result.comm.rank])


def arrange_locally(t: Tensor, axis: int, segments: Sequence[Segment]) -> Tensor:
    """Return the rows of a tensor that `segments` name, in their order."""
    cuts = [_rows(*segment) for segment in segments]
    return _in_order([t.narrow(axis, low, n) for low, n in cuts], axis, segments)


def _in_order(rows: Sequence[Tensor], axis: int, segments: Sequence[Segment]) -> Tensor:
    """Return the rows of each segment, which are in upward order, in the segment's own order."""
    pieces = []
    for piece, (_, length, step) in zip(rows, segments, strict=True):
        if step < 0 and length:
            piece = on_bits(torch.flip, piece, dims=(axis,))
        elif step == 0 and length:
            piece = piece.expand(resized(piece.shape, axis, length))
        pieces.append(piece)
    return join(pieces, axis)


def _rows(start: int, length: int, step: int) -> tuple[int, int]:
    """Return the first of the distinct rows of a segment, counted upwards, and their number."""
    if length == 0:
        return 0, 0
    if step == 0:
        return start, 1
    return (start, length) if step > 0 else (start - length + 1, length)


def _clip(segments: Sequence[Segment], ends: Sequence[int], begin: int, end: int) -> list[Segment]:
    """Return the parts of the segments that make result rows ``[begin, end)``; never none."""
    parts = []
    for (start, length, step), last in zip(segments, ends, strict=True):
        first = last - length
        low, high = overlap(first, last, begin, end)
        if high > low:
            parts.append(Segment(start + step * (low - first), high - low, step))
    return parts or [Segment(0, 0, 1)]
