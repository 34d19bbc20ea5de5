"""Cholesky, QR and LU of matrices, and what rests on them (the standard's linalg extension).

Stacks are spread over the ranks as `_stacks` says. One matrix that is split along its rows or
columns is factored where it lies: a tall one by `_tsqr`, others by `_panels`. The diagonal
of R is made real and not negative: so Q and R of a matrix of full rank are unique, and depend on
neither ranks nor split.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ._array import Array
from ._layout import Layout
from ._panels import collect, deal, dealt_eye, panel_cholesky, panel_lu, panel_qr, substitute_back
from ._redistribute import move
from ._stacks import as_matrices, born, each_matrix
from ._tsqr import canonical_phases, tsqr

__all__ = [
    "QRResult",
    "SlogdetResult",
    "cholesky",
    "det",
    "inv",
    "is_tall",
    "qr",
    "qr_of_split",
    "refuse_singular",
    "rows_of",
    "slogdet",
]


class QRResult(NamedTuple):
    """What `qr` returns."""

    Q: Array
    R: Array


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Array
    logabsdet: Array


# ---------------------------------------------------------------------- Cholesky


def cholesky(x: Array, /, *, upper: bool = False) -> Array:
    """Return the Cholesky factor of Hermitian positive definite matrices.

    Parameters
    ----------
    x : Array
        Shape ``(..., M, M)``, any layout; dtype floating-point. Only the lower triangle is read.
    upper : bool
        Whether to return U with ``x = U^H U`` rather than L with ``x = L L^H``.

    Returns
    -------
    Array
        Shape and layout of `x`; a stack of split matrices may become split along the stack.

    Raises
    ------
    numpy.linalg.LinAlgError
        On all ranks, if a matrix is not positive definite.

    Notes
    -----
    Messages: for split matrices two all-to-alls of the matrix, and broadcasts of half of it in
    panels; else one allreduce of 8 bytes. The standard: "Linear Algebra Extension", cholesky.
    """
    x = as_matrices("cholesky", x, square=True)

    def kernel(t: Tensor) -> tuple[Tensor]:
        lower = torch.linalg.cholesky(t)
        return (lower.mH if upper else lower,)

    def targets(layout: Layout) -> tuple[Layout]:
        return (layout,)

    def single(x: Array) -> tuple[Array]:
        layout = x._layout
        dealt = deal(x._local, layout)
        if not panel_cholesky(dealt):
            raise np.linalg.LinAlgError("cholesky: x is not positive definite")
        if not upper:
            return (Array(collect(dealt, layout), layout),)
        assert layout.split is not None
        lower = collect(dealt, layout.with_shape(layout.shape, 1 - layout.split))
        return (Array(lower.mH.resolve_conj(), layout),)

    return each_matrix("cholesky", x, kernel, targets, single)[0]


# ---------------------------------------------------------------------- QR


def qr(x: Array, /, *, mode: Literal["reduced", "complete"] = "reduced") -> QRResult:
    """Factor matrices into an orthogonal (unitary) and an upper triangular one.

    Parameters
    ----------
    x : Array
        Shape ``(..., M, N)``, any layout; dtype floating-point.
    mode : {"reduced", "complete"}
        Q of shape ``(..., M, K)`` with K = min(M, N), or ``(..., M, M)``.

    Returns
    -------
    Q, R : Array
        ``x = Q R``; the diagonal of R is real and not negative. Of a split matrix: Q is split along
        its rows, R is replicated if it is no bigger than one rank's share of `x`, else split
        along its columns.

    Notes
    -----
    Messages for one split matrix: if M is at least N P (and the mode reduced), ceil(log2(P))
    exchanges of N x N words (TSQR), after an all-to-all if it is split along columns; else
    all-to-alls of the matrix and of the factors, and broadcasts of the reflectors in panels.
    The standard: "Linear Algebra Extension", qr.
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f"qr: mode is {mode!r}; expected 'reduced' or 'complete'")
    x = as_matrices("qr", x)

    def kernel(t: Tensor) -> tuple[Tensor, ...]:
        return _local_qr(t, mode)

    def targets(layout: Layout) -> tuple[Layout, Layout]:
        return _qr_layouts(layout, mode == "complete")

    def single(x: Array) -> tuple[Array, ...]:
        return qr_of_split(x, mode == "complete")

    return QRResult(*each_matrix("qr", x, kernel, targets, single))


def _local_qr(t: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    q, r = torch.linalg.qr(t, mode=mode)
    phases = canonical_phases(r.diagonal(dim1=-2, dim2=-1))
    k = phases.shape[-1]
    r[..., :k, :] *= phases.conj()[..., :, None]
    q[..., :k] *= phases[..., None, :]
    return q, r


def rows_of(layout: Layout, columns: int) -> Layout:
    """Return the layout of a matrix of `columns` with the rows of `layout`, split along them."""
    shape = (layout.shape[0], columns)
    if layout.split == 0:
        return layout.with_shape(shape, 0)
    return Layout.balanced(shape, 0, layout.comm)


def _qr_layouts(layout: Layout, complete: bool) -> tuple[Layout, Layout]:
    m, n = layout.shape
    k = m if complete else min(m, n)
    return rows_of(layout, k), born((k, n), layout, axis=1)


def is_tall(layout: Layout) -> bool:
    """Return whether an (N, N) factor of an (M, N) matrix is no bigger than a share of it."""
    m, n = layout.shape
    return n * layout.comm.size <= m


def qr_of_split(x: Array, complete: bool) -> tuple[Array, Array]:
    layout = x._layout
    q_layout, r_layout = _qr_layouts(layout, complete)
    if is_tall(layout) and not complete:
        q, r = tsqr(move(x._local, layout, rows_of(layout, layout.shape[1])), layout.comm)
        assert q is not None
        return Array(q, q_layout), Array(r, r_layout)
    dealt_q, dealt_r = panel_qr(deal(x._local, layout), q_layout.shape[1])
    assert dealt_q is not None
    if r_layout.shape[0] < layout.shape[0]:
        dealt_r.t = dealt_r.t[: r_layout.shape[0]]
        dealt_r.shape = r_layout.shape
    return Array(collect(dealt_q, q_layout), q_layout), Array(collect(dealt_r, r_layout), r_layout)


# ---------------------------------------------------------------------- inverse and determinant


def refuse_singular(func: str, diagonal: Tensor) -> None:
    """Raise if a diagonal of U, which all ranks know, has a zero."""
    zeros = torch.nonzero(diagonal == 0)
    if len(zeros):
        raise np.linalg.LinAlgError(f"{func}: the matrix is singular (pivot {int(zeros[0])} is 0)")


def inv(x: Array, /) -> Array:
    """Return the inverses of square matrices.

    Parameters
    ----------
    x : Array
        Shape ``(..., M, M)``, any layout; dtype floating-point.

    Returns
    -------
    Array
        Shape and layout of `x`; a stack of split matrices may become split along the stack.

    Raises
    ------
    numpy.linalg.LinAlgError
        On all ranks, if a matrix is singular.

    Notes
    -----
    Messages: for split matrices two all-to-alls of the matrix, and broadcasts of it in panels
    (LU with partial pivoting); else one allreduce of 8 bytes. The standard: "Linear Algebra
    Extension", inv.
    """
    x = as_matrices("inv", x, square=True)

    def targets(layout: Layout) -> tuple[Layout]:
        return (layout,)

    def single(x: Array) -> tuple[Array]:
        dealt = deal(x._local, x._layout)
        right = dealt_eye(dealt.shape, dealt)
        diagonal, _ = panel_lu(dealt, right.t)
        refuse_singular("inv", diagonal)
        substitute_back(dealt, right.t)
        return (Array(collect(right, x._layout), x._layout),)

    return each_matrix("inv", x, lambda t: (torch.linalg.inv(t),), targets, single)[0]


def _scalars(layout: Layout) -> Sequence[Layout]:
    return [Layout.replicated((), layout.comm)] * 2


def _eliminated(x: Array) -> tuple[Tensor, int]:
    """Return the diagonal of U and the parity of the row exchanges, on all ranks."""
    return panel_lu(deal(x._local, x._layout))


def det(x: Array, /) -> Array:
    """Return the determinants of square matrices.

    Parameters
    ----------
    x : Array
        Shape ``(..., M, M)``, any layout; dtype floating-point.

    Returns
    -------
    Array
        Shape ``(...)``; replicated for one matrix.

    Notes
    -----
    Messages: for split matrices one all-to-all of the matrix, and broadcasts of half of it
    in panels; else one allreduce of 8 bytes. The standard: "Linear Algebra Extension", det.
    """
    x = as_matrices("det", x, square=True)

    def single(x: Array) -> tuple[Array]:
        diagonal, parity = _eliminated(x)
        return (Array(diagonal.prod() * parity, Layout.replicated((), x.comm)),)

    def targets(layout: Layout) -> Sequence[Layout]:
        return _scalars(layout)[:1]

    return each_matrix("det", x, lambda t: (torch.linalg.det(t),), targets, single)[0]


def slogdet(x: Array, /) -> SlogdetResult:
    """Return the signs and the logarithms of the moduli of the determinants.

    Parameters
    ----------
    x : Array
        Shape ``(..., M, M)``, any layout; dtype floating-point.

    Returns
    -------
    sign, logabsdet : Array
        Shape ``(...)``; 0 and -inf for a singular matrix. `logabsdet` is real. Layouts and
        messages as of `det`.

    Notes
    -----
    The standard: "Linear Algebra Extension", slogdet.
    """
    x = as_matrices("slogdet", x, square=True)

    def kernel(t: Tensor) -> tuple[Tensor, Tensor]:
        sign, logarithm = torch.linalg.slogdet(t)
        return sign, logarithm

    def single(x: Array) -> tuple[Array, Array]:
        diagonal, parity = _eliminated(x)
        layout = Layout.replicated((), x.comm)
        sign = torch.sgn(diagonal).prod() * parity
        return Array(sign, layout), Array(diagonal.abs().log().sum(), layout)

    return SlogdetResult(*each_matrix("slogdet", x, kernel, _scalars, single))
