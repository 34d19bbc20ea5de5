"""Matrices' parts, norms and powers (the standard's linalg extension), out of simpler functions.

Nearly all are composites of other functions of the namespace: their layouts and messages are
those of what they are made of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch

from .._autograd import differentiable
from .._comm.recording import breaks
from .._core.array import Array
from .._core.dtypes import ANY, COMPLEX, NUMERIC
from .._core.kernels import root_of_sum
from .._core.layout import Layout, normalize_axes, normalize_axis
from .._core.lift import as_floating, as_operands, broadcast_shape, check_array
from .._core.redistribute import redistribute
from .._core.tape import tracked
from .._creation import eye
from .._data_type import astype, finfo
from .._elementwise import abs as absolute
from .._elementwise import conj, divide, greater, multiply, square, subtract
from .._linalg import matmul, matrix_transpose
from .._manipulation import expand_dims, stack
from .._reshape import broadcast_to
from .._searching import where
from .._statistical import max as max_
from .._statistical import min as min_
from .._statistical import sum as sum_
from ._batched import as_matrices, hermitian
from ._solve import inv
from ._spectral import svd, svdvals

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


def diagonal(x: Array, /, *, offset: int = 0) -> Array:
    """Return the diagonals of matrices.

    Parameters
    ----------
    x : Array
        Shape ``(..., M, N)``, any layout and dtype.
    offset : int
        Above (positive) or below (negative) the main diagonal.

    Returns
    -------
    Array
        Shape ``(..., L)``, the length of the diagonal; split along it where the matrices are split
        (each rank keeps what its rows or columns hold), else as `x`. Nothing is sent.

    Raises
    ------
    ValueError
        If `x` has fewer than two axes.

    Notes
    -----
    The standard: "Linear Algebra Extension", diagonal.
    """
    check_array("diagonal", "x", x, ANY)
    if x.ndim < 2:
        raise ValueError(f"diagonal: x has shape {x.shape}; expected two axes or more")
    layout = x._layout
    m, n = layout.shape[-2:]
    first, last = max(0, -offset), min(m, n - offset)  # rows of the diagonal
    shape = (*layout.shape[:-2], max(last - first, 0))
    split = layout.split
    start = 0
    if split is None or split < x.ndim - 2:
        target = layout.with_shape(shape, split)
    else:
        by_rows = split == x.ndim - 2
        ends = [bound if by_rows else bound - offset for bound in layout.offsets]
        ends = [min(max(end, first), max(first, last)) for end in ends]
        counts = tuple(b - a for a, b in pairwise(ends))
        target = Layout.of(shape, x.ndim - 2, counts, layout.comm)
        start = layout.start if by_rows else -layout.start
    parts = torch.diagonal(x._local, offset=offset + start, dim1=-2, dim2=-1)
    return Array(parts, target)


def trace(x: Array, /, *, offset: int = 0, dtype: Any = None) -> Array:
    """Return the sums of the diagonals of matrices.

    Parameters
    ----------
    x : Array
        Shape ``(..., M, N)``, any layout; dtype numeric.
    offset : int
        As for `diagonal`.
    dtype : dtype, optional
        As for `sum`.

    Returns
    -------
    Array
        Shape ``(...)``. Messages: one allreduce where the matrices are split. The standard: "Linear
        Algebra Extension", trace.
    """
    check_array("trace", "x", x, NUMERIC)
    return sum_(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def outer(x1: Array, x2: Array, /) -> Array:
    """Return the products of all pairs of elements of two vectors.

    Parameters
    ----------
    x1, x2 : Array
        Shapes ``(M,)`` and ``(N,)``, any layout; dtypes numeric.

    Returns
    -------
    Array
        Shape ``(M, N)``, split along the axis of the operand with more bytes among the split ones.

    Notes
    -----
    Messages: none, or one allgather of the smaller operand where both are split. The standard:
    "Linear Algebra Extension", outer.
    """
    x1, x2 = as_operands("outer", x1, x2)
    for name, x in (("x1", x1), ("x2", x2)):
        check_array("outer", name, x, NUMERIC)
        if x.ndim != 1:
            raise ValueError(f"outer: {name} has shape {x.shape}; expected a vector")
    return multiply(expand_dims(x1, axis=1), expand_dims(x2, axis=0))


def cross(x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Return the cross products of 3-vectors.

    Parameters
    ----------
    x1, x2 : Array
        Any layout; dtypes numeric; of length 3 along `axis`, broadcast together.
    axis : int
        Where the vectors lie, counted in both operands; negative if they differ in their
        number of axes.

    Returns
    -------
    Array
        The broadcast shape; layout as of `multiply`.

    Notes
    -----
    Messages: an operand that is split along `axis` is first split along its longest other axis
    (one all-to-all), or replicated if it has none. The standard: "Linear Algebra Extension", cross.
    """
    x1, x2 = as_operands("cross", x1, x2)
    if axis >= 0 and x1.ndim != x2.ndim:
        raise ValueError(
            f"cross: axis is {axis}, but x1 and x2 have {x1.ndim} and {x2.ndim} axes; count it "
            "from the end"
        )
    for name, x in (("x1", x1), ("x2", x2)):
        check_array("cross", name, x, NUMERIC)
        own = normalize_axis("cross", axis, x.ndim)
        if x.shape[own] != 3:
            raise ValueError(f"cross: {name} has shape {x.shape}; expected length 3 along {axis}")
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
    """Return the norms of vectors.

    Parameters
    ----------
    x : Array
        Any layout; dtype floating-point.
    axis : int or tuple of int, optional
        The axes that make up a vector; None: all.
    keepdims : bool
        Whether they stay, with length 1.
    ord : int or float
        p: ``sum(abs(x)**p)**(1/p)``; inf: the largest modulus; -inf: the smallest; 0: how many
        elements are not zero.

    Returns
    -------
    Array
        Real. Layout and messages as of `sum` (`max`, `min` for infinite orders).

    Notes
    -----
    The standard: "Linear Algebra Extension", vector_norm.
    """
    x = as_floating("vector_norm", x)
    axes = normalize_axes("vector_norm", axis, x.ndim)
    return _norm(x, axes, keepdims, _order("vector_norm", ord))


def _order(func: str, ord: object) -> float:
    if isinstance(ord, (int, float)) and not math.isnan(ord):
        return float(ord)
    raise ValueError(f"{func}: ord is {ord!r}; expected a number")


def _norm(x: Array, axes: tuple[int, ...], keepdims: bool, ord: float) -> Array:
    if ord == 2:
        squares = sum_(_squares(x), axis=axes, keepdims=keepdims)
        return Array(root_of_sum(squares._local), squares._layout)
    moduli = absolute(x)
    if math.isinf(ord):
        return (max_ if ord > 0 else min_)(moduli, axis=axes, keepdims=keepdims)
    if ord == 0:
        nonzero = astype(greater(moduli, 0) | (moduli != moduli), moduli.dtype)
        return sum_(nonzero, axis=axes, keepdims=keepdims)
    if ord == 1:
        return sum_(moduli, axis=axes, keepdims=keepdims)
    return sum_(moduli**ord, axis=axes, keepdims=keepdims) ** (1 / ord)


def _squares(x: Array) -> Array:
    """Return the squared moduli."""
    if x._local.dtype in COMPLEX.all:
        return square(x.real) + square(x.imag)
    return square(x)


def matrix_norm(x: Array, /, *, keepdims: bool = False, ord: Order = "fro") -> Array:
    """Return the norms of matrices.

    Parameters
    ----------
    x : Array
        Shape ``(..., M, N)``, any layout; dtype floating-point.
    keepdims : bool
        Whether the last two axes stay, with length 1.
    ord : {"fro", "nuc", 1, -1, 2, -2, inf, -inf} or None
        The root of the sum of squares ("fro" or None), the sum of the singular values ("nuc"), the
        largest (smallest) sum of moduli in a column (1, -1) or in a row (inf, -inf), the largest
        (smallest) singular value (2, -2).

    Returns
    -------
    Array
        Real, shape ``(...)``. Layout and messages as of `sum`, or of `svdvals`.

    Notes
    -----
    The standard: "Linear Algebra Extension", matrix_norm.
    """
    x = as_matrices("matrix_norm", x)
    rows, columns = x.ndim - 2, x.ndim - 1
    if ord in ("fro", None):
        return _norm(x, (rows, columns), keepdims, 2.0)
    if ord in ("nuc", 2, -2):
        values = svdvals(x)
        if ord == "nuc":
            norm = sum_(values, axis=-1)
        else:
            norm = (max_ if ord == 2 else min_)(values, axis=-1)
        return expand_dims(norm, axis=(-2, -1)) if keepdims else norm
    if ord not in (1, -1, math.inf, -math.inf):
        raise ValueError(
            f"matrix_norm: ord is {ord!r}; expected 'fro', 'nuc', 1, -1, 2, -2, inf or -inf"
        )
    assert isinstance(ord, (int, float))
    summed, other = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = sum_(absolute(x), axis=summed, keepdims=True)
    extreme = (max_ if ord > 0 else min_)(sums, axis=other, keepdims=True)
    return extreme if keepdims else extreme[..., 0, 0]


# ---------------------------------------------------------------------- powers and inverses


def matrix_power(x: Array, n: int, /) -> Array:
    """Raise square matrices to an integer power, by repeated squaring.

    Parameters
    ----------
    x : Array
        Shape ``(..., M, M)``, any layout; dtype floating-point.
    n : int
        Negative: the power of the inverse.

    Returns
    -------
    Array
        The shape of `x`; layout and messages as of `matmul` and `inv`.

    Raises
    ------
    numpy.linalg.LinAlgError
        If `n` is negative and a matrix is singular.

    Notes
    -----
    The standard: "Linear Algebra Extension", matrix_power.
    """
    x = as_matrices("matrix_power", x, square=True)
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"matrix_power: n is {n!r}; expected an int")
    if n == 0:
        layout = x._layout
        one = eye(x.shape[-1], dtype=x.dtype, device=x.device, split=None, comm=layout.comm)
        return redistribute(broadcast_to(one, x.shape), layout)
    base = inv(x) if n < 0 else x
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


def _cutoff(x: Array, largest: Array, rtol: float | Array | None) -> Array:
    """Return below what a singular value of `x` counts as zero; `largest` keeps its axis."""
    if rtol is None:
        rtol = max(x.shape[-2:]) * finfo(largest.dtype).eps
    if isinstance(rtol, Array):
        rtol = expand_dims(rtol, axis=-1)
    return multiply(largest, rtol)


@breaks
def matrix_rank(x: Array, /, *, rtol: float | Array | None = None) -> Array:
    """Return the number of singular values of matrices that are not zero.

    Parameters
    ----------
    x : Array
        Shape ``(..., M, N)``, any layout; dtype floating-point.
    rtol : float or Array, optional
        What is no more than `rtol` times the largest counts as zero; an array has one for each
        matrix. Default: ``max(M, N) * eps``.

    Returns
    -------
    Array
        Integers of shape ``(...)``; layout and messages as of `svdvals` and `sum`.

    Notes
    -----
    The standard: "Linear Algebra Extension", matrix_rank.
    """
    x = as_matrices("matrix_rank", x)
    values = svdvals(x)
    if 0 in x.shape[-2:]:
        return sum_(astype(values, "int64"), axis=-1)
    counted = greater(values, _cutoff(x, max_(values, axis=-1, keepdims=True), rtol))
    return sum_(astype(counted, "int64"), axis=-1)


@breaks
def pinv(x: Array, /, *, rtol: float | Array | None = None) -> Array:
    """Return the Moore-Penrose pseudo-inverses of matrices.

    Parameters
    ----------
    x : Array
        Shape ``(..., M, N)``, any layout; dtype floating-point.
    rtol : float or Array, optional
        As for `matrix_rank`.

    Returns
    -------
    Array
        Shape ``(..., N, M)``. Of a tall split matrix: split along its columns.

    Notes
    -----
    Messages as of `svd` and `matmul`; for a tall matrix split along its rows those of TSQR. The
    standard: "Linear Algebra Extension", pinv.
    """
    x = as_matrices("pinv", x)
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
    u, s, vh = svd(x, full_matrices=False)
    keep = greater(s, _cutoff(x, max_(s, axis=-1, keepdims=True), rtol))
    inverse = where(keep, divide(1.0, where(keep, s, 1.0)), 0.0)
    if x._local.is_complex():
        u, vh = conj(u), conj(vh)
    scaled = multiply(matrix_transpose(vh), expand_dims(inverse, axis=-2))
    return matmul(scaled, matrix_transpose(u))
