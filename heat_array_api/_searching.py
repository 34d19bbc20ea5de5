"""Searching functions, the standard's chapter of that name, and NumPy's `bincount`.

Reductions over the split axis leave a replicated result, unless it would be bigger than one
rank's share of the operand: the operand is then split along a kept axis first
(`_core.lift.plan_reduction`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from ._comm.assumptions import assumed, division_of, numbers
from ._comm.division import Division
from ._comm.recording import breaks, may_break
from ._comm.trace import note
from ._core.arguments import as_choice, as_int, check_size
from ._core.array import Array, check_array, common_communicator
from ._core.collectives import (
    divided,
    exchange,
    gather,
    preduce,
    reduce_scatter,
    ring_shift,
    shard,
)
from ._core.docstrings import filled_in
from ._core.dtypes import (
    ANY,
    BOOL,
    INTEGER,
    INTEGER_OR_BOOL,
    ORDERED,
    carrier,
    limits,
    on_bits,
    promote,
)
from ._core.layout import Axis, Layout
from ._core.lift import Scalar, align, as_operands, cast, plan_reduction, reduction
from ._core.operators import namespace
from ._core.redistribute import move, redistribute
from ._errors import shown
from ._sorting.local import flat_nonzero, integers_as, order_keys, searchsorted_local

__all__ = ["argmax", "argmin", "bincount", "count_nonzero", "nonzero", "searchsorted", "where"]

NOWHERE = torch.iinfo(torch.int64).max
"""The index that a rank without the extremum contributes: it loses the minimum over the ranks."""

_EXTREMUM: Final = """Parameters
----------
x : Array
    Real or boolean; any layout.
axis : int, optional
    The axis to search along; by default the array counts as flattened (row-major).
{keepdims}

Returns
-------
Array
    int64. Split as `x` if the split axis is kept: sends nothing. Otherwise replicated, by two
    allreduces of the result (values, then indices); if that would be more than one rank's share
    of `x`, one all-to-all splits `x` along its longest kept axis first, and the result is split.

Raises
------
IndexError
    If `axis` is out of range.
ValueError
    If there are no elements to choose from."""


# ---------------------------------------------------------------------- extremes


@filled_in(rest=_EXTREMUM)
def argmax(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """Return the index of the first maximum along an axis; the first NaN counts as the maximum.

    {rest}

    Examples
    --------
    >>> print(xp.argmax(xp.asarray([[1, 5, 2], [7, 0, 7]], split=0), axis=1))
    [1 0]
    """
    return arg_extreme("argmax", "max", x, axis, keepdims)


@filled_in(rest=_EXTREMUM)
def argmin(x: Array, /, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """Return the index of the first minimum along an axis; the first NaN counts as the minimum.

    {rest}

    Examples
    --------
    >>> print(xp.argmin(xp.asarray([3, 1, 2, 1], split=0)))
    1
    """
    return arg_extreme("argmin", "min", x, axis, keepdims)


@dataclass(frozen=True, slots=True)
class _Extreme:
    """`argmax` or `argmin`: how to find it in a shard, and how the ranks' extremes combine."""

    along: Callable[..., Any]  # the extremes along an axis, and where they are
    flat: Callable[[Tensor], Tensor]
    numpy: Callable[[Any], Any]
    loser: int  # of `limits`: any other value, or index, wins


_EXTREMES = {
    "max": _Extreme(torch.max, torch.argmax, np.argmax, 0),
    "min": _Extreme(torch.min, torch.argmin, np.argmin, 1),
}


def arg_extreme(func: str, combine: str, x: Array, axis: int | None, keepdims: bool) -> Array:
    """Return where the extremum is, of which `combine` is "max" or "min"; errors name `func`."""
    kind = _EXTREMES[combine]
    check_array(func, "x", x, ORDERED)
    plan = plan_reduction(func, x._layout, axis, keepdims)
    if len(plan.axes) != 1 and axis is not None:
        raise TypeError(f"{func}: axis is {shown(axis)}; expected an int or None")
    dim = None if axis is None else plan.axes[0]
    if any(x.shape[a] == 0 for a in plan.axes):
        raise ValueError(f"{func}: no elements to reduce: shape {x.shape}, axis {axis}")
    source = plan.source
    t = _comparable(move(x._local.detach(), x._layout, source))
    shape = plan.result.local_shape
    if not plan.combines:
        index = _flat_arg(t, kind) if dim is None else _local_arg(t, kind, dim)[1]
        return Array(index.view(shape), plan.result)
    if source.count == 0:
        # Its index is out of range, so that it loses ties as well.
        value = t.new_full(shape, limits(t.dtype)[kind.loser])
        index = torch.full(shape, NOWHERE, dtype=torch.int64, device=t.device)
    else:
        value, index = (part.view(shape) for part in _local_arg(t, kind, dim))
        index = _global_index(index, source, dim)
    best = preduce(value, combine, source.comm)
    wins = (value == best) | (value != value)
    index = torch.where(wins, index, NOWHERE)
    return Array(preduce(index, "min", source.comm), plan.result)


def _comparable(t: Tensor) -> Tensor:
    """Return a tensor of the same order, of a dtype that torch's kernels take."""
    if t.dtype is torch.bool:
        return t.view(torch.uint8)
    return t if t.dtype is torch.uint8 or t.dtype not in INTEGER.all else order_keys(t)[0]


def _local_arg(t: Tensor, kind: _Extreme, axis: int | None) -> tuple[Tensor, Tensor]:
    """Return the extreme along `axis` and its first index (NaN wins)."""
    if axis is not None:
        values, index = kind.along(t, dim=axis)  # the first of equal values, and of NaNs
        return values, index
    index = _flat_arg(t, kind)
    return t.reshape(-1).index_select(0, index.view(1)), index


def _flat_arg(t: Tensor, kind: _Extreme) -> Tensor:
    """Return the first index of the extreme of the flattened tensor, 0-d."""
    if t.device.type == "cpu" and not assumed() and t.numel() > 10_000 and t.dtype.itemsize != 2:
        # NumPy's kernel is vectorised: 2 to 40 times faster.
        return torch.tensor(kind.numpy(t.numpy()))
    return kind.flat(t)


def _global_index(index: Tensor, layout: Layout, axis: int | None) -> Tensor:
    """Turn indices into this rank's shard into indices into the whole array."""
    if axis is not None:
        return index + layout.start
    assert layout.split is not None
    inner = int(np.prod(layout.shape[layout.split + 1 :], dtype=np.int64))
    local, whole = layout.count * inner, layout.shape[layout.split] * inner
    return index // local * whole + layout.start * inner + index % local


# ---------------------------------------------------------------------- nonzero


def _count(t: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    if not axes:
        return (carrier(t) != 0).long()
    counts = torch.count_nonzero(carrier(t), dim=axes)
    if keepdims:
        counts = counts.view([1 if a in axes else n for a, n in enumerate(t.shape)])
    return counts


@filled_in(x="Any layout and dtype.", result="int64.")
def count_nonzero(x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Count the elements that are not zero over axes; NaN is not zero.

    {reduction}

    Examples
    --------
    >>> print(xp.count_nonzero(xp.asarray([3, 0, 2, 0], split=0)))
    2
    """
    check_array("count_nonzero", "x", x, ANY)
    return reduction("count_nonzero", _count, x, axis, keepdims, combine="sum")


@breaks
def nonzero(x: Array, /) -> tuple[Array, ...]:
    """Return the indices of the elements that are not zero, in row-major order.

    Parameters
    ----------
    x : Array
        Any layout and dtype, not 0-d.

    Returns
    -------
    tuple of Array
        For each axis of `x` the indices along it, int64, with one axis. Replicated if `x` is, and
        nothing is sent. Otherwise split along axis 0: each rank holds the indices of its rows, and
        one allgather of an integer from each rank gives the counts; if `x` is not split along its
        first axis, one all-to-all of `x` first does that.

    Raises
    ------
    ValueError
        If `x` is 0-d.

    Examples
    --------
    >>> rows, columns = xp.nonzero(xp.asarray([[0, 1], [2, 0]], split=0))
    >>> print(rows, columns)
    [0 1] [1 0]
    """
    check_array("nonzero", "x", x, ANY)
    if x.ndim == 0:
        raise ValueError("nonzero: x is 0-d; expected an array of one axis or more")
    layout = x._layout
    if layout.split is not None and layout.split != 0:
        x = redistribute(x, layout.split_along(0))
        layout = x._layout
    if x.ndim == 1:
        local: tuple[Tensor, ...] = (flat_nonzero(x._local),)
    else:
        local = torch.nonzero(carrier(x._local), as_tuple=True)
    if layout.split is None:
        found = Layout.replicated((local[0].shape[0],), layout.comm)
        return tuple(Array(index, found) for index in local)
    rows = divided(local[0].shape[0], layout.comm)
    found = Layout.of((rows.total,), 0, rows, layout.comm)
    first = local[0] + layout.start
    return tuple(Array(index, found) for index in (first, *local[1:]))


def where(
    condition: Array, x1: Array | Scalar | None = None, x2: Array | Scalar | None = None, /
) -> Any:
    """Choose between two arrays, element by element.

    Parameters
    ----------
    condition : Array
        Boolean; any layout.
    x1, x2 : Array or scalar, optional
        The elements to take where `condition` is True, and where it is False. Their dtypes are
        promoted, and all three arrays broadcast. Without both: ``nonzero(condition)``, as in NumPy.

    Returns
    -------
    Array
        Of the promoted dtype, with the layout of the largest operand (in bytes). Sends nothing if
        the split operands have one layout; otherwise one all-to-all for each of the others.

    Raises
    ------
    TypeError
        If `condition` is not boolean, or only one of `x1` and `x2` is given.
    ValueError
        If the shapes do not broadcast together.

    Examples
    --------
    >>> x = xp.arange(5, split=0)
    >>> print(xp.where(x > 2, x, -1))
    [-1 -1 -1  3  4]
    """
    if type(condition) is Array and type(x1) is Array and type(x2) is Array:
        c, t1, t2 = condition._local, x1._local, x2._local
        layout = condition._layout
        same = x1._layout is layout and x2._layout is layout and t1.dtype is t2.dtype
        if same and c.dtype is torch.bool and t1.dtype in ANY.direct:
            return Array(torch.where(c, t1, t2), layout)
    check_array("where", "condition", condition, BOOL)
    if x1 is None and x2 is None:
        return nonzero(condition)
    if x1 is None or x2 is None:
        raise TypeError("where: only one of x1 and x2 is given; expected both or none")
    names = ("condition", "x1", "x2")
    _, first, second = as_operands("where", condition, x1, x2, names=names)
    dtype = promote(first._local.dtype, second._local.dtype)
    (c, t1, t2), layout = align("where", condition, first, second)
    chosen = on_bits(lambda a, b: torch.where(c, a, b), cast(t1, dtype), cast(t2, dtype))
    return Array(chosen, layout)


# ---------------------------------------------------------------------- searchsorted


@may_break
def searchsorted(
    x1: Array,
    x2: Array | Scalar,
    /,
    *,
    side: str = "left",
    sorter: Array | None = None,
) -> Array:
    """Find where the elements of `x2` belong in the sorted `x1`.

    Parameters
    ----------
    x1 : Array
        Of one axis, ascending (NaN last), in any layout.
    x2 : Array or scalar
        Any shape and layout.
    side : {"left", "right"}, optional
        Before or after the elements of `x1` that are equal.
    sorter : Array, optional
        The indices that sort `x1`, if it is not sorted.

    Returns
    -------
    Array
        int64, with the shape and layout of `x2`. Integers of any two dtypes compare exactly.
        Sends nothing if `x1` is replicated; one allreduce of the result if only `x2` is. If both
        are split, one allgather of the smaller one if it is no bigger than one rank's share of the
        other (and one allreduce of the result if that is `x2`).
        Otherwise two all-to-alls send the queries to the ranks that hold their part of `x1`, and
        the answers back; if that would give a rank four times its share of the queries, the shards
        of `x1` are passed round a ring instead.

    Raises
    ------
    TypeError
        If `sorter` does not consist of integers.
    ValueError
        If `x1` has several axes, `sorter` another shape, or `side` is unknown.

    Examples
    --------
    >>> x = xp.asarray([1, 3, 3, 5], split=0)
    >>> print(xp.searchsorted(x, xp.asarray([0, 3, 6]), side="right"))
    [0 3 4]
    """
    as_choice("searchsorted", "side", side, ("left", "right"))
    check_array("searchsorted", "x1", x1, ANY)
    if x1.ndim != 1:
        raise ValueError(f"searchsorted: x1 has shape {x1.shape}; expected one axis")
    if sorter is not None:
        check_array("searchsorted", "sorter", sorter, INTEGER)
        if sorter.shape != x1.shape:
            raise ValueError(
                f"searchsorted: sorter has shape {sorter.shape}, x1 {x1.shape}; expected the same"
            )
        x1 = namespace().take(x1, sorter)
    x1, x2 = as_operands("searchsorted", x1, x2)
    common_communicator("searchsorted", x1, x2)
    queries = _Queries(x1, x2, side)
    return Array(queries.answers().view(x2._local.shape), x2._layout)


class _Queries:
    """The elements of `x2` on this rank, in the dtype in which they are compared with `x1`."""

    def __init__(self, x1: Array, x2: Array, side: str) -> None:
        self.side = side
        self.first, self.second = x1._layout, x2._layout
        self.comm = self.first.comm
        run, values = x1._local, x2._local.reshape(-1)
        self.low = self.high = None
        if run.dtype in INTEGER_OR_BOOL.all and values.dtype in INTEGER_OR_BOOL.all:
            values, self.low, self.high = integers_as(values, run.dtype)
        else:
            dtype = promote(run.dtype, values.dtype)
            run, values = cast(run, dtype), cast(values, dtype)
        self.run, self.values = run, values

    def answers(self) -> Tensor:
        """Return the places of this rank's queries."""
        places = self._places()
        # Queries outside the range of x1's dtype belong before or after all of it.
        if self.low is not None and self.high is not None:
            places = places.masked_fill(self.low, 0).masked_fill(self.high, self.first.shape[0])
        return places

    def _places(self) -> Tensor:
        size = self.comm.size
        if self.first.split is None or size == 1:
            return searchsorted_local(self.run, self.values, self.side)
        if self.second.split is None:
            return preduce(searchsorted_local(self.run, self.values, self.side), "sum", self.comm)
        if self.first.size * size <= self.second.size:
            note("gather of a small x1", self.run.nbytes, size)
            whole = gather(self.run, self.first)
            return searchsorted_local(whole, self.values, self.side)
        if self.second.size * size <= self.first.size:
            flat = self.second.flattened()
            note("gather of a small x2", self.values.nbytes, size)
            queries = gather(self.values, flat)
            places = searchsorted_local(self.run, queries, self.side)
            return shard(preduce(places, "sum", self.comm), flat)
        return self._routed()

    def _routed(self) -> Tensor:
        """Send each query to the rank whose shard of `x1` it falls into, and the answer back."""
        comm, division = self.comm, self.first.division
        assert division is not None
        holds = division.lengths > 0
        owners = torch.from_numpy(np.flatnonzero(holds))
        filled = Layout.of((len(owners),), 0, holds.astype(np.int64), comm)
        last = gather(self.run[-1:].contiguous(), filled)
        owner = searchsorted_local(last, self.values, self.side).clamp_(max=len(owners) - 1)
        rank = owners.to(owner.device)[owner]
        order = torch.argsort(rank, stable=True)
        alike = "searchsorted: the queries are spread evenly over the ranks"
        usual = Division.balanced(len(order), comm.size)
        goes = division_of(torch.bincount(rank, minlength=comm.size), usual, alike)
        each = Division.balanced(comm.size, comm.size)
        receives = exchange(torch.from_numpy(goes.lengths), each, each, comm)
        (load,) = numbers(preduce(receives.sum().view(1), "max", comm), [len(order)], alike)
        if load > 4 * self.second.size // comm.size + 1024:
            return self._round_the_ring()
        values = on_bits(torch.index_select, self.values, dim=0, index=order)
        comes = division_of(receives, usual, alike)
        questions = exchange(values, goes, comes, comm)
        found = searchsorted_local(self.run, questions, self.side) + self.first.start
        answers = exchange(found, comes, goes, comm)
        return torch.empty_like(answers).index_copy_(0, order, answers)

    def _round_the_ring(self) -> Tensor:
        """Pass the shards of `x1` round the ranks, which look their queries up in each of them."""
        comm, run, first = self.comm, self.run.contiguous(), self.first
        places = searchsorted_local(run, self.values, self.side)
        for step in range(1, comm.size):
            origin = (comm.rank - step) % comm.size
            run = ring_shift(run, first.shape_of(origin), comm)
            places += searchsorted_local(run, self.values, self.side)
        return places


# ---------------------------------------------------------------------- bincount


@breaks
def bincount(x: Array, /, weights: Array | None = None, minlength: int = 0) -> Array:
    """Count how often each non-negative integer occurs (NumPy's `bincount`).

    Parameters
    ----------
    x : Array
        Of one axis and of integers or booleans; any layout.
    weights : Array, optional
        Of the shape of `x`: what each element adds instead of 1.
    minlength : int, optional
        The least length of the result.

    Returns
    -------
    Array
        int64, or float64 with `weights`. Sends nothing if `x` is replicated, as is the result.
        Otherwise one allreduce of two integers, and one allreduce of the result, which is
        replicated, or, if it is bigger than one rank's share of `x`, one reduce-scatter, and it is
        split. `weights` of another layout take one all-to-all more.

    Raises
    ------
    ValueError
        If an element is negative (on every rank), `x` has several axes, or `weights` another shape.

    Examples
    --------
    >>> print(xp.bincount(xp.asarray([1, 1, 3, 0], split=0)))
    [1 2 0 1]
    """
    check_array("bincount", "x", x, INTEGER_OR_BOOL)
    if x.ndim != 1:
        raise ValueError(f"bincount: x has shape {x.shape}; expected one axis")
    minlength = as_int("bincount", "minlength", minlength, least=0)
    check_size("bincount", (minlength,))
    layout = x._layout
    added = None
    if weights is not None:
        check_array("bincount", "weights", weights, ORDERED)
        common_communicator("bincount", x, weights)
        if weights.shape != x.shape:
            raise ValueError(
                f"bincount: weights has shape {weights.shape}, x {x.shape}; expected the same"
            )
        added = move(weights._local, weights._layout, layout).to(torch.float64)
    split = layout.split is not None and layout.comm.size > 1
    t = cast(x._local, torch.int64)
    # ~n is -n - 1, which does not overflow.
    rule = "bincount: no element is negative, or as great as minlength"
    nothing = torch.tensor([-1, -1], device=t.device)
    ends = torch.stack([~t.min(), t.max()]) if t.numel() else nothing
    if split:
        ends = preduce(ends, "max", layout.comm)
    negative, most = numbers(ends, [-1, max(minlength, 1) - 1], rule)
    if negative >= 0:
        raise ValueError(f"bincount: x has the negative element {~negative}")
    length = max(most + 1, minlength)
    check_size("bincount", (length,))
    if added is None:
        counts = torch.bincount(t, minlength=length)
    else:
        counts = added.new_zeros(length).index_add(0, t, added)
    if not split:
        return Array(counts, Layout.replicated((length,), layout.comm))
    if length * layout.comm.size <= max(x.size, 1024):
        return Array(preduce(counts, "sum", layout.comm), Layout.replicated((length,), layout.comm))
    found = Layout.balanced((length,), 0, layout.comm)
    assert found.division is not None
    return Array(reduce_scatter(counts, found.division, layout.comm), found)
