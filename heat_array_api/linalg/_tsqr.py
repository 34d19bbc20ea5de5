"""QR of a tall matrix whose rows lie on the ranks: TSQR.

Every rank factors its own rows; then the small triangular factors are combined two by two
along a hypercube, so that after log2(P) exchanges of n x n words each rank has R, and with
it the product of its own halves of the small orthogonal factors, which its rows of Q need.

Source: J. Demmel, L. Grigori, M. Hoemmen, J. Langou, "Communication-optimal parallel and
sequential QR and LU factorizations", SIAM J. Sci. Comput. 34 (2012), section 5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .._core.collectives import broadcast, pair_exchange
from .._core.layout import Layout


def tsqr(t: Tensor, layout: Layout, *, want_q: bool = True) -> tuple[Tensor | None, Tensor]:
    """Factor a matrix that is split along its rows, of which this rank holds `t`.

    Parameters
    ----------
    t : Tensor, shape (m_r, n)
        This rank's rows: few or none, if it must be; all ranks together have n or more.
    layout : Layout
        The matrix's.

    Returns
    -------
    q : Tensor, shape (m_r, n), or None
        This rank's rows of Q, if `want_q`. The columns of Q are orthonormal, whatever the rank of
        the matrix.
    r : Tensor, shape (n, n)
        Upper triangular with a real diagonal that is not negative; the same bits on all ranks.
        So the factors of a matrix of full rank are unique, whatever the number of ranks.

    Notes
    -----
    Messages: ceil(log2(P)) exchanges of at most n x n words (two more, of at most 2 n x n words,
    where P is not a power of two), and one broadcast of R.

    A rank or group of fewer than n rows has a factor R of so many rows. It must not be filled up
    with zeros: where the matrix lacks full rank, columns of Q would lie in the rows that are not
    there.
    """
    comm = layout.comm
    own, r = _qr_or_r(t, want_q)
    share, r = _combine(r, layout, want_q)
    if comm.size > 1:
        # Equal computations on unlike processors may differ in the last bit.
        r = broadcast(r, tuple(r.shape), r.dtype, r.device, 0, comm)
    phases = canonical_phases(r.diagonal())
    r = phases.conj()[:, None] * r
    if own is None or share is None:
        return None, r
    return own @ (share * phases), r


def canonical_phases(diagonal: Tensor) -> Tensor:
    """Return the numbers of modulus 1 that the columns of Q take to make R's diagonal real."""
    phases = torch.sgn(diagonal)
    return torch.where(phases == 0, torch.ones_like(phases), phases)


def _qr_or_r(t: Tensor, want_q: bool) -> tuple[Tensor | None, Tensor]:
    if not want_q:
        return None, torch.linalg.qr(t, mode="r").R
    q, r = torch.linalg.qr(t)
    return q, r


class _Tree:
    """How many rows the factor R of each group of ranks has, by the rows of the matrix.

    After `level` steps along the hypercube a rank's group are the ranks whose numbers differ from
    its own in the last `level` bits, and those beyond the last power of two that belong to them.
    """

    def __init__(self, layout: Layout) -> None:
        self.size = layout.comm.size
        self.paired = 1 << (self.size.bit_length() - 1)
        self.columns = layout.shape[1]
        self._before = layout.offsets

    def rows(self, rank: int) -> int:
        """Return the rows of one rank's own factor."""
        return min(self._between(rank, rank + 1), self.columns)

    def rows_of_group(self, rank: int, level: int) -> int:
        """Return the rows of the factor of a rank's group."""
        first = rank >> level << level
        beyond = self._between(first + self.paired, first + self.paired + (1 << level))
        return min(self._between(first, first + (1 << level)) + beyond, self.columns)

    def _between(self, first: int, end: int) -> int:
        return self._before[min(end, self.size)] - self._before[min(first, self.size)]


def _combine(r: Tensor, layout: Layout, want_q: bool) -> tuple[Tensor | None, Tensor]:
    """Return the product of this rank's halves of the small Qs, and R of all ranks.

    Ranks beyond the last power of two hand their R to a partner, and receive the results from it.
    """
    comm, n = layout.comm, layout.shape[1]
    tree = _Tree(layout)
    paired = tree.paired
    outside = comm.rank >= paired
    partner = comm.rank - paired if outside else comm.rank + paired
    folds = comm.size > paired
    helps = partner < comm.size  # has a partner beyond the power of two
    k = r.shape[0]
    share = torch.eye(k, dtype=r.dtype, device=r.device) if want_q else None
    guest = None
    if folds:
        height = 0 if outside or not helps else tree.rows(partner)
        received = pair_exchange(
            r if outside else r[:0], partner if helps else None, (height, n), comm
        )
        if helps and not outside:
            q, r = _qr_or_r(torch.cat([r, received]), want_q)
            if q is not None:
                share, guest = q[:k], q[k:]
    for level in range(paired.bit_length() - 1):
        other = comm.rank ^ (1 << level)
        height = 0 if outside else tree.rows_of_group(other, level)
        theirs = pair_exchange(r, None if outside else other, (height, n), comm)
        if outside:
            continue
        first = comm.rank < other
        k = r.shape[0]
        q, r = _qr_or_r(torch.cat([r, theirs] if first else [theirs, r]), want_q)
        if q is not None and share is not None:
            half = q[:k] if first else q[height:]
            share = share @ half
            guest = None if guest is None else guest @ half
    if folds:
        results = r if guest is None else torch.cat([r, guest])
        height = (n + tree.rows(comm.rank) if want_q else n) if outside else 0
        received = pair_exchange(
            r[:0] if outside or not helps else results,
            partner if helps else None,
            (height, n),
            comm,
        )
        if outside:
            r = received[:n]
            share = received[n:] if want_q else None
    return share, r
