"""Derivatives for SciPy's optimisers, and torch's modules on distributed arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .._autograd import hessian_products, stop_gradient, with_value
from .._comm.communicator import Communicator
from .._comm.recording import capturing
from .._core.agreement import agreed
from .._core.array import Array, common_communicator
from .._core.collectives import broadcast, pvary
from .._core.layout import Layout, Shape
from .._core.redistribute import redistribute
from .._core.torch_internals import _BatchNorm
from .._core.trees import leaves, rebuilt
from .._creation import asarray

__all__ = ["ScipyProblem", "module_apply", "to_scipy"]
Vector = np.ndarray[Any, np.dtype[np.float64]]


# ---------------------------------------------------------------------- SciPy


class ScipyProblem(NamedTuple):
    """A loss in the form that SciPy's optimisers take, made by `to_scipy`.

    Attributes
    ----------
    fun, x0, hessp, unflatten
        As returned by `to_scipy`.

    Examples
    --------
    >>> problem = xp.autograd.to_scipy(lambda w: xp.sum(w**3), xp.ones(2))
    >>> print(problem.hessp(problem.x0, np.asarray([1.0, 2.0])))
    [ 6. 12.]
    """

    fun: Callable[[Vector], tuple[float, Vector]]
    x0: Vector
    hessp: Callable[[Vector, Vector], Vector]
    unflatten: Callable[[Vector], Any]


def to_scipy(loss: Callable[[Any], Array], parameters: Any) -> ScipyProblem:
    """Return a loss of arrays as a function of one NumPy vector, with its gradient.

    Parameters
    ----------
    loss : callable
        Takes `parameters`; returns a real scalar.
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
        Returns a vector in the form of `parameters`: shapes, dtypes, layouts.

    Raises
    ------
    TypeError
        If a parameter is not a real floating-point array, or, from `fun`, the loss not a scalar.

    Notes
    -----
    Every rank runs SciPy for itself. Rank 0's vectors count on all ranks, and values and gradients
    are the same bits, so that all ranks take the same steps and stop together. Each call sends one
    broadcast of the vector, the messages of the loss and of its gradient, and an allgather for
    each parameter that is split.

    Examples
    --------
    >>> from scipy.optimize import minimize
    >>> problem = xp.autograd.to_scipy(lambda w: xp.sum((w - 3.0) ** 2), xp.zeros(2, split=0))
    >>> found = minimize(problem.fun, problem.x0, jac=True, method="L-BFGS-B")
    >>> print(problem.unflatten(found.x))
    [3. 3.]
    """
    given = [_as_parameter(x) for x in leaves(parameters)]
    if not given:
        raise ValueError("to_scipy: parameters has no array; expected at least one")
    both = with_value("to_scipy", loss)

    def unflatten(vector: Vector) -> Any:
        vector = _of_first(vector, given[0].comm)
        ends = np.cumsum([x.size for x in given])[:-1]
        parts = zip(np.split(vector, ends), given, strict=True)
        return rebuilt(parameters, iter([_in_layout_of(part, x) for part, x in parts]))

    def fun(vector: Vector) -> tuple[float, Vector]:
        value, gradient = both(unflatten(vector))
        return float(value), _flat(gradient)

    def hessp(vector: Vector, direction: Vector) -> Vector:
        primals, tangents = (unflatten(vector),), (unflatten(direction),)
        return _flat(hessian_products("to_scipy", loss, primals, tangents)[0])

    return ScipyProblem(fun, _flat(parameters), hessp, unflatten)


def _as_parameter(x: Any) -> Array:
    if not isinstance(x, Array) or not x._local.is_floating_point():
        kind = x.dtype if isinstance(x, Array) else type(x).__name__
        raise TypeError(f"to_scipy: a parameter is {kind}; expected real floating-point arrays")
    return x


def _of_first(vector: Vector, comm: Communicator) -> Vector:
    """Return rank 0's vector on all ranks: the ranks' own may differ in the last bit."""
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
    """Call a torch module with arrays: data-parallel if they are split along axis 0.

    Parameters
    ----------
    module : torch.nn.Module
        It has the same parameters on every rank, and its rows do not depend on each other.
    *args, **kwargs
        Arrays, split along axis 0 with the same counts, or replicated; or anything else.

    Returns
    -------
    Array, or nested tuples, lists, dicts of them
        The module's results; for a split batch split along axis 0, with its counts.

    Raises
    ------
    TypeError
        If no argument is an array, or the module normalises over the batch (BatchNorm in training):
        its statistics would be those of one shard.
    ValueError
        If an array is split along another axis, arrays have different counts, or a result has not
        one row for each row of the batch, or rows of different shapes or dtypes on the ranks.
    RuntimeError
        If the module fails on any rank; a builtin error keeps its type.

    Notes
    -----
    ``loss.backward()`` accumulates the gradient of the global loss in ``parameter.grad``, the same
    on every rank, so that any torch optimiser keeps the parameters equal. For a split batch the
    call sends one small allgather, of shapes and errors; the backward pass sends one allreduce for
    all parameters of one dtype.

    Examples
    --------
    >>> import torch
    >>> print(xp.autograd.module_apply(torch.nn.ReLU(), xp.asarray([-1.0, 2.0], split=0)))
    [0. 2.]
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
        result = _agreed_rows(
            lambda: torch.func.functional_call(module, parameters, args, kwargs), layout
        )
    results = [_as_array(t, layout, comm) for t in leaves(result)]
    return rebuilt(result, iter(results))


def _agreed_rows(call: Callable[[], Any], batch: Layout) -> Any:
    """Return a module's result of this rank's rows; raise on all ranks if it fails on any."""

    def checked() -> Any:
        result = call()
        for t in leaves(result):
            if isinstance(t, Tensor) and t.shape[:1] != (batch.count,):
                raise ValueError(
                    f"the module makes a tensor of shape {tuple(t.shape)} of {batch.count} rows; "
                    "expected one row for each"
                )
        return result

    def kinds(result: Any) -> list[tuple[Shape, str] | None]:
        tensors = (t if isinstance(t, Tensor) else None for t in leaves(result))
        return [None if t is None else (tuple(t.shape[1:]), str(t.dtype)) for t in tensors]

    if capturing():
        return checked()
    result, everyone = agreed("module_apply", batch.comm, checked, kinds)
    other = next((rank for rank, found in enumerate(everyone) if found != everyone[0]), None)
    if other is not None:
        raise ValueError(
            f"module_apply: the rows' shapes and dtypes are {everyone[0]} on rank 0, but "
            f"{everyone[other]} on rank {other}"
        )
    return result


def _refuse_batch_statistics(module: nn.Module) -> None:
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm) and (part.training or not part.track_running_stats):
            raise TypeError(
                f"module_apply: {name or 'the module'} is {type(part).__name__}, which takes its "
                "statistics from one rank's shard of the batch; use LayerNorm or GroupNorm, or "
                "module.eval()"
            )


def _batch_layout(arrays: Sequence[Array]) -> Layout | None:
    """Return the layout in which the arrays are split; None if they are replicated."""
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
        if found is not None and layout.division != found.division:
            raise ValueError(
                f"module_apply: arrays with counts {found.counts} and {layout.counts}; use "
                "rebalance"
            )
        found = layout
    return found


def _varying_parameters(module: nn.Module, comm: Communicator) -> dict[str, Tensor]:
    """Return the module's parameters as each rank's own; one message sums their cotangents."""
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
    return Array(t, Layout.of((batch.shape[0], *shape[1:]), 0, batch.division, comm))
