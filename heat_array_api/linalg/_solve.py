"""Systems of linear equations, inverses and determinants: LU with partial pivoting.

One split matrix is factored in block-cyclic layout (`_block_cyclic`); `_batched` spreads stacks
over the ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._autograd import differentiable, stop_gradient
from .._comm.assumptions import REGULAR, assumed, truth
from .._comm.recording import breaks
from .._core.array import Array, common_communicator
from .._core.collectives import gather, shard
from .._core.dtypes import promote
from .._core.layout import Layout, longest_axis
from .._core.lift import aligned, as_operands, broadcast_shape, cast
from .._core.redistribute import move
from .._core.tape import tracked
from .._creation import eye
from .._data_type import finfo
from .._elementwise import abs as absolute
from .._elementwise import conj, imag
from .._reshape import broadcast_to
from .._searching import where
from .._statistical import max as max_
from .._utility import any as any_
from ._batched import (
    Operation,
    as_lapack,
    as_matrices,
    documented,
    each_matrix,
    each_of_stack,
    hermitian,
    result_layout,
    run_kernel,
    run_replicated,
)
from ._block_cyclic import (
    block_cyclic_eye,
    from_block_cyclic,
    panel_lu,
    substitute_back,
    to_block_cyclic,
)

__all__ = ["det", "inv", "slogdet", "solve"]


@breaks
def solve(x1: Array, x2: Array, /) -> Array:
    """Return the solutions X of ``x1 X = x2``.

    Parameters
    ----------
    x1 : Array
        Shape ``(..., M, M)``, any layout; dtype floating-point (integers become the default one).
    x2 : Array
        Shape ``(M,)`` or ``(..., M, K)``, any layout; the stacks broadcast together.

    Returns
    -------
    Array
        Shape ``(..., M, K)`` or ``(..., M)``. One system: the layout of `x2` if that is split,
        else replicated if no bigger than one rank's share of `x1`, else split 0. A stack is
        split along a stack axis if an operand is.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    TypeError
        If an operand has half precision.
    numpy.linalg.LinAlgError
        On all ranks, if a matrix is singular.

    Notes
    -----
    Where matrices are whole on their ranks, one allreduce of 8 bytes (did any rank fail?); if both
    operands are replicated, also a broadcast of rank 0's result, or an allgather of a stack's. For
    one split matrix an all-to-all of it and of `x2` (an allgather if it has fewer than P columns),
    broadcasts of the matrix, panel by panel, and an all-to-all of the result. The standard:
    "Linear Algebra Extension", solve.

    Examples
    --------
    >>> x = xp.asarray([[2.0, 0.0], [0.0, 4.0]], split=0)
    >>> print(xp.linalg.solve(x, xp.asarray([2.0, 8.0])))
    [1. 2.]
    """
    x1, x2 = as_operands("solve", x1, x2)
    common_communicator("solve", x1, x2)
    a = as_matrices("solve", x1, "x1", square=True)
    b = as_lapack("solve", x2, "x2")
    if b.ndim == 0:
        raise ValueError("solve: x2 is 0-d; expected a vector or matrices")
    vector = b.ndim == 1
    if vector:
        b = Array(b._local[:, None], b._layout.insert(1))
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
        result = Array(result._local[..., 0], result._layout.drop(result.ndim - 1))
    return result


def _kernel(a: Tensor, b: Tensor) -> tuple[Tensor]:
    if a.ndim != b.ndim:  # torch would take a matrix for a stack of vectors
        batch = broadcast_shape("solve", tuple(a.shape[:-2]), tuple(b.shape[:-2]))
        a, b = (t.expand(*batch, *t.shape[-2:]) for t in (a, b))
    return (torch.linalg.solve(a, b),)


_SOLVE = Operation("solve", _kernel)


def _locally(a: Array, b: Array, shape: tuple[int, ...]) -> Array:
    """Solve on one rank, or nothing at all; the result has the layout that many ranks give it."""
    layout = _layout_of_stack(a, b, shape)
    if layout is None:
        layout = _layout_of_one(a, b) if len(shape) == 2 else Layout.replicated(shape, a.comm)
    if a.comm.size == 1:
        local = run_kernel(_SOLVE, (a._local, b._local), a.comm)[0]
    else:
        local = b._local.new_empty(layout.local_shape)
    return Array(local, layout)


def _solve(a: Array, b: Array, shape: tuple[int, ...]) -> Array:
    comm = a.comm
    replicated = a.split is None and b.split is None
    layout = _layout_of_stack(a, b, shape)
    if layout is None and replicated:
        local = run_replicated(_SOLVE, (a._local, b._local), comm)[0]
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
    local = run_kernel(_SOLVE, tensors, comm)[0]
    if replicated:
        return Array(gather(local.contiguous(), layout), Layout.replicated(shape, comm))
    return Array(local, layout)


def _layout_of_stack(a: Array, b: Array, shape: tuple[int, ...]) -> Layout | None:
    """Return the layout in which each rank solves its own systems; None if there is none."""
    ndim, comm = len(shape), a.comm
    for x in sorted((a, b), key=lambda x: -x.nbytes):
        split = x._layout.split
        if split is not None and split < x.ndim - 2:
            axis = split + ndim - x.ndim
            if x.shape[split] == shape[axis]:
                return Layout.of(shape, axis, x._layout.division, comm)
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
    return result_layout(b.shape, a._layout)


def _adjoint(needed: Any, inputs: Any, results: Any, cotangents: Any) -> Any:
    """Return the cotangents of the matrix and of the right-hand sides."""
    of_b = solve(hermitian(inputs[0]), cotangents[0])
    return (-(of_b @ hermitian(results[0])) if needed[0] else None, of_b)


def _solve_one(a: Array, b: Array) -> Array:
    """Solve one system whose matrix or right-hand sides are split."""
    comm = a.comm
    target = _layout_of_one(a, b)
    many = b.shape[1] >= comm.size
    if a.split is None:  # every rank factors it, for its own right-hand sides
        if not many:
            local = run_replicated(_SOLVE, (a._local, b.full_tensor()), comm)[0]
            return Array(shard(local, target), target)
        columns = b._layout if b.split == 1 else b._layout.split_along(1)
        local = run_kernel(_SOLVE, (a._local, move(b._local, b._layout, columns)), comm)[0]
        return Array(move(local, columns, target), target)
    cyclic = to_block_cyclic(a._local, a._layout)
    right = to_block_cyclic(b._local, b._layout) if many else None
    own = b.full_tensor().clone() if right is None else right.t
    diagonal, _ = panel_lu(cyclic, own)
    refuse_singular("solve", diagonal)
    substitute_back(cyclic, own)
    return Array(shard(own, target) if right is None else from_block_cyclic(right, target), target)


# ---------------------------------------------------------------------- inverse and determinant


def refuse_singular(func: str, diagonal: Tensor) -> None:
    """Raise if a diagonal of U, which all ranks know, has a zero."""
    if assumed(REGULAR):
        return
    zeros = torch.nonzero(diagonal == 0)
    if len(zeros):
        raise np.linalg.LinAlgError(f"{func}: the matrix is singular (pivot {int(zeros[0])} is 0)")


@documented
@breaks
def inv(x: Array, /) -> Array:
    """Return the inverses of square matrices.

    {square_only}
    Array
        Shape and layout of `x`; a stack of split matrices may become split along the stack.

    {inverse}
    >>> print(xp.linalg.inv(xp.asarray([[1.0, 1.0], [0.0, 2.0]], split=0)))
    [[ 1.  -0.5]
     [ 0.   0.5]]
    """
    return inverse("inv", x)


@breaks
def inverse(func: str, x: Array) -> Array:
    """Return the inverses of matrices; errors name `func`."""
    x = as_matrices(func, x, square=True)

    def targets(layout: Layout) -> tuple[Layout]:
        return (layout,)

    def of_split(x: Array) -> tuple[Array]:
        cyclic = to_block_cyclic(x._local, x._layout)
        right = block_cyclic_eye(cyclic.shape, cyclic)
        diagonal, _ = panel_lu(cyclic, right.t)
        refuse_singular(func, diagonal)
        substitute_back(cyclic, right.t)
        return (Array(from_block_cyclic(right, x._layout), x._layout),)

    def adjoint(x: Array, results: tuple[Array], cotangents: tuple[Array]) -> Array:
        inverse = hermitian(results[0])
        return -(inverse @ cotangents[0] @ inverse)

    def kernel(t: Tensor) -> tuple[Tensor]:
        return (torch.linalg.inv(t),)

    return each_matrix(Operation(func, kernel), x, targets, of_split, adjoint=adjoint)[0]


def _scalars(layout: Layout) -> Sequence[Layout]:
    return [Layout.replicated((), layout.comm)] * 2


def _upper_diagonal(x: Array) -> tuple[Tensor, int]:
    """Return the diagonal of U and the parity of the row exchanges, on all ranks."""
    return panel_lu(to_block_cyclic(x._local, x._layout))


@documented
@breaks
def det(x: Array, /) -> Array:
    """Return the determinants of square matrices.

    {square_only}
    Array
        Shape ``(...)``; replicated for one matrix, else the layout of the stack.

    {lu}
    >>> print(xp.linalg.det(xp.asarray([[2.0, 0.0], [0.0, 3.0]], split=0)))
    6.0
    """
    x = as_matrices("det", x, square=True)

    def of_split(x: Array) -> tuple[Array]:
        diagonal, parity = _upper_diagonal(x)
        return (Array(diagonal.prod() * parity, Layout.replicated((), x.comm)),)

    def targets(layout: Layout) -> Sequence[Layout]:
        return _scalars(layout)[:1]

    def kernel(t: Tensor) -> tuple[Tensor]:
        return (torch.linalg.det(t),)

    def value(x: Array) -> tuple[Array, ...]:
        return each_matrix(Operation("det", kernel), x, targets, of_split)

    if tracked(x._local):  # torch has 0 for the derivative at singular matrices
        return differentiable(value, _det_adjoint, x)[0]
    return value(x)[0]


def _det_adjoint(_: Any, inputs: Any, results: Any, cotangents: Any) -> tuple[Array]:
    """Return the cotangent: the conjugate cofactors times the cotangent of the determinants."""
    (x,), (values,) = inputs, results
    singular = stop_gradient(values == 0)[..., None, None]
    if not truth(any_(singular), False, REGULAR):
        cofactors = conj(values)[..., None, None] * hermitian(inv(x))
    else:
        # The mean over two regular matrices on both sides of the singular one. The step balances
        # the errors of the difference and of inv, both of the order of eps**(2/3).
        scale = max_(absolute(stop_gradient(x)), axis=(-2, -1), keepdims=True)
        shift = float(finfo(x.dtype).eps) ** (1 / 3) * where(scale == 0, 1.0, scale)
        split = x.split if x.split is not None and x.split >= x.ndim - 2 else None
        one = eye(
            x.shape[-1],
            dtype=x.dtype,
            device=x.device,
            split=None if split is None else split - x.ndim + 2,
            comm=x.comm,
        )
        step = where(singular, shift, 0.0) * one
        sides = [x + step, x - step]
        both = [conj(det(side))[..., None, None] * hermitian(inv(side)) for side in sides]
        cofactors = (both[0] + both[1]) * 0.5
    return (cotangents[0][..., None, None] * cofactors,)


@documented
@breaks
def slogdet(x: Array, /) -> SlogdetResult:
    """Return the signs of determinants, and the logarithms of their moduli.

    {square_only}
    sign, logabsdet : Array
        Shape ``(...)``; 0 and -inf for a singular matrix. `logabsdet` is real. Replicated for one
        matrix, else the layout of the stack.

    {lu}
    >>> sign, logarithm = xp.linalg.slogdet(xp.asarray([[0.0, 1.0], [1.0, 0.0]], split=0))
    >>> print(sign, logarithm)
    -1.0 0.0
    """
    x = as_matrices("slogdet", x, square=True)

    def kernel(t: Tensor) -> tuple[Tensor, Tensor]:
        sign, logarithm = torch.linalg.slogdet(t)
        return sign, logarithm

    def of_split(x: Array) -> tuple[Array, Array]:
        diagonal, parity = _upper_diagonal(x)
        layout = Layout.replicated((), x.comm)
        sign = torch.sgn(diagonal).prod() * parity
        return Array(sign, layout), Array(diagonal.abs().log().sum(), layout)

    def adjoint(x: Array, results: tuple[Array, Array], cotangents: Any) -> Array | None:
        g_sign, g_logarithm = cotangents
        factor = g_logarithm
        if g_sign is not None and x._local.is_complex():
            turned = imag(conj(g_sign) * results[0]) * -1j
            factor = turned if factor is None else factor + turned
        return None if factor is None else factor * hermitian(inv(x))

    return SlogdetResult(
        *each_matrix(Operation("slogdet", kernel), x, _scalars, of_split, adjoint=adjoint)
    )


class SlogdetResult(NamedTuple):
    """The arrays that `slogdet` returns."""

    sign: Array
    logabsdet: Array
