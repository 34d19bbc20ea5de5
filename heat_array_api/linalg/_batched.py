"""Where matrices are factored: the one lift of all functions of whole matrices.

====================================  ==========================================  ============
the array                             where the work is done                      result
====================================  ==========================================  ============
replicated stack                      each rank its share, then an allgather      replicated
replicated matrix                     every rank; rank 0's result stands          replicated
split along an axis of the stack      each rank its own matrices                  that split
split matrices, a stack axis of at    all-to-all to that axis, then as above      that axis
least P
split matrices otherwise              one by one, by the function's own           see there
                                      distributed algorithm
====================================  ==========================================  ============

A matrix that a kernel refuses (singular, not positive definite, NaN) is known to one rank
only: one allreduce of 8 bytes tells the others, and all raise alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._autograd import Adjoint, differentiable
from .._comm.communicator import Communicator
from .._comm.recording import capturing
from .._core.array import Array
from .._core.collectives import broadcast, gather, preduce, shard
from .._core.layout import Layout, Shape, longest_axis
from .._core.lift import as_floating, check_array
from .._core.redistribute import move, redistribute
from .._core.tape import replaced, tracked
from .._manipulation import stack
from .._reshape import reshape

__all__ = [
    "LAPACK_DTYPES",
    "WORKSPACE",
    "Operation",
    "as_lapack",
    "as_matrices",
    "available_memory",
    "born",
    "each_matrix",
    "each_of_stack",
    "hermitian",
    "on_one_rank",
    "run",
    "unified",
]

Single = Callable[[Array], tuple[Array, ...]]
Rule = Callable[[Array, Any, Any], Array | None]
LAPACK_DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)
WORKSPACE = 4
"""How many matrices the memory of one rank must hold for it to factor one."""


# ---------------------------------------------------------------------- arguments


def as_matrices(func: str, x: Array, name: str = "x", *, square: bool = False) -> Array:
    """Return `x` as matrices of a dtype that LAPACK knows; integers become floating-point."""
    check_array(func, name, x)
    if x.ndim < 2:
        raise ValueError(f"{func}: {name} has shape {x.shape}; expected two axes or more")
    if square and x.shape[-1] != x.shape[-2]:
        raise ValueError(f"{func}: {name} has shape {x.shape}; expected square matrices")
    return as_lapack(func, x, name)


def as_lapack(func: str, x: Array, name: str = "x") -> Array:
    """Return `x` in single or double precision; integers become floating-point."""
    x = as_floating(func, x, name)
    if x._local.dtype not in LAPACK_DTYPES:
        raise TypeError(f"{func}: {name} has dtype {x.dtype}; convert it to float32 with astype")
    return x


# ---------------------------------------------------------------------- layouts of results


def born(shape: Shape, like: Layout, axis: int = 0) -> Layout:
    """Return the layout of a result: replicated if no bigger than a share of `like`, else split."""
    if not shape or math.prod(shape) * like.comm.size <= like.size:
        return Layout.replicated(shape, like.comm)
    return Layout.balanced(shape, axis, like.comm)


def hermitian(x: Array) -> Array:
    """Return the conjugate transposes of matrices. Sends nothing."""
    n = x.ndim
    return Array(x._local.mH.resolve_conj(), x._layout.permuted((*range(n - 2), n - 1, n - 2)))


# ---------------------------------------------------------------------- local kernels


@dataclass(frozen=True, slots=True)
class Operation:
    """A function of matrices: its name in errors, and its kernel for a local stack of matrices.

    The kernel returns a tuple of stacks. It may fail unless it takes any matrix.
    """

    name: str
    kernel: Callable[..., tuple[Tensor, ...]]
    may_fail: bool = True


def run(operation: Operation, tensors: Sequence[Tensor], comm: Communicator) -> list[Tensor]:
    """Call a local kernel; raise LinAlgError on all ranks if it fails on any."""
    if capturing() and not operation.may_fail:
        return list(operation.kernel(*tensors))
    results: tuple[Tensor, ...] = ()
    reason = ""
    try:
        results = operation.kernel(*tensors)
    except RuntimeError as error:  # torch's LinAlgError is one
        reason = str(error).partition("\n")[0]
    if bool(preduce(torch.tensor([bool(reason)], dtype=torch.int64), "max", comm)):
        raise np.linalg.LinAlgError(f"{operation.name}: {reason or 'failed on another rank'}")
    return list(results)


def unified(operation: Operation, tensors: Sequence[Tensor], comm: Communicator) -> list[Tensor]:
    """Call a kernel with replicated tensors: the results of rank 0 stand, so bits are equal."""
    results = run(operation, tensors, comm)
    if comm.size == 1:
        return results
    if any(tracked(t) for t in tensors):
        return [replaced(t, _of_first(t.detach(), comm)) for t in results]
    return [_of_first(t, comm) for t in results]


def _of_first(t: Tensor, comm: Communicator) -> Tensor:
    """Return rank 0's tensor on every rank."""
    return broadcast(t.contiguous(), tuple(t.shape), t.dtype, t.device, 0, comm)


# ---------------------------------------------------------------------- the lift


def each_matrix(
    operation: Operation,
    x: Array,
    targets: Callable[[Layout], Sequence[Layout]],
    single: Single | None = None,
    *,
    adjoint: Rule | None = None,
) -> tuple[Array, ...]:
    """Apply a function of a matrix to all matrices of a stack.

    Parameters
    ----------
    operation : Operation
        What it does with a local stack of matrices.
    x : Array, shape (..., M, N)
        Any layout.
    targets : callable
        The results' layouts for one matrix of a layout.
    single : callable, optional
        How it is done for a matrix that is split. Default: on one rank.
    adjoint : callable
        The cotangent of a matrix that is split, of ``(x, results, cotangents)``, in functions of
        the namespace; None for the cotangent of a result without influence. Where matrices are
        whole on their ranks, the derivatives of the kernel are torch's. Not needed off the tape.
    """
    layout = x._layout
    ndim, comm = layout.ndim, layout.comm
    if layout.split is None or layout.split < ndim - 2:
        return _by_stack(operation, x)
    axis = longest_axis(layout.shape[:-2])
    if axis is not None and layout.shape[axis] >= comm.size and layout.size:
        return _by_stack(operation, redistribute(x, layout.split_along(axis)))
    if ndim > 2 and layout.size:
        return each_of_stack(
            layout.shape[:-2],
            lambda index: each_matrix(operation, x[index], targets, single, adjoint=adjoint),
        )
    if ndim > 2:  # no elements, hence no messages
        empty = x._local.new_empty(layout.shape)
        return _by_stack(operation, Array(empty, layout.split_along(None)))
    if comm.size == 1 or not layout.size:
        whole = x._local if comm.size == 1 else x._local.new_empty(layout.shape)
        results = run(operation, (whole,), comm)
        return tuple(
            Array(shard(t, target), target)
            for t, target in zip(results, targets(layout), strict=True)
        )

    def value(x: Array) -> tuple[Array, ...]:
        return on_one_rank(operation, x, targets(layout)) if single is None else single(x)

    if adjoint is not None and tracked(x._local):
        return differentiable(value, _of_one(adjoint), x)
    return value(x)


def _of_one(adjoint: Rule) -> Adjoint:
    def of_one(_: Any, inputs: Any, results: Any, cotangents: Any) -> tuple[Array | None]:
        return (adjoint(inputs[0], results, cotangents),)

    return of_one


def each_of_stack(
    shape: Shape, function: Callable[[Shape], tuple[Array, ...]]
) -> tuple[Array, ...]:
    """Call a function for each index of a stack of `shape`, and stack the results."""
    rows = [function(index) for index in product(*map(range, shape))]
    return tuple(
        reshape(stack(column, axis=0), (*shape, *column[0].shape))
        for column in zip(*rows, strict=True)
    )


def _by_stack(operation: Operation, x: Array) -> tuple[Array, ...]:
    """Apply a kernel to a stack that is replicated, or split along one of its own axes."""
    layout = x._layout
    comm, batch = layout.comm, layout.shape[:-2]
    axis = longest_axis(batch)
    replicated = layout.split is None
    if replicated and comm.size > 1 and layout.size:
        if axis is None or batch[axis] < 2:
            results = unified(operation, (x._local,), comm)
            return tuple(Array(t, Layout.replicated(tuple(t.shape), comm)) for t in results)
        layout = layout.split_along(axis)
    results = run(operation, (shard(x._local, layout) if replicated else x._local,), comm)
    arrays = []
    for t in results:
        target = layout.with_shape((*batch, *t.shape[len(batch) :]), layout.split)
        if replicated:
            t = gather(t.contiguous(), target)
            target = target.split_along(None)
        arrays.append(Array(t, target))
    return tuple(arrays)


# ---------------------------------------------------------------------- the gathering fallback


def on_one_rank(operation: Operation, x: Array, targets: Sequence[Layout]) -> tuple[Array, ...]:
    """Factor a split matrix on rank 0: the named fallback of the functions that gather.

    Raises
    ------
    MemoryError
        On all ranks, if the memory of rank 0 has no room for `WORKSPACE` such matrices.

    Notes
    -----
    Messages: one all-to-all in which rank 0 receives the matrix; for each result one
    all-to-all, or allgather, from rank 0; two allreduces of 8 bytes.
    """
    layout = x._layout
    comm = layout.comm
    _check_memory(operation.name, x)

    def to_first(shape: Shape, split: int) -> Layout:
        return Layout.of(shape, split, (shape[split], *[0] * (comm.size - 1)), comm)

    assert layout.split is not None
    whole = move(x._local, layout, to_first(layout.shape, layout.split))
    if comm.rank != 0:  # for the dtypes of the results
        whole = x._local.new_empty((0, 0))
    results = run(operation, (whole,), comm)
    arrays = []
    for t, target in zip(results, targets, strict=True):
        first = to_first(target.shape, 0)
        local = t if comm.rank == 0 else t.new_empty(first.local_shape)
        arrays.append(Array(move(local, first, target), target))
    return tuple(arrays)


def _check_memory(func: str, x: Array) -> None:
    needed = WORKSPACE * x.nbytes
    free = available_memory(x._local.device)
    lacks = free is not None and free < needed and x.comm.rank == 0
    if bool(preduce(torch.tensor([lacks], dtype=torch.int64), "max", x.comm)):
        raise MemoryError(
            f"{func}: factors a matrix of shape {x.shape} on one rank, which takes about "
            f"{needed / 2**30:.1f} GiB; rank 0 has less. Run it where a node has more memory (tall "
            "matrices, with M >= N P, need none of this in svd)"
        )


def available_memory(device: torch.device) -> int | None:
    """Return the bytes that a program can still take there; None where that is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None
