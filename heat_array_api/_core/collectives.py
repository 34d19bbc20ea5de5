"""Collectives of shards with their adjoints: every message with an array's data starts here.

Each function takes and returns torch tensors. On torch's tape it becomes a node (`tape.linear`),
whose backward pass is its adjoint, another function of this module; so derivatives of every order
exist. Tensors are of three kinds. R: replicated, one value on all ranks. S: shards of one array.
V: varying, each rank's own part of a sum (inside an operation only).

===========================  ========  ==============================  ========
function                     kind      adjoint                         kind
===========================  ========  ==============================  ========
`preduce` (sum)              V to R    `pvary`                         R to V
`pvary`: identity            R to V    `preduce` (sum)                 V to R
`gather`                     S to R    `shard`                         R to S
`reduce_scatter`             V to S    `gather_varying`                S to V
`broadcast` of one's rows    S to R    the owner's cotangent           R to S
`exchange`, `all_to_all`     S to S    itself, with counts swapped     S to S
`exchange_parts`             S to S    itself, with parts swapped      S to S
`ring_shift`                 S to S    itself, the other way           S to S
===========================  ========  ==============================  ========

The cotangent of an R tensor is one value too, the same on all ranks, never a part of a sum. So an
R tensor must pass `pvary` before it meets an S tensor in an operation. Where no result is R, the
messages of a pair are those that `_comm.table` calls adjoint.

`preduce` with another operation than "sum", and `exscan`, are for tensors off the tape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._comm.communicator import Communicator
from .._comm.division import Division, Integers
from .._comm.table import TABLE, Parts
from .layout import Layout, Shape
from .tape import linear, tracked, with_batch

# ---------------------------------------------------------------------- sums, and their adjoint


def preduce(t: Tensor, op: str, comm: Communicator) -> Tensor:
    """Combine the ranks' tensors ("sum", "prod", "max", "min"), V to R: one allreduce."""
    if comm.size == 1:
        return t
    if op == "sum" and tracked(t):
        return linear(t, _allreduce, pvary, comm)
    return comm.allreduce(t, op)


def pvary(t: Tensor, comm: Communicator) -> Tensor:
    """Return a replicated tensor as each rank's own, R to V: one allreduce in the backward pass."""
    if comm.size == 1 or not tracked(t):
        return t
    return linear(t, _same, _psum, comm)


def _allreduce(t: Tensor, comm: Communicator) -> Tensor:
    return comm.allreduce(t.detach(), "sum")


def _same(t: Tensor, comm: Communicator) -> Tensor:
    return t.view_as(t)


def _psum(g: Tensor, comm: Communicator) -> Tensor:
    return preduce(g, "sum", comm)


def reduce_scatter(t: Tensor, rows: Division, comm: Communicator) -> Tensor:
    """Sum the ranks' tensors, V to S; rank r keeps its `rows`: one reduce-scatter."""
    if comm.size == 1:
        return t
    if tracked(t):
        return linear(t, _reduce_scatter, gather_varying, rows, comm)
    return comm.reduce_scatter(t, rows)


def _reduce_scatter(t: Tensor, rows: Division, comm: Communicator) -> Tensor:
    return comm.reduce_scatter(t.detach(), rows)


def gather_varying(t: Tensor, rows: Division, comm: Communicator) -> Tensor:
    """Return the rows of all ranks as each rank's own tensor, S to V: one allgather."""
    if comm.size == 1:
        return t
    if tracked(t):
        return linear(t, _allgather, reduce_scatter, rows, comm)
    return comm.allgatherv(t, rows)


def _allgather(t: Tensor, rows: Division, comm: Communicator) -> Tensor:
    return comm.allgatherv(t.detach(), rows)


# ---------------------------------------------------------------------- whole and shard


def gather(t: Tensor, layout: Layout, *, varying: bool = False) -> Tensor:
    """Return the full array whose shard `t` is: one allgather. S to R, or S to V if `varying`."""
    split, division, comm = layout.split, layout.division, layout.comm
    if split is None or division is None or comm.size == 1:
        return t
    rows_of_all = gather_varying if varying else _gather_rows
    if split == 0:
        return rows_of_all(t, division, comm)
    full = rows_of_all(t.movedim(split, 0).contiguous(), division, comm)
    return full.movedim(0, split).contiguous()


def _gather_rows(t: Tensor, rows: Division, comm: Communicator) -> Tensor:
    if tracked(t):
        return linear(t, _allgather, _own_rows, rows, comm)
    return comm.allgatherv(t, rows)


def shard(full: Tensor, layout: Layout) -> Tensor:
    """Return this rank's part of a replicated tensor, R to S: a view, no message."""
    if layout.split is None or layout.division is None:
        return full
    if layout.comm.size > 1 and tracked(full):
        rows = full.movedim(layout.split, 0)
        return _own_rows(rows, layout.division, layout.comm).movedim(0, layout.split)
    return full.narrow(layout.split, layout.start, layout.count)


def _own_rows(t: Tensor, rows: Division, comm: Communicator) -> Tensor:
    """Return this rank's rows of a replicated tensor, R to S."""
    if tracked(t):
        return linear(t, _slice_rows, _gather_rows, rows, comm)
    return _slice_rows(t, rows, comm)


def _slice_rows(t: Tensor, rows: Division, comm: Communicator) -> Tensor:
    begin, end = rows.interval(comm.rank)
    return t.narrow(0, begin, end - begin)


def broadcast(
    t: Tensor | None,
    shape: Shape,
    dtype: torch.dtype,
    device: torch.device,
    root: int,
    comm: Communicator,
) -> Tensor:
    """Return the tensor `t` of rank `root` (None elsewhere) on every rank: one broadcast.

    Off the tape; `broadcast_rows` is for tensors that may be on it.
    """
    if comm.size == 1:
        assert t is not None
        return t
    if comm.rank != root or t is None:
        t = torch.empty(shape, dtype=dtype, device=device)
    return comm.bcast(t, root)


def broadcast_rows(t: Tensor, shape: Shape, root: int, comm: Communicator) -> Tensor:
    """Return on every rank the tensor that rank `root` holds, S to R: one broadcast.

    The other ranks bring an empty part of their own shard, so that all stay on the tape.
    """
    if comm.size == 1:
        return t
    if tracked(t):
        return linear(t, _bcast, _keep_at_root, shape, root, comm, tuple(t.shape))
    return _bcast(t, shape, root, comm, ())


def _bcast(t: Tensor, shape: Shape, root: int, comm: Communicator, own: Shape) -> Tensor:
    t = t.detach() if comm.rank == root else t.new_empty(shape)
    return comm.bcast(t, root)


def _keep_at_root(g: Tensor, shape: Shape, root: int, comm: Communicator, own: Shape) -> Tensor:
    """Return the cotangent on the root, nothing elsewhere, R to S."""
    if tracked(g):
        return linear(g, _slice_at_root, _spread_from_root, shape, root, comm, own)
    return _slice_at_root(g, shape, root, comm, own)


def _slice_at_root(g: Tensor, shape: Shape, root: int, comm: Communicator, own: Shape) -> Tensor:
    return g.view_as(g) if comm.rank == root else g.new_zeros(own)


def _spread_from_root(t: Tensor, shape: Shape, root: int, comm: Communicator, own: Shape) -> Tensor:
    return broadcast_rows(t, shape, root, comm)


# ---------------------------------------------------------------------- exchanges


def cat(tensors: Sequence[Tensor], dim: int) -> Tensor:
    """Return `torch.cat`, and keep empty tensors of one axis on the tape.

    torch ignores a tensor of shape (0,) and gives it a constant cotangent; the next order of
    derivative would then miss a collective on that rank.
    """
    if tensors[0].ndim == 1 and any(map(tracked, tensors)):
        return torch.cat([t[None] for t in tensors], dim=1)[0]
    return torch.cat(list(tensors), dim=dim)


def parted(t: Tensor, sizes: Sequence[int]) -> Sequence[Tensor]:
    """Split a vector into parts of these lengths."""
    # As a row: the backward pass of a split of one axis is a `torch.cat` of one (see `cat`).
    if tracked(t):
        return [part[0] for part in t[None].split_with_sizes(list(sizes), dim=1)]
    return t.split_with_sizes(list(sizes))


def all_to_all(
    blocks: Sequence[Tensor], recv_shapes: Sequence[Shape], comm: Communicator
) -> list[Tensor]:
    """Send ``blocks[r]`` to rank r, receive one of ``recv_shapes[r]``, S to S: one all-to-all."""
    if comm.size == 1:
        return [blocks[0]]
    send = cat([block.reshape(-1) for block in blocks], 0)
    sizes = [math.prod(shape) for shape in recv_shapes]
    received = exchange(send, [block.numel() for block in blocks], sizes, comm)
    parts = parted(received, sizes)
    return [part.view(shape) for part, shape in zip(parts, recv_shapes, strict=True)]


def exchange(
    t: Tensor,
    send_counts: Sequence[int] | Integers | Division,
    recv_counts: Sequence[int] | Integers | Division,
    comm: Communicator,
) -> Tensor:
    """Send consecutive blocks of a vector to the ranks in turn, S to S: one all-to-all.

    Like `all_to_all`, without the copy that joins separate blocks.
    """
    if comm.size == 1:
        return t
    sends, receives = Division.of(send_counts), Division.of(recv_counts)
    if tracked(t):
        return linear(t, _alltoall, _exchange_back, sends, receives, comm)
    return comm.alltoallv(t, sends, receives)


def _alltoall(t: Tensor, sends: Division, receives: Division, comm: Communicator) -> Tensor:
    width, total = math.prod(t.shape[1:]), receives.total
    if width != 1:
        sends, receives = Division(sends.offsets * width), Division(receives.offsets * width)
    received = comm.alltoallv(t.detach().reshape(-1), sends, receives)
    return received.view(total, *t.shape[1:])


def _exchange_back(g: Tensor, sends: Division, receives: Division, comm: Communicator) -> Tensor:
    return exchange(g, receives, sends, comm)


def exchange_parts(t: Tensor, sends: Parts, receives: Parts, comm: Communicator) -> Tensor:
    """Send consecutive blocks of a vector to some ranks, S to S: one message to each of them.

    Parameters
    ----------
    t : Tensor
        The blocks, in the order of `sends`. Each rank calls, also one that sends nothing.
    sends, receives : tuple of (int, int)
        Ranks, in ascending order and without this one, and the numbers of elements, none 0.
    """
    if comm.size == 1:
        return t
    if tracked(t):
        return linear(t, _exchange_parts, _parts_back, sends, receives, comm)
    return comm.exchange(t, sends, receives)


def _exchange_parts(t: Tensor, sends: Parts, receives: Parts, comm: Communicator) -> Tensor:
    width = math.prod(t.shape[1:])
    total = sum(n for _, n in receives)
    if width != 1:
        sends, receives = _wider(sends, width), _wider(receives, width)
    received = comm.exchange(t.detach().reshape(-1), sends, receives)
    return received.view(total, *t.shape[1:])


def _wider(parts: Parts, width: int) -> Parts:
    return tuple((rank, n * width) for rank, n in parts if width)


def _parts_back(g: Tensor, sends: Parts, receives: Parts, comm: Communicator) -> Tensor:
    return exchange_parts(g, receives, sends, comm)


def ring_shift(t: Tensor, recv_shape: Shape, comm: Communicator, step: int = 1) -> Tensor:
    """Send `t` round the ring to rank + `step`, receive from rank - `step`: one message each."""
    if comm.size == 1:
        return t
    if tracked(t):
        return linear(t, _shift, _shift_back, recv_shape, comm, step, tuple(t.shape))
    return _shift(t, recv_shape, comm, step, ())


def _shift(t: Tensor, recv_shape: Shape, comm: Communicator, step: int, own: Shape) -> Tensor:
    return comm.sendrecv(
        t.detach(), (comm.rank + step) % comm.size, (comm.rank - step) % comm.size, recv_shape
    )


def _shift_back(g: Tensor, recv_shape: Shape, comm: Communicator, step: int, own: Shape) -> Tensor:
    return ring_shift(g, own, comm, -step)


# With a batch as the last axis, the shapes among the arguments of a rule grow by one axis.
with_batch.update(
    {
        _bcast: lambda n, shape, root, comm, own: ((*shape, n), root, comm, (*own, n)),
        _slice_at_root: lambda n, shape, root, comm, own: ((*shape, n), root, comm, (*own, n)),
        _shift: lambda n, shape, comm, step, own: ((*shape, n), comm, step, (*own, n)),
    }
)


def pair_exchange(t: Tensor, partner: int | None, recv_shape: Shape, comm: Communicator) -> Tensor:
    """Swap tensors with another rank (None: with nobody), off the tape: one message each."""
    return comm.sendrecv(t, partner, partner, recv_shape)


def exscan(t: Tensor, op: str, comm: Communicator) -> Tensor:
    """Combine the tensors of the ranks before this one, off the tape: one exscan.

    Rank 0 gets the identity.
    """
    if comm.size == 1:
        return torch.full_like(t, 1 if op == "prod" else 0)
    return comm.exscan(t, op)


def sent(collective: str, t: Tensor, args: Sequence[Any], comm: Communicator) -> Tensor:
    """Send `t` off the tape by the collective of this name, as `compile` has recorded it."""
    result: Tensor = getattr(comm, TABLE[collective].method)(t, *args)
    return result


def numbers_of(n: int, comm: Communicator) -> Integers:
    """Return every rank's `n`: one small allgather."""
    if comm.size == 1:
        return np.asarray([n], dtype=np.int64)
    return comm.allgather_ints((n,))[:, 0]


def divided(n: int, comm: Communicator) -> Division:
    """Return the division into every rank's `n`, for a layout that depends on data.

    One small allgather.
    """
    return Division.of(numbers_of(n, comm))
