"""Rows brought from the ranks that hold them, by one all-to-all.

Two kinds of request. *Intervals*: concat, flip, roll, tile, pad and windows know from metadata
which intervals of which arrays every rank needs along one axis. `plan_fetch` turns them into this
rank's plan, which the functions cache, and `fetch_intervals` follows it; what a rank holds itself
is not sent. *Indices*: in fancy indexing each rank knows the global indices it requests. They go
to their owners, which answer (`fetch_rows`) or write the rows that came with them (`store_rows`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from .._caching import cached
from .._comm.assumptions import numbers
from .._comm.communicator import Communicator
from .collectives import all_to_all, exchange
from .dtypes import carrier, on_bits
from .layout import Layout, Shape, balanced_counts, overlap, resized
from .tape import tracked


def join(pieces: Sequence[Tensor], axis: int) -> Tensor:
    """Concatenate; a single piece stays a view."""
    return pieces[0] if len(pieces) == 1 else torch.cat(tuple(pieces), dim=axis)


# ---------------------------------------------------------------------- intervals


class Interval(NamedTuple):
    """Rows ``[begin, end)``, along the axis in question, of the array number `source`."""

    source: int
    begin: int
    end: int


class _Rows(NamedTuple):
    """Rows of a rank's shard of a source, along the axis of the exchange."""

    source: int
    begin: int
    length: int


class _Piece(NamedTuple):
    """What one rank holds of a requested interval."""

    place: int | None  # in the message received; None: this rank's own
    shape: Shape


class _Order(NamedTuple):
    """The pieces that make a requested interval, joined along `axis`."""

    axis: int
    pieces: tuple[_Piece, ...]


@dataclass(frozen=True, slots=True)
class Fetch:
    """The part of this rank in an exchange of intervals: made by `plan_fetch`."""

    axis: int
    own: tuple[_Rows, ...]  # of each interval requested here, what this rank holds
    comm: Communicator | None = None  # None: every rank holds all that it requests
    sent: tuple[_Rows, ...] = ()  # in the order of the ranks
    send_counts: Shape = ()  # elements for each rank
    recv_counts: Shape = ()  # elements from each rank
    recv_sizes: Shape = ()  # the same, for each rank and each interval requested here
    order: tuple[_Order, ...] = ()  # of each interval requested here


def plan_fetch(
    layouts: Sequence[Layout], axis: int, requested: Sequence[Sequence[Interval]]
) -> Fetch:
    """Plan to bring every rank the intervals that it requests, from metadata alone.

    Parameters
    ----------
    layouts : sequence of Layout
        Of the sources; each is split, along any axis, with any counts.
    axis : int
        The axis that the intervals lie on.
    requested : sequence of sequence of Interval
        ``requested[r]``: what rank r is to hold; at least one interval, if only an empty one.
    """
    comm = layouts[0].comm
    mine = requested[comm.rank]
    own = tuple(_held(layouts, axis, comm.rank, interval) for interval in mine)
    if all(_is_local(layouts, axis, rank, theirs) for rank, theirs in enumerate(requested)):
        return Fetch(axis, own)
    sent, send_counts = _sends(layouts, axis, requested)
    shapes = [
        [_shape(layouts, axis, rank, _held(layouts, axis, rank, interval)) for interval in mine]
        for rank in range(comm.size)
    ]
    sizes = _receives(shapes, comm.rank)
    splits = [layouts[interval.source].split for interval in mine]
    return Fetch(
        axis,
        own,
        comm,
        sent,
        send_counts,
        recv_counts=tuple(map(sum, sizes)),
        recv_sizes=tuple(n for row in sizes for n in row),
        order=tuple(_order(shapes, comm.rank, i, split) for i, split in enumerate(splits)),
    )


def _sends(
    layouts: Sequence[Layout], axis: int, requested: Sequence[Sequence[Interval]]
) -> tuple[tuple[_Rows, ...], Shape]:
    """Return what this rank sends, rank by rank, and how many elements each rank gets."""
    me = layouts[0].comm.rank
    sent: list[_Rows] = []
    counts = []
    for rank, theirs in enumerate(requested):
        held = [_held(layouts, axis, me, interval) for interval in theirs if rank != me]
        held = [rows for rows in held if rows.length]
        sent += held
        counts.append(sum(math.prod(_shape(layouts, axis, me, rows)) for rows in held))
    return tuple(sent), tuple(counts)


def _receives(shapes: Sequence[Sequence[Shape]], me: int) -> list[list[int]]:
    """Return how many elements come from each rank for each interval; none from rank `me`."""
    return [
        [0 if rank == me else math.prod(shape) for shape in row] for rank, row in enumerate(shapes)
    ]


def _order(shapes: Sequence[Sequence[Shape]], me: int, i: int, split: int | None) -> _Order:
    """Return the pieces of interval `i`, by rank, where ranks hold pieces of `shapes`."""
    assert split is not None
    pieces = []
    attached = i > 0  # a received piece, even an empty one, keeps the result on the tape
    for rank, row in enumerate(shapes):
        if rank == me:
            pieces.append(_Piece(None, row[i]))
        elif row[i][split] or not attached:
            pieces.append(_Piece(rank * len(row) + i, row[i]))
            attached = True
    return _Order(split, tuple(pieces))


def _held(layouts: Sequence[Layout], axis: int, rank: int, interval: Interval) -> _Rows:
    """Return which rows of the shard of `rank` are in an interval."""
    k, begin, end = interval
    layout = layouts[k]
    if layout.split == axis:
        first = layout.offsets[rank]
        begin, end = overlap(begin, end, first, layout.offsets[rank + 1])
        begin, end = begin - first, end - first
    return _Rows(k, begin, end - begin) if end > begin else _Rows(k, 0, 0)


def _shape(layouts: Sequence[Layout], axis: int, rank: int, rows: _Rows) -> Shape:
    return resized(layouts[rows.source].shape_of(rank), axis, rows.length)


def _is_local(
    layouts: Sequence[Layout], axis: int, rank: int, requested: Sequence[Interval]
) -> bool:
    """Return whether `rank` holds all that it requests."""
    for k, begin, end in requested:
        layout = layouts[k]
        if layout.comm.size == 1:
            continue
        if layout.split != axis:
            return False
        if begin < end and (begin < layout.offsets[rank] or end > layout.offsets[rank + 1]):
            return False
    return True


def fetch_intervals(tensors: Sequence[Tensor], plan: Fetch) -> list[Tensor]:
    """Bring every rank the intervals that it requests.

    Parameters
    ----------
    tensors : sequence of Tensor
        This rank's shards of the sources, all of one dtype.
    plan : Fetch
        From `plan_fetch`.

    Returns
    -------
    list of Tensor
        Of each interval requested here its rows, complete along all other axes.

    Notes
    -----
    Messages: none if every rank holds all rows that it requests, else one all-to-all.
    """
    axis = plan.axis
    own = [tensors[k].narrow(axis, begin, length) for k, begin, length in plan.own]
    if plan.comm is None:
        if any(map(tracked, tensors)):
            # A source that this rank needs no row of may still have come by messages; all ranks
            # or none answer them on the way back.
            needed = {rows.source for rows in plan.own}
            spare = [t.narrow(axis, 0, 0) for k, t in enumerate(tensors) if k not in needed]
            own[0] = join([own[0], *spare], axis)
        return own
    # No rows of every source: what is sent is on the tape of every rank or of none.
    blocks = [t.narrow(axis, 0, 0).reshape(-1) for t in tensors]
    blocks += [tensors[k].narrow(axis, begin, n).reshape(-1) for k, begin, n in plan.sent]
    received = exchange(torch.cat(blocks), plan.send_counts, plan.recv_counts, plan.comm)
    parts = received.split_with_sizes(plan.recv_sizes)
    return [
        join([rows if i is None else parts[i].view(shape) for i, shape in pieces], split)
        for rows, (split, pieces) in zip(own, plan.order, strict=True)
    ]


# ---------------------------------------------------------------------- segments of one array


class Segment(NamedTuple):
    """A run of result rows: source rows from `start`, upwards, downwards, or one row repeated."""

    start: int
    length: int
    step: int  # 1, -1 or 0


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
    Messages: one all-to-all of the rows that change rank, if any do.
    """
    assert result.split is not None
    plan, runs = _plan_arrange(layout, result, segments)
    return _in_order(fetch_intervals([t], plan), result.split, runs)


@cached
def _plan_arrange(
    layout: Layout, result: Layout, segments: tuple[Segment, ...]
) -> tuple[Fetch, tuple[Segment, ...]]:
    """Return what to fetch, and which parts of the segments this rank makes of it."""
    assert result.split is not None
    ends = [*accumulate(segment.length for segment in segments)]
    runs = [_clip(segments, ends, a, b) for a, b in pairwise(result.offsets)]
    requested = [
        [Interval(0, low, low + n) for low, n in (_distinct(*part) for part in parts)]
        for parts in runs
    ]
    return plan_fetch([layout], result.split, requested), tuple(runs[result.comm.rank])


def arrange_locally(t: Tensor, axis: int, segments: Sequence[Segment]) -> Tensor:
    """Return the rows of a tensor that `segments` name, in their order."""
    cuts = [_distinct(*segment) for segment in segments]
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


def _distinct(start: int, length: int, step: int) -> tuple[int, int]:
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


# ---------------------------------------------------------------------- rows by global index


SPREAD = "index arrays take rows of all ranks alike"
"""What a dry run assumes of indices."""


def pick(t: Tensor, columns: list[Tensor]) -> Tensor:
    """Return ``t[columns]``: index tensors of one shape for the leading axes."""
    return on_bits(lambda values: values[tuple(columns)], t)


def place(t: Tensor, columns: list[Tensor], rows: Tensor, order: Tensor) -> None:
    """Write ``t[columns] = rows``; of equal indices the one with the greatest `order` wins."""
    linear = torch.zeros_like(columns[0])
    for axis, column in enumerate(columns):
        linear = linear * t.shape[axis] + column
    by_order = torch.argsort(order, stable=True)
    permutation = by_order[torch.argsort(linear[by_order], stable=True)]
    ranked = linear[permutation]
    last = torch.ones_like(ranked, dtype=torch.bool)
    last[:-1] = ranked[1:] != ranked[:-1]
    chosen = permutation[last]
    carrier(t)[tuple(column[chosen] for column in columns)] = carrier(rows)[chosen]


def _by_owner(index: Tensor, layout: Layout) -> tuple[Tensor, list[int]]:
    """Return the permutation that sorts global indices by owner, and how many each rank owns."""
    ends = torch.tensor(layout.offsets[1:], device=index.device)
    owner = torch.searchsorted(ends, index.contiguous(), right=True)
    size = layout.comm.size
    usual = balanced_counts(len(owner), size)
    counts = numbers(torch.bincount(owner, minlength=size), usual, SPREAD)
    return torch.argsort(owner, stable=True), counts


def _exchange_counts(counts: list[int], layout: Layout) -> list[int]:
    each = [1] * layout.comm.size
    received = exchange(torch.tensor(counts), each, each, layout.comm)
    return numbers(received, counts, "as many rows come from each rank as go to it")


def _to_owners(rows: Tensor, sent: list[int], received: list[int], layout: Layout) -> Tensor:
    """Send rows sorted by owner; return those that arrive here, in rank order."""
    shapes = [(n, *rows.shape[1:]) for n in received]
    parts = list(torch.split(rows, sent))
    return torch.cat(all_to_all(parts, shapes, layout.comm))


def fetch_rows(t: Tensor, layout: Layout, columns: list[Tensor]) -> Tensor:
    """Return the elements of a split array at this rank's 1-D global indices.

    Parameters
    ----------
    t : torch.Tensor
        This rank's shard of the array of `layout`.
    layout : Layout
        Split along one of the indexed axes, which are the leading ones.
    columns : list of torch.Tensor
        For every indexed axis, the int64 indices that this rank requests.

    Returns
    -------
    torch.Tensor
        A row for each request.

    Notes
    -----
    Messages: three all-to-alls: numbers, indices, rows.
    """
    assert layout.split is not None
    if layout.comm.size == 1:
        return pick(t, columns)
    order, sent = _by_owner(columns[layout.split], layout)
    received = _exchange_counts(sent, layout)
    requests = _to_owners(torch.stack(columns, dim=1)[order], sent, received, layout)
    asked = list(requests.unbind(1))
    asked[layout.split] = asked[layout.split] - layout.start
    answers = _to_owners(pick(t, asked), received, sent, layout)
    rows = torch.empty_like(answers)
    carrier(rows)[order] = carrier(answers)
    return rows


def store_rows(
    t: Tensor, layout: Layout, columns: list[Tensor], rows: Tensor, order: Tensor
) -> None:
    """Write this rank's `rows` at its global indices; of equal ones the greatest `order` wins.

    Messages: three all-to-alls: numbers, indices (with `order`), rows.
    """
    assert layout.split is not None
    if layout.comm.size == 1:
        place(t, columns, rows, order)
        return
    permutation, sent = _by_owner(columns[layout.split], layout)
    received = _exchange_counts(sent, layout)
    requests = torch.stack([*columns, order], dim=1)[permutation]
    arrived = _to_owners(requests, sent, received, layout)
    *asked, rank = arrived.unbind(1)
    asked[layout.split] = asked[layout.split] - layout.start
    moved = pick(rows, [permutation])
    place(t, asked, _to_owners(moved, sent, received, layout), rank)
