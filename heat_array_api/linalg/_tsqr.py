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

from .._comm.communicator import Communicator
from .._core.collectives import broadcast, pair_exchange


def tsqr(t: Tensor, comm: Communicator, *, want_q: bool = True) -> tuple[Tensor | None, Tensor]:
    """Factor the matrix whose rows on this rank are `t`; all ranks together have n rows or more.

    Returns
    -------
    q : Tensor, shape (m_r, n), or None
        This rank's rows of Q, if `want_q`.
    r : Tensor, shape (n, n)
        Upper triangular with a real diagonal that is not negative; the same bits on all ranks.
        So the factors of a matrix of full rank are unique, whatever the number of ranks.

    Notes
    -----
    Messages: ceil(log2(P)) exchanges of n x n words (two more, of at most 2 n x n words, where P is
    not a power of two), and one broadcast of R.
    """
    rows = min(t.shape)
    own, r = _qr_or_r(t, want_q)
    r = torch.cat([r, r.new_zeros(t.shape[1] - rows, t.shape[1])])
    share, r = _combine(r, comm, want_q)
    if comm.size > 1:
        # Equal computations on unlike processors may differ in the last bit.
        r = broadcast(r, tuple(r.shape), r.dtype, r.device, 0, comm)
    phases = canonical_phases(r.diagonal())
    r = phases.conj()[:, None] * r
    if own is None or share is None:
        return None, r
    return own @ (share[:rows] * phases), r


def canonical_phases(diagonal: Tensor) -> Tensor:
    """Return the numbers of modulus 1 that the columns of Q take to make R's diagonal real."""
    phases = torch.sgn(diagonal)
    return torch.where(phases == 0, torch.ones_like(phases), phases)


def _qr_or_r(t: Tensor, want_q: bool) -> tuple[Tensor | None, Tensor]:
    if not want_q:
        return None, torch.linalg.qr(t, mode="r").R
    q, r = torch.linalg.qr(t)
    return q, r


def _combine(r: Tensor, comm: Communicator, want_q: bool) -> tuple[Tensor | None, Tensor]:
    """Return the product of this rank's halves of the small Qs, and R of all ranks.

    Ranks beyond the last power of two hand their R to a partner, and receive the results from it.
    """
    n = r.shape[1]
    paired = 1 << (comm.size.bit_length() - 1)
    outside = comm.rank >= paired
    partner = comm.rank - paired if outside else comm.rank + paired
    folds = comm.size > paired
    helps = partner < comm.size  # has a partner beyond the power of two
    share = torch.eye(n, dtype=r.dtype, device=r.device) if want_q else None
    guest = None
    if folds:
        received = pair_exchange(
            r if outside else r[:0], partner if helps else None, (0 if outside else n, n), comm
        )
        if helps and not outside:
            q, r = _qr_or_r(torch.cat([r, received]), want_q)
            if q is not None:
                share, guest = q[:n], q[n:]
    for level in range(paired.bit_length() - 1):
        other = comm.rank ^ (1 << level)
        theirs = pair_exchange(r, None if outside else other, (n, n), comm)
        if outside:
            continue
        first = comm.rank < other
        q, r = _qr_or_r(torch.cat([r, theirs] if first else [theirs, r]), want_q)
        if q is not None and share is not None:
            half = q[:n] if first else q[n:]
            share = share @ half
            guest = None if guest is None else guest @ half
    if folds:
        results = r if guest is None else torch.cat([r, guest])
        height = 2 * n if want_q else n
        received = pair_exchange(
            r[:0] if outside or not helps else results,
            partner if helps else None,
            (height if outside else 0, n),
            comm,
        )
        if outside:
            r = received[:n]
            share = received[n:] if want_q else None
    return share, r
