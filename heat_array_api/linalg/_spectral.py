"""Singular values and eigenvalues of matrices (the standard's linalg extension).

A tall split matrix is first reduced to R by TSQR; a wide one is transposed. Eigenvalue problems
of one split matrix, and singular values of one that is neither tall nor wide, are solved on one
rank (`_batched.on_one_rank`).

Vectors are made unique, so that results depend neither on the number of ranks nor on the split:
in each pair of singular vectors, the largest component of the vector in the shorter dimension is
real and positive, and so is that of each vector of `eigh`.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._comm.recording import breaks
from .._core.arguments import as_flag
from .._core.array import Array
from .._core.collectives import shard
from .._core.dtypes import to_numpy_dtype
from .._core.layout import Layout
from .._core.redistribute import move
from .._core.tape import tracked
from .._creation import eye
from .._elementwise import conj, real
from .._manipulation import expand_dims
from .._statistical import sum as sum_
from ._batched import (
    Operation,
    as_matrices,
    documented,
    each_matrix,
    hermitian,
    on_one_rank,
    result_layout,
    run_replicated,
)
from ._factorizations import is_tall, qr_of_split, rows_of
from ._solve import inv
from ._tsqr import canonical_phases, tsqr

__all__ = ["eig", "eigh", "eigvals", "eigvalsh", "svd", "svdvals"]


class SVDResult(NamedTuple):
    """The factors that `svd` returns."""

    U: Array
    S: Array
    Vh: Array


class EighResult(NamedTuple):
    """The arrays that `eigh` returns."""

    eigenvalues: Array
    eigenvectors: Array


class EigResult(NamedTuple):
    """The arrays that `eig` returns."""

    eigenvalues: Array
    eigenvectors: Array


# ---------------------------------------------------------------------- singular values


@documented
@breaks
def svd(x: Array, /, *, full_matrices: bool = True) -> SVDResult:
    """Singular value decomposition ``x = U diag(S) Vh``.

    {x}
    full_matrices : bool
        U of shape ``(..., M, M)`` and Vh of ``(..., N, N)``, or ``(..., M, K)`` and
        ``(..., K, N)`` with K = min(M, N).

    Returns
    -------
    U, S, Vh : Array
        S is real and descends. For one split matrix U is split along its rows; Vh is replicated if
        it is no bigger than one rank's share of `x`, else split. (For M < N the other way round:
        Vh is split along its columns.)

    {tall}
    >>> u, s, vh = xp.linalg.svd(xp.asarray([[3.0, 0.0], [0.0, 4.0]], split=0))
    >>> print(s)
    [4. 3.]
    """
    return svd_for("svd", x, as_flag("svd", "full_matrices", full_matrices))


@breaks
def svd_for(func: str, x: Array, full_matrices: bool = False) -> SVDResult:
    """Return the factors of `svd`; errors name `func`."""
    x = as_matrices(func, x)

    def kernel(t: Tensor) -> tuple[Tensor, ...]:
        return _local_svd(t, full_matrices)

    def targets(layout: Layout) -> tuple[Layout, ...]:
        return _svd_layouts(layout, full_matrices)

    def of_split(x: Array) -> tuple[Array, ...]:
        return _svd_of_split(func, x, full_matrices)

    return SVDResult(
        *each_matrix(Operation(func, kernel), x, targets, of_split, adjoint=_svd_adjoint)
    )


def _svd_adjoint(x: Array, factors: Any, cotangents: Any) -> Array | None:
    """J. Townsend, "Differentiating the singular value decomposition" (2016).

    For losses that depend neither on the phases of the vectors, nor on the vectors beyond the
    shorter dimension.
    """
    k = factors[1].shape[0]
    u, s, v = factors[0][:, :k], factors[1], hermitian(factors[2][:k, :])
    gu, gs, gv = cotangents
    gu = None if gu is None else gu[:, :k]
    gv = None if gv is None else hermitian(gv[:k, :])
    terms = []
    if gs is not None:
        terms.append(u @ (expand_dims(gs, axis=1) * hermitian(v)))
    if gu is not None or gv is not None:
        one = _eye_like(u.shape[1], x)
        gaps = (s**2)[None, :] - (s**2)[:, None] + one
        inner = None
        if gu is not None:
            overlap = hermitian(u) @ gu
            inner = (overlap - hermitian(overlap)) / gaps * s[None, :]
            if x._local.is_complex():
                inner = inner + one * overlap.imag * 1j / s[None, :]
        if gv is not None:
            overlap = hermitian(v) @ gv
            turned = s[:, None] * ((overlap - hermitian(overlap)) / gaps)
            inner = turned if inner is None else inner + turned
        terms.append(u @ inner @ hermitian(v))
    if gu is not None and x.shape[0] > k:
        outside = gu - u @ (hermitian(u) @ gu)
        terms.append((outside / s[None, :]) @ hermitian(v))
    if gv is not None and x.shape[1] > k:
        outside = gv - v @ (hermitian(v) @ gv)
        terms.append((u / s[None, :]) @ hermitian(outside))
    return None if not terms else reduce(add, terms)


def _eye_like(n: int, x: Array) -> Array:
    """Return the identity, split as `x` is."""
    dtype = x._local.real.dtype if x._local.is_complex() else x._local.dtype
    return eye(n, dtype=to_numpy_dtype(dtype), device=x.device, split=x.split, comm=x.comm)


def _local_svd(t: Tensor, full: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return torch's factors with their phases fixed by the vectors of the shorter dimension."""
    u, s, vh = torch.linalg.svd(t, full_matrices=full)
    k = s.shape[-1]
    if k == 0:
        return u, s, vh
    tall = t.shape[-2] >= t.shape[-1]
    vectors = (vh[..., :k, :].mH if tall else u[..., :, :k]).detach()
    phases = _phases_of_largest(vectors)
    return _scaled(u, phases.conj(), -1), s, _scaled(vh, phases, -2)


def _scaled(t: Tensor, phases: Tensor, dim: int) -> Tensor:
    """Multiply the first columns (rows) of matrices by phases."""
    rest = t.shape[dim] - phases.shape[-1]
    factors = torch.cat([phases, phases.new_ones((*phases.shape[:-1], rest))], dim=-1)
    return t * (factors[..., None, :] if dim == -1 else factors[..., :, None])


def _phases_of_largest(vectors: Tensor) -> Tensor:
    """Return the phase of the largest component of each column."""
    at = vectors.abs().argmax(dim=-2, keepdim=True)
    return canonical_phases(vectors.gather(-2, at).squeeze(-2))


def _svd_layouts(layout: Layout, full: bool) -> tuple[Layout, Layout, Layout]:
    m, n = layout.shape
    if m < n:
        v, s, uh = _svd_layouts(layout.permuted((1, 0)), full)
        return uh.permuted((1, 0)), s, v.permuted((1, 0))
    return (
        rows_of(layout, m if full else n),
        result_layout((n,), layout),
        result_layout((n, n), layout),
    )


def _svd_of_split(func: str, x: Array, full: bool) -> tuple[Array, ...]:
    layout = x._layout
    m, n = layout.shape
    if m < n:
        v, s, uh = _svd_of_split(func, hermitian(x), full)
        return hermitian(uh), s, hermitian(v)

    def kernel(t: Tensor) -> tuple[Tensor, ...]:
        return _local_svd(t, full)

    layouts = _svd_layouts(layout, full)
    if not is_tall(layout):
        return on_one_rank(Operation(func, kernel), x, layouts)
    q, r = qr_of_split(x, full)
    square = r._local if r._layout.split is None else r.full_tensor()
    left, values, right = run_replicated(Operation(func, kernel), (square[:n],), layout.comm)
    local = torch.cat([q._local[:, :n] @ left, q._local[:, n:]], dim=1)
    return (
        Array(local, layouts[0]),
        Array(shard(values, layouts[1]), layouts[1]),
        Array(shard(right, layouts[2]), layouts[2]),
    )


@documented
@breaks
def svdvals(x: Array, /) -> Array:
    """Return the singular values of matrices in descending order.

    {x_only}
    Array
        Shape ``(..., min(M, N))``, real. For one split matrix replicated if it is no bigger than
        one rank's share.

    {tall}
    >>> print(xp.linalg.svdvals(xp.asarray([[3.0, 0.0], [0.0, 4.0]], split=0)))
    [4. 3.]
    """
    return singular_values("svdvals", x)


@breaks
def singular_values(func: str, x: Array) -> Array:
    """Return `svdvals`; errors name `func`."""
    x = as_matrices(func, x)
    if tracked(x._local):  # the cotangents need the vectors
        return svd_for(func, x).S

    def kernel(t: Tensor) -> tuple[Tensor]:
        return (torch.linalg.svdvals(t),)

    def targets(layout: Layout) -> tuple[Layout]:
        return (result_layout((min(layout.shape),), layout),)

    def of_split(x: Array) -> tuple[Array, ...]:
        if x.shape[0] < x.shape[1]:
            x = hermitian(x)
        layout = x._layout
        if not is_tall(layout):
            return on_one_rank(Operation(func, kernel), x, targets(layout))
        rows = rows_of(layout, layout.shape[1])
        r = tsqr(move(x._local, layout, rows), rows, want_q=False)[1]
        values = run_replicated(Operation(func, kernel), (r,), layout.comm)[0]
        return (Array(shard(values, targets(layout)[0]), targets(layout)[0]),)

    return each_matrix(Operation(func, kernel), x, targets, of_split, adjoint=_svd_adjoint)[0]


# ---------------------------------------------------------------------- eigenvalues


def _values_and_vectors(layout: Layout) -> tuple[Layout, Layout]:
    return result_layout(layout.shape[:1], layout), layout


def _values(layout: Layout) -> tuple[Layout]:
    return (result_layout(layout.shape[:1], layout),)


@documented
@breaks
def eigh(x: Array, /) -> EighResult:
    """Return the eigenvalues and eigenvectors of Hermitian matrices.

    {hermitian_only}
    eigenvalues : Array, shape ``(..., M)``
        Real, ascending. For one split matrix replicated if no bigger than one rank's share.
    eigenvectors : Array, shape ``(..., M, M)``
        In columns, orthonormal; the layout of `x`.

    {on_rank_0}
    >>> values, vectors = xp.linalg.eigh(xp.asarray([[3.0, 0.0], [0.0, 1.0]], split=0))
    >>> print(values)
    [1. 3.]
    """
    return _eigh("eigh", x)


def _eigh(func: str, x: Array) -> EighResult:
    x = as_matrices(func, x, square=True)

    def kernel(t: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(t)
        if vectors.shape[-1]:
            vectors = vectors * _phases_of_largest(vectors).conj()[..., None, :]
        return values, vectors

    return EighResult(
        *each_matrix(Operation(func, kernel), x, _values_and_vectors, adjoint=_eigh_adjoint)
    )


def _eigh_adjoint(x: Array, factors: Any, cotangents: Any) -> Array | None:
    """M. Giles, "An extended collection of matrix derivative results" (2008), section 3.1."""
    (values, v), (g_values, gv) = factors, cotangents
    inner = _between(values, hermitian(v) @ gv, x) if gv is not None else None
    if g_values is not None:
        diagonal = _eye_like(x.shape[0], x) * g_values[None, :]
        inner = diagonal if inner is None else inner + diagonal
    return None if inner is None else v @ inner @ hermitian(v)


def _between(values: Array, overlap: Array, x: Array) -> Array:
    """Divide the elements off the diagonal by the conjugate differences of the eigenvalues."""
    one = _eye_like(x.shape[0], x)
    gaps = values[None, :] - values[:, None]
    return (1 - one) * overlap / ((conj(gaps) if gaps._local.is_complex() else gaps) + one)


@documented
@breaks
def eigvalsh(x: Array, /) -> Array:
    """Return the eigenvalues of Hermitian matrices in ascending order.

    {hermitian_only}
    Array
        Shape ``(..., M)``, real. For one split matrix replicated if it is no bigger than one
        rank's share.

    {on_rank_0}
    >>> print(xp.linalg.eigvalsh(xp.asarray([[3.0, 0.0], [0.0, 1.0]], split=0)))
    [1. 3.]
    """
    x = as_matrices("eigvalsh", x, square=True)
    if tracked(x._local):  # the cotangents need the vectors
        return _eigh("eigvalsh", x).eigenvalues

    def kernel(t: Tensor) -> tuple[Tensor]:
        return (torch.linalg.eigvalsh(t),)

    return each_matrix(Operation("eigvalsh", kernel), x, _values, adjoint=_eigh_adjoint)[0]


@documented
@breaks
def eig(x: Array, /) -> EigResult:
    """Return the eigenvalues and right eigenvectors of square matrices.

    {square_only}
    eigenvalues : Array, shape ``(..., M)``
        Complex, in no particular order; layout as for `eigh`.
    eigenvectors : Array, shape ``(..., M, M)``
        Complex, in columns of length 1; the layout of `x`.

    {on_rank_0}
    >>> values, vectors = xp.linalg.eig(xp.asarray([[3.0, 0.0], [0.0, 1.0]], split=0))
    >>> print(xp.sort(xp.real(values)))
    [1. 3.]
    """
    return _eig("eig", x)


def _eig(func: str, x: Array) -> EigResult:
    x = as_matrices(func, x, square=True)

    def kernel(t: Tensor) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eig(t)
        return values, vectors

    return EigResult(
        *each_matrix(Operation(func, kernel), x, _values_and_vectors, adjoint=_eig_adjoint)
    )


def _eig_adjoint(x: Array, factors: Any, cotangents: Any) -> Array | None:
    """C. Boeddeker et al., "On the computation of complex-valued gradients", arXiv:1701.00392."""
    (values, v), (g_values, gv) = factors, cotangents
    inner = None
    if gv is not None:
        overlap = hermitian(v) @ gv
        # The columns of V have length 1.
        lengths = real(sum_(conj(v) * gv, axis=0))
        inner = _between(values, overlap - hermitian(v) @ v * lengths[None, :], x)
    if g_values is not None:
        diagonal = _eye_like(x.shape[0], x) * g_values[None, :]
        inner = diagonal if inner is None else inner + diagonal
    if inner is None:
        return None
    cotangent = hermitian(inv(v)) @ inner @ hermitian(v)
    return cotangent if x._local.is_complex() else real(cotangent)


@documented
@breaks
def eigvals(x: Array, /) -> Array:
    """Return the eigenvalues of square matrices, in no particular order.

    {square_only}
    Array
        Shape ``(..., M)``, complex; layout as for `eigvalsh`.

    {on_rank_0}
    >>> print(xp.sort(xp.real(xp.linalg.eigvals(xp.asarray([[0.0, 2.0], [2.0, 0.0]], split=0)))))
    [-2.  2.]
    """
    x = as_matrices("eigvals", x, square=True)
    if tracked(x._local):  # the cotangents need the vectors
        return _eig("eigvals", x).eigenvalues

    def kernel(t: Tensor) -> tuple[Tensor]:
        return (torch.linalg.eigvals(t),)

    return each_matrix(Operation("eigvals", kernel), x, _values, adjoint=_eig_adjoint)[0]
