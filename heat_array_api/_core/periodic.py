"""Exchanges between intervals of a long axis and columns of its rows: for reshapes and long FFTs.

An axis of ``rows * length`` elements, thought of as a matrix in C order, may be divided in two
ways: *whole*, where each rank holds an interval of the axis, or *cut*, where it holds some columns
of each row. `exchange_periodic` goes from one to the other by one all-to-all. What an interval has
in common with the columns of a rank is a strip of the matrix, so that all neighbours with equally
many columns are copied at once, whatever the number of ranks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._caching import cached
from .._comm.communicator import Communicator
from .._comm.division import Division, Integers
from .layout import Layout
from .redistribute import move
from .tape import linear, tracked


@dataclass(frozen=True, slots=True)
class Periodic:
    """The elements of an axis that each rank holds: the same columns of each of its rows.

    Attributes
    ----------
    rows : int
        The number of rows; 1 if each rank holds an interval of the axis.
    columns : Division
        Of each row, over the ranks.
    """

    rows: int
    columns: Division

    @property
    def total(self) -> int:
        """The length of the axis."""
        return self.rows * self.columns.total

    def count(self, rank: int) -> int:
        """Return how many elements a rank holds."""
        return self.rows * self.columns[rank]

    def before(self, positions: Integers | int, ranks: slice) -> Integers:
        """Return how many elements some ranks hold before positions on the axis."""
        low, high = self.columns.offsets[:-1][ranks], self.columns.offsets[1:][ranks]
        row, rest = np.divmod(positions, max(self.columns.total, 1))
        held: Integers = row * (high - low) + np.clip(rest - low, 0, high - low)
        return held


def exchange_periodic(t: Tensor, source: Periodic, target: Periodic, comm: Communicator) -> Tensor:
    """Exchange parts of axis 1 of `t`, S to S: one all-to-all, or one exchange of neighbours.

    Parameters
    ----------
    t : Tensor, shape (m, n, ...)
        This rank's elements under `source`.
    source, target : Periodic
        One of them has a single row. That one may be shorter than the other: elements beyond it are
        not sent, and come as zeros.
    comm : Communicator

    Returns
    -------
    Tensor, shape (m, k, ...)
        This rank's elements under `target`.
    """
    if source.rows == target.rows == 1 and source.total == target.total:
        shape = (t.shape[0], source.total, *t.shape[2:])
        layouts = (Layout.of(shape, 1, p.columns, comm) for p in (source, target))
        return move(t, *layouts)
    if tracked(t):
        return linear(t, _exchange, _exchange_back, source, target, comm)
    return _exchange(t, source, target, comm)


def _exchange_back(g: Tensor, source: Periodic, target: Periodic, comm: Communicator) -> Tensor:
    return exchange_periodic(g, target, source, comm)


def _from_intervals(source: Periodic, target: Periodic) -> bool:
    """Return whether the intervals are those of the source; of two single rows, the shorter."""
    return source.rows == 1 and (target.rows > 1 or source.total <= target.total)


class _Strip(NamedTuple):
    """The elements of an interval that neighbouring ranks hold, equally many columns each."""

    first: int  # the place of the first element in the interval
    ranks: int
    rows: int
    columns: int  # of each rank


class _Plan(NamedTuple):
    sends: Division
    receives: Division
    strips: tuple[_Strip, ...]


@cached
def _plan(source: Periodic, target: Periodic, comm: Communicator) -> _Plan:
    me, everyone = comm.rank, slice(None)
    packs = _from_intervals(source, target)
    whole, cut = (source, target) if packs else (target, source)
    begin, end = whole.columns.interval(me)
    # What this rank's interval has in common with the columns of each rank, and the other way.
    from_interval = Division.of(cut.before(end, everyone) - cut.before(begin, everyone))
    bounds = whole.columns.offsets
    from_columns = Division(cut.before(bounds, slice(me, me + 1)))
    strips = tuple(_strips(begin, end, cut.columns))
    if packs:
        return _Plan(from_interval, from_columns, strips)
    return _Plan(from_columns, from_interval, strips)


def _strips(begin: int, end: int, columns: Division) -> Iterator[_Strip]:
    """Yield the strips of ``[begin, end)``, rank by rank, and within a rank row by row."""
    length = columns.total
    if begin == end:
        return
    (top, left), (bottom, right) = divmod(begin, length), divmod(end - 1, length)
    right += 1
    rank, low = 0, 0
    for width, neighbours in columns.runs():
        if not width:
            rank += neighbours
            continue
        last = rank + neighbours
        while rank < last:
            # Up to where the interval begins or ends, all ranks have the same rows.
            stops = [(at - low) // width for at in (left, right) if at > low]
            same = min([last - rank, *stops])
            ranks = max(same, 1)
            if same:
                first = top + (low < left)
                rows = bottom + (low < right) - first
                yield _Strip(first * length + low - begin, ranks, rows, width)
            else:
                yield from _rows_of(low, low + width, (top, left), (bottom, right), length)
            rank, low = rank + ranks, low + ranks * width


def _rows_of(
    low: int, high: int, start: tuple[int, int], stop: tuple[int, int], length: int
) -> Iterator[_Strip]:
    """Yield the strips of one rank, within whose columns the interval begins or ends."""
    (top, left), (bottom, right) = start, stop
    begin = top * length + left
    if top == bottom:
        yield _one_row(top, max(low, left), min(high, right), length, begin)
        return
    yield _one_row(top, max(low, left), high, length, begin)
    yield _Strip((top + 1) * length + low - begin, 1, bottom - top - 1, high - low)
    yield _one_row(bottom, low, min(high, right), length, begin)


def _one_row(row: int, low: int, high: int, length: int, begin: int) -> _Strip:
    return _Strip(row * length + low - begin, 1, 1, max(high - low, 0))


def _exchange(t: Tensor, source: Periodic, target: Periodic, comm: Communicator) -> Tensor:
    plan = _plan(source, target, comm)
    # The elements in front: so blocks of any lengths lie one after the other.
    elements = t.detach().movedim(1, 0)
    shape = elements.shape[1:]
    width = math.prod(shape)
    sends, receives = plan.sends, plan.receives
    if width != 1:
        sends, receives = Division(sends.offsets * width), Division(receives.offsets * width)
    if _from_intervals(source, target):
        flat = t.new_empty(sends.total)
        _copy(plan.strips, target.columns.total, elements, flat, pack=True)
        received = comm.alltoallv(flat, sends, receives).view(-1, *shape)
        missing = target.count(comm.rank) - plan.receives.total
        if missing:
            received = torch.cat([received, received.new_zeros((missing, *shape))])
        return received.movedim(0, 1).contiguous()
    flat = elements[: plan.sends.total].reshape(-1)
    received = comm.alltoallv(flat, sends, receives)
    result = t.new_empty((plan.receives.total, *shape))
    _copy(plan.strips, source.columns.total, result, received, pack=False)
    return result.movedim(0, 1).contiguous()


def _copy(
    strips: tuple[_Strip, ...], length: int, elements: Tensor, flat: Tensor, *, pack: bool
) -> None:
    """Copy the strips of an interval to blocks one after the other, or back."""
    shape = elements.shape[1:]
    begin, width = 0, math.prod(shape)
    for first, ranks, rows, columns in strips:
        n = ranks * rows * columns
        if not n:
            continue
        block = flat[begin * width : (begin + n) * width].view(ranks, rows, columns, *shape)
        # Not `unfold`: written to in a compiled function, it sets what is not in the view to 0.
        step, *others = elements.stride()
        parts = elements.as_strided(
            (ranks, rows, columns, *shape),
            (columns * step, length * step, step, *others),
            elements.storage_offset() + first * step,
        )
        if pack:
            block.copy_(parts)
        else:
            parts.copy_(block)
        begin += n
