"""The closed set of communications on shards: every message of the namespace starts here.

Each function takes and returns torch tensors. They come in pairs of adjoints (DESIGN,
"Gradients"): `preduce` and the identity, `gather` and `shard`, `reduce_scatter` and the
allgather, `all_to_all` and itself with counts swapped, `exscan` and its reverse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ._comm import Communicator
from ._dtypes import carrier, uncarry
from ._layout import Layout, Shape

__all__ = [
    "all_to_all",
    "broadcast",
    "counts_of",
    "exchange",
    "exscan",
    "gather",
    "pair_exchange",
    "preduce",
    "reduce_scatter",
    "ring_shift",
    "shard",
]


def preduce(t: Tensor, op: str, comm: Communicator) -> Tensor:
    """Combine the ranks' tensors ("sum", "prod", "max", "min"): one allreduce."""
    return t if comm.size == 1 else comm.allreduce(t, op)


def reduce_scatter(t: Tensor, counts: Shape, comm: Communicator) -> Tensor:
    """Sum the ranks' tensors; rank r keeps its `counts` rows of axis 0: one reduce-scatter."""
    return t if comm.size == 1 else comm.reduce_scatter(t, counts)


def gather(t: Tensor, layout: Layout) -> Tensor:
    """Return the full array of which `t` is this rank's shard: one allgather."""
    split, comm = layout.split, layout.comm
    if split is None or comm.size == 1:
        return t
    if split == 0:
        return comm.allgatherv(t, layout.counts)
    rows = carrier(t).movedim(split, 0)
    full = comm.allgatherv(uncarry(rows.contiguous(), t.dtype), layout.counts)
    return uncarry(carrier(full).movedim(0, split).contiguous(), t.dtype)


def shard(full: Tensor, layout: Layout) -> Tensor:
    """Return this rank's part of a replicated tensor: a view, no message."""
    if layout.split is None:
        return full
    return full.narrow(layout.split, layout.start, layout.count)


def all_to_all(
    blocks: Sequence[Tensor], recv_shapes: Sequence[Shape], comm: Communicator
) -> list[Tensor]:
    """Send ``blocks[r]`` to rank r, receive one of ``recv_shapes[r]``: one all-to-all."""
    if comm.size == 1:
        return [blocks[0]]
    send = torch.cat([block.reshape(-1) for block in blocks])
    sizes = [math.prod(shape) for shape in recv_shapes]
    received = comm.alltoallv(send, [block.numel() for block in blocks], sizes)
    return [
        part.view(shape)
        for part, shape in zip(torch.split(received, sizes), recv_shapes, strict=True)
    ]


def exchange(
    t: Tensor, send_counts: Sequence[int], recv_counts: Sequence[int], comm: Communicator
) -> Tensor:
    """Send consecutive pieces of the one-dimensional `t` to the ranks in turn: one all-to-all.

    As `all_to_all`, without the copy that brings separate blocks together.
    """
    return t if comm.size == 1 else comm.alltoallv(t, list(send_counts), list(recv_counts))


def broadcast(
    t: Tensor | None,
    shape: Shape,
    dtype: torch.dtype,
    device: torch.device,
    root: int,
    comm: Communicator,
) -> Tensor:
    """Return the tensor `t` of rank `root` (None elsewhere) on every rank: one broadcast."""
    if comm.size == 1:
        assert t is not None
        return t
    if comm.rank != root or t is None:
        t = torch.empty(shape, dtype=dtype, device=device)
    return comm.bcast(t, root)


def exscan(t: Tensor, op: str, comm: Communicator) -> Tensor:
    """Combine the tensors of the ranks before this one (the identity on rank 0): one exscan."""
    if comm.size == 1:
        return torch.full_like(t, 1 if op == "prod" else 0)
    return comm.exscan(t, op)


def ring_shift(t: Tensor, recv_shape: Shape, comm: Communicator, step: int = 1) -> Tensor:
    """Send `t` to rank + `step`, receive from rank - `step`, round the ring: one message each."""
    if comm.size == 1:
        return t
    return comm.sendrecv(
        t, (comm.rank + step) % comm.size, (comm.rank - step) % comm.size, recv_shape
    )


def pair_exchange(t: Tensor, partner: int | None, recv_shape: Shape, comm: Communicator) -> Tensor:
    """Swap tensors with another rank (None: with none), all ranks at once: one message each."""
    return comm.sendrecv(t, partner, partner, recv_shape)


def counts_of(n: int, comm: Communicator) -> Shape:
    """Return every rank's `n`: the one small allgather that completes a data-dependent layout."""
    if comm.size == 1:
        return (n,)
    return tuple(values[0] for values in comm.allgather_ints((n,)))
