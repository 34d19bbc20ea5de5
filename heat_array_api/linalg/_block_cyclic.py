"""Factorisations of one large matrix in a block-cyclic layout.

Block j of the columns, a *panel*, lies on rank j mod P, so that all ranks stay busy until the
end. Panel by panel, the owner factors it with LAPACK and broadcasts the factor; each rank then
updates its own later columns. A rank holds one panel beside its columns, and receives each panel
once: half the matrix in words, never all at once.

Source: J. Choi, J. Dongarra, L. S. Ostrouchov, A. Petitet, D. Walker, R. C. Whaley, "Design and
implementation of the ScaLAPACK LU, QR, and Cholesky factorization routines", Sci. Program. 5
(1996), on a process grid of one row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._comm.assumptions import REGULAR, numbers, truth
from .._comm.communicator import Communicator
from .._core.collectives import all_to_all, broadcast, gather
from .._core.layout import Layout, Shape
from ._tsqr import canonical_phases

WIDTHS = (64, 192)
"""The least and the greatest width of a panel."""


class Panel(NamedTuple):
    """One block of columns ``[begin, end)`` of the matrix."""

    owner: int
    begin: int
    end: int


@dataclass
class BlockCyclic:
    """An (m, n) matrix in block-cyclic layout, as one rank holds it.

    Factorisations overwrite `t`, this rank's columns in their order.
    """

    t: Tensor
    shape: Shape
    width: int
    comm: Communicator

    def panels(self, n: int | None = None) -> Iterator[Panel]:
        """Yield the panels that begin before column `n`, from the left."""
        end = self.shape[1]
        for j, begin in enumerate(range(0, end if n is None else n, self.width)):
            yield Panel(j % self.comm.size, begin, min(begin + self.width, end))

    def before(self, column: int) -> int:
        """Return how many of this rank's columns come before `column` of the matrix."""
        return _before(column, self.comm.rank, self.width, self.comm.size)

    def own(self, panel: Panel) -> Tensor:
        """Return a panel of this rank, a view."""
        first = self.before(panel.begin)
        return self.t[:, first : first + panel.end - panel.begin]

    def later(self, column: int) -> Tensor:
        """Return this rank's columns from `column` of the matrix on, a view."""
        return self.t[:, self.before(column) :]

    def share(self, block: Tensor | None, shape: Shape, owner: int) -> Tensor:
        """Return the owner's `block` on every rank: one broadcast."""
        return broadcast(
            None if block is None else block.contiguous(),
            shape,
            self.t.dtype,
            self.t.device,
            owner,
            self.comm,
        )


def panel_width(n: int, comm: Communicator) -> int:
    """Return the width of the panels: about four panels for each rank, where n is large."""
    least, greatest = WIDTHS
    return min(max(-(-n // (4 * comm.size)), least), greatest)


def _before(column: int, rank: int, width: int, size: int) -> int:
    cycles, rest = divmod(column, width * size)
    return cycles * width + min(max(rest - rank * width, 0), width)


def _columns(n: int, rank: int, width: int, size: int, device: torch.device) -> Tensor:
    """Return which of n columns lie on `rank`."""
    columns = np.arange(n)
    return torch.from_numpy(columns[(columns // width) % size == rank]).to(device)


# ---------------------------------------------------------------------- from and to other layouts


def to_block_cyclic(t: Tensor, layout: Layout, width: int | None = None) -> BlockCyclic:
    """Bring the matrix whose shard is `t` to block-cyclic layout: one all-to-all."""
    m, n = layout.shape
    comm = layout.comm
    width = panel_width(n, comm) if width is None else width
    owned = [_columns(n, rank, width, comm.size, t.device) for rank in range(comm.size)]
    mine = owned[comm.rank]
    if layout.split is None or comm.size == 1:
        columns = t[:, mine]
    elif layout.split == 0:
        blocks = [t[:, columns] for columns in owned]
        shapes = [(count, len(mine)) for count in layout.counts]
        columns = torch.cat(all_to_all(blocks, shapes, comm), dim=0)
    else:
        bounds = layout.offsets
        first, last = bounds[comm.rank], bounds[comm.rank + 1]
        blocks = [t[:, _between(columns, first, last) - first] for columns in owned]
        shapes = [
            (m, len(_between(mine, bounds[rank], bounds[rank + 1]))) for rank in range(comm.size)
        ]
        columns = torch.cat(all_to_all(blocks, shapes, comm), dim=1)
    return BlockCyclic(columns, (m, n), width, comm)


def _between(columns: Tensor, begin: int, end: int) -> Tensor:
    return columns[(columns >= begin) & (columns < end)]


def block_cyclic_eye(shape: Shape, like: BlockCyclic) -> BlockCyclic:
    """Return the identity in the block-cyclic layout of `like`. Sends nothing."""
    comm = like.comm
    mine = _columns(shape[1], comm.rank, like.width, comm.size, like.t.device)
    rows = torch.arange(shape[0], device=like.t.device)
    t = (rows[:, None] == mine).to(like.t.dtype)
    return BlockCyclic(t, shape, like.width, comm)


def from_block_cyclic(x: BlockCyclic, target: Layout) -> Tensor:
    """Return this rank's shard under `target`: one all-to-all, or one allgather if replicated."""
    m, n = x.shape
    comm, width = x.comm, x.width
    owned = [_columns(n, rank, width, comm.size, x.t.device) for rank in range(comm.size)]
    if target.split is None:
        counts = tuple(len(columns) for columns in owned)
        columns = gather(x.t, Layout.of((m, n), 1, counts, comm))
        order = torch.cat(owned)
    elif target.split == 0:
        blocks = list(torch.split(x.t, list(target.counts)))
        shapes = [(target.count, len(columns)) for columns in owned]
        columns = torch.cat(all_to_all(blocks, shapes, comm), dim=1)
        order = torch.cat(owned)
    else:
        bounds = target.offsets
        at = [_before(bound, comm.rank, width, comm.size) for bound in bounds]
        blocks = [x.t[:, at[rank] : at[rank + 1]] for rank in range(comm.size)]
        first, last = bounds[comm.rank], bounds[comm.rank + 1]
        mine = [_between(columns, first, last) for columns in owned]
        shapes = [(m, len(columns)) for columns in mine]
        columns = torch.cat(all_to_all(blocks, shapes, comm), dim=1)
        order = torch.cat(mine)
    return columns[:, torch.argsort(order)]


# ---------------------------------------------------------------------- Cholesky


def panel_cholesky(x: BlockCyclic) -> bool:
    """Overwrite the columns of a Hermitian matrix with those of its lower Cholesky factor.

    Only the lower triangle is read. Returns whether the matrix is positive definite; if not, the
    columns mean nothing.
    """
    n = x.shape[0]
    comm = x.comm
    for panel in x.panels():
        owner, begin, end = panel
        factor = _cholesky_of(x.own(panel)[begin:]) if owner == comm.rank else None
        factor = x.share(factor, (n - begin, end - begin), owner)
        finite = torch.isfinite(factor[: end - begin]).all()
        if not truth(finite, True, REGULAR):
            return False
        if owner == comm.rank:
            x.own(panel)[begin:] = factor
        for other in x.panels():
            if other.owner == comm.rank and other.begin >= end:
                rows = factor[other.begin - begin :]
                x.own(other)[other.begin :] -= rows @ rows[: other.end - other.begin].mH
    columns = _columns(n, comm.rank, x.width, comm.size, x.t.device)
    rows = torch.arange(n, device=x.t.device)
    x.t = torch.where(rows[:, None] >= columns, x.t, torch.zeros_like(x.t))
    return True


def _cholesky_of(panel: Tensor) -> Tensor:
    """Return the lower factor of a panel that begins with its diagonal block; NaN on failure."""
    width = panel.shape[1]
    top, info = torch.linalg.cholesky_ex(panel[:width])
    if truth(info != 0, False, REGULAR):
        return torch.full_like(panel, float("nan"))
    rest = torch.linalg.solve_triangular(top.mH, panel[width:], upper=True, left=False)
    return torch.cat([top, rest])


# ---------------------------------------------------------------------- LU and solving


def panel_lu(x: BlockCyclic, right: Tensor | None = None) -> tuple[Tensor, int]:
    """Overwrite the columns of a square matrix A with those of U, where P A = L U.

    Partial pivoting. L is not kept: this rank's right-hand sides `right`, any subset of them, are
    overwritten with L^-1 P times them. Returns the diagonal of U, on every rank, and the
    determinant of P (1 or -1).
    """
    n = x.shape[0]
    diagonal = x.t.new_empty(n)
    parity = 1
    for panel in x.panels():
        owner, begin, end = panel
        width = end - begin
        factor = pivots = None
        if owner == x.comm.rank:
            factor, pivots, _ = torch.linalg.lu_factor_ex(x.own(panel)[begin:])
            pivots = pivots.long()
        factor = x.share(factor, (n - begin, width), owner)
        pivots = broadcast(pivots, (width,), torch.int64, x.t.device, owner, x.comm)
        diagonal[begin:end] = factor.diagonal()
        order, swaps = _permutation(pivots, n - begin)
        parity *= -1 if swaps % 2 else 1
        if owner == x.comm.rank:
            x.own(panel)[begin:end] = factor[:width].triu()
        _eliminate(x.later(end), factor, order, begin)
        if right is not None:
            _eliminate(right, factor, order, begin)
    return diagonal, parity


def _permutation(pivots: Tensor, n: int) -> tuple[Tensor, int]:
    """Return LAPACK's row exchanges as the order of the rows, and how many there were."""
    order = np.arange(n)
    swaps = 0
    for i, j in enumerate(numbers(pivots, range(1, len(pivots) + 1), "")):
        swaps += j - 1 != i
        order[i], order[j - 1] = order[j - 1], order[i]
    return torch.from_numpy(order).to(pivots.device), swaps


def _eliminate(t: Tensor, factor: Tensor, order: Tensor, begin: int) -> None:
    """Apply one panel's row exchanges and elimination to columns of the matrix."""
    width = factor.shape[1]
    lower = t[begin:][order]
    top = torch.linalg.solve_triangular(
        factor[:width], lower[:width], upper=False, unitriangular=True
    )
    t[begin : begin + width] = top
    t[begin + width :] = lower[width:] - factor[width:] @ top


def substitute_back(x: BlockCyclic, right: Tensor) -> None:
    """Overwrite this rank's right-hand sides with U^-1 times them."""
    for owner, begin, end in reversed(list(x.panels())):
        mine = x.own(Panel(owner, begin, end))[:end] if owner == x.comm.rank else None
        factor = x.share(mine, (end, end - begin), owner)
        top = torch.linalg.solve_triangular(factor[begin:], right[begin:end], upper=True)
        right[begin:end] = top
        right[:begin] -= factor[:begin] @ top


# ---------------------------------------------------------------------- QR


def panel_qr(x: BlockCyclic, columns: int) -> tuple[BlockCyclic | None, BlockCyclic]:
    """Factor an (m, n) matrix, which is overwritten, by Householder reflections.

    Returns the first `columns` (0, min(m, n) or m) columns of Q, None if it is 0, and R of shape
    (m, n), upper triangular with a real diagonal that is not negative.
    """
    m, n = x.shape
    reflections: list[Tensor | None] = []  # this rank's panels
    diagonal = x.t.new_ones(min(m, n))
    for panel in x.panels(min(m, n)):
        owner, begin, end = panel
        mine = None
        if owner == x.comm.rank:
            mine = torch.cat(_reflectors(x.own(panel)[begin:]))
        reflections.append(mine)
        shared = x.share(mine, _packed_shape(m, panel), owner)
        count = min(m - begin, end - begin)
        diagonal[begin : begin + count] = shared.diagonal()[:count]
        later = x.later(end)
        later[begin:] = _reflect(shared, later[begin:], inverse=True)
        if owner == x.comm.rank:
            x.own(panel)[begin:] = shared[:-1].triu()
    phases = canonical_phases(diagonal)
    k = len(phases)
    x.t[:k] *= phases.conj()[:, None]
    return _form_q(x, reflections, phases, columns) if columns else None, x


def _packed_shape(m: int, panel: Panel) -> Shape:
    return (m - panel.begin + 1, panel.end - panel.begin)


def _reflectors(panel: Tensor) -> tuple[Tensor, Tensor]:
    """Return LAPACK's reflectors of a panel, and their scalars as one more row."""
    packed, tau = torch.geqrf(panel)
    scalars = tau.new_zeros(1, panel.shape[1])
    scalars[0, : len(tau)] = tau
    return packed, scalars


def _reflect(shared: Tensor, t: Tensor, *, inverse: bool) -> Tensor:
    """Return Q t, or Q^H t, for the reflections of one panel."""
    count = min(shared.shape[0] - 1, shared.shape[1])
    if 0 in t.shape or count == 0:
        return t
    return torch.ormqr(shared[:-1, :count], shared[-1, :count], t, left=True, transpose=inverse)


def _form_q(
    x: BlockCyclic, reflections: list[Tensor | None], phases: Tensor, columns: int
) -> BlockCyclic:
    """Multiply the reflections into the identity, from the last to the first."""
    m, n = x.shape
    q = block_cyclic_eye((m, columns), x)
    panels = list(x.panels(min(m, n)))
    for panel, mine in reversed(list(zip(panels, reflections, strict=True))):
        shared = x.share(mine, _packed_shape(m, panel), panel.owner)
        later = q.later(panel.begin)
        later[panel.begin :] = _reflect(shared, later[panel.begin :], inverse=False)
    scale = phases.new_ones(columns)
    scale[: len(phases)] = phases[:columns]
    q.t *= scale[_columns(columns, x.comm.rank, x.width, x.comm.size, x.t.device)]
    return q
