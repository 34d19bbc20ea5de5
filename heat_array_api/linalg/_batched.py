"""Where matrices are factored: the lift of all functions of whole matrices.

====================================  ==========================================  ============
the array                             where the work is done                      result
====================================  ==========================================  ============
replicated stack                      each rank its share, then an allgather      replicated
replicated matrix                     every rank; rank 0's result is broadcast    replicated
split along an axis of the stack      each rank its own matrices                  that axis
stack of split matrices, one of its   all-to-all to that axis, then as above      that axis
axes of length P or more
other split matrices                  one after the other, by the function's      as the
                                      distributed algorithm                       function says
====================================  ==========================================  ============

If a kernel refuses a matrix (singular, not positive definite, NaN), only one rank knows: an
allreduce of 8 bytes tells the others, so that all raise the same error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from .._autograd import Adjoint, differentiable
from .._comm.assumptions import REGULAR, truth
from .._comm.communicator import Communicator
from .._comm.recording import capturing
from .._core.array import Array, check_array
from .._core.collectives import broadcast, gather, preduce, shard
from .._core.docstrings import filled_in
from .._core.layout import Layout, Shape, longest_axis
from .._core.lift import as_floating
from .._core.redistribute import move, redistribute
from .._core.tape import replaced, tracked
from .._manipulation import stack
from .._reshape import reshape

SplitAlgorithm = Callable[[Array], tuple[Array, ...]]
CotangentRule = Callable[[Array, Any, Any], Array | None]
LAPACK_DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)
WORKSPACE = 4
"""How many matrices the memory of one rank must hold for it to factor one."""


_X: Final = """Parameters
----------
x : Array
    Shape ``(..., {}, {})``, any layout; dtype floating-point (integers become the default one)."""
_ERRORS: Final = """Raises
------
ValueError
    If `x` has fewer than two axes{}.
TypeError
    If `x` is not an array, or has half precision."""
_FAILS: Final = """
numpy.linalg.LinAlgError
    On all ranks, if {}."""
_TOO_BIG: Final = (
    _FAILS.format("a decomposition does not converge (NaN elements)")
    + """
MemoryError
    On all ranks, if rank 0 must factor a split matrix and has no room for four of its size."""
)
_RETURNS: Final = "\n\nReturns\n-------"
_EXAMPLES: Final = "\n\nExamples\n--------"
_MESSAGES: Final = (
    """

Notes
-----
One split matrix: {}.

Matrices that are whole on their ranks are factored there; one allreduce of 8 bytes tells whether
any failed. For a replicated matrix rank 0's results are broadcast; for a replicated stack each
rank factors its share, and the results are gathered. A stack of split matrices is first split
along a stack axis of at least P matrices (one all-to-all), if it has one; else its matrices are
factored one after the other. The standard: "Linear Algebra Extension"."""
    + _EXAMPLES
)
_SQUARE: Final = _ERRORS.format(", or its matrices are not square")
_LU = "one all-to-all of it, and broadcasts of half of it, panel by panel"
_INVERSE = "two all-to-alls of it, and broadcasts of it, panel by panel"
_ON_RANK_0 = "one all-to-all brings it to rank 0, which factors it, and the results go back"
_TALL = """if it is tall (M at least N P), the messages of `qr` and broadcasts of the factors
of R; if it is wide, those of its transpose; else one all-to-all brings it to rank 0"""
documented = filled_in(
    x=_X.format("M", "N"),
    x_only=_X.format("M", "N") + _RETURNS,
    square=_X.format("M", "M"),
    square_only=_X.format("M", "M") + _RETURNS,
    hermitian=_X.format("M", "M") + "\n    Only the lower triangle is read.",
    hermitian_only=_X.format("M", "M") + "\n    Only the lower triangle is read." + _RETURNS,
    norm_errors=_ERRORS.format(", or `ord` is unknown") + _EXAMPLES,
    power_errors=_SQUARE + _FAILS.format("`n` is negative and a matrix singular") + _EXAMPLES,
    lu=_SQUARE + _MESSAGES.format(_LU),
    inverse=_SQUARE + _FAILS.format("a matrix is singular") + _MESSAGES.format(_INVERSE),
    on_rank_0=_SQUARE + _TOO_BIG + _MESSAGES.format(_ON_RANK_0),
    tall=_ERRORS.format("") + _TOO_BIG + _MESSAGES.format(_TALL),
    rtol="""rtol : float or Array, optional
    Singular values up to `rtol` times the largest count as zero; an array has one `rtol` for
    each matrix. Default: ``max(M, N) * eps``."""
    + _RETURNS,
    rtol_errors=_ERRORS.format("") + _TOO_BIG + _EXAMPLES,
    parts="""Parameters
----------
x : Array
    Shape ``(..., M, N)``, any layout and dtype (`trace`: numeric).""",
    parts_errors="""Raises
------
ValueError, TypeError
    If `x` has fewer than two axes; if it is not an array, or its dtype does not fit."""
    + _EXAMPLES,
    products_errors="""Raises
------
ValueError, TypeError, IndexError
    If the shapes do not fit; if an operand is not numeric; if one lacks the axis."""
    + _EXAMPLES,
    cholesky=_SQUARE
    + _FAILS.format("a matrix is not positive definite")
    + _MESSAGES.format(_INVERSE.replace("broadcasts", "broadcasts of half")),
    qr=_ERRORS.format(", or `mode` is unknown")
    + _MESSAGES.format(
        """if M is at least N P and the mode is reduced, ceil(log2(P)) exchanges and one
broadcast of N x N words (TSQR), after an all-to-all if `x` is split along columns; else one
all-to-all of the matrix and of each factor, and broadcasts of the reflectors, panel by panel"""
    ),
)
"""Complete the docstrings of functions of matrices."""


# ---------------------------------------------------------------------- arguments


def as_matrices(func: str, x: Array, name: str = "x", *, square: bool = False) -> Array:
    """Return `x` as matrices of a dtype that LAPACK knows; integers become floating-point."""
    return as_lapack(func, check_matrices(func, x, name, square=square), name)


def check_matrices(func: str, x: Array, name: str = "x", *, square: bool = False) -> Array:
    """Return `x` if it is a matrix, or a stack of them, of any dtype; else raise."""
    check_array(func, name, x)
    if x.ndim < 2:
        raise ValueError(f"{func}: {name} has shape {x.shape}; expected two axes or more")
    if square and x.shape[-1] != x.shape[-2]:
        raise ValueError(f"{func}: {name} has shape {x.shape}; expected square matrices")
    return x


def as_lapack(func: str, x: Array, name: str = "x") -> Array:
    """Return `x` in single or double precision; integers become floating-point."""
    x = as_floating(func, x, name)
    if x._local.dtype not in LAPACK_DTYPES:
        raise TypeError(f"{func}: {name} has dtype {x.dtype}; convert it to float32 with astype")
    return x


# ---------------------------------------------------------------------- layouts of results


def result_layout(shape: Shape, like: Layout, axis: int = 0) -> Layout:
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


def run_kernel(operation: Operation, tensors: Sequence[Tensor], comm: Communicator) -> list[Tensor]:
    """Call a local kernel; raise LinAlgError on all ranks if it fails on any."""
    if capturing() and not operation.may_fail:
        return list(operation.kernel(*tensors))
    results: tuple[Tensor, ...] = ()
    reason = ""
    try:
        results = operation.kernel(*tensors)
    except RuntimeError as error:  # torch's LinAlgError is one
        reason = str(error).partition("\n")[0]
    failed = preduce(torch.tensor([bool(reason)], dtype=torch.int64), "max", comm)
    if truth(failed, bool(reason), REGULAR):
        raise np.linalg.LinAlgError(f"{operation.name}: {reason or 'failed on another rank'}")
    return list(results)


def run_replicated(
    operation: Operation, tensors: Sequence[Tensor], comm: Communicator
) -> list[Tensor]:
    """Call a kernel with replicated tensors; rank 0's results are broadcast: equal bits."""
    results = run_kernel(operation, tensors, comm)
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
    of_split: SplitAlgorithm | None = None,
    *,
    adjoint: CotangentRule | None = None,
) -> tuple[Array, ...]:
    """Apply a function of a matrix to all matrices of a stack.

    torch differentiates the operation's kernel. `targets` gives the layouts of the results for the
    layout of one matrix, `of_split` the algorithm for one split matrix (default: on one rank), and
    `adjoint` its cotangent, of ``(x, results, cotangents)`` in functions of the namespace, where
    None stands for the cotangent of a result without influence.
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
            lambda index: each_matrix(operation, x[index], targets, of_split, adjoint=adjoint),
        )
    if ndim > 2:  # no elements, hence no messages
        empty = x._local.new_empty(layout.shape)
        return _by_stack(operation, Array(empty, layout.split_along(None)))
    if comm.size == 1 or not layout.size:
        whole = x._local if comm.size == 1 else x._local.new_empty(layout.shape)
        results = run_kernel(operation, (whole,), comm)
        return tuple(
            Array(shard(t, target), target)
            for t, target in zip(results, targets(layout), strict=True)
        )

    def value(x: Array) -> tuple[Array, ...]:
        return on_one_rank(operation, x, targets(layout)) if of_split is None else of_split(x)

    if adjoint is not None and tracked(x._local):
        return differentiable(value, _of_one(adjoint), x)
    return value(x)


def _of_one(adjoint: CotangentRule) -> Adjoint:
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
            results = run_replicated(operation, (x._local,), comm)
            return tuple(Array(t, Layout.replicated(tuple(t.shape), comm)) for t in results)
        layout = layout.split_along(axis)
    results = run_kernel(operation, (shard(x._local, layout) if replicated else x._local,), comm)
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
    """Factor a split matrix on rank 0: the fallback of the functions that gather.

    MemoryError on all ranks, if the memory of rank 0 has no room for `WORKSPACE` such matrices.
    Messages: one all-to-all in which rank 0 receives the matrix; for each result one all-to-all, or
    allgather, from rank 0; two allreduces of 8 bytes.
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
    results = run_kernel(operation, (whole,), comm)
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
    anywhere = preduce(torch.tensor([lacks], dtype=torch.int64), "max", x.comm)
    if truth(anywhere, False, "a rank has the memory for a matrix that is factored on one"):
        raise MemoryError(
            f"{func}: factors a matrix of shape {x.shape} on one rank, which takes about "
            f"{needed / 2**30:.1f} GiB; rank 0 has less. Run it where a node has more memory (tall "
            "matrices, with M >= N P, need none of this in svd)"
        )


def available_memory(device: torch.device) -> int | None:
    """Return the bytes that a program can still allocate there; None if that is unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None
