"""Products of matrices and vectors, and the transpose (the standard's "Linear Algebra Functions").

All products are one: stacks of matrices whose shards meet as `_contraction` plans it from
their layouts. No rank ever holds a full copy of an operand that is bigger than one rank's
share of the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._array import Array, common_communicator
from ._contraction import Plan, multiply, plan_product, product
from ._dtypes import NUMERIC, carrier, promote, uncarry
from ._layout import Layout, Shape, normalize_axes, normalize_axis
from ._op import as_operands, cast, check_array, varying
from ._redistribute import redistribute
from ._tape import tracked
from ._views import permute, permuted

__all__ = ["contract_axes", "matmul", "matrix_transpose", "tensordot", "vecdot"]


def matmul(x1: Array, x2: Array, /) -> Array:
    """Multiply matrices, or stacks of them, or vectors.

    Parameters
    ----------
    x1 : Array
        Shape ``(..., M, K)`` or ``(K,)``, any layout; dtype numeric.
    x2 : Array
        Shape ``(..., K, N)`` or ``(K,)``, any layout; dtype numeric.

    Returns
    -------
    Array
        Shape ``(..., M, N)``, the stacks broadcast together; without the axis ``M`` or ``N``
        where an operand is a vector. Of the promoted dtype.

    Raises
    ------
    ValueError
        If an operand is 0-d, the contracted axes differ in length, or the stacks do not
        broadcast.

    Notes
    -----
    Where the result is split, and what is sent, if the operands do not fit one rank:

    ======================  ======================  =======================  ====================
    x1 split along          x2 split along          result split along       messages
    ======================  ======================  =======================  ====================
    None                    None                    None                     none
    rows                    None                    rows                     none
    None                    columns                 columns                  none
    stack                   None, or equal          stack                    none
    stack                   other                   stack                    all-to-all of `x2`
    contracted              contracted              None if small, else 0    sum of the result
    contracted              None                    None if small, else 0    sum of the result
    rows                    any                     rows                     all shards of `x2`
    contracted              columns                 columns                  all shards of `x1`
    ======================  ======================  =======================  ====================

    Small: less than one rank's share of the larger operand; then the sum is one allreduce, else
    a ring of P - 1 sends of the result's blocks. "All shards": one allgather if the operand is
    no bigger than one rank's share of the other, else a ring of P - 1 sends. Where the
    lengths make another way cheaper (a small `x1` with rows split, a large `x2` with columns
    split), the operand with more words stays where it is. Contracted axes with different
    counts: one all-to-all of the smaller operand first.
    """
    if type(x1) is not Array or type(x2) is not Array:
        x1, x2 = as_operands("matmul", x1, x2)
    common_communicator("matmul", x1, x2)
    t1, t2 = x1._local, x2._local
    plan = _plan_matmul(x1._layout, x2._layout)
    untracked = not (tracked(t1) or tracked(t2))
    if untracked and plan.product.direct and t1.dtype is t2.dtype and t1.dtype in NUMERIC.direct:
        return Array(multiply(t1, t2), plan.result)
    check_array("matmul", "x1", x1, NUMERIC)
    check_array("matmul", "x2", x2, NUMERIC)
    dtype = promote(t1.dtype, t2.dtype)
    shards = [
        t.reshape(layout.local_shape)
        for t, layout in zip(_shards(x1, x2, dtype, plan.product), plan.operands, strict=True)
    ]
    local = product(shards[0], shards[1], plan.operands, plan.product)
    return Array(uncarry(local.reshape(plan.result.local_shape), dtype), plan.result)


def _shards(x1: Array, x2: Array, dtype: torch.dtype, plan: Plan) -> list[Tensor]:
    """Return this rank's shards of the operands; each rank's own where only that is replicated."""
    tensors = []
    for x, operand in zip((x1, x2), plan.operands, strict=True):
        alone = x._layout.split is None and operand.layout.split is None
        meets = alone and plan.result.split is not None
        tensors.append(carrier(cast(varying(x) if meets else x._local, dtype)))
    return tensors


class _MatmulPlan(NamedTuple):
    """A product of matrices or vectors: a vector is a matrix of one row or column meanwhile."""

    operands: tuple[Layout, Layout]
    product: Plan
    result: Layout


@lru_cache(maxsize=4096)
def _plan_matmul(layout1: Layout, layout2: Layout) -> _MatmulPlan:
    """Check the shapes and return how to multiply."""
    for name, layout in (("x1", layout1), ("x2", layout2)):
        if not layout.ndim:
            raise ValueError(f"matmul: {name} is 0-d; use multiply")
    row, column = layout1.ndim == 1, layout2.ndim == 1
    inner = -1 if column else -2
    if layout1.shape[-1] != layout2.shape[inner]:
        raise ValueError(
            f"matmul: x1.shape[-1] is {layout1.shape[-1]} but x2.shape[{inner}] is "
            f"{layout2.shape[inner]}"
        )
    operands = (
        _with_axis(layout1, 0) if row else layout1,
        _with_axis(layout2, 1) if column else layout2,
    )
    plan = plan_product(*operands)
    result = plan.result
    if column:
        result = _without_axis(result, result.ndim - 1)
    if row:
        result = _without_axis(result, result.ndim - (1 if column else 2))
    return _MatmulPlan(operands, plan, result)


def _with_axis(layout: Layout, axis: int) -> Layout:
    """Return the layout with an axis of length 1; the split follows its axis."""
    split = layout.split
    shape = (*layout.shape[:axis], 1, *layout.shape[axis:])
    return layout.with_shape(shape, split if split is None or split < axis else split + 1)


def _without_axis(layout: Layout, axis: int) -> Layout:
    """Return the layout without an axis of length 1, which is not the split axis."""
    split = layout.split
    assert split != axis
    shape = layout.shape[:axis] + layout.shape[axis + 1 :]
    return layout.with_shape(shape, split if split is None or split < axis else split - 1)


def _product(x1: Array, x2: Array) -> Array:
    """Multiply stacks of matrices whose contracted axes agree."""
    layouts = (x1._layout, x2._layout)
    plan = plan_product(*layouts)
    dtype = promote(x1._local.dtype, x2._local.dtype)
    # Sums and products modulo 2**n are the same for signed and unsigned integers.
    t1, t2 = _shards(x1, x2, dtype, plan)
    return Array(uncarry(product(t1, t2, layouts, plan), dtype), plan.result)


def matrix_transpose(x: Array, /) -> Array:
    """Exchange the last two axes.

    Parameters
    ----------
    x : Array
        Shape ``(..., M, N)``, any layout and dtype.

    Returns
    -------
    Array
        Shape ``(..., N, M)``; the split follows its axis. A view of the shards; nothing is sent.

    Raises
    ------
    ValueError
        If `x` has fewer than two axes.
    """
    check_array("matrix_transpose", "x", x)
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose: x has shape {x.shape}; expected two axes or more")
    last = x.ndim - 1
    return permuted(x, (*range(last - 1), last, last - 1))


def vecdot(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Sum of products along an axis, ``sum(conj(x1) * x2)``.

    Parameters
    ----------
    x1, x2 : Array
        Any layout; dtypes numeric. Broadcast together, but for `axis`, on which their
        lengths are equal. A complex `x1` is conjugated.
    axis : int
        Counted from the end (negative), as the operands may have different numbers of axes.

    Returns
    -------
    Array
        The broadcast shape without `axis`, of the promoted dtype. Split and messages as of
        `matmul` of a stack of rows and a stack of columns: none if `axis` is not split, one
        allreduce if it is.

    Raises
    ------
    ValueError
        If the lengths along `axis` differ, or the other axes do not broadcast.
    IndexError
        If an operand lacks the axis.
    """
    if type(x1) is not Array or type(x2) is not Array:
        x1, x2 = as_operands("vecdot", x1, x2)
    common_communicator("vecdot", x1, x2)
    check_array("vecdot", "x1", x1, NUMERIC)
    check_array("vecdot", "x2", x2, NUMERIC)
    own1, own2, plan = _plan_vecdot(x1._layout, x2._layout, axis)
    dtype = promote(x1._local.dtype, x2._local.dtype)
    t1, t2 = _shards(x1, x2, dtype, plan.product)
    rows = t1.movedim(own1, -1).unsqueeze(-2)
    columns = t2.movedim(own2, -1).unsqueeze(-1)
    if x1._local.is_complex():
        rows = rows.conj()
    local = product(rows, columns, plan.operands, plan.product)
    return Array(uncarry(local.reshape(plan.result.local_shape), dtype), plan.result)


@lru_cache(maxsize=4096)
def _plan_vecdot(layout1: Layout, layout2: Layout, axis: int) -> tuple[int, int, _MatmulPlan]:
    """Check the shapes; return the axis of each operand and how to multiply rows by columns."""
    if layout1.ndim != layout2.ndim and axis >= 0:
        raise ValueError(
            f"vecdot: axis is {axis}, but x1 and x2 have {layout1.ndim} and {layout2.ndim} axes; "
            "count it from the end"
        )
    own1, own2 = (normalize_axis("vecdot", axis, layout.ndim) for layout in (layout1, layout2))
    if layout1.shape[own1] != layout2.shape[own2]:
        raise ValueError(
            f"vecdot: x1 has length {layout1.shape[own1]} along axis {axis}, "
            f"x2 {layout2.shape[own2]}"
        )
    operands = (
        _with_axis(layout1.permuted(_axis_last(own1, layout1.ndim)), layout1.ndim - 1),
        _with_axis(layout2.permuted(_axis_last(own2, layout2.ndim)), layout2.ndim),
    )
    plan = plan_product(*operands)
    result = _without_axis(plan.result, plan.result.ndim - 1)
    return own1, own2, _MatmulPlan(operands, plan, _without_axis(result, result.ndim - 1))


def _axis_last(axis: int, ndim: int) -> Shape:
    return (*range(axis), *range(axis + 1, ndim), axis)


def tensordot(
    x1: Array, x2: Array, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2
) -> Array:
    """Sum of products over several axes.

    Parameters
    ----------
    x1, x2 : Array
        Any layout; dtypes numeric.
    axes : int or pair of sequences of int
        An int N: the last N axes of `x1` with the first N of `x2`. A pair: those axes of `x1`
        with those of `x2`, in that order.

    Returns
    -------
    Array
        The other axes of `x1`, then those of `x2`. Split and messages as of `matmul`, with the
        contracted axes as one.

    Raises
    ------
    ValueError
        If contracted axes differ in number or length.
    """
    x1, x2 = as_operands("tensordot", x1, x2)
    check_array("tensordot", "x1", x1, NUMERIC)
    check_array("tensordot", "x2", x2, NUMERIC)
    axes1, axes2 = _tensordot_axes(x1, x2, axes)
    for i, j in zip(axes1, axes2, strict=True):
        if x1.shape[i] != x2.shape[j]:
            raise ValueError(
                f"tensordot: axis {i} of x1 has length {x1.shape[i]}, "
                f"axis {j} of x2 has length {x2.shape[j]}"
            )
    return contract_axes(x1, x2, (), (), axes1, axes2)


def _tensordot_axes(x1: Array, x2: Array, axes: Any) -> tuple[Shape, Shape]:
    """Return the contracted axes of both operands."""
    if isinstance(axes, int):
        if not 0 <= axes <= min(x1.ndim, x2.ndim):
            raise ValueError(
                f"tensordot: axes is {axes}; expected 0 to {min(x1.ndim, x2.ndim)}, the number "
                "of axes of the operands"
            )
        return tuple(range(x1.ndim - axes, x1.ndim)), tuple(range(axes))
    try:
        first, second = axes
        pairs = [(i,) if isinstance(i, int) else tuple(i) for i in (first, second)]
    except (TypeError, ValueError):
        raise TypeError(
            f"tensordot: axes is {axes!r}; expected an int or a pair of sequences of ints"
        ) from None
    if len(pairs[0]) != len(pairs[1]):
        raise ValueError(
            f"tensordot: axes names {len(pairs[0])} axes of x1 but {len(pairs[1])} of x2"
        )
    for pair, x in zip(pairs, (x1, x2), strict=True):
        normalize_axes("tensordot", pair, x.ndim, "axes")  # refuses an axis named twice
    axes1, axes2 = (
        tuple(normalize_axis("tensordot", i, x.ndim, "axes") for i in pair)
        for pair, x in zip(pairs, (x1, x2), strict=True)
    )
    return axes1, axes2


# ---------------------------------------------------------------------- the general contraction


def contract_axes(
    x1: Array, x2: Array, stack1: Shape, stack2: Shape, summed1: Shape, summed2: Shape
) -> Array:
    """Multiply over named axes: a stack of matrix products.

    `stack1` of `x1` and `stack2` of `x2` are the same axes of the result, `summed1` and
    `summed2` are contracted; each list in one order for both operands. Lengths agree.

    Returns
    -------
    Array
        The stack axes, then the free axes of `x1`, then those of `x2`, each in their order.

    Notes
    -----
    The axes of a group become one by a local reshape: the split axis leads its group, so its
    shards stay whole. Only operands split along different contracted axes need an
    all-to-all, of the smaller one.
    """
    common_communicator("tensordot", x1, x2)
    lead = _leading_pair(x1, x2, summed1, summed2)
    if lead:
        summed1, summed2 = (
            (axes[lead], *axes[:lead], *axes[lead + 1 :]) for axes in (summed1, summed2)
        )
    x1, x2 = (_lead_split(x, axes) for x, axes in ((x1, summed1), (x2, summed2)))
    free1, free2 = (
        _free_axes(x, (*stack, *summed))
        for x, stack, summed in ((x1, stack1, summed1), (x2, stack2, summed2))
    )
    rows = _merged(x1, (*((i,) for i in stack1), free1, summed1))
    columns = _merged(x2, (*((i,) for i in stack2), summed2, free2))
    result = _product(rows, columns)
    n = len(stack1)
    extents = [tuple(x.shape[i] for i in free) for x, free in ((x1, free1), (x2, free2))]
    result = _unmerged(result, n + 1, extents[1])
    result = _unmerged(result, n, extents[0])
    order = [*range(n), *(n + i for i in _ranks_of(free1))]
    order += [len(order) + i for i in _ranks_of(free2)]
    return permute(result, tuple(order))


def _ranks_of(axes: Shape) -> list[int]:
    """Return the positions in `axes` of its members in increasing order."""
    return [axes.index(i) for i in sorted(axes)]


def _leading_pair(x1: Array, x2: Array, summed1: Shape, summed2: Shape) -> int:
    """Return which contracted pair of axes leads its group: that along which the shards lie."""
    pairs = [
        (x.size, axes.index(x._layout.split))
        for x, axes in ((x1, summed1), (x2, summed2))
        if x._layout.split in axes
    ]
    return max(pairs, key=lambda pair: pair[0])[1] if pairs else 0


def _lead_split(x: Array, summed: Shape) -> Array:
    """Return `x` split along the first of the contracted axes if it is split along another."""
    if x._layout.split not in summed[1:]:
        return x
    return redistribute(x, Layout.balanced(x.shape, summed[0], x._layout.comm))


def _free_axes(x: Array, taken: Shape) -> Shape:
    """Return the axes not taken: the split axis first, else the longest first."""
    free = [i for i in range(x.ndim) if i not in taken]
    split = x._layout.split
    if free:
        first = split if split in free else max(free, key=lambda i: x.shape[i])
        free.remove(first)
        free.insert(0, first)
    return tuple(free)


def _merged(x: Array, groups: tuple[Shape, ...]) -> Array:
    """Return `x` with each group of axes as one; the split axis is the first of its group."""
    layout = x._layout
    shape = tuple(math.prod(layout.shape[i] for i in group) for group in groups)
    order = tuple(i for group in groups for i in group)
    local = carrier(x._local).permute(order)
    if layout.split is None:
        merged = Layout.replicated(shape, layout.comm)
    else:
        at = next(i for i, group in enumerate(groups) if layout.split in group)
        assert groups[at][0] == layout.split
        inner = math.prod(layout.shape[i] for i in groups[at][1:])
        merged = Layout.of(shape, at, tuple(n * inner for n in layout.counts), layout.comm)
    return Array(uncarry(local.reshape(merged.local_shape), x._local.dtype), merged)


def _unmerged(x: Array, axis: int, extents: Shape) -> Array:
    """Return `x` with one axis as several; the split, if it is there, goes to the first of them.

    Shards that end within a row of the first of them are first moved to whole rows.
    """
    layout = x._layout
    shape = (*layout.shape[:axis], *extents, *layout.shape[axis + 1 :])
    split = layout.split
    if split is None or split < axis:
        target = layout.with_shape(shape, split)
    elif split > axis:
        target = layout.with_shape(shape, split + len(extents) - 1)
    else:
        inner = math.prod(extents[1:])
        if inner == 0 or any(n % inner for n in layout.counts):
            even = Layout.balanced(extents, 0, layout.comm).counts
            counts = tuple(n * inner for n in even)
            x = redistribute(x, Layout.of(layout.shape, axis, counts, layout.comm))
        else:
            even = tuple(n // inner for n in layout.counts)
        target = Layout.of(shape, split, even, layout.comm)
    local: Tensor = carrier(x._local).reshape(target.local_shape)
    return Array(uncarry(local, x._local.dtype), target)
