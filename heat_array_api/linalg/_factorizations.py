"""Cholesky and QR factorisations (the standard's linalg extension).

`_batched` spreads stacks over the ranks. One matrix that is split along its rows or columns is
factored where it lies: a tall one by `_tsqr`, others by `_block_cyclic`. The diagonal of R is made
real and not negative, so that Q and R of a matrix of full rank are unique, and depend neither on
the number of ranks nor on the split.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._comm.recording import breaks, may_break
from .._core.arguments import as_choice, as_flag
from .._core.array import Array
from .._core.layout import Layout
from .._core.redistribute import move
from .._creation import tril, triu
from .._manipulation import concat
from ._batched import Operation, as_matrices, documented, each_matrix, hermitian, result_layout
from ._block_cyclic import from_block_cyclic, panel_cholesky, panel_qr, to_block_cyclic
from ._solve import inv
from ._tsqr import canonical_phases, tsqr

__all__ = ["cholesky", "qr"]


class QRResult(NamedTuple):
    """The factors that `qr` returns."""

    Q: Array
    R: Array


# ---------------------------------------------------------------------- Cholesky


@documented
@breaks
def cholesky(x: Array, /, *, upper: bool = False) -> Array:
    """Return the Cholesky factor of Hermitian positive definite matrices.

    {hermitian}
    upper : bool
        Whether to return U with ``x = U^H U`` rather than L with ``x = L L^H``.

    Returns
    -------
    Array
        Shape and layout of `x`; a stack of split matrices may become split along the stack.

    {cholesky}
    >>> print(xp.linalg.cholesky(xp.asarray([[4.0, 2.0], [2.0, 5.0]], split=0)))
    [[2. 0.]
     [1. 2.]]
    """
    x = as_matrices("cholesky", x, square=True)
    upper = as_flag("cholesky", "upper", upper)

    def kernel(t: Tensor) -> tuple[Tensor]:
        lower = torch.linalg.cholesky(t)
        return (lower.mH if upper else lower,)

    def targets(layout: Layout) -> tuple[Layout]:
        return (layout,)

    def of_split(x: Array) -> tuple[Array]:
        layout = x._layout
        cyclic = to_block_cyclic(x._local, layout)
        if not panel_cholesky(cyclic):
            raise np.linalg.LinAlgError("cholesky: x is not positive definite")
        if not upper:
            return (Array(from_block_cyclic(cyclic, layout), layout),)
        assert layout.split is not None
        lower = from_block_cyclic(cyclic, layout.with_shape(layout.shape, 1 - layout.split))
        return (Array(lower.mH.resolve_conj(), layout),)

    def adjoint(x: Array, results: tuple[Array], cotangents: tuple[Array]) -> Array:
        (factor,), (g,) = results, cotangents
        return (
            _cholesky_adjoint(*map(hermitian, (factor, g)))
            if upper
            else _cholesky_adjoint(factor, g)
        )

    return each_matrix(Operation("cholesky", kernel), x, targets, of_split, adjoint=adjoint)[0]


def _cholesky_adjoint(lower: Array, g: Array) -> Array:
    """I. Murray, "Differentiation of the Cholesky decomposition", arXiv:1602.07527, section 3."""
    inner = hermitian(lower) @ g
    halved = (tril(inner) + hermitian(tril(inner, k=-1))) * 0.5
    inverse = inv(lower)
    return hermitian(inverse) @ halved @ inverse


# ---------------------------------------------------------------------- QR


@documented
@may_break
def qr(x: Array, /, *, mode: Literal["reduced", "complete"] = "reduced") -> QRResult:
    """Factor matrices into an orthogonal (unitary) and an upper triangular one.

    {x}
    mode : {"reduced", "complete"}
        Q of shape ``(..., M, K)`` with K = min(M, N), or ``(..., M, M)``.

    Returns
    -------
    Q, R : Array
        ``x = Q R``; the diagonal of R is real and not negative. For one split matrix Q is split
        along its rows; R is replicated if it is no bigger than one rank's share of `x`, else
        split along its columns.

    {qr}
    >>> x = xp.asarray([[3.0, 1.0], [4.0, 2.0]], split=0)
    >>> q, r = xp.linalg.qr(x)
    >>> print(xp.all(xp.abs(q @ r - x) < 1e-12))
    True
    """
    as_choice("qr", "mode", mode, ("reduced", "complete"))
    x = as_matrices("qr", x)

    def kernel(t: Tensor) -> tuple[Tensor, ...]:
        return _canonical_qr(t, mode)

    def targets(layout: Layout) -> tuple[Layout, Layout]:
        return _qr_layouts(layout, mode == "complete")

    def of_split(x: Array) -> tuple[Array, ...]:
        return qr_of_split(x, mode == "complete")

    def adjoint(x: Array, results: tuple[Array, Array], cotangents: Any) -> Array | None:
        if results[0].shape[1] > x.shape[1]:
            raise NotImplementedError(
                f"qr: mode 'complete' of a matrix of shape {x.shape} has no derivative: its last "
                "columns of Q are arbitrary; use mode 'reduced'"
            )
        return _qr_adjoint(results, cotangents)

    return QRResult(
        *each_matrix(Operation("qr", kernel, may_fail=False), x, targets, of_split, adjoint=adjoint)
    )


def _qr_adjoint(factors: tuple[Array, Array], cotangents: Any) -> Array | None:
    """The left block of a wide matrix is factored as a square one; the rest is Q^H times it.

    S. Walter, L. Lehmann, "Algorithmic differentiation of linear algebra functions", Preprint
    SPP1253-108 (2010).
    """
    (q, r), (gq, gr) = factors, cotangents
    m = q.shape[1]
    if gr is None or r.shape[1] == m:
        return _square_qr_adjoint(q, r[:, :m], gq, gr)
    rest, g_rest = r[:, m:], gr[:, m:]
    through_q = q @ (rest @ hermitian(g_rest))
    gq = through_q if gq is None else gq + through_q
    left = _square_qr_adjoint(q, r[:, :m], gq, gr[:, :m])
    return concat([left, q @ g_rest], axis=1)


def _square_qr_adjoint(q: Array, r: Array, gq: Array | None, gr: Array | None) -> Array:
    inner = None if gr is None else gr @ hermitian(r)
    if gq is not None:
        overlap = hermitian(q) @ gq
        inner = -overlap if inner is None else inner - overlap
    assert inner is not None
    upper = (triu(inner) + triu(inner, k=1)) * 0.5
    cotangent = q @ (upper + hermitian(upper))
    return (cotangent if gq is None else gq + cotangent) @ hermitian(inv(r))


def _canonical_qr(t: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    q, r = torch.linalg.qr(t, mode=mode)
    phases = canonical_phases(r.diagonal(dim1=-2, dim2=-1))
    k = phases.shape[-1]
    rest = t.shape[-2] - k if mode == "complete" else 0
    ones = phases.new_ones((*phases.shape[:-1], rest))
    phases = torch.cat([phases.detach(), ones], dim=-1)
    return q * phases[..., None, :], r * phases.conj()[..., :, None]


def rows_of(layout: Layout, columns: int) -> Layout:
    """Return the layout of a matrix of `columns` with the rows of `layout`, split along them."""
    rows = layout if layout.split == 0 else layout.split_along(0)
    return rows.with_length(1, columns)


def _qr_layouts(layout: Layout, complete: bool) -> tuple[Layout, Layout]:
    m, n = layout.shape
    k = m if complete else min(m, n)
    return rows_of(layout, k), result_layout((k, n), layout, axis=1)


def is_tall(layout: Layout) -> bool:
    """Return whether an (N, N) factor of an (M, N) matrix is no bigger than a share of it."""
    m, n = layout.shape
    return n * layout.comm.size <= m


def qr_of_split(x: Array, complete: bool) -> tuple[Array, Array]:
    """Factor one split matrix."""
    layout = x._layout
    q_layout, r_layout = _qr_layouts(layout, complete)
    if is_tall(layout) and not complete:
        rows = rows_of(layout, layout.shape[1])
        q, r = tsqr(move(x._local, layout, rows), rows)
        assert q is not None
        return Array(q, q_layout), Array(r, r_layout)
    left, right = panel_qr(to_block_cyclic(x._local, layout), q_layout.shape[1])
    assert left is not None
    if r_layout.shape[0] < layout.shape[0]:
        right.t = right.t[: r_layout.shape[0]]
        right.shape = r_layout.shape
    return (
        Array(from_block_cyclic(left, q_layout), q_layout),
        Array(from_block_cyclic(right, r_layout), r_layout),
    )
