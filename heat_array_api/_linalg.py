"""Products of matrices and vectors, and the transpose (the standard, "Linear Algebra Functions").

Every product becomes one of two stacks of matrices. Seen from the result of ``x1 @ x2``, an
operand is split along an axis of the result (a stack axis; the rows, for `x1`; the columns, for
`x2`) or along the *contracted* axis, over which the product sums. The algorithms are:

===========  ================================================  ================================
algorithm    what moves                                        the result is split
===========  ================================================  ================================
keep x1      `x2`, to meet the shards of `x1`                  as `x1`, which is split along an
                                                               axis of the result
keep x2      `x1`, to meet the shards of `x2`                  as `x2`, likewise
contract     both operands, to one split of the contracted     not at all if it is small, else
             axis; the ranks' partial products are summed      along its first axis
===========  ================================================  ================================

If the moving operand has the axis along which the other is split, it is brought to that split:
sliced if it is replicated, else by an all-to-all. If it lacks the axis, it is gathered if it is no
bigger than one rank's share of the other operand; else its shards go round the ring of ranks, and
a rank never holds more than one of them beside its own.

The algorithm that moves the fewest words is taken, the first of the table on a tie. The choice
depends on shapes and layouts alone, so every rank makes the same one, and it is cached. A result
is small if it has fewer elements than one rank's share of the larger operand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from ._caching import cached
from ._comm.assumptions import assumed
from ._comm.recording import capturing
from ._core.arguments import as_int
from ._core.array import Array, check_array, common_communicator
from ._core.collectives import gather, preduce, ring_shift
from ._core.dtypes import HALVES, NUMERIC, carrier, promote, uncarry
from ._core.layout import Layout, Shape, as_ints, normalize_axes, normalize_axis
from ._core.lift import as_operands, broadcast_shape, cast, varying
from ._core.redistribute import move, redistribute
from ._core.tape import tracked
from ._core.views import permute, permuted
from ._errors import shown

__all__ = ["matmul", "matrix_transpose", "tensordot", "vecdot"]


def matmul(x1: Array, x2: Array, /) -> Array:
    """Multiply matrices, stacks of matrices, or vectors.

    Parameters
    ----------
    x1 : Array
        Shape ``(..., M, K)`` or ``(K,)``, any layout and dtype.
    x2 : Array
        Shape ``(..., K, N)`` or ``(K,)``, any layout and dtype. A mask counts as 0 and 1; two masks
        give a mask.

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
    TypeError
        If an operand is not an array.

    Notes
    -----
    Where the result is split, and what is sent, for operands that do not fit one rank:

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

    A result is small if it has fewer elements than one rank's share of the larger operand; then
    it is summed by one allreduce, else by a ring of P - 1 sends of its blocks. "All shards" are
    one allgather if the operand is no bigger than one rank's share of the other, else a ring of
    P - 1 sends. Where the lengths make another algorithm cheaper (a small `x1` split along rows,
    a large `x2` split along columns), the operand with more words stays where it is. If both are
    split along the contracted axis with different counts, the smaller one is first moved by one
    all-to-all.

    Examples
    --------
    >>> x = xp.reshape(xp.arange(6.0, split=0), (3, 2))
    >>> print(x @ x.T)
    [[ 1.  3.  5.]
     [ 3. 13. 23.]
     [ 5. 23. 41.]]
    """
    if type(x1) is not Array or type(x2) is not Array:
        x1, x2 = as_operands("matmul", x1, x2)
    common_communicator("matmul", x1, x2)
    t1, t2 = x1._local, x2._local
    plan = _plan_matmul(x1._layout, x2._layout)
    untracked = not (tracked(t1) or tracked(t2))
    if untracked and plan.product.direct and t1.dtype is t2.dtype and t1.dtype in NUMERIC.direct:
        return Array(multiply(t1, t2), plan.result)
    if torch.bool in (t1.dtype, t2.dtype):
        return of_masks(matmul, x1, x2)
    dtype = promote(t1.dtype, t2.dtype)
    shards = [
        t.reshape(layout.local_shape)
        for t, layout in zip(_shards(x1, x2, dtype, plan.product), plan.operands, strict=True)
    ]
    local = product(shards[0], shards[1], plan.operands, plan.product)
    return Array(uncarry(local.reshape(plan.result.local_shape), dtype), plan.result)


def of_masks(contract: Callable[..., Array], *operands: Array) -> Array:
    """Contract operands of which some are boolean, as NumPy does.

    Beside numbers a mask counts as 0 and 1. Of masks alone the result is boolean: whether any
    product is true. It is not zero where the sum of the products is not, and float32 sums of ones
    never round to zero.
    """
    numbers = [x._local.dtype for x in operands if x._local.dtype is not torch.bool]
    dtype = numbers[0] if numbers else torch.float32
    converted = [
        Array(x._local.to(dtype), x._layout) if x._local.dtype is torch.bool else x
        for x in operands
    ]
    result = contract(*converted)
    return result if numbers else Array(result._local != 0, result._layout)


def matrix_transpose(x: Array, /) -> Array:
    """Exchange the last two axes.

    Parameters
    ----------
    x : Array
        Shape ``(..., M, N)``, any layout and dtype.

    Returns
    -------
    Array
        Shape ``(..., N, M)``; the split follows its axis. A view of the shards. Sends nothing.

    Raises
    ------
    ValueError
        If `x` has fewer than two axes.

    Examples
    --------
    >>> print(xp.matrix_transpose(xp.asarray([[1, 2], [3, 4]], split=0)))
    [[1 3]
     [2 4]]
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
        Any layout and dtype; masks count as 0 and 1, and two give a mask. Their lengths along
        `axis` are equal; the other axes broadcast together. A complex `x1` is conjugated.
    axis : int
        The axis to sum over; negative if the operands differ in their number of axes.

    Returns
    -------
    Array
        The broadcast shape without `axis`, of the promoted dtype. Sends nothing if no operand is
        split along `axis`, else one allreduce of the result. Other layouts are combined as by
        `matmul` of a stack of rows and a stack of columns.

    Raises
    ------
    ValueError, IndexError
        If the lengths along `axis` differ, or other axes do not broadcast; if `axis` is missing.
    TypeError
        If an operand is not an array.

    Examples
    --------
    >>> x = xp.arange(4.0, split=0)
    >>> print(xp.vecdot(x, x))
    14.0
    """
    if type(x1) is not Array or type(x2) is not Array:
        x1, x2 = as_operands("vecdot", x1, x2)
    common_communicator("vecdot", x1, x2)
    if torch.bool in (x1._local.dtype, x2._local.dtype):
        return of_masks(partial(vecdot, axis=axis), x1, x2)
    own1, own2, plan = _plan_vecdot(x1._layout, x2._layout, as_int("vecdot", "axis", axis))
    dtype = promote(x1._local.dtype, x2._local.dtype)
    t1, t2 = _shards(x1, x2, dtype, plan.product)
    rows = t1.movedim(own1, -1).unsqueeze(-2)
    columns = t2.movedim(own2, -1).unsqueeze(-1)
    if x1._local.is_complex():
        rows = rows.conj()
    local = product(rows, columns, plan.operands, plan.product)
    return Array(uncarry(local.reshape(plan.result.local_shape), dtype), plan.result)


def tensordot(
    x1: Array, x2: Array, /, axes: int | tuple[Sequence[int], Sequence[int]] = 2
) -> Array:
    """Sum of products over several axes.

    Parameters
    ----------
    x1, x2 : Array
        Any layout and dtype; masks count as 0 and 1, and two give a mask.
    axes : int or pair of sequences of int
        An int N: the last N axes of `x1` are summed with the first N of `x2`. A pair: those axes
        of `x1` with those of `x2`, in that order.

    Returns
    -------
    Array
        The other axes of `x1`, then those of `x2`. It is split, and messages are sent, as by
        `matmul` of two matrices whose contracted axis is all of `axes`.

    Raises
    ------
    ValueError, IndexError
        If contracted axes differ in number or length, or are repeated; if an operand lacks one.
    TypeError
        If an operand is not an array, or `axes` is neither an int nor a pair of sequences.

    Examples
    --------
    >>> x = xp.ones((3, 2, 2), split=0)
    >>> print(xp.tensordot(x, xp.ones((2, 2)), axes=2))
    [4. 4. 4.]
    """
    x1, x2 = as_operands("tensordot", x1, x2)
    if torch.bool in (x1._local.dtype, x2._local.dtype):
        return of_masks(partial(tensordot, axes=axes), x1, x2)
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
        first, second = as_ints("tensordot", "axes", axes) if hasattr(axes, "dtype") else axes
        pairs = [(i,) if isinstance(i, int) else tuple(i) for i in (first, second)]
    except (TypeError, ValueError):
        raise TypeError(
            f"tensordot: axes is {shown(axes)}; expected an int or a pair of sequences of ints"
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


# ---------------------------------------------------------------------- products over named axes


def contract_axes(
    x1: Array, x2: Array, stack1: Shape, stack2: Shape, summed1: Shape, summed2: Shape
) -> Array:
    """Multiply over named axes: a stack of matrix products.

    `stack1` of `x1` and `stack2` of `x2` are the same axes of the result, `summed1` and `summed2`
    are contracted; each list in one order for both operands. Lengths agree, and the operands
    share a communicator. The result has the stack axes, then the free axes of `x1`, then those
    of `x2`, each in their order.

    A local reshape merges each group of axes into one. The split axis leads its group, so shards
    stay whole. Operands that are split along different contracted axes need an all-to-all, of
    the smaller one.
    """
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
    """Return `x`, split along the first of the contracted axes if it is split along another one."""
    if x._layout.split not in summed[1:]:
        return x
    return redistribute(x, x._layout.split_along(summed[0]))


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
    local = x._local.permute(order)
    if layout.split is None:
        merged = Layout.replicated(shape, layout.comm)
    else:
        at = next(i for i, group in enumerate(groups) if layout.split in group)
        assert groups[at][0] == layout.split
        inner = math.prod(layout.shape[i] for i in groups[at][1:])
        merged = Layout.of(shape, at, layout.scaled(inner), layout.comm)
    return Array(local.reshape(merged.local_shape), merged)


def _unmerged(x: Array, axis: int, extents: Shape) -> Array:
    """Return `x` with one axis as several; if it is the split axis, the first of them is split.

    A shard that ends within a row of that first axis is moved to whole rows first.
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
    return Array(x._local.reshape(target.local_shape), target)


def _product(x1: Array, x2: Array) -> Array:
    """Multiply stacks of matrices whose contracted axes agree."""
    layouts = (x1._layout, x2._layout)
    plan = plan_product(*layouts, layouts[0].shape[:-2])
    dtype = promote(x1._local.dtype, x2._local.dtype)
    # Sums and products modulo 2**n are the same for signed and unsigned integers.
    t1, t2 = _shards(x1, x2, dtype, plan)
    return Array(uncarry(product(t1, t2, layouts, plan), dtype), plan.result)


# ---------------------------------------------------------------------- planning: the algorithm

CONTRACTED: Final = -1


class _Factor(NamedTuple):
    """A stack of matrices, seen from the result of the product."""

    layout: Layout
    inner: int  # its contracted axis
    outer: int  # its own axis of the result's last two: rows of x1, columns of x2
    outer_of_result: int
    shape: Shape  # of the result

    @property
    def axis(self) -> int | None:
        """The result's axis along which it is split, or CONTRACTED; None if replicated."""
        split = self.layout.split
        if split is None:
            return None
        if split == self.inner:
            return CONTRACTED
        return self.outer_of_result if split == self.outer else split + self._lead

    def own(self, axis: int) -> int | None:
        """Return its axis that is the result's `axis`; None if it is broadcast along that."""
        if axis == CONTRACTED:
            return self.inner
        if axis == self.outer_of_result:
            return self.outer
        own = axis - self._lead
        stacked = axis < len(self.shape) - 2 and own >= 0
        return own if stacked and self.layout.shape[own] == self.shape[axis] else None

    @property
    def _lead(self) -> int:
        return len(self.shape) - self.layout.ndim


class Plan(NamedTuple):
    """An algorithm for a product: where the operands move first, and what every rank then does."""

    words: float  # received by one rank
    algorithm: Callable[[Tensor, Tensor, Plan], Tensor]
    operands: tuple[_Factor, _Factor]  # their layouts when `algorithm` starts
    result: Layout
    moving: int = 0  # index of the operand whose shards go round the ring
    direct: bool = False  # nothing moves: the result's shards are products of the operands'


@cached
def plan_product(layout1: Layout, layout2: Layout, stack: Shape) -> Plan:
    """Return how to compute the product of two stacks of matrices with these layouts.

    They share a communicator and the length of the contracted axis; `stack` is the broadcast
    shape of their stacks.
    """
    comm = layout1.comm
    shape = (*stack, layout1.shape[-2], layout2.shape[-1])
    ndim, d1, d2 = len(shape), layout1.ndim, layout2.ndim
    x1 = _spread(_Factor(layout1, d1 - 1, d1 - 2, ndim - 2, shape))
    x2 = _spread(_Factor(layout2, d2 - 2, d2 - 1, ndim - 1, shape))
    if x1.axis is None and x2.axis is None:
        return Plan(0, _local, (x1, x2), Layout.replicated(shape, comm), direct=True)
    candidates = (_keep(x1, x2, 1), _keep(x2, x1, 0), _contract(x1, x2))
    best = min((plan for plan in candidates if plan is not None), key=lambda plan: plan.words)
    stays = all(x.layout == y for x, y in zip(best.operands, (layout1, layout2), strict=True))
    return best._replace(direct=stays and best.algorithm is _local)


def _spread(x: _Factor) -> _Factor:
    """Return the operand, split along a matrix axis if it is split along a broadcast one.

    One rank holds all of it then, and the result cannot be split along that axis.
    """
    axis = x.axis
    if axis is None or x.own(axis) is not None:
        return x
    outer, inner = x.layout.shape[x.outer], x.layout.shape[x.inner]
    # Never along an outer axis of length 1: it may stand for a vector, and is dropped then.
    longest = x.outer if outer > max(inner, 1) else x.inner
    return x._replace(layout=x.layout.split_along(longest))


def _words(source: Layout, target: Layout) -> float:
    """Return how many words one rank receives when `source` becomes `target`."""
    if source.split is None or source == target:
        return 0
    return source.size if target.split is None else source.size / source.comm.size


def _keep(stay: _Factor, go: _Factor, moving: int) -> Plan | None:
    """Plan to leave `stay` where it is, if it is split along one of the result's axes."""
    axis = stay.axis
    if axis is None or axis == CONTRACTED:
        return None
    layout, comm = go.layout, go.layout.comm
    result = Layout.of(stay.shape, axis, stay.layout.counts, comm)
    own = go.own(axis)
    algorithm, words = _local, float(layout.size)
    if own is not None:
        there = Layout.of(layout.shape, own, stay.layout.counts, comm)
        words = _words(layout, there)
    elif layout.split is None:
        there, words = layout, 0
    elif layout.size * comm.size <= stay.layout.size:
        there = layout.split_along(None)
    else:
        there = layout
        algorithm = _rotate if comm.size > 1 else _local
    gone = go._replace(layout=there)
    return Plan(words, algorithm, (stay, gone) if moving else (gone, stay), result, moving)


def _contract(x1: _Factor, x2: _Factor) -> Plan:
    """Plan to split both operands along the contracted axis and to sum partial products."""
    comm = x1.layout.comm
    split = [x for x in (x1, x2) if x.axis == CONTRACTED]
    if split:
        counts = max(split, key=lambda x: x.layout.size).layout.counts
    else:
        counts = Layout.balanced((x1.layout.shape[x1.inner],), 0, comm).counts
    there = [x._replace(layout=Layout.of(x.layout.shape, x.inner, counts, comm)) for x in (x1, x2)]
    words = sum(_words(x.layout, y.layout) for x, y in zip((x1, x2), there, strict=True))
    size = math.prod(x1.shape)
    share = max(x.layout.size / (1 if x.layout.split is None else comm.size) for x in (x1, x2))
    operands = (there[0], there[1])
    if size < share or size <= 1:
        return Plan(words + 2 * size, _allreduce, operands, Layout.replicated(x1.shape, comm))
    # Split along the first axis, or along the longest if the first has fewer rows than ranks.
    axis = (
        0
        if x1.shape[0] >= max(comm.size, 2)
        else max(range(len(x1.shape)), key=lambda i: x1.shape[i])
    )
    result = Layout.balanced(x1.shape, axis, comm)
    return Plan(words + size, _reduce_scatter, operands, result)


# ---------------------------------------------------------------------- planning: vectors


class _MatmulPlan(NamedTuple):
    """A product of matrices or vectors; a vector stands as a matrix of one row or column."""

    operands: tuple[Layout, Layout]
    product: Plan
    result: Layout


@cached
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
        layout1.insert(0) if row else layout1,
        layout2.insert(1) if column else layout2,
    )
    stack = broadcast_shape("matmul", *(layout.shape[:-2] for layout in operands))
    plan = plan_product(*operands, stack)
    result = plan.result
    if column:
        result = result.drop(result.ndim - 1)
    if row:
        result = result.drop(result.ndim - (1 if column else 2))
    return _MatmulPlan(operands, plan, result)


@cached
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
        layout1.permuted(_axis_last(own1, layout1.ndim)).insert(layout1.ndim - 1),
        layout2.permuted(_axis_last(own2, layout2.ndim)).insert(layout2.ndim),
    )
    stack = broadcast_shape("vecdot", *(layout.shape[:-2] for layout in operands))
    plan = plan_product(*operands, stack)
    result = plan.result.drop(plan.result.ndim - 1)
    return own1, own2, _MatmulPlan(operands, plan, result.drop(result.ndim - 1))


def _axis_last(axis: int, ndim: int) -> Shape:
    return (*range(axis), *range(axis + 1, ndim), axis)


# ---------------------------------------------------------------------- execution


def _shards(x1: Array, x2: Array, dtype: torch.dtype, plan: Plan) -> list[Tensor]:
    """Return this rank's shards of the operands.

    If the result is split, a replicated operand is each rank's own: its cotangents are summed.
    """
    tensors = []
    for x, operand in zip((x1, x2), plan.operands, strict=True):
        alone = x._layout.split is None and operand.layout.split is None
        meets = alone and plan.result.split is not None
        tensors.append(carrier(cast(varying(x) if meets else x._local, dtype)))
    return tensors


def product(t1: Tensor, t2: Tensor, sources: tuple[Layout, Layout], plan: Plan) -> Tensor:
    """Return this rank's shard of the product under ``plan.result``."""
    t1, t2 = (
        _moved(t, source, x.layout, plan)
        for t, source, x in zip((t1, t2), sources, plan.operands, strict=True)
    )
    return plan.algorithm(t1, t2, plan)


def _moved(t: Tensor, source: Layout, target: Layout, plan: Plan) -> Tensor:
    """Bring an operand to its layout.

    One that is gathered for a split result becomes each rank's own; one that was replicated before
    is that already.
    """
    if source.split is not None and target.split is None and plan.result.split is not None:
        return gather(t, source, varying=True)
    return move(t, source, target)


def _accumulator(t: Tensor) -> Tensor:
    """Return partial sums in the dtype in which they are added: float32 for half precisions."""
    return t.float() if t.dtype in HALVES else t


def _local(t1: Tensor, t2: Tensor, plan: Plan) -> Tensor:
    return multiply(t1, t2)


def _allreduce(t1: Tensor, t2: Tensor, plan: Plan) -> Tensor:
    partial = _accumulator(multiply(t1, t2))
    return cast(preduce(partial, "sum", plan.result.comm), t1.dtype)


def _reduce_scatter(t1: Tensor, t2: Tensor, plan: Plan) -> Tensor:
    """Sum partial products block by block; each block goes once round the ring.

    The block of the result that rank r keeps starts at rank r + 1; every rank adds its own
    part when the block comes by, so that no rank holds more than two blocks.
    """
    result = plan.result
    comm, axis = result.comm, result.split
    assert axis is not None
    total = None
    for step in range(comm.size):
        block = (comm.rank - 1 - step) % comm.size
        parts = [
            t if own is None else t.narrow(own, result.offsets[block], result.counts[block])
            for t, own in zip((t1, t2), (x.own(axis) for x in plan.operands), strict=True)
        ]
        partial = _accumulator(multiply(parts[0], parts[1]))
        if total is None:
            total = partial
        else:
            total = ring_shift(total, result.shape_of(block), comm) + partial
    assert total is not None
    return cast(total, t1.dtype)


def _rotate(t1: Tensor, t2: Tensor, plan: Plan) -> Tensor:
    """Multiply each shard of the moving operand into the result as it comes round the ring."""
    go, stay = plan.operands[plan.moving], plan.operands[1 - plan.moving]
    shard, still = (t2, t1) if plan.moving else (t1, t2)
    comm, axis, layout = go.layout.comm, go.axis, go.layout
    assert axis is not None
    along = stay.own(axis)
    summed = axis == CONTRACTED
    wide = torch.float32 if summed and t1.dtype in HALVES else t1.dtype
    make = torch.zeros if summed else torch.empty
    out = make(plan.result.local_shape, dtype=wide, device=t1.device)
    for step in range(comm.size):
        owner = (comm.rank - step) % comm.size
        start, count = layout.offsets[owner], layout.counts[owner]
        part = still if along is None else still.narrow(along, start, count)
        done = multiply(part, shard) if plan.moving else multiply(shard, part)
        if summed:
            out += done
        else:
            out.narrow(axis, start, count).copy_(done)
        if step + 1 < comm.size:
            shard = ring_shift(shard, layout.shape_of((owner - 1) % comm.size), comm)
    return cast(out, t1.dtype)


# ---------------------------------------------------------------------- execution: local products

_SYMMETRIC: Final = frozenset({torch.float32, torch.float64})
"""The dtypes for which computing one triangle of a symmetric product is faster."""

_WIDE: Final = 16
"""The number of rows of the product from which that is faster."""

_LARGE: Final = 1 << 16
"""The number of elements of the matrix from which that is faster."""


def multiply(t1: Tensor, t2: Tensor) -> Tensor:
    """Multiply local stacks of matrices."""
    if t1.is_cuda and not (t1.is_floating_point() or t1.is_complex()):
        return multiply(t1.cpu(), t2.cpu()).to(t1.device)  # torch has no such CUDA kernel
    if t1.ndim > 2 and t2.ndim > 2 and t1.shape[:-2] != t2.shape[:-2]:
        # torch.matmul would copy each operand once for every matrix of the other's stack.
        return torch.einsum("...ij,...jk->...ik", t1, t2)
    return _gram(t1, t2) if _is_gram(t1, t2) else torch.matmul(t1, t2)


def _is_gram(t1: Tensor, t2: Tensor) -> bool:
    """Return whether the product is that of a large matrix and its own transpose."""
    return (
        t1.numel() >= _LARGE
        and t1.ndim == t2.ndim == 2
        and t1.shape[0] >= _WIDE
        and t1.dtype in _SYMMETRIC
        and t1.device.type == "cpu"
        and not (capturing() or assumed() or tracked(t1) or tracked(t2))
        and t1.data_ptr() == t2.data_ptr()
        and (t1.shape, t1.stride()) == (t2.mT.shape, t2.mT.stride())
        and (t1.is_contiguous() or t2.is_contiguous())
    )


def _gram(t1: Tensor, t2: Tensor) -> Tensor:
    """Multiply by NumPy, which computes one triangle (BLAS's syrk); torch has no such kernel."""
    with _blas().limit(limits=torch.get_num_threads(), user_api="blas"):
        return torch.from_numpy(np.matmul(t1.numpy(), t2.numpy()))


@cache
def _blas() -> ThreadpoolController:
    """Return the control of the threads of NumPy's BLAS, which takes all cores on every rank."""
    return ThreadpoolController()
