"""Sorting along the split axis: exact splitters, one all-to-all of the data, a local merge.

Every rank sorts its shard. A search then finds where to cut each sorted run so that rank r
receives exactly the elements that its shard of the result holds: each round counts, by one
small allreduce, how many elements of all ranks lie below some hundred probes, and narrows
the interval of keys of every splitter that many times. The first probes are samples of the
runs, the others divide the interval evenly. Ties are cut by rank, hence by global index.
(A sample sort refined as in the histogram sort of Kale and Krishnan, ICPP 1993.)

So no distribution of values, however skewed or full of duplicates, gives a rank more than
its share; each element is sent once, to the rank where it belongs; and the result has exactly
the layout of the operand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._comm.assumptions import assumed, numbers, truth
from .._comm.communicator import Communicator
from .._comm.division import Division
from .._core.collectives import all_to_all, exchange, exscan, gather, preduce
from .._core.dtypes import COMPLEX, REAL_FLOATING
from .._core.layout import Layout
from .._core.redistribute import move
from .local import (
    NO_ZERO,
    Keys,
    argsort_keys,
    argsort_last,
    count_at_most,
    from_raw_keys,
    has_negative_zero,
    is_nan_key,
    merge_keys,
    order_keys,
    raw_keys,
    sort_keys,
    sort_last,
    sort_with_order,
    take_last,
)

Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Biased = np.ndarray[Any, np.dtype[np.uint64]]
Window = tuple[int, Tensor, int, int]
LOWEST = -(1 << 63)
PROBES = 4096
"""Probes of one round, all splitters together: a message of 32 KiB."""


SAMPLES = 4 * PROBES
"""Probes of the first round, if they are drawn from the data."""


# ---------------------------------------------------------------------- splitters


class _Search:
    """The search for several splitters at once, in one component of the keys.

    Each splitter has a window ``(number, run, begin, end)``: it lies in ``run[begin:end]``,
    and `target` elements of the windows of all ranks belong before it. Splitters share a
    window if its number is the same, on every rank alike. On return of `run`, the key that
    a splitter falls on is `high`: `below` elements of this rank's window have smaller
    keys, `upto` have keys up to it, `before` elements of all ranks have smaller ones.
    `clean` splitters need no tie-breaking: exactly the elements up to `high` belong before.
    """

    def __init__(self, windows: Sequence[Window], target: Ints, comm: Communicator) -> None:
        self.windows = windows
        self.target = target
        self.comm = comm
        # Unsigned, so that the difference of two keys does not overflow.
        self.low = np.zeros(target.shape, dtype=np.uint64)
        self.high = ~self.low
        self.below = np.zeros_like(target)
        self.before = np.zeros_like(target)
        self.upto = np.array([e - b for _, _, b, e in windows], dtype=np.int64)
        self.clean = np.zeros(target.shape, dtype=bool)
        number = min(SAMPLES // (len(windows) * comm.size), 256)
        if number < 4:
            self._begin_with_extremes()
        else:
            self._begin_with_samples(number)

    def _begin_with_extremes(self) -> None:
        """Start between the least and the greatest key: one allreduce."""
        ends = [
            (~int(run[b]), int(run[e - 1])) if e > b else (LOWEST, LOWEST)
            for _, run, b, e in self.windows
        ]
        bounds = preduce(torch.tensor(ends, dtype=torch.int64), "max", self.comm).numpy()
        self.low = _biased(~bounds[:, 0])
        self.high = _biased(bounds[:, 1])

    def _begin_with_samples(self, number: int) -> None:
        """Start between two neighbouring samples of all ranks: one allgather, one allreduce.

        This finds the splitters of short runs, all of whose keys are among the samples.
        """
        size = self.comm.size
        distinct = {w: run[b:e] for w, run, b, e in self.windows}
        mine = torch.stack([_samples(window, number) for window in distinct.values()])
        layout = Layout.balanced((mine.numel() * size,), 0, self.comm)
        everyone = gather(mine.view(-1), layout).view(size, len(distinct), number + 1).numpy()
        complete: Flags = np.all(everyone[:, :, number] <= number, axis=0)
        keys = np.sort(everyone[:, :, :number].transpose(1, 0, 2).reshape(len(distinct), -1))
        places = {w: row for row, w in enumerate(distinct)}
        rows = [places[window[0]] for window in self.windows]
        probes = _biased(keys)[rows]
        self._probe(np.arange(len(rows)), probes)
        # The samples are all keys, or the least sample is the least key.
        found = complete[rows] | (self.high == probes[:, 0])
        self.low[found] = self.high[found]

    def run(self) -> None:
        """Narrow every interval to one key, or to a gap between the keys that are there."""
        while True:
            active = np.flatnonzero((self.low < self.high) & ~self.clean)
            if not active.size:
                return
            self._narrow(active)

    def _narrow(self, active: Ints) -> None:
        """Divide the intervals of keys evenly, into as many as one message allows."""
        number = min(max(PROBES // active.size, 15), 255)
        low, width = self.low[active], self.high[active] - self.low[active]
        step = width // np.uint64(number + 1) + np.uint64(1)
        offset = step[:, None] * np.arange(1, number + 1, dtype=np.uint64) - np.uint64(1)
        self._probe(active, low[:, None] + np.minimum(offset, width[:, None]))

    def _probe(self, active: Ints, probes: Biased) -> None:
        """Narrow intervals by ascending probes, a row for each: one allreduce of their counts."""
        local, totals = self._counts(active, probes)
        # The first probe with enough elements is the new upper end, the one before it the lower.
        first = (totals < self.target[active, None]).sum(axis=1)
        for i, s in enumerate(active.tolist()):
            j = int(first[i])
            if j < probes.shape[1]:
                self.high[s], self.upto[s] = probes[i, j], local[i, j]
                self.clean[s] = totals[i, j] == self.target[s]
            if j > 0:
                self.low[s] = probes[i, j - 1] + np.uint64(1)
                self.below[s], self.before[s] = local[i, j - 1], totals[i, j - 1]

    def _counts(self, active: Ints, probes: Biased) -> tuple[Ints, Ints]:
        """Return how many elements of this rank and of all are up to each probe."""
        counts = self._count(active, probes)
        return counts.numpy(), preduce(counts, "sum", self.comm).numpy()

    def _count(self, active: Ints, probes: Biased) -> Tensor:
        """Count the elements of this rank's windows up to each probe."""
        keys = _unbiased(probes)
        row = 0
        counts = []
        picked = [self.windows[s] for s in active.tolist()]
        for _, same in groupby(picked, key=lambda window: window[0]):
            members = list(same)
            _, run, begin, end = members[0]
            mine = keys[row : row + len(members)].reshape(-1)
            counts.append(count_at_most(run[begin:end], mine))
            row += len(members)
        return torch.cat(counts).view(probes.shape)


class _EvenSearch(_Search):
    """The search in a dry run, which has no keys: those of each rank are spread evenly.

    The messages are those of random keys of 64 bits, none of which is there twice.
    """

    def __init__(
        self, windows: Sequence[Window], target: Ints, total: int, comm: Communicator
    ) -> None:
        self.total = total
        self.lengths = np.array([e - b for _, _, b, e in windows])
        super().__init__(windows, target, comm)

    def _begin_with_extremes(self) -> None:
        preduce(torch.zeros((len(self.windows), 2), dtype=torch.int64), "max", self.comm)

    def _begin_with_samples(self, number: int) -> None:
        size = self.comm.size
        columns = len({w for w, *_ in self.windows})
        mine = torch.zeros(columns * (number + 1), dtype=torch.int64)
        gather(mine, Layout.of((len(mine) * size,), 0, (len(mine),) * size, self.comm))
        step = np.uint64((1 << 64) // (number * size))
        keys = np.arange(number * size, dtype=np.uint64) * step
        self._probe(np.arange(len(self.windows)), np.tile(keys, (len(self.windows), 1)))
        if self.total <= number * size:  # the samples are all keys
            self.low[:] = self.high

    def _counts(self, active: Ints, probes: Biased) -> tuple[Ints, Ints]:
        preduce(torch.zeros(probes.shape, dtype=torch.int64), "sum", self.comm)
        share = (probes.astype(np.float64) + 1) / 2.0**64
        local = np.floor(share * self.lengths[active, None]).astype(np.int64)
        return local, np.floor(share * self.total).astype(np.int64)


def _samples(window: Tensor, number: int) -> Tensor:
    """Return `number` keys of a sorted window, its ends among them, and its length."""
    n = window.shape[0]
    places = torch.arange(number)
    places = places * (n - 1) // (number - 1) if n > number else places.clamp_(max=max(n - 1, 0))
    if n:
        keys = window[places.to(window.device)].cpu().long()
    else:  # any key serves as a probe; this one costs no further round
        keys = torch.full((number,), torch.iinfo(window.dtype).max)
    return torch.cat([keys, torch.tensor([n])])


def _biased(keys: Ints) -> Biased:
    """Map signed keys to unsigned ones of the same order."""
    return keys.astype(np.uint64) ^ np.uint64(1 << 63)


def _unbiased(keys: Biased) -> Ints:
    return (keys ^ np.uint64(1 << 63)).astype(np.int64)


def find_cuts(
    runs: Sequence[Keys],
    targets: Sequence[int],
    total: int,
    comm: Communicator,
    whole: torch.dtype | None = None,
) -> list[list[int]]:
    """Find where every rank cuts its sorted runs so that given numbers of elements lie before.

    Parameters
    ----------
    runs : sequence of Keys
        The sorted keys of this rank's part of each column; columns are independent.
    targets : sequence of int
        How many elements of each column, of all ranks together, belong before each cut:
        ascending.
    total : int
        How many elements each column has on all ranks together.
    whole : dtype, optional
        Do not separate equal values of this dtype, but cut on the nearer side of them. (Each
        NaN is a value of its own.)

    Returns
    -------
    list of list of int
        For each column the cuts of this rank's run, without 0 and its length.

    Notes
    -----
    Messages, all small: for each key component an allgather of samples (with very many
    splitters an allreduce of the extremes), an allreduce of their counts and, for keys of b
    bits, up to b / 8 more (none for runs of some hundred elements; about three for random
    float64, whose splitters fall into gaps between the keys); one exscan of the ties.
    """
    even = assumed(
        "sorting: the keys are spread evenly, and alike on all ranks; none is there twice"
    )
    column = np.repeat(np.arange(len(runs)), len(targets)).tolist()
    target = np.tile(np.asarray(targets, dtype=np.int64), len(runs))
    end = np.array([runs[c][0].shape[0] for c in column], dtype=np.int64)
    begin = np.where(target >= total, end, 0)
    pending = np.flatnonzero((target > 0) & (target < total))
    found: dict[int, list[int]] = {s: [] for s in pending.tolist()}
    for level in range(len(runs[0]) if runs else 0):
        if not pending.size:
            break
        # In the first component the splitters of a column share one window: its whole run.
        windows = [
            (s if level else column[s], runs[column[s]][level], int(begin[s]), int(end[s]))
            for s in pending.tolist()
        ]
        search = (
            _EvenSearch(windows, target[pending], total, comm)
            if even
            else _Search(windows, target[pending], comm)
        )
        search.run()
        end[pending] = begin[pending] + search.upto
        begin[pending] += np.where(search.clean, search.upto, search.below)
        target[pending] -= search.before
        for s, key in zip(pending.tolist(), _unbiased(search.high).tolist(), strict=True):
            found[s].append(key)
        pending = pending[~search.clean & (not even)]
    if pending.size:
        exact = [whole is None or is_nan_key(tuple(found[s]), whole) for s in pending.tolist()]
        begin[pending] += _share_of_ties((end - begin)[pending], target[pending], exact, comm)
    return [list(map(int, row)) for row in begin.reshape(len(runs), len(targets))]


def _share_of_ties(ties: Ints, target: Ints, exact: Sequence[bool], comm: Communicator) -> Ints:
    """Return how many of this rank's ties of each splitter belong before it.

    `target` ties of all ranks do, those of the first ranks first; if the cut is not `exact`, all
    ties or none.
    """
    local = torch.from_numpy(np.ascontiguousarray(ties))
    earlier = exscan(local, "sum", comm).numpy()
    share: Ints = np.clip(target - earlier, 0, ties)
    if not all(exact):
        everyone = preduce(local, "sum", comm).numpy()
        share = np.where(exact, share, np.where(2 * target >= everyone, ties, 0))
    return share


# ---------------------------------------------------------------------- exchange


class Route:
    """Where the parts of this rank's runs are sent, and what it receives, for several columns.

    Parameters
    ----------
    cuts : sequence of sequence of int
        Where this rank cuts the run of each column: from 0 to its length, one more than
        there are ranks.

    expected : int
        How many elements of each column this rank receives from all ranks, if the cuts are exact.

    Notes
    -----
    Messages: one small all-to-all of the counts when it is made.
    """

    def __init__(self, cuts: Sequence[Sequence[int]], expected: int, comm: Communicator) -> None:
        self.comm = comm
        self.columns = len(cuts)
        self.sends = [[c[r + 1] - c[r] for c in cuts] for r in range(comm.size)]
        each = [self.columns] * comm.size
        flat = torch.tensor(self.sends, dtype=torch.int64).view(-1)
        received = exchange(flat, each, each, comm)
        usual = [n for n in Division.balanced(expected, comm.size).counts for _ in cuts]
        came = numbers(received, usual, "")
        self.receives = [came[i : i + len(cuts)] for i in range(0, len(came), len(cuts))]

    def forward(self, runs: Sequence[Tensor]) -> list[Tensor]:
        """Send the parts of each column, return the received ones by rank: one all-to-all."""
        if self.columns == 1:
            return [self._one(runs[0], self.sends, self.receives)]
        pieces = [
            torch.split(run, [count[c] for count in self.sends]) for c, run in enumerate(runs)
        ]
        blocks = [torch.cat([column[r] for column in pieces]) for r in range(self.comm.size)]
        came = all_to_all(blocks, [(sum(counts),) for counts in self.receives], self.comm)
        parts = [
            torch.split(block, counts) for block, counts in zip(came, self.receives, strict=True)
        ]
        return [torch.cat([part[c] for part in parts]) for c in range(self.columns)]

    def back(self, run: Tensor) -> Tensor:
        """Send answers, in the order in which `forward` received the queries: one all-to-all."""
        return self._one(run, self.receives, self.sends)

    def _one(self, run: Tensor, out: list[list[int]], into: list[list[int]]) -> Tensor:
        return exchange(run, [c[0] for c in out], [c[0] for c in into], self.comm)


def _route(runs: Sequence[Keys], layout: Layout) -> Route:
    """Return the route to the exact layout of the operand, split along `layout.split`."""
    assert layout.split is not None
    total = layout.shape[layout.split]
    cuts = find_cuts(runs, layout.offsets[1:-1], total, layout.comm)
    return Route([[0, *c, layout.count] for c in cuts], layout.count, layout.comm)


# ---------------------------------------------------------------------- sorting


def sort_split(t: Tensor, layout: Layout, descending: bool) -> Tensor:
    """Return this rank's shard of the array `t` (split by `layout`) sorted along the split axis."""
    return _along_split(t, layout, lambda rows: sort_last(rows, descending), _sort_rows, descending)


def argsort_split(t: Tensor, layout: Layout, descending: bool) -> Tensor:
    """Return this rank's shard of the stable order, as int64, along the split axis."""
    return _along_split(
        t, layout, lambda rows: argsort_last(rows, descending), _argsort_rows, descending
    )


def _along_split(
    t: Tensor,
    layout: Layout,
    local: Callable[[Tensor], Tensor],
    distributed: Callable[[list[Tensor], Layout, bool], list[Tensor]],
    descending: bool,
) -> Tensor:
    """Sort rows along the split axis: whole rows per rank if there are enough, else together."""
    assert layout.split is not None
    rows = t.movedim(layout.split, -1)
    shape = rows.shape
    rows = rows.reshape(layout.size // max(layout.shape[layout.split], 1), layout.count)
    if not layout.nonempty:
        result = local(rows)
    elif rows.shape[0] >= layout.comm.size:
        result = _by_whole_rows(rows, layout, local)
    else:
        parts = distributed(list(rows.contiguous().unbind(0)), layout, descending)
        result = torch.stack(parts) if len(parts) > 1 else parts[0]
    return result.view(shape).movedim(-1, layout.split)


def _by_whole_rows(rows: Tensor, layout: Layout, local: Callable[[Tensor], Tensor]) -> Tensor:
    """Send whole rows to the ranks, apply `local`, send the parts back: two all-to-alls."""
    split = layout.split
    assert split is not None
    cut = Layout.of((rows.shape[0], layout.shape[split]), 1, layout.division, layout.comm)
    whole = cut.split_along(0)
    return move(local(move(rows, cut, whole)), whole, cut)


def _sort_rows(rows: list[Tensor], layout: Layout, descending: bool) -> list[Tensor]:
    """Sort each row over all ranks."""
    dtype = rows[0].dtype
    if not _keys_determine_values(rows, layout.comm):
        return _sort_rows_by_order(rows, layout, descending)
    keys = [raw_keys(row) for row in rows]
    runs = [sort_keys(~k if descending else k) for k in keys]
    del keys
    came = _route([(run,) for run in runs], layout).forward(runs)
    del runs
    merged = [merge_keys(k) for k in came]
    return [from_raw_keys(~k if descending else k, dtype) for k in merged]


def _keys_determine_values(rows: list[Tensor], comm: Communicator) -> bool:
    """Return whether to send keys instead of values, since equal values have equal bits.

    They have if no rank holds a -0.0. Values that a gradient depends on are sent themselves.
    """
    dtype = rows[0].dtype
    if dtype in COMPLEX.all or rows[0].requires_grad:
        return False
    if dtype not in REAL_FLOATING.all:
        return True
    found = any(has_negative_zero(row) for row in rows)
    anywhere = preduce(torch.tensor([int(found)]), "max", comm)
    return not truth(anywhere, False, NO_ZERO)


def _sort_rows_by_order(rows: list[Tensor], layout: Layout, descending: bool) -> list[Tensor]:
    """Sort rows whose values cannot be restored from their keys: the values are sent."""
    runs, values = [], []
    for row in rows:
        keys, order = sort_with_order(order_keys(row, descending))
        runs.append(keys)
        values.append(take_last(row, order))
    came = _route(runs, layout).forward(values)
    del runs, values
    return [take_last(v, argsort_keys(order_keys(v, descending), runs=True)) for v in came]


def _argsort_rows(rows: list[Tensor], layout: Layout, descending: bool) -> list[Tensor]:
    """Argsort each row over all ranks: one all-to-all each of the keys and of the indices."""
    assert layout.division is not None
    longest = int(layout.division.lengths.max())
    index_dtype = torch.int32 if longest < 1 << 31 else torch.int64
    runs, orders = [], []
    for row in rows:
        keys, order = sort_with_order(order_keys(row, descending))
        runs.append(keys)
        orders.append(order.to(index_dtype))
    route = _route(runs, layout)
    came = [route.forward([keys[level] for keys in runs]) for level in range(len(runs[0]))]
    del runs
    indices = route.forward(orders)
    starts = torch.from_numpy(layout.division.offsets[:-1].copy())
    result = []
    for c, index in enumerate(indices):
        order = argsort_keys(tuple(component[c] for component in came), runs=True)
        counts = torch.tensor([count[c] for count in route.receives])
        origin = torch.repeat_interleave(starts, counts, output_size=len(index)).to(index.device)
        result.append(take_last(origin.add_(index), order))
    return result
