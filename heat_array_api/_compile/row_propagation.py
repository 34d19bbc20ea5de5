"""Which operations of a graph work on each row by itself, and which combine all rows.

The rows are those along the first axis of a graph's greatest input. A value that has a part
for each of them is known by where that axis is in it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

__all__ = [
    "MAX",
    "MIN",
    "PRODUCTS",
    "SUM",
    "VIEWS",
    "axis_of_rows",
    "combination",
    "is_pointwise",
    "with_rows",
]


Axes = Mapping[fx.Node, int]


Rule = Callable[[fx.Node, Axes], int | None]


_aten: Any = torch.ops.aten


SUM, MAX, MIN = "sum", "max", "min"
"""How the results of two parts of the rows become that of both."""


VIEWS = (
    *(_aten.unsqueeze.default, _aten.permute.default, _aten.t.default, _aten.transpose.int),
    *(_aten.expand.default, _aten.view.default, _aten.slice.Tensor, _aten.select.int),
    *(_aten.detach.default, _aten.alias.default, _aten.full.default),
)
"""Operations that cost nothing to make again; a constant is one."""


PRODUCTS = (_aten.mm.default, _aten.mv.default, _aten.bmm.default, _aten.dot.default)


def _value(node: fx.Node) -> Tensor:
    value: Any = node.meta["val"]
    first: Tensor = value[0] if isinstance(value, (tuple, list)) else value
    return first


def _args(node: fx.Node) -> tuple[Any, ...]:
    return node.args


# ---------------------------------------------------------------------- each row by itself


def _pointwise(node: fx.Node, axes: Axes) -> int | None:
    """Operands are aligned at their last axes; one without rows is the same for all of them."""
    places = {axes[x] - _value(x).ndim for x in node.all_input_nodes if x in axes}
    if len(places) != 1:
        return None
    place = places.pop()
    for x in node.all_input_nodes:
        shape = _value(x).shape
        if x not in axes and len(shape) >= -place and shape[place] != 1:
            return None
    return _value(node).ndim + place


def _same(node: fx.Node, axes: Axes) -> int | None:
    return axes.get(_args(node)[0])


def _unsqueeze(node: fx.Node, axes: Axes) -> int | None:
    x, dim = _args(node)
    axis = axes.get(x)
    return None if axis is None else axis + (dim % _value(node).ndim <= axis)


def _permute(node: fx.Node, axes: Axes) -> int | None:
    x, dims = _args(node)
    axis, ndim = axes.get(x), _value(node).ndim
    return None if axis is None else [dim % ndim for dim in dims].index(axis)


def _t(node: fx.Node, axes: Axes) -> int | None:
    axis = axes.get(_args(node)[0])
    return None if axis is None else _value(node).ndim - 1 - axis


def _transpose(node: fx.Node, axes: Axes) -> int | None:
    x, a, b = _args(node)
    axis, ndim = axes.get(x), _value(node).ndim
    return None if axis is None else {a % ndim: b % ndim, b % ndim: a % ndim}.get(axis, axis)


def _expand(node: fx.Node, axes: Axes) -> int | None:
    x = _args(node)[0]
    axis = axes.get(x)
    return None if axis is None else axis + _value(node).ndim - _value(x).ndim


def _view(node: fx.Node, axes: Axes) -> int | None:
    """The axis of the rows stays one of its own, with as many elements before it."""
    x = _args(node)[0]
    axis = axes.get(x)
    if axis is None:
        return None
    shape, before = _value(x).shape, math.prod(_value(x).shape[:axis])
    found = _value(node).shape
    for place, n in enumerate(found):
        if n == shape[axis] and math.prod(found[:place]) == before:
            return place
    return None


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


def _reduced(node: fx.Node, axes: Axes) -> int | None:
    axis = axes.get(_args(node)[0])
    return None if axis is None else _without(axis, *_dims(node))


def _along(node: fx.Node, axes: Axes) -> int | None:
    """An operation along another axis that keeps the shape."""
    x, dim, *_ = _args(node)
    axis = axes.get(x)
    return None if axis is None or dim % _value(x).ndim == axis else axis


def _select(node: fx.Node, axes: Axes) -> int | None:
    x, dim, _ = _args(node)
    axis = axes.get(x)
    return None if axis is None else _without(axis, [dim % _value(x).ndim], False)


def _slice(node: fx.Node, axes: Axes) -> int | None:
    """A part of another axis, or all rows."""
    x, dim = (*_args(node), 0)[:2]
    axis = axes.get(x)
    if axis is None or (dim % _value(x).ndim == axis and _value(x).shape != _value(node).shape):
        return None
    return axis


def _cat(node: fx.Node, axes: Axes) -> int | None:
    """Beside each other, not one after the other."""
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


def _sums_products(node: fx.Node, axes: Axes) -> bool:
    """Return whether the rows are what a product sums over."""
    a, b = _args(node)
    place = max(_value(b).ndim - 2, 0)
    return axes.get(a) == _value(a).ndim - 1 and axes.get(b) == place


_RULES: dict[Any, Rule] = {
    **dict.fromkeys(PRODUCTS, _product),
    operator.getitem: _same,
    _aten.unsqueeze.default: _unsqueeze,
    _aten.permute.default: _permute,
    _aten.t.default: _t,
    _aten.transpose.int: _transpose,
    _aten.expand.default: _expand,
    _aten.select.int: _select,
    _aten.slice.Tensor: _slice,
    _aten.cat.default: _cat,
    **dict.fromkeys((_aten.view.default, _aten._unsafe_view.default), _view),
    **dict.fromkeys(
        (
            *(_aten.detach.default, _aten.alias.default, _aten.clone.default),
            *(_aten._to_copy.default, _aten._conj.default),
            *(_aten.view_as_real.default, _aten.view_as_complex.default),
        ),
        _same,
    ),
    **dict.fromkeys(
        (
            *(_aten.sum.dim_IntList, _aten.mean.dim, _aten.prod.dim_int, _aten.logsumexp.default),
            *(_aten.amax.default, _aten.amin.default, _aten.max.dim, _aten.min.dim),
            *(_aten.argmax.default, _aten.argmin.default, _aten.any.dim, _aten.all.dim),
        ),
        _reduced,
    ),
    **dict.fromkeys(
        (_aten._softmax.default, _aten._log_softmax.default, _aten.cumsum.default), _along
    ),
}


# Which of their arguments is the shape of the result.
_SHAPES = {_aten.view.default: 1, _aten._unsafe_view.default: 1, _aten.expand.default: 1}


_SHAPES |= {_aten.full.default: 0}


def is_pointwise(target: Any) -> bool:
    """Return whether an operator works on each element by itself."""
    tags = getattr(target, "tags", ())
    return torch.Tag.pointwise in tags and torch.Tag.nondeterministic_seeded not in tags


def axis_of_rows(node: fx.Node, axes: Axes, n: int) -> int | None:
    """Return where the rows are in the result of an operation on each row by itself.

    Parameters
    ----------
    node : torch.fx.Node
    axes : mapping
        Where they are in the values before it that have any.
    n : int
        How many there are.

    Returns
    -------
    int or None
        None: it has none, or works on several together.
    """
    if not any(x in axes for x in node.all_input_nodes):
        # The same value in each row.
        if node.target not in (_aten.full.default, _aten.expand.default):
            return None
        x, shape = (*node.all_input_nodes, None)[0], _value(node).shape
        grown = x is None or _value(x).ndim < len(shape) or _value(x).shape[0] == 1
        return 0 if grown and len(shape) and shape[0] == n else None
    if node.target in _RULES:
        return _RULES[node.target](node, axes)
    return _pointwise(node, axes) if is_pointwise(node.target) else None


def with_rows(node: fx.Node, axis: int, n: int) -> tuple[Any, ...]:
    """Return the arguments of an operation on each row by itself, for `n` rows."""
    args = list(_args(node))
    if node.target in _SHAPES:
        place = _SHAPES[node.target]
        shape = list(args[place])
        shape[axis] = n
        args[place] = shape
    return tuple(args)


# ---------------------------------------------------------------------- all rows


def combination(node: fx.Node, axes: Axes) -> str | None:
    """Return how an operation's results on parts of the rows are combined; None: they cannot be."""
    target = node.target
    if _value(node).dtype in (torch.float16, torch.bfloat16):  # parts would be rounded
        return None
    if target in PRODUCTS:
        return SUM if _sums_products(node, axes) else None
    how = {
        _aten.sum.default: SUM,
        _aten.sum.dim_IntList: SUM,
        _aten.amax.default: MAX,
        _aten.amin.default: MIN,
    }.get(target)
    if how is None or _args(node)[0] not in axes:
        return None
    if target is not _aten.sum.default and axes[_args(node)[0]] not in _dims(node)[0]:
        return None
    return how
