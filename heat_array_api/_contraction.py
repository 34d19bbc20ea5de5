"""How a product of distributed matrices is computed: three ways, and the choice among them.

Seen from the result of ``x1 @ x2``, an operand is split along one of the result's axes (a
stack axis; the rows, if it is `x1`; the columns, if `x2`) or along the axis that the
product sums over, the *contracted* one. From that follow the ways:

===========  ==============================================  ==================================
way          what moves                                      the result is split like
===========  ==============================================  ==================================
keep x1      `x2`, to where it meets the shards of `x1`      `x1` (split along a result's axis)
keep x2      `x1`, to where it meets the shards of `x2`      `x2` (split along a result's axis)
contract     both, to one split of the contracted axis;      replicated if small, else its
             then the ranks' partial products are summed     first axis
===========  ==============================================  ==================================

An operand that has the axis along which the other stays is brought to it (sliced where it
is replicated, else by an all-to-all). One that has not is gathered if it is no bigger
than one rank's share of the other; else its shards rotate round the ring of ranks, and no
rank ever holds more than one of them beside its own.

The way that moves the fewest words is taken; on a tie the first of the table. That
depends on shapes and layouts alone, so every rank takes the same, and it is remembered. A
result is small if it has less than what one rank holds of the larger operand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Final, NamedTuple

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from ._capturing import capturing
from ._layout import Layout, Shape
from ._op import broadcast_shape, cast
from ._primitives import gather, preduce, ring_shift
from ._redistribute import move
from ._tape import tracked

__all__ = ["Plan", "multiply", "plan_product", "product"]

CONTRACTED: Final = -1
_HALF: Final = frozenset({torch.float16, torch.bfloat16})
_SYMMETRIC: Final = frozenset({torch.float32, torch.float64})
_WIDE: Final = 16
_LARGE: Final = 1 << 16
"""Rows of the result, and elements of the matrix, from which on one triangle is faster than all."""


class _Operand(NamedTuple):
    """A stack of matrices as seen from the result of the product."""

    layout: Layout
    inner: int  # its contracted axis
    outer: int  # its own axis of the result's last two: rows of x1, columns of x2
    outer_of_result: int
    shape: Shape  # of the result

    @property
    def axis(self) -> int | None:
        """The result's axis along which it is split, or CONTRACTED; None if replicated."""
        split = self.layout.split
        if split is None:
            return None
        if split == self.inner:
            return CONTRACTED
        return self.outer_of_result if split == self.outer else split + self._lead

    def own(self, axis: int) -> int | None:
        """Return its axis that is the result's `axis`; None if it is broadcast along that."""
        if axis == CONTRACTED:
            return self.inner
        if axis == self.outer_of_result:
            return self.outer
        own = axis - self._lead
        stacked = axis < len(self.shape) - 2 and own >= 0
        return own if stacked and self.layout.shape[own] == self.shape[axis] else None

    @property
    def _lead(self) -> int:
        return len(self.shape) - self.layout.ndim


class Plan(NamedTuple):
    """A way to compute a product: where the operands go first, and what happens there."""

    words: float  # received by one rank
    run: Callable[[Tensor, Tensor, Plan], Tensor]
    operands: tuple[_Operand, _Operand]  # where they lie when `run` starts
    result: Layout
    moving: int = 0  # index of the operand whose shards rotate
    direct: bool = False  # nothing moves: the result's shards are products of the operands'


def product(t1: Tensor, t2: Tensor, sources: tuple[Layout, Layout], plan: Plan) -> Tensor:
    """Return this rank's shard of the product under ``plan.result``."""
    t1, t2 = (
        _moved(t, source, x.layout, plan)
        for t, source, x in zip((t1, t2), sources, plan.operands, strict=True)
    )
    return plan.run(t1, t2, plan)


def _moved(t: Tensor, source: Layout, target: Layout, plan: Plan) -> Tensor:
    """Bring an operand to its layout; gathered for a result that is split, each rank has its own.

    What was replicated before is each rank's own already.
    """
    if source.split is not None and target.split is None and plan.result.split is not None:
        return gather(t, source, varying=True)
    return move(t, source, target)


# ---------------------------------------------------------------------- the choice


@lru_cache(maxsize=4096)
def plan_product(layout1: Layout, layout2: Layout) -> Plan:
    """Return how to compute the product of two stacks of matrices with these layouts.

    They share a communicator, and their contracted axes have one length.
    """
    comm = layout1.comm
    lead = broadcast_shape("matmul", layout1.shape[:-2], layout2.shape[:-2])
    shape = (*lead, layout1.shape[-2], layout2.shape[-1])
    ndim, d1, d2 = len(shape), layout1.ndim, layout2.ndim
    x1 = _spread(_Operand(layout1, d1 - 1, d1 - 2, ndim - 2, shape))
    x2 = _spread(_Operand(layout2, d2 - 2, d2 - 1, ndim - 1, shape))
    if x1.axis is None and x2.axis is None:
        return Plan(0, _local, (x1, x2), Layout.replicated(shape, comm), direct=True)
    ways = (_keep(x1, x2, 1), _keep(x2, x1, 0), _contract(x1, x2))
    best = min((way for way in ways if way is not None), key=lambda way: way.words)
    stays = all(x.layout == y for x, y in zip(best.operands, (layout1, layout2), strict=True))
    return best._replace(direct=stays and best.run is _local)


def _spread(x: _Operand) -> _Operand:
    """Return the operand to be split along a matrix axis if its split axis is a broadcast one.

    One rank holds all of it then, and the result cannot be split along that axis.
    """
    axis = x.axis
    if axis is None or x.own(axis) is not None:
        return x
    outer, inner = x.layout.shape[x.outer], x.layout.shape[x.inner]
    # Never along an outer axis of length 1: it may stand for a vector, and is dropped then.
    longest = x.outer if outer > max(inner, 1) else x.inner
    return x._replace(layout=Layout.balanced(x.layout.shape, longest, x.layout.comm))


def _words(source: Layout, target: Layout) -> float:
    """Return how many words one rank receives when `source` becomes `target`."""
    if source.split is None or source == target:
        return 0
    return source.size if target.split is None else source.size / source.comm.size


def _keep(stay: _Operand, go: _Operand, moving: int) -> Plan | None:
    """Plan to leave `stay` where it is, if it is split along one of the result's axes."""
    axis = stay.axis
    if axis is None or axis == CONTRACTED:
        return None
    layout, comm = go.layout, go.layout.comm
    result = Layout.of(stay.shape, axis, stay.layout.counts, comm)
    own = go.own(axis)
    run, words = _local, float(layout.size)
    if own is not None:
        there = Layout.of(layout.shape, own, stay.layout.counts, comm)
        words = _words(layout, there)
    elif layout.split is None:
        there, words = layout, 0
    elif layout.size * comm.size <= stay.layout.size:
        there = Layout.replicated(layout.shape, comm)
    else:
        there = layout
        run = _rotate if comm.size > 1 else _local
    gone = go._replace(layout=there)
    return Plan(words, run, (stay, gone) if moving else (gone, stay), result, moving)


def _contract(x1: _Operand, x2: _Operand) -> Plan:
    """Plan to split both operands along the contracted axis and to sum partial products."""
    comm = x1.layout.comm
    split = [x for x in (x1, x2) if x.axis == CONTRACTED]
    if split:
        counts = max(split, key=lambda x: x.layout.size).layout.counts
    else:
        counts = Layout.balanced((x1.layout.shape[x1.inner],), 0, comm).counts
    there = [x._replace(layout=Layout.of(x.layout.shape, x.inner, counts, comm)) for x in (x1, x2)]
    words = sum(_words(x.layout, y.layout) for x, y in zip((x1, x2), there, strict=True))
    size = math.prod(x1.shape)
    share = max(x.layout.size / (1 if x.layout.split is None else comm.size) for x in (x1, x2))
    operands = (there[0], there[1])
    if size < share or size <= 1:
        return Plan(words + 2 * size, _allreduce, operands, Layout.replicated(x1.shape, comm))
    # Born split: along the first axis, or the longest where the first has fewer rows than ranks.
    axis = (
        0
        if x1.shape[0] >= max(comm.size, 2)
        else max(range(len(x1.shape)), key=lambda i: x1.shape[i])
    )
    result = Layout.balanced(x1.shape, axis, comm)
    return Plan(words + size, _reduce_scatter, operands, result)


# ---------------------------------------------------------------------- the ways


def multiply(t1: Tensor, t2: Tensor) -> Tensor:
    """Multiply local stacks of matrices."""
    if t1.is_cuda and not (t1.is_floating_point() or t1.is_complex()):
        return multiply(t1.cpu(), t2.cpu()).to(t1.device)  # torch has no such CUDA kernel
    if t1.ndim > 2 and t2.ndim > 2 and t1.shape[:-2] != t2.shape[:-2]:
        # torch.matmul would copy each operand once for every matrix of the other's stack.
        return torch.einsum("...ij,...jk->...ik", t1, t2)
    return _gram(t1, t2) if _is_gram(t1, t2) else torch.matmul(t1, t2)


def _is_gram(t1: Tensor, t2: Tensor) -> bool:
    """Return whether the product is that of a large matrix and its own transpose."""
    return (
        t1.numel() >= _LARGE
        and t1.ndim == t2.ndim == 2
        and t1.shape[0] >= _WIDE
        and t1.dtype in _SYMMETRIC
        and t1.device.type == "cpu"
        and not (capturing() or tracked(t1) or tracked(t2))
        and t1.data_ptr() == t2.data_ptr()
        and (t1.shape, t1.stride()) == (t2.mT.shape, t2.mT.stride())
        and (t1.is_contiguous() or t2.is_contiguous())
    )


def _gram(t1: Tensor, t2: Tensor) -> Tensor:
    """Multiply by NumPy, which computes one triangle (BLAS's syrk); torch has no such kernel."""
    with _blas().limit(limits=torch.get_num_threads(), user_api="blas"):
        return torch.from_numpy(np.matmul(t1.numpy(), t2.numpy()))


@cache
def _blas() -> ThreadpoolController:
    """Return what sets the threads of NumPy's BLAS, which takes all cores on every rank."""
    return ThreadpoolController()


def _accumulator(t: Tensor) -> Tensor:
    """Return partial sums in the dtype in which they are added: float32 for the half precisions."""
    return t.float() if t.dtype in _HALF else t


def _local(t1: Tensor, t2: Tensor, plan: Plan) -> Tensor:
    return multiply(t1, t2)


def _allreduce(t1: Tensor, t2: Tensor, plan: Plan) -> Tensor:
    partial = _accumulator(multiply(t1, t2))
    return cast(preduce(partial, "sum", plan.result.comm), t1.dtype)


def _reduce_scatter(t1: Tensor, t2: Tensor, plan: Plan) -> Tensor:
    """Sum partial products block by block, each block travelling once round the ring.

    The block of the result that rank r keeps starts at rank r + 1; every rank adds its own
    part, made when the block comes by, so no rank ever holds more than two blocks.
    """
    result = plan.result
    comm, axis = result.comm, result.split
    assert axis is not None
    total = None
    for step in range(comm.size):
        block = (comm.rank - 1 - step) % comm.size
        parts = [
            t if own is None else t.narrow(own, result.offsets[block], result.counts[block])
            for t, own in zip((t1, t2), (x.own(axis) for x in plan.operands), strict=True)
        ]
        partial = _accumulator(multiply(parts[0], parts[1]))
        if total is None:
            total = partial
        else:
            total = ring_shift(total, result.shape_of(block), comm) + partial
    assert total is not None
    return cast(total, t1.dtype)


def _rotate(t1: Tensor, t2: Tensor, plan: Plan) -> Tensor:
    """Multiply each shard of the moving operand, as it comes round the ring, into the result."""
    go, stay = plan.operands[plan.moving], plan.operands[1 - plan.moving]
    shard, still = (t2, t1) if plan.moving else (t1, t2)
    comm, axis, layout = go.layout.comm, go.axis, go.layout
    assert axis is not None
    along = stay.own(axis)
    summed = axis == CONTRACTED
    wide = torch.float32 if summed and t1.dtype in _HALF else t1.dtype
    make = torch.zeros if summed else torch.empty
    out = make(plan.result.local_shape, dtype=wide, device=t1.device)
    for step in range(comm.size):
        owner = (comm.rank - step) % comm.size
        start, count = layout.offsets[owner], layout.counts[owner]
        part = still if along is None else still.narrow(along, start, count)
        done = multiply(part, shard) if plan.moving else multiply(shard, part)
        if summed:
            out += done
        else:
            out.narrow(axis, start, count).copy_(done)
        if step + 1 < comm.size:
            shard = ring_shift(shard, layout.shape_of((owner - 1) % comm.size), comm)
    return cast(out, t1.dtype)
