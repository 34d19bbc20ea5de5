"""Derivatives for SciPy's optimisers and torch's modules, and a check of derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ._array import Array, common_communicator
from ._autograd import hvp, jvp, stop_gradient, value_and_grad, vjp
from ._comm import Communicator
from ._conversion import asarray
from ._dtypes import to_numpy_dtype
from ._layout import Layout
from ._primitives import broadcast, pvary
from ._redistribute import redistribute
from ._trees import leaves, rebuilt

__all__ = ["ScipyProblem", "check_grads", "module_apply", "to_scipy"]

Vector = np.ndarray[Any, np.dtype[np.float64]]


# ---------------------------------------------------------------------- SciPy


class ScipyProblem(NamedTuple):
    """A loss as SciPy's optimisers take it: see `to_scipy`."""

    fun: Callable[[Vector], tuple[float, Vector]]
    x0: Vector
    hessp: Callable[[Vector, Vector], Vector]
    unflatten: Callable[[Vector], Any]


def to_scipy(loss: Callable[[Any], Array], parameters: Any) -> ScipyProblem:
    """Return a loss of arrays as a function of one NumPy vector, with its gradient.

    Parameters
    ----------
    loss : callable
        Of `parameters`; returns a real scalar.
    parameters : Array, or nested tuples, lists, dicts of them
        Where the search begins; real, and small: SciPy's vectors are whole on every rank.

    Returns
    -------
    fun : callable
        Returns the value and the gradient at a vector; for ``minimize(fun, x0, jac=True)``.
    x0 : ndarray
        `parameters` as a vector of float64.
    hessp : callable
        Returns the product of the Hessian at a vector with another one.
    unflatten : callable
        Returns a vector as `parameters` are: shapes, dtypes, layouts.

    Notes
    -----
    Every rank runs SciPy for itself. Vectors of rank 0 stand, and values and gradients are the
    same bits on all ranks, so that all take the same steps and stop together. Messages of a call:
    one broadcast of the vector, those of the loss and of its gradient, and an allgather for
    each parameter that is split.

    Examples
    --------
    >>> problem = xp.autograd.to_scipy(loss, w)
    >>> found = scipy.optimize.minimize(problem.fun, problem.x0, jac=True, method="L-BFGS-B")
    >>> w = problem.unflatten(found.x)
    """
    given = [_as_parameter(x) for x in leaves(parameters)]
    both = value_and_grad(loss)

    def unflatten(vector: Vector) -> Any:
        vector = _of_first(vector, given[0].comm)
        ends = np.cumsum([x.size for x in given])[:-1]
        parts = zip(np.split(vector, ends), given, strict=True)
        return rebuilt(parameters, iter([_in_layout_of(part, x) for part, x in parts]))

    def fun(vector: Vector) -> tuple[float, Vector]:
        value, gradient = both(unflatten(vector))
        return float(value), _flat(gradient)

    def hessp(vector: Vector, direction: Vector) -> Vector:
        product = hvp(loss, (unflatten(vector),), (unflatten(direction),))
        return _flat(product[0])

    return ScipyProblem(fun, _flat(parameters), hessp, unflatten)


def _as_parameter(x: Any) -> Array:
    if not isinstance(x, Array) or not x._local.is_floating_point():
        kind = x.dtype if isinstance(x, Array) else type(x).__name__
        raise TypeError(f"to_scipy: a parameter is {kind}; expected real floating-point arrays")
    return x


def _of_first(vector: Vector, comm: Communicator) -> Vector:
    """Return rank 0's vector on all ranks: theirs may differ in the last bit."""
    t = torch.from_numpy(np.array(vector, dtype=np.float64))
    return broadcast(t, tuple(t.shape), t.dtype, t.device, 0, comm).numpy()


def _in_layout_of(part: Vector, x: Array) -> Array:
    whole = asarray(part.reshape(x.shape), dtype=x.dtype, device=x.device, split=None, comm=x.comm)
    return redistribute(whole, x._layout)


def _flat(tree: Any) -> Vector:
    parts = [np.asarray(stop_gradient(x), dtype=np.float64).reshape(-1) for x in leaves(tree)]
    return np.concatenate(parts)


# ---------------------------------------------------------------------- torch's modules


def module_apply(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Call a torch module with arrays: data-parallel where they are split along axis 0.

    Parameters
    ----------
    module : torch.nn.Module
        With the same parameters on every rank. Its rows must not depend on each other.
    *args, **kwargs
        Arrays, split along axis 0 with the same counts, or replicated; or anything else.

    Returns
    -------
    Array, or nested tuples, lists, dicts of them
        The module's results; of a split batch split along axis 0, with its counts.

    Raises
    ------
    TypeError
        If the module normalises over the batch (BatchNorm in training), whose statistics would be
        those of one shard.
    ValueError
        If an array is split along another axis, or arrays have different counts.

    Notes
    -----
    ``loss.backward()`` accumulates in ``parameter.grad`` the gradient of the global loss, the
    same on every rank, so that any torch optimiser keeps the parameters equal. Forward it sends
    nothing; backward one allreduce for all parameters of one dtype.
    """
    _refuse_batch_statistics(module)
    arrays = [x for x in leaves((args, kwargs)) if isinstance(x, Array)]
    if not arrays:
        raise TypeError("module_apply: no argument is an array")
    comm = common_communicator("module_apply", *arrays)
    layout = _batch_layout(arrays)

    def local(x: Any) -> Any:
        if not isinstance(x, Array):
            return x
        return x._local if layout is None or x._layout.split == 0 else pvary(x._local, comm)

    tensors = [local(x) for x in leaves((args, kwargs))]
    args, kwargs = rebuilt((args, kwargs), iter(tensors))
    if layout is None:
        result = module(*args, **kwargs)
    else:
        parameters = _varying_parameters(module, comm)
        result = torch.func.functional_call(module, parameters, args, kwargs)
    results = [_as_array(t, layout, comm) for t in leaves(result)]
    return rebuilt(result, iter(results))


def _refuse_batch_statistics(module: nn.Module) -> None:
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm) and (part.training or not part.track_running_stats):
            raise TypeError(
                f"module_apply: {name or 'the module'} is {type(part).__name__}, which takes its "
                "statistics from one rank's shard of the batch; use LayerNorm or GroupNorm, or "
                "module.eval()"
            )


def _batch_layout(arrays: Sequence[Array]) -> Layout | None:
    """Return the layout that the arrays are split in; None if they are replicated."""
    found: Layout | None = None
    for x in arrays:
        layout = x._layout
        if layout.split is None:
            continue
        if layout.split != 0:
            raise ValueError(
                f"module_apply: an array is split along axis {layout.split}; a batch is split "
                "along axis 0"
            )
        if found is not None and layout.counts != found.counts:
            raise ValueError(
                f"module_apply: arrays with counts {found.counts} and {layout.counts}; use "
                "rebalance"
            )
        found = layout
    return found


def _varying_parameters(module: nn.Module, comm: Communicator) -> dict[str, Tensor]:
    """Return the module's parameters as each rank's own: their cotangents are summed in one."""
    groups: dict[Any, list[tuple[str, Tensor]]] = {}
    for name, parameter in module.named_parameters():
        groups.setdefault((parameter.dtype, parameter.device), []).append((name, parameter))
    found: dict[str, Tensor] = {}
    for group in groups.values():
        flat = pvary(torch.cat([parameter.reshape(-1) for _, parameter in group]), comm)
        parts = flat.split([parameter.numel() for _, parameter in group])  # type: ignore[no-untyped-call]
        for (name, whole), part in zip(group, parts, strict=True):
            found[name] = part.view(whole.shape)
    return found


def _as_array(t: Any, batch: Layout | None, comm: Communicator) -> Any:
    if not isinstance(t, Tensor):
        return t
    shape = tuple(t.shape)
    if batch is None:
        return Array(t, Layout.replicated(shape, comm))
    if not shape or shape[0] != batch.count:
        raise ValueError(
            f"module_apply: the module makes a tensor of shape {shape} of {batch.count} rows; "
            "expected one row for each"
        )
    return Array(t, Layout.of((batch.shape[0], *shape[1:]), 0, batch.counts, comm))


# ---------------------------------------------------------------------- a check of gradients


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 1,
    modes: Sequence[str] = ("fwd", "rev"),
    *,
    step: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    """Check the derivatives of a function against differences, in a random direction.

    Parameters
    ----------
    f : callable
        Of arrays, or nested tuples, lists and dicts of them; returns such. It must be smooth at
        `args`.
    args : sequence
        Its arguments: floating-point arrays, any layout.
    order : int
        Up to which order.
    modes : sequence of {"fwd", "rev"}
        `jvp`, against central differences; and `vjp`, against `jvp`.
    step : float, optional
        Of the differences; default: the cube root of the dtype's rounding.
    rtol, atol : float, optional
        Tolerances; default: 100 times the square of `step`, in double precision 4e-9.

    Raises
    ------
    AssertionError
        On all ranks, if a derivative is wrong.
    """
    if not set(modes) <= {"fwd", "rev"} or not modes:
        raise ValueError(f"check_grads: modes is {modes!r}; expected 'fwd', 'rev' or both")
    eps = max(torch.finfo(x._local.dtype).eps for x in leaves(args))
    step = eps ** (1 / 3) if step is None else step
    tolerance = 100 * step**2
    tolerances = (tolerance if rtol is None else rtol, tolerance if atol is None else atol)
    _check_order(f, tuple(args), order, tuple(modes), step, tolerances, 1)


def _check_order(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    order: int,
    modes: tuple[str, ...],
    step: float,
    tolerances: tuple[float, float],
    level: int,
) -> None:
    directions = rebuilt(args, iter([_random_like(x, level) for x in leaves(args)]))
    value, pushed = jvp(f, args, directions)
    cotangents = [_random_like(y, level + 100) for y in leaves(value)]
    forward = _dot(cotangents, leaves(pushed))
    if "fwd" in modes:
        ends = [f(*_moved(args, directions, sign * step)) for sign in (1.0, -1.0)]
        slopes = [
            (a - b) / (2 * step)
            for a, b in zip(*(map(stop_gradient, leaves(y)) for y in ends), strict=True)
        ]
        _assert_close("jvp", level, forward, _dot(cotangents, slopes), tolerances)
    if "rev" in modes:
        pulled = vjp(f, *args)[1](rebuilt(value, iter(cotangents)))
        backward = _dot(leaves(pulled), leaves(directions))
        _assert_close("vjp", level, backward, forward, tolerances)
    if order > 1:

        def slope(*args: Any) -> Any:
            return (
                jvp(f, args, directions)[1]
                if "rev" not in modes
                else vjp(f, *args)[1](rebuilt(value, iter(cotangents)))
            )

        _check_order(slope, args, order - 1, modes, step, tolerances, level + 1)


def _random_like(x: Array, seed: int) -> Array:
    """Return normal numbers in the layout of an array: the same whatever that is."""
    rng = np.random.default_rng((seed, math.prod(x.shape)))
    values = rng.standard_normal(x.shape)
    if x._local.is_complex():
        values = values + 1j * rng.standard_normal(x.shape)
    dtype = to_numpy_dtype(x._local.dtype)
    whole = asarray(values, dtype=dtype, device=x.device, split=None, comm=x.comm)
    return redistribute(whole, x._layout)


def _moved(args: Any, directions: Any, by: float) -> Any:
    pairs = zip(leaves(args), leaves(directions), strict=True)
    return rebuilt(args, iter([x + by * v for x, v in pairs]))


def _dot(xs: Any, ys: Any) -> float:
    """Return the real part of the inner product of two lists of arrays, in torch's convention."""
    total = 0.0
    for x, y in zip(xs, ys, strict=True):
        product = x.conj() * y if x._local.is_complex() else x * y
        value = product.sum().item()
        total += value.real if isinstance(value, complex) else float(value)
    return total


def _assert_close(
    mode: str, level: int, found: float, expected: float, tolerances: tuple[float, float]
) -> None:
    if not math.isclose(found, expected, rel_tol=tolerances[0], abs_tol=tolerances[1]):
        raise AssertionError(
            f"check_grads: the {mode} of order {level} is {found!r} in a random direction; "
            f"expected {expected!r}"
        )
