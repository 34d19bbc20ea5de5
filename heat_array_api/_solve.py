"""Systems of linear equations: `solve`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._array import Array, common_communicator
from ._autograd import differentiable
from ._capturing import breaks
from ._dtypes import promote
from ._factorizations import refuse_singular
from ._layout import Layout
from ._op import aligned, as_operands, broadcast_shape, cast
from ._panels import collect, deal, panel_lu, substitute_back
from ._primitives import gather, shard
from ._redistribute import move
from ._reshape import broadcast_to
from ._stacks import (
    as_floating,
    as_matrices,
    born,
    each_of_stack,
    hermitian,
    longest_axis,
    run,
    unified,
)
from ._tape import tracked

__all__ = ["solve"]


@breaks
def solve(x1: Array, x2: Array, /) -> Array:
    """Return the solutions X of ``x1 X = x2``.

    Parameters
    ----------
    x1 : Array
        Shape ``(..., M, M)``, any layout; dtype floating-point.
    x2 : Array
        Shape ``(M,)``, or ``(..., M, K)``; the stacks broadcast together.

    Returns
    -------
    Array
        Shape ``(..., M, K)`` or ``(..., M)``. One system: the layout of `x2` if that is split,
        else replicated if no bigger than one rank's share of `x1`, else split 0. A stack is
        split along a stack axis if an operand is.

    Raises
    ------
    numpy.linalg.LinAlgError
        On all ranks, if a matrix is singular.

    Notes
    -----
    Messages: none but one allreduce of 8 bytes where matrices are whole on their ranks. For one
    split matrix an all-to-all of it and of `x2` (an allgather if it has fewer than P columns),
    broadcasts of the matrix in panels (LU with partial pivoting, by columns dealt out block
    by block), and an all-to-all of the result. The standard: "Linear Algebra Extension", solve.
    """
    x1, x2 = as_operands("solve", x1, x2)
    common_communicator("solve", x1, x2)
    a = as_matrices("solve", x1, "x1", square=True)
    b = as_floating("solve", x2, "x2")
    if b.ndim == 0:
        raise ValueError("solve: x2 is 0-d; expected a vector or matrices")
    vector = b.ndim == 1
    if vector:
        b = Array(b._local[:, None], b._layout.with_shape((*b.shape, 1), b._layout.split))
    if b.shape[-2] != a.shape[-1]:
        raise ValueError(
            f"solve: x1 has {a.shape[-1]} rows but x2 has {b.shape[-2]} (shapes {x1.shape}, "
            f"{x2.shape})"
        )
    dtype = promote(a._local.dtype, b._local.dtype)
    a, b = (Array(cast(x._local, dtype), x._layout) for x in (a, b))
    batch = broadcast_shape("solve", a.shape[:-2], b.shape[:-2])
    shape = (*batch, *b.shape[-2:])
    if a.comm.size == 1 or 0 in shape or 0 in a.shape:
        result = _locally(a, b, shape)
    else:
        result = _solve(a, b, shape)
    if vector:
        layout = result._layout
        result = Array(result._local[..., 0], layout.with_shape(layout.shape[:-1], layout.split))
    return result


def _kernel(a: Tensor, b: Tensor) -> tuple[Tensor]:
    if a.ndim != b.ndim:  # torch would take a matrix for a stack of vectors
        batch = broadcast_shape("solve", tuple(a.shape[:-2]), tuple(b.shape[:-2]))
        a, b = (t.expand(*batch, *t.shape[-2:]) for t in (a, b))
    return (torch.linalg.solve(a, b),)


def _locally(a: Array, b: Array, shape: tuple[int, ...]) -> Array:
    """Solve on one rank, or where there is nothing to solve: the result's layout is as on many."""
    layout = _layout_of_stack(a, b, shape)
    if layout is None:
        layout = _layout_of_one(a, b) if len(shape) == 2 else Layout.replicated(shape, a.comm)
    if a.comm.size == 1:
        local = run("solve", _kernel, (a._local, b._local), a.comm)[0]
    else:
        local = b._local.new_empty(layout.local_shape)
    return Array(local, layout)


def _solve(a: Array, b: Array, shape: tuple[int, ...]) -> Array:
    comm = a.comm
    replicated = a.split is None and b.split is None
    layout = _layout_of_stack(a, b, shape)
    if layout is None and replicated:
        local = unified("solve", _kernel, (a._local, b._local), comm)[0]
        return Array(local, Layout.replicated(shape, comm))
    if layout is None and len(shape) == 2:
        if tracked(a._local) or tracked(b._local):
            return differentiable(lambda a, b: (_solve_one(a, b),), _adjoint, a, b)[0]
        return _solve_one(a, b)
    if layout is None:
        a, b = (broadcast_to(x, (*shape[:-2], *x.shape[-2:])) for x in (a, b))
        return each_of_stack(shape[:-2], lambda index: (_solve(a[index], b[index], shape[-2:]),))[0]
    assert layout.split is not None
    axis = layout.split - len(shape)
    tensors = [aligned(x, axis, layout) for x in (a, b)]
    local = run("solve", _kernel, tensors, comm)[0]
    if replicated:
        return Array(gather(local.contiguous(), layout), Layout.replicated(shape, comm))
    return Array(local, layout)


def _layout_of_stack(a: Array, b: Array, shape: tuple[int, ...]) -> Layout | None:
    """Return the layout in which every rank solves systems of its own; None if there is none."""
    ndim, comm = len(shape), a.comm
    for x in sorted((a, b), key=lambda x: -x.nbytes):
        split = x._layout.split
        if split is not None and split < x.ndim - 2:
            axis = split + ndim - x.ndim
            if x.shape[split] == shape[axis]:
                return Layout.of(shape, axis, x._layout.counts, comm)
    longest = longest_axis(shape[:-2])
    replicated = a.split is None and b.split is None
    if longest is None or (replicated and (comm.size == 1 or shape[longest] < 2)):
        return None
    if replicated or shape[longest] >= comm.size:
        return Layout.balanced(shape, longest, comm)
    return None


def _layout_of_one(a: Array, b: Array) -> Layout:
    """Return the layout of the solution of one system."""
    if b.split is not None or a.split is None:
        return b._layout
    return born(b.shape, a._layout)


def _adjoint(needed: Any, inputs: Any, results: Any, cotangents: Any) -> Any:
    """Return the cotangents of the matrix and of the right-hand sides."""
    of_b = solve(hermitian(inputs[0]), cotangents[0])
    return (-(of_b @ hermitian(results[0])) if needed[0] else None, of_b)


def _solve_one(a: Array, b: Array) -> Array:
    """Solve one system of which the matrix or the right-hand sides are split."""
    comm = a.comm
    target = _layout_of_one(a, b)
    many = b.shape[1] >= comm.size
    if a.split is None:  # every rank factors it, for right-hand sides of its own
        if not many:
            local = unified("solve", _kernel, (a._local, b.full_tensor()), comm)[0]
            return Array(shard(local, target), target)
        columns = b._layout if b.split == 1 else Layout.balanced(b.shape, 1, comm)
        local = run("solve", _kernel, (a._local, move(b._local, b._layout, columns)), comm)[0]
        return Array(move(local, columns, target), target)
    dealt = deal(a._local, a._layout)
    right = deal(b._local, b._layout) if many else None
    own = b.full_tensor().clone() if right is None else right.t
    diagonal, _ = panel_lu(dealt, own)
    refuse_singular("solve", diagonal)
    substitute_back(dealt, own)
    return Array(shard(own, target) if right is None else collect(right, target), target)
