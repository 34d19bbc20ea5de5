"""Row propagation: where a graph's operations work row by row, and where they combine all rows.

The rows are those along the first axis of the graph's greatest input. For every value that has
one part for each row, `axis_of_rows` finds the axis along which the rows lie. The rules for torch's
operators are the two tables `_OF_ONE_OPERAND` and `_OF_SEVERAL_OPERANDS`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from .._core.dtypes import HALVES

Axes = Mapping[fx.Node, int]
Combine = Callable[..., Tensor]

aten: Any = torch.ops.aten

VIEWS = (
    *(aten.unsqueeze.default, aten.permute.default, aten.t.default, aten.transpose.int),
    *(aten.expand.default, aten.view.default, aten.slice.Tensor, aten.select.int),
    *(aten.detach.default, aten.alias.default, aten.full.default),
)
"""Operations that are cheap to repeat: views and constants."""

PRODUCTS = (aten.mm.default, aten.mv.default, aten.bmm.default, aten.dot.default)


def _value(node: fx.Node) -> Tensor:
    value: Any = node.meta["val"]
    first: Tensor = value[0] if isinstance(value, (tuple, list)) else value
    return first


def _args(node: fx.Node) -> tuple[Any, ...]:
    return node.args


# ---------------------------------------------------------------------- of one operand

# Each rule returns the axis of the rows in the result, given that in the first argument; None if
# the operation works on several rows together.


def _kept_axis(node: fx.Node, axis: int) -> int:
    """Elementwise, or the same shape: the rows stay where they are."""
    return axis


def _inserted_axis(node: fx.Node, axis: int) -> int:
    """`unsqueeze`: an axis inserted before the rows moves them by one."""
    place: int = _args(node)[1] % _value(node).ndim
    return axis + (place <= axis)


def _permuted_axes(node: fx.Node, axis: int) -> int:
    """`permute`: the rows go where the permutation takes their axis."""
    dims: list[int] = [dim % _value(node).ndim for dim in _args(node)[1]]
    return dims.index(axis)


def _reversed_axes(node: fx.Node, axis: int) -> int:
    """`t`: the axes in reverse order."""
    return _value(node).ndim - 1 - axis


def _swapped_axes(node: fx.Node, axis: int) -> int:
    """`transpose`: two axes change places."""
    a, b = (int(dim) % _value(node).ndim for dim in _args(node)[1:])
    return {a: b, b: a}.get(axis, axis)


def _leading_axes(node: fx.Node, axis: int) -> int:
    """`expand`: new axes come before all others."""
    return axis + _value(node).ndim - _value(_args(node)[0]).ndim


def _reshaped_around(node: fx.Node, axis: int) -> int | None:
    """`view`: the rows keep an axis of their own, with as many elements before it."""
    shape, found = _value(_args(node)[0]).shape, _value(node).shape
    before = math.prod(shape[:axis])
    for place, n in enumerate(found):
        if n == shape[axis] and math.prod(found[:place]) == before:
            return place
    return None


def _reduced_axes(node: fx.Node, axis: int) -> int | None:
    """Reductions over axes other than that of the rows."""
    return _without(axis, *_dims(node))


def _along_another_axis(node: fx.Node, axis: int) -> int | None:
    """Softmax and cumulative sums along an axis other than that of the rows."""
    x, dim, *_ = _args(node)
    return None if dim % _value(x).ndim == axis else axis


def _selected_position(node: fx.Node, axis: int) -> int | None:
    """`select`: one position of another axis."""
    x, dim, _ = _args(node)
    return _without(axis, [dim % _value(x).ndim], False)


def _sliced_axis(node: fx.Node, axis: int) -> int | None:
    """`slice`: a part of another axis, or all rows."""
    x, dim = (*_args(node), 0)[:2]
    all_rows = _value(x).shape == _value(node).shape
    return axis if all_rows or dim % _value(x).ndim != axis else None


def _without(axis: int, dims: Sequence[int], kept: bool) -> int | None:
    """Return where an axis is after a reduction over others."""
    if axis in dims:
        return None
    return axis if kept else axis - sum(dim < axis for dim in dims)


def _dims(node: fx.Node) -> tuple[list[int], bool]:
    """Return over which axes a node reduces, and whether they stay with length 1."""
    x, *rest = _args(node)
    ndim = _value(x).ndim
    dim: Any = rest[0] if rest else node.kwargs.get("dim")
    kept = bool(rest[1] if len(rest) > 1 else node.kwargs.get("keepdim", False))
    if dim is None or dim == []:
        return list(range(ndim)), kept
    dims = [dim] if isinstance(dim, int) else list(dim)
    return [d % max(ndim, 1) for d in dims], kept


_OF_ONE_OPERAND: dict[Any, Callable[[fx.Node, int], int | None]] = {
    target: rule
    for rule, targets in (
        (_kept_axis, (operator.getitem, aten.detach.default, aten.alias.default)),
        (_kept_axis, (aten.clone.default, aten._to_copy.default, aten._conj.default)),
        (_kept_axis, (aten.view_as_real.default, aten.view_as_complex.default)),
        (_inserted_axis, (aten.unsqueeze.default,)),
        (_permuted_axes, (aten.permute.default,)),
        (_reversed_axes, (aten.t.default,)),
        (_swapped_axes, (aten.transpose.int,)),
        (_leading_axes, (aten.expand.default,)),
        (_reshaped_around, (aten.view.default, aten._unsafe_view.default)),
        (_selected_position, (aten.select.int,)),
        (_sliced_axis, (aten.slice.Tensor,)),
        (_reduced_axes, (aten.sum.dim_IntList, aten.mean.dim, aten.prod.dim_int)),
        (_reduced_axes, (aten.amax.default, aten.amin.default, aten.max.dim, aten.min.dim)),
        (_reduced_axes, (aten.argmax.default, aten.argmin.default, aten.any.dim)),
        (_reduced_axes, (aten.all.dim, aten.logsumexp.default)),
        (_along_another_axis, (aten._softmax.default, aten._log_softmax.default)),
        (_along_another_axis, (aten.cumsum.default,)),
    )
    for target in targets
}


# ---------------------------------------------------------------------- of several operands


def _aligned_operands(node: fx.Node, axes: Axes) -> int | None:
    """Pointwise: operands align at their last axes; those without rows broadcast along them."""
    places = {axes[x] - _value(x).ndim for x in node.all_input_nodes if x in axes}
    if len(places) != 1:
        return None
    place = places.pop()
    for x in node.all_input_nodes:
        shape = _value(x).shape
        if x not in axes and len(shape) >= -place and shape[place] != 1:
            return None
    return _value(node).ndim + place


def _joined_side_by_side(node: fx.Node, axes: Axes) -> int | None:
    """`cat` along an axis other than that of the rows."""
    tensors, dim = (*_args(node), 0)[:2]
    found = {axes.get(x) for x in tensors}
    axis = found.pop()
    return None if found or axis is None or dim % _value(node).ndim == axis else axis


def _product(node: fx.Node, axes: Axes) -> int | None:
    """Rows of the first operand, columns of the second, or a stack along the rows."""
    a, b = _args(node)
    ndim = _value(a).ndim
    if axes.get(a) == 0 and axes.get(b) == 0 and ndim == 3:
        return 0
    if ndim > 1 and axes.get(a) == ndim - 2 and b not in axes:
        return ndim - 2
    if ndim == _value(b).ndim > 1 and axes.get(b) == ndim - 1 and a not in axes:
        return ndim - 1
    return None


_OF_SEVERAL_OPERANDS: dict[Any, Callable[[fx.Node, Axes], int | None]] = {
    **dict.fromkeys(PRODUCTS, _product),
    aten.cat.default: _joined_side_by_side,
}
"""Pointwise operators are in neither table: they follow `_aligned_operands`."""

_SHAPE_ARGUMENT = {
    aten.full.default: 0,
    aten.view.default: 1,
    aten._unsafe_view.default: 1,
    aten.expand.default: 1,
}
"""The position of the argument that is the shape of the result."""


def is_pointwise(target: Any) -> bool:
    """Return whether an operator works on each element by itself."""
    tags = getattr(target, "tags", ())
    return torch.Tag.pointwise in tags and torch.Tag.nondeterministic_seeded not in tags


def axis_of_rows(node: fx.Node, axes: Axes, n: int) -> int | None:
    """Return the axis of the `n` rows in the result of an operation that works row by row.

    `axes` has the axis of the rows in each earlier value. None: the result has no rows, or the
    operation works on several rows together.
    """
    if not any(x in axes for x in node.all_input_nodes):
        return 0 if _repeats_one_value(node, n) else None
    if node.target in _OF_ONE_OPERAND:
        axis = axes.get(_args(node)[0])
        return None if axis is None else _OF_ONE_OPERAND[node.target](node, axis)
    if node.target in _OF_SEVERAL_OPERANDS:
        return _OF_SEVERAL_OPERANDS[node.target](node, axes)
    return _aligned_operands(node, axes) if is_pointwise(node.target) else None


def _repeats_one_value(node: fx.Node, n: int) -> bool:
    """Return whether a constant or an expanded value is the same in each of `n` rows."""
    if node.target not in (aten.full.default, aten.expand.default):
        return False
    x, shape = (*node.all_input_nodes, None)[0], _value(node).shape
    grown = x is None or _value(x).ndim < len(shape) or _value(x).shape[0] == 1
    return grown and len(shape) > 0 and shape[0] == n


def with_rows(node: fx.Node, axis: int, n: int) -> tuple[Any, ...]:
    """Return the arguments of an operation that works row by row, for a tile of `n` rows."""
    args = list(_args(node))
    if node.target in _SHAPE_ARGUMENT:
        place = _SHAPE_ARGUMENT[node.target]
        shape = list(args[place])
        shape[axis] = n
        args[place] = shape
    return tuple(args)


# ---------------------------------------------------------------------- all rows


_REDUCTIONS: dict[Any, Combine] = {
    aten.sum.default: torch.add,
    aten.sum.dim_IntList: torch.add,
    aten.amax.default: torch.maximum,
    aten.amin.default: torch.minimum,
}


def combination(node: fx.Node, axes: Axes) -> Combine | None:
    """Return what combines an operation's results for two parts of the rows; None if nothing."""
    target = node.target
    if _value(node).dtype in HALVES:  # each part would be rounded
        return None
    if target in PRODUCTS:
        return torch.add if _sums_products(node, axes) else None
    how = _REDUCTIONS.get(target)
    if how is None or _args(node)[0] not in axes:
        return None
    if target is not aten.sum.default and axes[_args(node)[0]] not in _dims(node)[0]:
        return None
    return how


def _sums_products(node: fx.Node, axes: Axes) -> bool:
    """Return whether a product sums over the rows."""
    a, b = _args(node)
    return axes.get(a) == _value(a).ndim - 1 and axes.get(b) == max(_value(b).ndim - 2, 0)
