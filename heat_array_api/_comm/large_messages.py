"""Collectives of tensors with more elements than one call can count: before MPI 4, 2**31 - 1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor


class LargeMessages:
    """Splits each collective into as many calls as it takes.

    All ranks make the same calls, because they know the sizes. Tensors are dense.

    Parameters
    ----------
    buffer : callable
        ``buffer(tensor, type)`` returns what mpi4py takes.
    limit : int
        The most elements that one call can count.
    """

    __slots__ = ("buffer", "limit")

    def __init__(self, buffer: Callable[[Tensor, Any], list[Any]], limit: int) -> None:
        self.buffer, self.limit = buffer, limit

    def cut(self, t: Tensor, kind: Any) -> list[list[Any]]:
        """Return the buffers of a tensor's parts, each within the limit."""
        flat = t.view(-1)
        starts = range(0, flat.numel(), self.limit)
        return [self.buffer(flat[i : i + self.limit], kind) for i in starts]

    def allreduce(self, mpi: Any, code: Tensor, out: Tensor, kind: Any, op: Any) -> None:
        """Reduce `code` into `out` on every rank."""
        for a, b in zip(self.cut(code, kind), self.cut(out, kind), strict=True):
            mpi.Allreduce(a, b, op)

    def reduce_and_bcast(self, mpi: Any, code: Tensor, out: Tensor, kind: Any, op: Any) -> None:
        """Reduce `code` on rank 0, and send its result to all ranks."""
        for a, b in zip(self.cut(code, kind), self.cut(out, kind), strict=True):
            mpi.Reduce(a, b, op, 0)
            mpi.Bcast(b, 0)

    def reduce_scatter(
        self, mpi: Any, code: Tensor, out: Tensor, counts: Sequence[int], kind: Any, op: Any
    ) -> None:
        """Reduce each rank's rows of `code` into its `out`."""
        for root, block in enumerate(code.split_with_sizes(list(counts))):
            sends = self.cut(block, kind)
            own = self.cut(out, kind) if root == mpi.rank else [None] * len(sends)
            for a, b in zip(sends, own, strict=True):
                mpi.Reduce(a, b, op, root)

    def exscan(self, mpi: Any, code: Tensor, out: Tensor, kind: Any, op: Any) -> None:
        """Reduce `code` of the ranks before this one into `out`."""
        for a, b in zip(self.cut(code, kind), self.cut(out, kind), strict=True):
            mpi.Exscan(a, b, op)

    def bcast(self, mpi: Any, t: Tensor, kind: Any, root: int) -> None:
        """Send `t` from `root` to all ranks."""
        for part in self.cut(t, kind):
            mpi.Bcast(part, root)

    def allgather(self, mpi: Any, t: Tensor, out: Tensor, counts: Sequence[int], kind: Any) -> None:
        """Concatenate the ranks' `t` in `out`."""
        blocks = out.split_with_sizes(list(counts))
        blocks[mpi.rank].copy_(t)
        for root, block in enumerate(blocks):
            self.bcast(mpi, block, kind, root)

    def exchange(
        self,
        mpi: Any,
        sends: Iterable[tuple[int, Tensor]],
        receives: Iterable[tuple[int, Tensor]],
        kind: Any,
    ) -> None:
        """Send tensors to ranks and receive tensors from ranks."""
        requests = [mpi.Irecv(b, source) for source, t in receives for b in self.cut(t, kind)]
        requests += [mpi.Isend(b, dest) for dest, t in sends for b in self.cut(t, kind)]
        for request in requests:
            request.Wait()
