"""The lifts: how a local torch kernel becomes a function of distributed arrays.

Every lift promotes the dtypes, aligns the layouts, runs the kernel on the shards and combines the
ranks' results. Each begins with the fast path: operands that need no alignment go straight
to the kernel. For uint16, uint32 and uint64 the kernel is NumPy's function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._caching import cached
from .._comm.alike import check_alike
from .._comm.debug import DEBUG
from .._comm.division import Division
from .arguments import allocation_error, as_flag
from .array import Array, check_array, common_communicator
from .collectives import gather, preduce, pvary
from .dtypes import (
    COMPLEX,
    FLOATING,
    INTEGER,
    INTEGER_OR_BOOL,
    REAL_FLOATING,
    WIDE_UNSIGNED,
    Kind,
    check_unmasked,
    default_float,
    from_numpy,
    limits,
    numpy_kernel,
    promote,
    promote_scalar,
    to_numpy_dtype,
    to_torch_dtype,
)
from .layout import Axis, Layout, Shape, normalize_axes
from .redistribute import move, redistribute
from .tape import noted, replaced, tracked, transforming

__all__ = [
    "Kernel",
    "Operand",
    "ReductionPlan",
    "Scalar",
    "align",
    "aligned",
    "as_floating",
    "as_operands",
    "binary",
    "broadcast_shape",
    "cast",
    "elementwise",
    "filled",
    "numpy_kernel",
    "plan_reduction",
    "reduction",
    "spread_reduction",
    "unary",
    "varying",
]

# Beside half precision, torch's kernels round a Python number to single precision only. In debug
# mode all numbers take the general path, which compares them over the ranks.
_TAKES_SCALARS = frozenset(() if DEBUG else {torch.float32, torch.float64})

# Python integers that torch's kernels take.
_WORD = 2**63
Scalar = bool | int | float | complex
Operand = Array | Scalar
Kernel = Callable[..., Tensor]


# ---------------------------------------------------------------------- arguments


def as_floating(func: str, x: Array, name: str = "x", kind: Kind = FLOATING) -> Array:
    """Return `x` if its dtype is of `kind`; integers and booleans in the default real dtype."""
    if check_array(func, name, x)._local.dtype in INTEGER_OR_BOOL.all:
        return Array(x._local.to(default_float()), x._layout)
    return check_array(func, name, x, kind)


def broadcast_shape(func: str, *shapes: Shape) -> Shape:
    """Return the shape that `shapes` broadcast to (the standard, "Broadcasting")."""
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        listed = ", ".join(str(shape) for shape in shapes)
        raise ValueError(f"{func}: shapes {listed} do not broadcast together") from None


def cast(t: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `t` as `dtype`: `t` itself if it has that dtype."""
    return t if t.dtype is dtype else t.to(dtype)


def filled(
    func: str, shape: Shape, value: Scalar, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return a tensor full of `value`; an integer that does not fit the dtype raises."""
    if not isinstance(value, (bool, int, float, complex)):
        raise TypeError(f"{func}: the value is {type(value).__name__}; expected a number")
    if isinstance(value, complex) and dtype not in COMPLEX.all and dtype is not torch.bool:
        raise TypeError(f"{func}: cannot store {value} in dtype {to_numpy_dtype(dtype)}")
    if dtype in INTEGER_OR_BOOL.all and dtype is not torch.bool:
        if not _fits(value, dtype):
            raise OverflowError(f"{func}: {value} does not fit {to_numpy_dtype(dtype)}")
        value = int(value.real)
        if dtype in WIDE_UNSIGNED:  # torch's fill takes no integer above int64's
            one = torch.from_numpy(np.asarray(value, to_numpy_dtype(dtype))).to(device)
            return one.expand(shape).contiguous()
    elif isinstance(value, int) and value.bit_length() > 1023:
        raise OverflowError(f"{func}: an integer of {value.bit_length()} bits does not fit a float")
    if not shape:
        return torch.tensor(value, dtype=dtype, device=device)
    if dtype not in INTEGER_OR_BOOL.all:  # torch.full refuses what overflows to infinity
        value = torch.tensor(value, dtype=dtype).item()
    try:
        return torch.full(shape, value, dtype=dtype, device=device)
    except RuntimeError as error:
        raise allocation_error(func, error) from None


def _fits(value: Scalar, dtype: torch.dtype) -> bool:
    """Return whether a real number, rounded towards 0, fits an integer dtype."""
    least, greatest = limits(dtype)
    finite = isinstance(value, int) or math.isfinite(value.real)
    return finite and bool(least <= int(value.real) <= greatest)


def as_operands(
    func: str, *values: Any, names: Sequence[str] | None = None, compares: bool = False
) -> list[Array]:
    """Return the operands as arrays.

    Python and NumPy scalars become 0-d, NumPy arrays replicated.
    A scalar takes the dtype that the standard gives it beside the arrays. An integer that does not
    fit it raises, unless the function `compares`: then infinity stands for it, which is as great.
    At least one operand must be an Array.
    """
    arrays = [value for value in values if isinstance(value, Array)]
    if not arrays:
        raise TypeError(f"{func}: expected at least one array, got {_types(values)}")
    comm = common_communicator(func, *arrays)
    if DEBUG and len(arrays) < len(values):
        check_alike(comm, **_others(values, names))
    device = arrays[0]._local.device
    strong = [value._local.dtype for value in arrays]
    strong += [to_torch_dtype(v.dtype, func) for v in values if isinstance(v, np.ndarray)]
    base = strong[0]
    for dtype in strong[1:]:
        base = promote(base, dtype)
    operands = []
    for i, value in enumerate(values):
        if isinstance(value, Array):
            operands.append(value)
            continue
        if isinstance(value, np.generic) and value.dtype.kind not in "mM":
            value = value.item()  # a time's may be an integer
        if isinstance(value, np.ndarray):
            _check_plain(func, names[i] if names else f"x{i + 1}", value)
            local = from_numpy(func, value).to(device)
        elif isinstance(value, (bool, int, float, complex)):
            dtype = promote_scalar(base, value)
            if compares and dtype in INTEGER.all and not _fits(value, dtype):
                value, dtype = (math.inf if value.real > 0 else -math.inf), torch.float64
            local = filled(func, (), value, dtype, device)
        else:
            name = names[i] if names else f"x{i + 1}"
            raise TypeError(
                f"{func}: {name} is {type(value).__name__}; expected an array or a Python scalar"
            )
        operands.append(Array(local, Layout.replicated(tuple(local.shape), comm)))
    return operands


def _others(values: Sequence[Any], names: Sequence[str] | None) -> dict[str, Any]:
    """Return the operands that are no Arrays, by their names."""
    return {
        names[i] if names else f"x{i + 1}": value
        for i, value in enumerate(values)
        if not isinstance(value, Array)
    }


def _check_plain(func: str, name: str, values: np.ndarray[Any, Any]) -> None:
    """Raise TypeError if an operand is of a subclass of `numpy.ndarray` with operators of its own.

    What those mean (a matrix product, a unit, a mask) would be lost.
    """
    if type(values) is np.ndarray or isinstance(values, np.memmap):
        return
    check_unmasked(func, values)
    raise TypeError(
        f"{func}: {name} is a {type(values).__name__}, whose operators differ from an array's; "
        f"pass numpy.asarray({name})"
    )


def _types(values: Sequence[object]) -> str:
    return ", ".join(type(value).__name__ for value in values)


# ---------------------------------------------------------------------- alignment


def align(func: str, *arrays: Array) -> tuple[list[Tensor], Layout]:
    """Bring operands to one layout: return their shards and the result's layout.

    The result takes the split and the counts of the operand with most bytes, on a tie those of the
    first; but shifted slices of equal size meet half way (`_meeting`). A replicated operand is
    sliced locally, a split one is redistributed by an all-to-all or exchange. An operand that lacks
    the split axis, or has length 1 there, is replicated: it is no bigger than a row of the result.
    """
    comm = common_communicator(func, *arrays)
    shape = broadcast_shape(func, *(x._layout.shape for x in arrays))
    ndim = len(shape)
    leader = None
    most = -1
    for x in arrays:
        split = x._layout.split
        if split is not None and x.shape[split] == shape[split + ndim - x.ndim] and x.nbytes > most:
            leader, most = x, x.nbytes
    if leader is None:
        return [x.full_tensor() for x in arrays], Layout.replicated(shape, comm)
    assert leader._layout.split is not None
    axis = leader._layout.split + ndim - leader.ndim
    division = leader._layout.division
    for x in arrays:
        if x.nbytes == most and (x.shape, x.split) == (leader.shape, leader.split):
            division = _meeting(leader._layout, x._layout)
    layout = Layout.of(shape, axis, division, comm)
    return [aligned(x, axis - ndim, layout) for x in arrays], layout


@cached
def _meeting(first: Layout, second: Layout) -> Division | None:
    """Return the division in which two operands of one shape and split meet.

    Shifted slices, as in ``x[:-2] + x[2:]``, move half the shift each: in all no more rows move
    than if one of them moved, and the result needs no message to meet ``x[1:-1]``.
    """
    one, other = first.division, second.division
    if one is None or other is None or one == other:
        return one
    shift = int(np.abs(one.offsets - other.offsets).max())
    if 4 * shift > min(int(one.lengths.min()), int(other.lengths.min())):
        return one
    return Division(one.offsets + (other.offsets - one.offsets + 1) // 2)


def aligned(x: Array, axis: int, layout: Layout) -> Tensor:
    """Return the shard of `x` that broadcasts against that of `layout` (`axis` negative)."""
    own = axis + x.ndim
    if own < 0 or (x.shape[own] == 1 and layout.shape[axis] != 1):
        return varying(x) if x._layout.split is None else gather(x._local, x._layout, varying=True)
    return move(x._local, x._layout, Layout.of(x.shape, own, layout.division, layout.comm))


def varying(x: Array) -> Tensor:
    """Return a replicated array as each rank's own tensor, for an operation with a split one.

    The array keeps that tensor until it is written to. So its cotangents are summed over the ranks
    once, however often the array is used.
    """
    t = x._local
    if x._layout.comm.size == 1 or not tracked(t):
        return t
    kept: tuple[Tensor, int, Tensor] | None = getattr(x, "_varying", None)
    if kept is not None and kept[0] is t and kept[1] == t._version and not transforming():
        return noted(kept[2])
    own = pvary(t, x._layout.comm)
    if not transforming():
        x._varying = (t, t._version, own)
    return own


# ---------------------------------------------------------------------- elementwise


def unary(func: str, kernel: Kernel, x: Array, kind: Kind, numpy_name: str | None = None) -> Array:
    """Apply a kernel element by element; the result has the layout of `x`. Sends nothing.

    `numpy_name`: see `elementwise`.
    """
    if type(x) is Array and x._local.dtype in kind.direct:
        return Array(kernel(x._local), x._layout)
    check_array(func, "x", x)
    t = x._local
    if kind in (FLOATING, REAL_FLOATING) and t.dtype in INTEGER_OR_BOOL.all:
        return Array(kernel(t.to(default_float())), x._layout)  # as NumPy: exp(2) is a float
    check_array(func, "x", x, kind)
    return Array(numpy_kernel(numpy_name or func, t), x._layout)


def binary(
    func: str,
    kernel: Kernel,
    x1: Operand,
    x2: Operand,
    kind: Kind,
    takes_scalar: bool = False,
    compares: bool = False,
    numpy_name: str | None = None,
) -> Array:
    """Apply a kernel of two operands element by element, with promotion and broadcasting.

    `takes_scalar` says that the kernel accepts a Python number as its second argument, with the
    result of a tensor of it; float32 and float64 are of `kind`, then.
    `compares`: see `as_operands`; `numpy_name`: see `elementwise`.

    Messages: none where the layouts are equal or one operand is replicated; else one
    all-to-all of the operand with fewer bytes.
    """
    if type(x1) is Array:
        t1 = x1._local
        if type(x2) is Array:
            t2 = x2._local
            if x1._layout is x2._layout and t1.dtype is t2.dtype and t1.dtype in kind.direct:
                return Array(kernel(t1, t2), x1._layout)
        elif (
            takes_scalar
            and t1.dtype in _TAKES_SCALARS
            and (type(x2) is float or (type(x2) is int and -_WORD <= x2 < _WORD))
        ):
            return Array(kernel(t1, x2), x1._layout)
    return elementwise(func, kernel, (x1, x2), kind, compares=compares, numpy_name=numpy_name)


def _common_dtype(given: Sequence[Any], arrays: Sequence[Array]) -> torch.dtype:
    """Return the dtype of an operation on `arrays`, made of the operands as `given`.

    With integer arrays a Python float or complex number gives the default dtype of its kind.
    """
    strong: list[torch.dtype] = []
    weak: list[torch.dtype] = []
    for value, x in zip(given, arrays, strict=True):
        (strong if isinstance(value, (Array, np.ndarray)) else weak).append(x._local.dtype)
    dtype: torch.dtype = reduce(promote, strong)
    for other in weak:
        lifts = dtype in INTEGER_OR_BOOL.all and other not in INTEGER_OR_BOOL.all
        dtype = other if lifts else promote(dtype, other)
    return dtype


def elementwise(
    func: str,
    kernel: Kernel,
    operands: Sequence[Any],
    kind: Kind,
    names: Sequence[str] | None = None,
    compares: bool = False,
    numpy_name: str | None = None,
) -> Array:
    """Apply a kernel of any number of operands element by element: the general path of `binary`.

    Errors name `func`; the kernel of uint16, uint32 and uint64 is NumPy's function `numpy_name`,
    by default the one called `func`.
    """
    arrays = as_operands(func, *operands, names=names, compares=compares)
    dtype = _common_dtype(operands, arrays)
    if kind in (FLOATING, REAL_FLOATING) and dtype in INTEGER_OR_BOOL.all:
        dtype = default_float()
    if dtype not in kind.all:
        given = ", ".join(str(x.dtype) for x in arrays)
        raise TypeError(f"{func}: got {given}; expected {kind.name} dtypes")
    tensors, layout = align(func, *arrays)
    tensors = [cast(t, dtype) for t in tensors]
    if dtype in WIDE_UNSIGNED:
        return Array(numpy_kernel(numpy_name or func, *tensors), layout)
    return Array(kernel(*tensors), layout)


# ---------------------------------------------------------------------- reductions


class ReductionPlan(NamedTuple):
    """How to reduce an array of some layout over some axes: from metadata alone, hence cached."""

    axes: Shape
    source: Layout  # of the operand while it is reduced
    result: Layout
    combines: bool  # whether the ranks' partial results must be combined
    keepdims: bool


@cached
def _plan_reduction(func: str, layout: Layout, axis: Axis, keepdims: bool) -> ReductionPlan:
    axes = normalize_axes(func, axis, layout.ndim)
    source = _spread(layout, axes)
    combines = source.split in axes and layout.comm.size > 1
    result = source.drop(*axes, keepdims=keepdims)
    return ReductionPlan(axes, source, result, combines, keepdims)


def _spread(layout: Layout, axes: Shape) -> Layout:
    """Return the layout in which reducing `axes` leaves no rank with more than its share.

    A reduction over the split axis leaves a replicated result. If that is bigger than one
    rank's share of the operand, the operand is first split along its longest kept axis, and the
    result is split too.
    """
    if layout.split is None or layout.split not in axes or layout.comm.size == 1:
        return layout
    size = math.prod(layout.drop(*axes).shape)
    if size <= 1 or size * layout.comm.size <= layout.size or not layout.nonempty:
        return layout
    return layout.split_off(axes)


def _is_tuple_of_ints(axis: Any) -> bool:
    return type(axis) is tuple and all(type(a) is int for a in axis)


def plan_reduction(func: str, layout: Layout, axis: Axis, keepdims: bool) -> ReductionPlan:
    """Return how to reduce an array of `layout` over `axis`; errors name `func`."""
    if axis is not None and type(axis) is not int and not _is_tuple_of_ints(axis):
        axis = normalize_axes(func, axis, layout.ndim)
    return _plan_reduction(func, layout, axis, as_flag(func, "keepdims", keepdims))


def spread_reduction(x: Array, axes: Shape) -> Array:
    """Return `x` in the layout in which reducing `axes` leaves no rank with more than its share."""
    return redistribute(x, _spread(x._layout, axes))


def reduction(
    func: str,
    kernel: Kernel,
    x: Array,
    axis: Axis,
    keepdims: bool,
    *,
    combine: str,
    identity: Scalar | None = None,
) -> Array:
    """Reduce axes by a local kernel, then combine the ranks' partial results.

    Parameters
    ----------
    kernel : callable
        ``kernel(tensor, axes, keepdims) -> tensor``.
    combine : {"sum", "prod", "max", "min"}
        How partial results of different ranks combine.
    identity : scalar, optional
        The partial result of an empty shard, for kernels that refuse one.

    Notes
    -----
    Messages: none if the split axis is kept; else one allreduce of the result, or, where
    the result is bigger than one rank's share of `x`, one all-to-all of `x`.
    """
    plan = plan_reduction(func, x._layout, axis, keepdims)
    t = x._local if plan.source is x._layout else move(x._local, x._layout, plan.source)
    if identity is not None and t.numel() == 0:
        partial = t.new_full(plan.result.local_shape, identity)
        if tracked(t):  # it must stay on the tape, as on the other ranks
            partial = partial + torch.sum(t, dim=plan.axes, keepdim=plan.keepdims)
    else:
        partial = kernel(t, plan.axes, plan.keepdims)
    if plan.combines:
        if combine != "sum" and tracked(partial):
            partial = _combine_tracked(t, partial, plan, combine)
        else:
            partial = preduce(partial, combine, plan.result.comm)
    return Array(partial, plan.result)


def _combine_tracked(t: Tensor, partial: Tensor, plan: ReductionPlan, combine: str) -> Tensor:
    """Combine the ranks' products or extrema, differentiably.

    Partial products are gathered and multiplied, so that torch's rule for zeros holds. The
    cotangent of an extremum is shared evenly by all elements that attain it, on any rank.
    """
    comm = plan.result.comm
    if combine == "prod":
        shape = (comm.size, *partial.shape)
        everyone = gather(partial[None], Layout.balanced(shape, 0, comm))
        return torch.prod(everyone, dim=0)
    extremum = preduce(partial.detach(), combine, comm)
    kept = tuple(1 if i in plan.axes else n for i, n in enumerate(t.shape))
    attained = extremum.reshape(kept)
    mask = (t.detach() == attained) | (torch.isnan(t.detach()) & torch.isnan(attained))
    count = preduce(torch.sum(mask, dim=plan.axes, keepdim=True), "sum", comm)
    shares = torch.where(mask, t, torch.zeros((), dtype=t.dtype, device=t.device)) / count
    mean = preduce(torch.sum(shares, dim=plan.axes), "sum", comm).reshape(extremum.shape)
    return replaced(mean, extremum)
