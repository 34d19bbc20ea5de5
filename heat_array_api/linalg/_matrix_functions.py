"""Parts, products, norms and powers of matrices (the standard's linalg extension).

Nearly all are composites of other functions of the namespace, whose layouts and messages they
have. Helpers take the name of the function that the user called, so that errors name it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from .._autograd import differentiable
from .._comm.recording import breaks
from .._core.arguments import as_flag, as_int, as_real
from .._core.array import Array, check_array
from .._core.dtypes import ANY, COMPLEX, INTEGER_OR_BOOL, NUMERIC, check_conversion, to_torch_dtype
from .._core.kernels import root_of_sum
from .._core.layout import Layout, Shape, normalize_axes, normalize_axis
from .._core.lift import as_floating, as_operands, broadcast_shape
from .._core.redistribute import redistribute
from .._core.tape import tracked
from .._creation import eye
from .._data_type import astype, finfo
from .._elementwise import abs as absolute
from .._elementwise import conj, divide, greater, multiply, square, subtract
from .._errors import shown
from .._linalg import matmul, matrix_transpose, of_masks
from .._manipulation import expand_dims, stack
from .._reshape import broadcast_to
from .._searching import where
from .._statistical import max as max_
from .._statistical import min as min_
from .._statistical import sum as sum_
from ._batched import as_lapack, as_matrices, check_matrices, documented, hermitian
from ._solve import inverse
from ._spectral import singular_values, svd_for

__all__ = [
    "cross",
    "diagonal",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "outer",
    "pinv",
    "trace",
    "vector_norm",
]

Order = int | float | Literal["fro", "nuc"] | None


# ---------------------------------------------------------------------- parts and products


@documented
def diagonal(x: Array, /, *, offset: int = 0) -> Array:
    """Return the diagonals of matrices (the standard: "Linear Algebra Extension", diagonal).

    {parts}
    offset : int
        Above (positive) or below (negative) the main diagonal.

    Returns
    -------
    Array
        Shape ``(..., L)``, L the length of the diagonal; split along it if the matrices are split
        (each rank keeps what its rows or columns hold), else as `x`. Sends nothing.

    {parts_errors}
    >>> print(xp.linalg.diagonal(xp.reshape(xp.arange(9, split=0), (3, 3))))
    [0 4 8]
    """
    return _diagonal("diagonal", x, offset)


def _diagonal(func: str, x: Array, offset: int) -> Array:
    check_array(func, "x", x, ANY)
    if x.ndim < 2:
        raise ValueError(f"{func}: x has shape {x.shape}; expected two axes or more")
    layout = x._layout
    m, n = layout.shape[-2:]
    offset = max(-m, min(n, as_int(func, "offset", offset)))  # just outside, if it is beyond that
    first, last = max(0, -offset), min(m, n - offset)  # rows of the diagonal
    shape = (*layout.shape[:-2], max(last - first, 0))
    split = layout.split
    start = 0
    if split is None or split < x.ndim - 2:
        target = layout.with_shape(shape, split)
    else:
        by_rows = split == x.ndim - 2
        assert layout.division is not None
        shift = 0 if by_rows else -offset
        rows = layout.division.map(lambda ends: np.clip(ends + shift, first, max(first, last)))
        target = Layout.of(shape, x.ndim - 2, rows, layout.comm)
        start = layout.start if by_rows else -layout.start
    parts = torch.diagonal(x._local, offset=offset + start, dim1=-2, dim2=-1)
    return Array(parts, target)


@documented
def trace(x: Array, /, *, offset: int = 0, dtype: Any = None) -> Array:
    """Return the sums of the diagonals of matrices ("Linear Algebra Extension", trace).

    {parts}
    offset : int
        Above (positive) or below (negative) the main diagonal.
    dtype : dtype, optional
        Of the result; the default is that of `sum`.

    Returns
    -------
    Array
        Shape ``(...)``. One allreduce of the result if the matrices are split, else sends nothing.

    {parts_errors}
    >>> print(xp.linalg.trace(xp.reshape(xp.arange(9, split=0), (3, 3))))
    12
    """
    check_array("trace", "x", x, NUMERIC)
    if dtype is not None:
        check_conversion("trace", x._local.dtype, to_torch_dtype(dtype, "trace"))
    return sum_(_diagonal("trace", x, offset), axis=-1, dtype=dtype)


@documented
def outer(x1: Array, x2: Array, /) -> Array:
    """Return the products of all pairs of elements of two vectors (the standard: outer).

    Parameters
    ----------
    x1, x2 : Array
        Shapes ``(M,)`` and ``(N,)``, any layout; dtypes numeric.

    Returns
    -------
    Array
        Shape ``(M, N)``, split along the axis of the split operand; if both are split, of the one
        with more bytes, and the other is gathered (one allgather). Else sends nothing.

    {products_errors}
    >>> print(xp.linalg.outer(xp.arange(3, split=0), xp.asarray([1, 10])))
    [[ 0  0]
     [ 1 10]
     [ 2 20]]
    """
    x1, x2 = as_operands("outer", x1, x2)
    for name, x in (("x1", x1), ("x2", x2)):
        if x.ndim != 1:
            raise ValueError(f"outer: {name} has shape {x.shape}; expected a vector")
    return of_masks(
        lambda x1, x2: multiply(expand_dims(x1, axis=1), expand_dims(x2, axis=0)), x1, x2
    )


@documented
def cross(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Return the cross products of 3-vectors (the standard: "Linear Algebra Extension", cross).

    Parameters
    ----------
    x1, x2 : Array
        Any layout; dtypes numeric; of length 3 along `axis`, broadcast together.
    axis : int
        The axis of the vectors in both operands; negative if they differ in their number of axes.

    Returns
    -------
    Array
        The broadcast shape; layout and messages as for `multiply`. An operand that is split along
        `axis` is first split along its longest other axis (one all-to-all), or replicated if it has
        none.

    {products_errors}
    >>> print(xp.linalg.cross(xp.asarray([[1, 0, 0], [0, 1, 0]], split=0), xp.asarray([0, 1, 0])))
    [[0 0 1]
     [0 0 0]]
    """
    x1, x2 = as_operands("cross", x1, x2)
    axis = as_int("cross", "axis", axis)
    if axis >= 0 and x1.ndim != x2.ndim:
        raise ValueError(
            f"cross: axis is {axis}, but x1 and x2 have {x1.ndim} and {x2.ndim} axes; count it "
            "from the end"
        )
    for name, x in (("x1", x1), ("x2", x2)):
        check_array("cross", name, x, NUMERIC)
        own = normalize_axis("cross", axis, x.ndim)
        if x.shape[own] != 3:
            raise ValueError(
                f"cross: {name} has shape {x.shape}; expected length 3 along axis {axis}"
            )
    broadcast_shape("cross", x1.shape, x2.shape)
    place = axis if axis < 0 else axis - x1.ndim
    (a0, a1, a2), (b0, b1, b2) = (_components(x, place) for x in (x1, x2))
    parts = [
        subtract(multiply(p, q), multiply(r, s))
        for p, q, r, s in ((a1, b2, a2, b1), (a2, b0, a0, b2), (a0, b1, a1, b0))
    ]
    return stack(parts, axis=place)


def _components(x: Array, axis: int) -> list[Array]:
    """Return the three components of vectors along `axis`, which is negative."""
    layout = x._layout
    own = axis + x.ndim
    if layout.split == own:
        x = redistribute(x, layout.split_off((own,)))
    return [x[(*[slice(None)] * own, i)] for i in range(3)]


# ---------------------------------------------------------------------- norms


def vector_norm(
    x: Array,
    /,
    *,
    axis: int | Sequence[int] | None = None,
    keepdims: bool = False,
    ord: int | float = 2,
) -> Array:
    """Return the norms of vectors (the standard: "Linear Algebra Extension", vector_norm).

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point (integers become the default one).
    axis : int or tuple of int, optional
        The axes that make up a vector; None: all.
    keepdims : bool
        Whether they stay, with length 1.
    ord : int or float
        The order p of ``sum(abs(x)**p)**(1/p)``. inf: the largest modulus; -inf: the smallest;
        0: the number of elements that are not zero.

    Returns
    -------
    Array
        Real; the shape of `x` without `axis`. Layout and messages as for `sum` (`max` and `min` for
        infinite orders): one allreduce of the result over the split axis.

    Raises
    ------
    ValueError, IndexError
        If `ord` is not a number; if an axis is repeated, or `x` lacks it.

    Examples
    --------
    >>> print(xp.linalg.vector_norm(xp.asarray([3.0, 4.0], split=0)))
    5.0
    """
    x = as_floating("vector_norm", x)
    axes = normalize_axes("vector_norm", axis, x.ndim)
    keepdims = as_flag("vector_norm", "keepdims", keepdims)
    return _norm("vector_norm", x, axes, keepdims, _order("vector_norm", ord))


def _order(func: str, ord: object) -> float:
    if isinstance(ord, (int, float)) and not math.isnan(ord):
        return float(ord)
    raise ValueError(f"{func}: ord is {shown(ord)}; expected a number")


_MATRIX_ORDERS = "'fro', 'nuc', 1, -1, 2, -2, inf, -inf"


def _norm(func: str, x: Array, axes: Shape, keepdims: bool, ord: float) -> Array:
    if ord == 2:
        squares = sum_(_squares(x), axis=axes, keepdims=keepdims)
        return Array(root_of_sum(squares._local), squares._layout)
    moduli = absolute(x)
    if math.isinf(ord):
        return _extreme(func, moduli, axes, keepdims, ord)
    if ord == 0:
        nonzero = astype(greater(moduli, 0) | (moduli != moduli), moduli.dtype)
        return sum_(nonzero, axis=axes, keepdims=keepdims)
    if ord == 1:
        return sum_(moduli, axis=axes, keepdims=keepdims)
    return sum_(moduli**ord, axis=axes, keepdims=keepdims) ** (1 / ord)


def _extreme(func: str, values: Array, axes: Shape, keepdims: bool, ord: float) -> Array:
    """Return the largest of values that are not negative, or the smallest if `ord` is negative.

    As in NumPy the largest of none is 0, and so is their sum.
    """
    if all(values.shape[axis] for axis in axes):
        return (max_ if ord > 0 else min_)(values, axis=axes, keepdims=keepdims)
    if ord > 0:
        return sum_(values, axis=axes, keepdims=keepdims)
    raise ValueError(f"{func}: ord is {ord}, but there is no element; the smallest is undefined")


def _squares(x: Array) -> Array:
    """Return the squared moduli."""
    if x._local.dtype in COMPLEX.all:
        return square(x.real) + square(x.imag)
    return square(x)


@documented
def matrix_norm(x: Array, /, *, keepdims: bool = False, ord: Order = "fro") -> Array:
    """Return the norms of matrices (the standard: "Linear Algebra Extension", matrix_norm).

    {x}
    keepdims : bool
        Whether the last two axes stay, with length 1.
    ord : {"fro", "nuc", 1, -1, 2, -2, inf, -inf} or None
        The root of the sum of squares ("fro" or None), the sum of the singular values ("nuc"), the
        largest (smallest) sum of moduli in a column (1, -1) or in a row (inf, -inf), the largest
        (smallest) singular value (2, -2).

    Returns
    -------
    Array
        Real, shape ``(...)``. Layout and messages as for `sum`, or `svdvals` ("nuc", 2, -2).

    {norm_errors}
    >>> x = xp.asarray([[1.0, -2.0], [3.0, 4.0]], split=0)
    >>> print(xp.linalg.matrix_norm(x, ord=1))
    6.0
    """
    x = as_matrices("matrix_norm", x)
    keepdims = as_flag("matrix_norm", "keepdims", keepdims)
    if not (ord is None or isinstance(ord, (str, int, float))):
        raise ValueError(f"matrix_norm: ord is {shown(ord)}; expected {_MATRIX_ORDERS}")
    rows, columns = x.ndim - 2, x.ndim - 1
    if ord in ("fro", None):
        return _norm("matrix_norm", x, (rows, columns), keepdims, 2.0)
    if ord in ("nuc", 2, -2):
        values = singular_values("matrix_norm", x)
        if ord == "nuc":
            norm = sum_(values, axis=-1)
        else:
            norm = _extreme("matrix_norm", values, (values.ndim - 1,), False, ord)
        return expand_dims(norm, axis=(-2, -1)) if keepdims else norm
    if ord not in (1, -1, math.inf, -math.inf):
        raise ValueError(f"matrix_norm: ord is {shown(ord)}; expected {_MATRIX_ORDERS}")
    assert isinstance(ord, (int, float))
    summed, other = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = sum_(absolute(x), axis=summed, keepdims=True)
    extreme = _extreme("matrix_norm", sums, (other,), True, ord)
    return extreme if keepdims else extreme[..., 0, 0]


# ---------------------------------------------------------------------- powers and inverses


@documented
def matrix_power(x: Array, n: int, /) -> Array:
    """Raise square matrices to an integer power, by repeated squaring.

    {square}
    n : int
        Negative: the power of the inverse.

    Returns
    -------
    Array
        The shape of `x`, and its dtype, but floating-point for the inverse of integers; layout and
        messages as for `matmul` (about ``2 * log2(n)`` products) and `inv`. The standard: "Linear
        Algebra Extension", matrix_power.

    {power_errors}
    >>> print(xp.linalg.matrix_power(xp.asarray([[1.0, 1.0], [0.0, 1.0]], split=0), 5))
    [[1. 5.]
     [0. 1.]]
    """
    x = check_matrices("matrix_power", x, square=True)
    n = as_int("matrix_power", "n", n)
    if n < 0 or x._local.dtype not in INTEGER_OR_BOOL.all:
        x = as_lapack("matrix_power", x)
    if n == 0:
        layout = x._layout
        one = eye(x.shape[-1], dtype=x.dtype, device=x.device, split=None, comm=layout.comm)
        return redistribute(broadcast_to(one, x.shape), layout)
    base = inverse("matrix_power", x) if n < 0 else x
    n = abs(n)
    result = None
    while n:
        if n & 1:
            result = base if result is None else matmul(result, base)
        n >>= 1
        if n:
            base = matmul(base, base)
    assert result is not None
    return result


def _check_cutoff(func: str, x: Array, rtol: Any) -> None:
    """Refuse a tolerance that is not a real number or array, before the first message."""
    if rtol is None:
        return
    if not isinstance(rtol, (Array, np.ndarray)):
        as_real(func, "rtol", rtol)
        return
    t = as_operands(func, x, rtol, names=("x", "rtol"))[1]
    if t._local.dtype in COMPLEX.all:
        raise TypeError(f"{func}: rtol has dtype {t.dtype}; expected a real number")
    broadcast_shape(func, x.shape[:-2], t.shape)


def _cutoff(func: str, x: Array, values: Array, rtol: float | Array | None) -> Array:
    """Return the bound below which singular `values` of `x` count as zero."""
    largest = max_(values, axis=-1, keepdims=True)
    if rtol is None:
        rtol = max(x.shape[-2:]) * finfo(largest.dtype).eps
    rtol = expand_dims(as_operands(func, largest, rtol)[1], axis=-1)
    broadcast_shape(func, largest.shape, rtol.shape)
    return multiply(largest, rtol)


@documented
@breaks
def matrix_rank(x: Array, /, *, rtol: float | Array | None = None) -> Array:
    """Return the number of singular values of matrices that are not zero.

    {x}
    {rtol}
    Array
        int64, shape ``(...)``; layout and messages as for `svdvals` and `sum`. The standard:
        "Linear Algebra Extension", matrix_rank.

    {rtol_errors}
    >>> print(xp.linalg.matrix_rank(xp.ones((4, 2), split=0)))
    1
    """
    x = as_matrices("matrix_rank", x)
    _check_cutoff("matrix_rank", x, rtol)
    values = singular_values("matrix_rank", x)
    if 0 in x.shape[-2:]:
        return sum_(astype(values, "int64"), axis=-1)
    counted = greater(values, _cutoff("matrix_rank", x, values, rtol))
    return sum_(astype(counted, "int64"), axis=-1)


@documented
@breaks
def pinv(x: Array, /, *, rtol: float | Array | None = None) -> Array:
    """Return the Moore-Penrose pseudo-inverses of matrices.

    {x}
    {rtol}
    Array
        Shape ``(..., N, M)``. For a tall split matrix split along its columns. Messages as for
        `svd` and `matmul`; for a tall matrix those of `svd` alone. The standard: "Linear Algebra
        Extension", pinv.

    {rtol_errors}
    >>> print(xp.linalg.pinv(xp.asarray([[2.0, 0.0], [0.0, 4.0], [0.0, 0.0]], split=0)))
    [[0.5  0.   0.  ]
     [0.   0.25 0.  ]]
    """
    x = as_matrices("pinv", x)
    _check_cutoff("pinv", x, rtol)
    if 0 in x.shape[-2:]:
        return matrix_transpose(conj(x) if x._local.is_complex() else x)
    if tracked(x._local):
        return differentiable(lambda x: (_pinv(x, rtol),), _pinv_adjoint, x)[0]
    return _pinv(x, rtol)


def _pinv_adjoint(_: Any, inputs: Any, results: Any, cotangents: Any) -> tuple[Array]:
    """G. Golub, V. Pereyra, SIAM J. Numer. Anal. 10 (1973): matrices of locally constant rank."""
    (x,), (inverse,), (g,) = inputs, results, cotangents
    pinvh, gh = hermitian(inverse), hermitian(g)
    if x.shape[-2] <= x.shape[-1]:
        inner = gh @ inverse
        middle = inverse @ inner
        right = inner @ pinvh
        rest = right - x @ (inverse @ right) + (pinvh @ inverse) @ (gh - inner @ x)
    else:
        inner = inverse @ gh
        middle = inner @ inverse
        left = pinvh @ inner
        rest = (gh - x @ inner) @ (inverse @ pinvh) + left - (left @ inverse) @ x
    return (rest - hermitian(middle),)


def _pinv(x: Array, rtol: float | Array | None) -> Array:
    u, s, vh = svd_for("pinv", x)
    keep = greater(s, _cutoff("pinv", x, s, rtol))
    inverse = where(keep, divide(1.0, where(keep, s, 1.0)), 0.0)
    if x._local.is_complex():
        u, vh = conj(u), conj(vh)
    scaled = multiply(matrix_transpose(vh), expand_dims(inverse, axis=-2))
    return matmul(scaled, matrix_transpose(u))
