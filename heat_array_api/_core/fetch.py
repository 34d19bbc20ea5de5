"""Rows brought from the ranks that hold them: a message from each rank that has some.

Two kinds of request. *Intervals*: redistribution, concat, flip, roll, tile, pad and windows know
from metadata which rows of which arrays every rank needs along their split axis. `plan_fetch` turns
them into this rank's plan, which the functions cache, and `fetch_intervals` follows it; what a rank
holds itself is not sent. A plan finds the ranks at the other ends by bisection: its size and its
cost follow the number of messages, not that of ranks. *Indices*: in fancy indexing each rank knows
the global indices it requests. They go to their owners, which answer (`fetch_rows`) or write the
rows that came with them (`store_rows`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._caching import cached
from .._comm.assumptions import division_of
from .._comm.communicator import Communicator
from .._comm.division import Division, Integers
from .._comm.table import Parts
from .collectives import cat, exchange, exchange_parts, parted
from .dtypes import carrier, on_bits
from .layout import Layout, Shape, overlap, resized
from .tape import tracked


def join(pieces: Sequence[Tensor], axis: int) -> Tensor:
    """Concatenate; a single piece stays a view."""
    return pieces[0] if len(pieces) == 1 else cat(pieces, axis)


# ---------------------------------------------------------------------- intervals


class Segment(NamedTuple):
    """A run of rows of an array: from `start`, upwards, downwards, or one row repeated."""

    start: int
    length: int
    step: int = 1  # 1, -1 or 0
    source: int = 0  # the array's number

    def rows(self) -> tuple[int, int]:
        """Return the first of the distinct rows, counted upwards, and their number."""
        if self.length == 0:
            return 0, 0
        if self.step == 0:
            return self.start, 1
        return (self.start if self.step > 0 else self.start - self.length + 1), self.length

    def part(self, begin: int, end: int) -> Segment:
        """Return the rows ``[begin, end)`` of the run."""
        return self._replace(start=self.start + self.step * begin, length=end - begin)


class Request(NamedTuple):
    """What all ranks need of runs of rows laid one after another.

    Rank r needs ``[begins[r], ends[r])`` of them. Both arrays are non-decreasing, except that the
    end of an empty interval is its begin.
    """

    segments: tuple[Segment, ...]
    begins: Integers
    ends: Integers

    def parts(self, rank: int) -> list[Segment]:
        """Return the parts of the segments that a rank needs; never none."""
        begin, end = int(self.begins[rank]), int(self.ends[rank])
        parts = []
        for first, segment in self._placed():
            low, high = overlap(first, first + segment.length, begin, end)
            if high > low:
                parts.append(segment.part(low - first, high - first))
        return parts or [self.segments[0].part(0, 0)]

    def requests_of(self, source: int, begin: int, end: int) -> Iterator[tuple[int, Segment]]:
        """Yield the ranks that need rows ``[begin, end)`` of a source, with the rows they need."""
        reached = np.maximum.accumulate(self.ends)
        for first, segment in self._placed():
            if segment.source != source or segment.length == 0:
                continue
            low, high = _places(segment, begin, end)
            low, high = first + low, first + high
            if low >= high:
                continue
            last = int(np.searchsorted(self.begins, high, side="left"))
            for rank in range(int(np.searchsorted(reached, low, side="right")), last):
                a, b = overlap(low, high, int(self.begins[rank]), int(self.ends[rank]))
                if a < b:
                    yield rank, segment.part(a - first, b - first)

    def is_local(self, layouts: Sequence[Layout]) -> bool:
        """Return whether every rank holds all rows that it needs."""
        for first, segment in self._placed():
            division = layouts[segment.source].division
            assert division is not None
            low = np.maximum(self.begins, first) - first
            high = np.minimum(self.ends, first + segment.length) - first
            needs = high > low
            if segment.step == 0:
                begin, end = segment.start + 0 * low, segment.start + 1 + 0 * low
            elif segment.step > 0:
                begin, end = segment.start + low, segment.start + high
            else:
                begin, end = segment.start - high + 1, segment.start - low + 1
            held = (begin >= division.offsets[:-1]) & (end <= division.offsets[1:])
            if not bool((held | ~needs).all()):
                return False
        return True

    def _placed(self) -> Iterator[tuple[int, Segment]]:
        """Yield the segments, each with its place among the rows."""
        first = 0
        for segment in self.segments:
            yield first, segment
            first += segment.length


def divided_rows(segments: tuple[Segment, ...], division: Division) -> Request:
    """Return the request of ranks that are to hold the rows of the segments by a division."""
    return Request(segments, division.offsets[:-1], division.offsets[1:])


def _places(segment: Segment, begin: int, end: int) -> tuple[int, int]:
    """Return which places of a run have rows of ``[begin, end)``."""
    start, length, step, _ = segment
    if step == 0:
        return (0, length) if begin <= start < end else (0, 0)
    if step > 0:
        return overlap(0, length, begin - start, end - start)
    return overlap(0, length, start - end + 1, start - begin + 1)


class _Rows(NamedTuple):
    """Rows of this rank's shard of a source, along the axis of the exchange."""

    source: int
    begin: int
    length: int


class _Piece(NamedTuple):
    """What one rank holds of a requested interval."""

    number: int | None  # in the message received; None: this rank's own
    shape: Shape


@dataclass(frozen=True, slots=True)
class Fetch:
    """The part of this rank in an exchange of intervals: made by `plan_fetch`."""

    axis: int
    own: tuple[_Rows, ...]  # of each interval requested here, what this rank holds
    comm: Communicator | None = None  # None: every rank holds all that it requests
    sent: tuple[_Rows, ...] = ()  # in the order of the ranks
    sends: Parts = ()
    receives: Parts = ()
    sizes: Shape = ()  # of the pieces received, in elements
    order: tuple[tuple[_Piece, ...], ...] = ()  # of each interval requested here


def plan_fetch(layouts: Sequence[Layout], requests: Sequence[Request]) -> Fetch:
    """Plan to bring every rank the rows that it requests, from metadata alone.

    Parameters
    ----------
    layouts : sequence of Layout
        Of the sources; all are split along the axis of the rows, with any counts.
    requests : sequence of Request
        One after the other; each gives at least one interval, if only an empty one.
    """
    comm, axis = layouts[0].comm, layouts[0].split
    assert axis is not None
    wanted = [part for request in requests for part in request.parts(comm.rank)]
    intervals = [(part.source, *part.rows()) for part in wanted]
    own = tuple(_held(layouts[k], k, low, low + n) for k, low, n in intervals)
    if comm.size == 1 or all(request.is_local(layouts) for request in requests):
        return Fetch(axis, own)
    sent, sends = _sends(layouts, axis, requests)
    received = _receives(layouts, intervals)
    sizes = [_shape(layouts[k], axis, n) for rank, i, k, n in received]
    numbers = [math.prod(shape) for shape in sizes]
    receives: dict[int, int] = {}
    for (rank, *_), n in zip(received, numbers, strict=True):
        receives[rank] = receives.get(rank, 0) + n
    pieces: list[list[tuple[int, _Piece]]] = [[] for _ in intervals]
    for number, ((rank, i, *_), shape) in enumerate(zip(received, sizes, strict=True)):
        pieces[i].append((rank, _Piece(number, shape)))
    for i, rows in enumerate(own):
        if rows.length or not pieces[i]:
            shape = _shape(layouts[rows.source], axis, rows.length)
            pieces[i].append((comm.rank, _Piece(None, shape)))
    if not received:
        # An empty part of the message keeps the result on the tape, as on the other ranks.
        pieces[0].append((comm.size, _Piece(0, _shape(layouts[intervals[0][0]], axis, 0))))
        numbers = [0]
    order = tuple(tuple(piece for _, piece in sorted(some)) for some in pieces)
    return Fetch(axis, own, comm, sent, sends, _nonzero(receives), tuple(numbers), order)


def _sends(
    layouts: Sequence[Layout], axis: int, requests: Sequence[Request]
) -> tuple[tuple[_Rows, ...], Parts]:
    """Return what this rank sends, rank by rank, and how many elements each of them gets."""
    me = layouts[0].comm.rank
    found: dict[int, list[_Rows]] = {}
    for request in requests:
        for k in dict.fromkeys(segment.source for segment in request.segments):
            layout = layouts[k]
            for rank, part in request.requests_of(k, layout.start, layout.end):
                low, n = part.rows()
                if rank != me:
                    found.setdefault(rank, []).append(_Rows(k, low - layout.start, n))
    sends = {
        rank: sum(math.prod(_shape(layouts[r.source], axis, r.length)) for r in found[rank])
        for rank in sorted(found)
    }
    return tuple(rows for rank in sends for rows in found[rank]), _nonzero(sends)


def _receives(
    layouts: Sequence[Layout], intervals: Sequence[tuple[int, int, int]]
) -> list[tuple[int, int, int, int]]:
    """Return what comes from the other ranks, in their order: (rank, interval, source, rows)."""
    found = []
    for i, (k, low, n) in enumerate(intervals):
        division = layouts[k].division
        assert division is not None
        for rank, begin, end in division.overlapping(low, low + n):
            if rank != layouts[k].comm.rank:
                found.append((rank, i, k, end - begin))
    return sorted(found)


def _held(layout: Layout, source: int, begin: int, end: int) -> _Rows:
    """Return which rows of this rank's shard of a source are in ``[begin, end)``."""
    begin, end = overlap(begin, end, layout.start, layout.end)
    return _Rows(source, begin - layout.start, end - begin) if end > begin else _Rows(source, 0, 0)


def _shape(layout: Layout, axis: int, rows: int) -> Shape:
    return resized(layout.shape, axis, rows)


def _nonzero(parts: dict[int, int]) -> Parts:
    return tuple((rank, n) for rank, n in parts.items() if n)


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
        Of each interval requested here its rows.

    Notes
    -----
    Messages: none if every rank holds all rows that it requests, else one exchange: a message
    from each rank to each that requests rows of it.
    """
    axis = plan.axis
    own = [tensors[k].narrow(axis, begin, length) for k, begin, length in plan.own]
    on_tape = any(map(tracked, tensors))
    if plan.comm is None:
        if on_tape:
            # A source that this rank needs no row of may still have come by messages; all ranks
            # or none answer them on the way back.
            needed = {rows.source for rows in plan.own}
            spare = [t.narrow(axis, 0, 0) for k, t in enumerate(tensors) if k not in needed]
            own[0] = join([own[0], *spare], axis)
        return own
    blocks = [tensors[k].narrow(axis, begin, n).reshape(-1) for k, begin, n in plan.sent]
    if on_tape or not blocks:
        # No rows of every source: what is sent is on the tape of every rank or of none.
        blocks = [*(t.narrow(axis, 0, 0).reshape(-1) for t in tensors), *blocks]
    received = exchange_parts(join(blocks, 0), plan.sends, plan.receives, plan.comm)
    parts = parted(received, plan.sizes)
    return [
        join([rows if i is None else parts[i].view(shape) for i, shape in pieces], axis)
        for rows, pieces in zip(own, plan.order, strict=True)
    ]


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
    Messages: one exchange of the rows that change rank, if any do.
    """
    assert result.split is not None
    plan, runs = _plan_arrange(layout, result, segments)
    return _in_order(fetch_intervals([t], plan), result.split, runs)


@cached
def _plan_arrange(
    layout: Layout, result: Layout, segments: tuple[Segment, ...]
) -> tuple[Fetch, tuple[Segment, ...]]:
    """Return what to fetch, and which parts of the segments this rank makes of it."""
    assert result.division is not None
    request = divided_rows(segments, result.division)
    return plan_fetch([layout], [request]), tuple(request.parts(result.comm.rank))


def arrange_locally(t: Tensor, axis: int, segments: Sequence[Segment]) -> Tensor:
    """Return the rows of a tensor that `segments` name, in their order."""
    return _in_order([t.narrow(axis, *segment.rows()) for segment in segments], axis, segments)


def _in_order(rows: Sequence[Tensor], axis: int, segments: Sequence[Segment]) -> Tensor:
    """Return the rows of each segment, which are in upward order, in the segment's own order."""
    pieces = []
    for piece, (_, length, step, _) in zip(rows, segments, strict=True):
        if step < 0 and length:
            piece = on_bits(torch.flip, piece, dims=(axis,))
        elif step == 0 and length:
            piece = piece.expand(resized(piece.shape, axis, length))
        pieces.append(piece)
    return join(pieces, axis)


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


def _by_owner(index: Tensor, layout: Layout) -> tuple[Tensor, Division]:
    """Return the permutation that sorts global indices by owner, and how many each rank owns."""
    owner = owners(index.contiguous(), layout)
    size = layout.comm.size
    usual = Division.balanced(len(owner), size)
    counts = division_of(torch.bincount(owner, minlength=size), usual, SPREAD)
    return torch.argsort(owner, stable=True), counts


def owners(index: Tensor, layout: Layout) -> Tensor:
    """Return the rank that holds each of these indices of the split axis."""
    assert layout.division is not None
    ends = torch.from_numpy(layout.division.offsets[1:].copy()).to(index.device)
    return torch.searchsorted(ends, index, right=True)


def _exchange_counts(counts: Division, layout: Layout) -> Division:
    each = Division.balanced(layout.comm.size, layout.comm.size)
    lengths = torch.from_numpy(counts.lengths)
    received = exchange(lengths, each, each, layout.comm)
    return division_of(received, counts, "as many rows come from each rank as go to it")


def _to_owners(rows: Tensor, sent: Division, received: Division, layout: Layout) -> Tensor:
    """Send rows sorted by owner; return those that arrive here, in rank order."""
    width = math.prod(rows.shape[1:])
    sends, receives = (Division(n.offsets * width) for n in (sent, received))
    arrived = exchange(rows.reshape(-1), sends, receives, layout.comm)
    return arrived.view(received.total, *rows.shape[1:])


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
