"""Set functions, the standard's chapter of that name.

Each rank reduces its shard to its distinct values; these, not the data, are sent. The exact
splitters of `_sorting.samplesort`, which here never separate equal values, bring the equal
values of all ranks to one rank, and give each rank its share of the distinct values, however
they are distributed. Nothing is gathered: results of a split operand are split, with the
counts that arise; those of a replicated one are replicated.

Values are sorted. Each NaN is a value of its own; -0.0 and 0.0 are one value, represented by its
first occurrence; complex numbers have NumPy's order. Indices refer to the flattened array
(row-major) and to first occurrences.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ._comm.recording import breaks, may_break
from ._comm.trace import note
from ._core.arguments import as_flag
from ._core.array import Array, check_array
from ._core.collectives import divided, gather, preduce
from ._core.docstrings import filled_in
from ._core.dtypes import ANY, FLOATING, INTEGER_OR_BOOL, carrier, promote
from ._core.fetch import fetch_rows
from ._core.layout import Layout
from ._core.lift import Scalar, as_operands, cast
from ._core.tape import tracked
from ._reshape import reshape
from ._sorting.local import (
    argsort_keys,
    flat_nonzero,
    integers_as,
    order_keys,
    searchsorted_local,
    sort_last,
    sort_with_order,
    starts_of_groups,
    take_last,
)
from ._sorting.samplesort import Route, find_cuts

__all__ = [
    "UniqueAllResult",
    "UniqueCountsResult",
    "UniqueInverseResult",
    "isin",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]


class UniqueAllResult(NamedTuple):
    """The result of `unique_all`.

    Attributes
    ----------
    values, indices, inverse_indices, counts : Array
        The distinct elements; where each occurs first; which of them each element is; how many
        of each there are.

    Examples
    --------
    >>> print(xp.unique_all(xp.asarray([3, 1, 3], split=0)).indices)
    [1 0]
    """

    values: Array
    indices: Array
    inverse_indices: Array
    counts: Array


class UniqueCountsResult(NamedTuple):
    """The result of `unique_counts`.

    Attributes
    ----------
    values, counts : Array
        The distinct elements, and how many of each there are.

    Examples
    --------
    >>> print(xp.unique_counts(xp.asarray([3, 1, 3], split=0)).counts)
    [1 2]
    """

    values: Array
    counts: Array


class UniqueInverseResult(NamedTuple):
    """The result of `unique_inverse`.

    Attributes
    ----------
    values, inverse_indices : Array
        The distinct elements, and which of them each element is.

    Examples
    --------
    >>> print(xp.unique_inverse(xp.asarray([3, 1, 3], split=0)).inverse_indices)
    [1 0 1]
    """

    values: Array
    inverse_indices: Array


# ---------------------------------------------------------------------- one rank


class _Distinct(NamedTuple):
    """The distinct values of a one-dimensional tensor, sorted."""

    values: Tensor
    first: Tensor  # index of the first occurrence of each
    counts: Tensor
    inverse: Tensor  # for each element, which of the values it is


def _is_nan(t: Tensor) -> Tensor:
    if t.dtype in FLOATING.all:
        return torch.isnan(t)
    return torch.zeros(t.shape, dtype=torch.bool, device=t.device)


def _distinct(t: Tensor, runs: bool = False, ranking: Tensor | None = None) -> _Distinct:
    """Return the distinct values of `t`, with everything about them.

    `runs` as for `argsort_keys`; `ranking`, if given, decides which of equal values is first.
    """
    keys = order_keys(t)
    if ranking is None:
        keys, order = sort_with_order(keys, runs)
    else:
        keys, order = sort_with_order((*keys, ranking))
        keys = keys[:-1]
    ordered = take_last(t, order)
    new = starts_of_groups(keys, _is_nan(ordered))
    starts = flat_nonzero(new)
    end = torch.tensor([t.shape[0]], device=t.device)
    counts = torch.diff(starts, append=end) if t.shape[0] else starts
    group = new.cumsum(0) - 1
    inverse = torch.empty_like(order).index_copy_(0, order, group)
    return _Distinct(take_last(ordered, starts), take_last(order, starts), counts, inverse)


def _distinct_values(t: Tensor) -> Tensor:
    """Return the distinct values of `t`, sorted: without an argsort."""
    ordered = sort_last(t)
    new = starts_of_groups(order_keys(ordered), _is_nan(ordered))
    return take_last(ordered, flat_nonzero(new))


# ---------------------------------------------------------------------- all ranks


def _route_to_equals(values: Tensor, layout: Layout) -> Route:
    """Return the route that brings equal values of all ranks to one rank."""
    comm = layout.comm
    total = divided(values.shape[0], comm).total
    targets = [total * r // comm.size for r in range(1, comm.size)]
    (cuts,) = find_cuts([order_keys(values)], targets, total, comm, whole=values.dtype)
    bounds = [0, *targets, total]
    expected = bounds[comm.rank + 1] - bounds[comm.rank]
    return Route([[0, *cuts, values.shape[0]]], expected, comm)


def _send(route: Route, t: Tensor) -> Tensor:
    return route.forward([t])[0]


def _layout_of_found(n: int, layout: Layout) -> Layout:
    """Return the layout of results; this rank holds `n` of them. One small allgather."""
    rows = divided(n, layout.comm)
    return Layout.of((rows.total,), 0, rows, layout.comm)


def _flat_indices(local: Tensor, layout: Layout) -> Tensor:
    """Turn indices into this rank's flattened shard into indices into the flattened array."""
    if layout.split is None:
        return local
    inner = math.prod(layout.shape[layout.split + 1 :])
    block, whole = max(layout.count * inner, 1), layout.shape[layout.split] * inner
    return local // block * whole + layout.start * inner + local % block


def _unique(
    x: Array, want_indices: bool, want_inverse: bool, want_counts: bool
) -> tuple[Array, Array | None, Array | None, Array | None]:
    """Return the distinct values, and their indices, inverse and counts as far as wanted.

    Values on the tape are those at their first indices: there the cotangents go.
    """
    on_tape = tracked(x._local)
    found = _find_unique(x, want_indices or on_tape, want_inverse, want_counts)
    if not on_tape:
        return found
    _, indices, inverse, counts = found
    assert indices is not None
    flat = reshape(x, (-1,))
    if flat.split is None:
        t = flat._local[indices._local]
    else:
        t = fetch_rows(flat._local, flat._layout, [indices._local])
    return Array(t, indices._layout), indices, inverse, counts


def _find_unique(
    x: Array, want_indices: bool, want_inverse: bool, want_counts: bool
) -> tuple[Array, Array | None, Array | None, Array | None]:
    """Return what `_unique` does, off the tape."""
    layout = x._layout
    local = _distinct(x._local.detach().reshape(-1))
    if layout.split is None or layout.comm.size == 1:
        split = None if layout.split is None else 0
        found = Layout.balanced((local.values.shape[0],), split, layout.comm)
        inverse = Array(local.inverse.view(x._local.shape), layout)
        return (
            Array(local.values, found), Array(local.first, found), inverse,
            Array(local.counts, found),
        )  # fmt: skip
    route = _route_to_equals(local.values, layout)
    values = _send(route, local.values)
    first = None
    # Equal values arrive in the order of the ranks, which is the order of their indices only
    # if the array is split along its first axis of more than one element.
    assert layout.split is not None
    in_order = math.prod(layout.shape[: layout.split]) == 1
    if want_indices or not in_order:
        first = _send(route, _flat_indices(local.first, layout))
    met = _distinct(values, in_order, None if in_order else first)
    found = _layout_of_found(met.values.shape[0], layout)
    indices = inverse_indices = counts = None
    if want_indices and first is not None:
        indices = Array(take_last(first, met.first), found)
    if want_counts:
        numbers = _send(route, local.counts)
        totals = torch.zeros_like(met.counts).index_add_(0, met.inverse, numbers)
        counts = Array(totals, found)
    if want_inverse:
        places = route.back(met.inverse + found.start)
        inverse_indices = Array(take_last(places, local.inverse).view(x._local.shape), layout)
    return Array(met.values, found), indices, inverse_indices, counts


_UNIQUE: Final = """Parameters
----------
x : Array
    Any shape, layout and dtype. Each NaN is a value of its own; -0.0 and 0.0 are one value.

Returns
-------
{type}
    The values have the dtype of `x` and ascend; everything else is int64. All have one axis; only
    the inverse has the shape and layout of `x`. Replicated if `x` is, and nothing is sent;
    otherwise split along axis 0, with the counts that arise. Small messages agree on counts and
    on splitters; one all-to-all each sends the ranks' distinct values, their indices and counts,
    and the inverse back, as far as they are needed. The derivatives of a value are those of the
    first of its equals, which three more all-to-alls fetch if `x` is split and differentiated.

Raises
------
TypeError
    If `x` is not an Array."""


@breaks
@filled_in(rest=_UNIQUE, type="UniqueAllResult")
def unique_all(x: Array, /) -> UniqueAllResult:
    """Return the distinct elements, their first indices, which one each element is, and counts.

    {rest}

    Examples
    --------
    >>> found = xp.unique_all(xp.asarray([3, 1, 3], split=0))
    >>> print(found.values, found.indices, found.inverse_indices, found.counts)
    [1 3] [1 0] [1 0 1] [1 2]
    """
    check_array("unique_all", "x", x, ANY)
    values, indices, inverse, counts = _unique(x, True, True, True)
    assert indices is not None
    assert inverse is not None
    assert counts is not None
    return UniqueAllResult(values, indices, inverse, counts)


@breaks
@filled_in(rest=_UNIQUE, type="UniqueCountsResult")
def unique_counts(x: Array, /) -> UniqueCountsResult:
    """Return the distinct elements, and how many of each there are.

    {rest}

    Examples
    --------
    >>> values, counts = xp.unique_counts(xp.asarray([3, 1, 3], split=0))
    >>> print(values, counts)
    [1 3] [1 2]
    """
    check_array("unique_counts", "x", x, ANY)
    values, _, _, counts = _unique(x, False, False, True)
    assert counts is not None
    return UniqueCountsResult(values, counts)


@breaks
@filled_in(rest=_UNIQUE, type="UniqueInverseResult")
def unique_inverse(x: Array, /) -> UniqueInverseResult:
    """Return the distinct elements, and which of them each element is.

    {rest}

    Examples
    --------
    >>> values, inverse = xp.unique_inverse(xp.asarray([3, 1, 3], split=0))
    >>> print(values, inverse)
    [1 3] [1 0 1]
    """
    check_array("unique_inverse", "x", x, ANY)
    values, _, inverse, _ = _unique(x, False, True, False)
    assert inverse is not None
    return UniqueInverseResult(values, inverse)


@breaks
@filled_in(rest=_UNIQUE, type="Array")
def unique_values(x: Array, /) -> Array:
    """Return the distinct elements, sorted.

    {rest}

    Examples
    --------
    >>> print(xp.unique_values(xp.asarray([3, 1, 3], split=0)))
    [1 3]
    """
    check_array("unique_values", "x", x, ANY)
    if tracked(x._local):
        return _unique(x, True, False, False)[0]
    layout = x._layout
    values = _distinct_values(x._local.detach().reshape(-1))
    if layout.split is None or layout.comm.size == 1:
        split = None if layout.split is None else 0
        return Array(values, Layout.balanced((values.shape[0],), split, layout.comm))
    met = _distinct_values(_send(_route_to_equals(values, layout), values))
    return Array(met, _layout_of_found(met.shape[0], layout))


# ---------------------------------------------------------------------- isin


def _listed(values: Any) -> np.ndarray[Any, Any]:
    """Return nested sequences as NumPy reads them."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"isin: x2 is not an array: {error}") from None


@may_break
def isin(
    x1: Array | Scalar,
    x2: Array | Scalar | list[Any] | tuple[Any, ...],
    /,
    *,
    assume_unique: bool = False,
    invert: bool = False,
) -> Array:
    """Tell for each element of `x1` whether `x2` contains it.

    Parameters
    ----------
    x1, x2 : Array or scalar
        Any shapes and layouts; `x2` may be a list or a tuple. NaN is equal to nothing. Integers of
        any two dtypes compare exactly.
    assume_unique : bool, optional
        Accepted, as the standard has it; it changes nothing.
    invert : bool, optional
        Tell whether `x2` does not contain the element.

    Returns
    -------
    Array
        Boolean, with the shape and layout of `x1`. Sends nothing if `x2` is replicated; one
        allgather of `x2` if it is no bigger than one rank's share of `x1`; one allreduce of the
        result if `x1` is replicated. Otherwise all-to-alls send the distinct values of both to
        where they meet, and the answers back.

    Raises
    ------
    TypeError
        If neither is an Array, or their dtypes do not promote.

    Examples
    --------
    >>> print(xp.isin(xp.arange(5, split=0), [1, 3]))
    [False  True False  True False]
    """
    as_flag("isin", "assume_unique", assume_unique)
    invert = as_flag("isin", "invert", invert)
    listed = _listed(x2) if isinstance(x2, (list, tuple)) else x2
    x1, x2 = as_operands("isin", x1, listed)
    layout, other = x1._layout, x2._layout
    comm = layout.comm
    values, members = x1._local.detach().reshape(-1), x2._local.detach().reshape(-1)
    outside = None
    if values.dtype in INTEGER_OR_BOOL.all and members.dtype in INTEGER_OR_BOOL.all:
        values, low, high = integers_as(values, members.dtype)
        outside = low | high
    else:
        dtype = promote(values.dtype, members.dtype)
        values, members = cast(values, dtype), cast(members, dtype)
    if other.split is None or comm.size == 1:
        hit = _isin_local(values, members)
    elif layout.split is None:
        hit = preduce(_isin_local(values, members).view(torch.uint8), "max", comm).view(torch.bool)
    elif x2.size * comm.size <= x1.size:
        note("gather of a small x2", members.nbytes, comm.size)
        hit = _isin_local(values, gather(members, other.flattened()))
    else:
        hit = _isin_split(values, members, layout)
    if outside is not None:
        hit &= ~outside
    return Array((~hit if invert else hit).view(x1._local.shape), layout)


def _isin_local(values: Tensor, members: Tensor) -> Tensor:
    """Tell which of `values` are among `members`, both one-dimensional."""
    if members.shape[0] == 0:
        return torch.zeros(values.shape, dtype=torch.bool, device=values.device)
    ordered = sort_last(members)
    place = searchsorted_local(ordered, values, "left").clamp_(max=members.shape[0] - 1)
    return carrier(take_last(ordered, place)) == carrier(values)


def _isin_split(values: Tensor, members: Tensor, layout: Layout) -> Tensor:
    """Tell which of `values` are among the members of all ranks, both split."""
    asked = _distinct(values)
    known = _distinct_values(members)
    both = torch.cat([asked.values, known])
    order = argsort_keys(order_keys(both), runs=True)
    is_member = order >= asked.values.shape[0]
    run = take_last(both, order)
    route = _route_to_equals(run, layout)
    came = _send(route, run)
    (marks,) = route.forward([is_member.view(torch.uint8)])
    met = _distinct(came, runs=True)
    found = torch.zeros_like(met.counts).index_add_(0, met.inverse, marks.long()) > 0
    answers = route.back((found[met.inverse] & ~_is_nan(came)).view(torch.uint8))
    answer = torch.empty_like(answers).index_copy_(0, order, answers).view(torch.bool)
    return answer[: asked.values.shape[0]][asked.inverse]
