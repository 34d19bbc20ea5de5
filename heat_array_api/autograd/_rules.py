"""`custom_vjp`: derivatives by the user's rule. `checkpoint`: less memory, computing twice."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import update_wrapper, wraps
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint as torch_checkpoint
from torch.utils.checkpoint import set_checkpoint_early_stop

from .._autograd import Function, as_results, differentiable, zeros_in
from .._core.arguments import as_callable
from .._core.array import Array
from .._core.tape import barrier, recorded, tracked
from .._core.trees import leaves, mapped, rebuilt

__all__ = ["CustomVjp", "checkpoint", "custom_vjp"]


class CustomVjp:
    """A function with its own rule for cotangents, made by `custom_vjp`.

    Examples
    --------
    >>> double = xp.autograd.custom_vjp(lambda x: 2 * x)
    >>> double.defvjp(lambda x: (2 * x, None), lambda _, g: (2 * g,))
    >>> print(xp.autograd.grad(lambda x: xp.sum(double(x)))(xp.asarray([1.0, 2.0], split=0)))
    [2. 2.]
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        self._forward: Function | None = None
        self._backward: Function | None = None
        update_wrapper(self, function)

    def defvjp(self, forward: Function, backward: Function) -> None:
        """Set the rule.

        Parameters
        ----------
        forward : callable
            Takes the function's arguments; returns its value, and what `backward` will need.
        backward : callable
            Takes that and a cotangent of the value's structure; returns a tuple of cotangents, one
            for each argument (None: it has none).
        """
        self._forward, self._backward = forward, backward

    def __call__(self, *args: Any) -> Any:
        """Call the function, by its rule if an argument is on the tape."""
        arrays = [x for x in leaves(args) if isinstance(x, Array)]
        inputs = [x for x in arrays if tracked(x._local)]
        if not inputs:
            return self.function(*args)
        if self._forward is None or self._backward is None:
            raise TypeError("custom_vjp: the function has no rule yet; call its defvjp")
        return self._on_tape(self._forward, self._backward, args, inputs)

    @staticmethod
    def _on_tape(forward: Function, backward: Function, args: Any, inputs: list[Array]) -> Any:
        places = {id(x): i for i, x in enumerate(inputs)}
        inputs = [x for i, x in enumerate(inputs) if places[id(x)] == i]
        kept: list[Any] = []

        def with_inputs(values: Sequence[Array]) -> Any:
            found = dict(zip(map(id, inputs), values, strict=True))
            return mapped(lambda x: found.get(id(x), x), args)

        def value(*values: Array) -> list[Array]:
            y, needed = forward(*with_inputs(values))
            kept[:] = [y, needed]
            return as_results("custom_vjp", y)

        def adjoint(_: Any, values: Any, results: Any, cotangents: Any) -> list[Array | None]:
            y, needed = kept
            if torch.is_grad_enabled():  # the rule and what it needs are differentiated
                needed = forward(*with_inputs(values))[1]
            filled = [
                zeros_in(y) if g is None else g for y, g in zip(results, cotangents, strict=True)
            ]
            found = backward(needed, rebuilt(y, iter(filled)))
            return _by_input(found, args, inputs)

        results = differentiable(value, adjoint, *inputs, func="custom_vjp")
        return rebuilt(kept[0], iter(results))


def _by_input(found: Any, args: Any, inputs: list[Array]) -> list[Array | None]:
    """Sum the cotangents of a rule for each of the distinct arrays among the arguments."""
    if not isinstance(found, tuple) or len(found) != len(args):
        raise TypeError(
            f"custom_vjp: the rule returns {type(found).__name__}"
            f"{f' of {len(found)}' if isinstance(found, tuple) else ''}; expected a tuple of "
            f"{len(args)} cotangents"
        )
    totals: dict[int, Array] = {}
    for argument, cotangent in zip(args, found, strict=True):
        if cotangent is None:
            continue
        for x, g in zip(leaves(argument), leaves(cotangent), strict=True):
            if isinstance(g, Array):
                totals[id(x)] = totals[id(x)] + g if id(x) in totals else g
    return [totals.get(id(x)) for x in inputs]


def custom_vjp(function: Function) -> CustomVjp:
    """Give a function its own rule for cotangents, as in JAX.

    Parameters
    ----------
    function : callable
        Takes arrays, or nested tuples, lists and dicts of them; returns such.

    Returns
    -------
    CustomVjp
        The function; its ``defvjp(forward, backward)`` sets the rule. Arrays that the function
        refers to but does not take as arguments are constants to it.

    Raises
    ------
    TypeError
        When it is differentiated, if it has no rule, or the rule returns the wrong structure.

    Examples
    --------
    >>> @xp.autograd.custom_vjp
    ... def clipped(x):
    ...     return xp.clip(x, -1.0, 1.0)
    >>> clipped.defvjp(lambda x: (clipped(x), None), lambda _, g: (g,))  # straight through
    >>> print(xp.autograd.grad(lambda x: xp.sum(clipped(x)))(xp.asarray([0.5, 3.0], split=0)))
    [1. 1.]
    """
    return CustomVjp(as_callable("custom_vjp", "function", function))


def checkpoint(function: Function) -> Function:
    """Return a function that keeps no intermediate results for the backward pass.

    The backward pass computes them again, messages included: less memory for more time.

    Parameters
    ----------
    function : callable
        Takes and returns arrays, or nested tuples, lists and dicts of them, and anything else. It
        must compute the same when it is called again.

    Returns
    -------
    callable
        The function; its results are laid out as those of `function`.

    Raises
    ------
    torch.utils.checkpoint.CheckpointError
        In the backward pass, if the second call makes tensors of other shapes or dtypes.

    Examples
    --------
    >>> x = xp.asarray([0.0, 0.0], split=0)
    >>> print(xp.autograd.grad(lambda x: xp.sum(xp.autograd.checkpoint(xp.exp)(x)))(x))
    [1. 1.]
    """
    as_callable("checkpoint", "function", function)

    @wraps(function)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        first = True

        def run(*args: Any) -> Any:
            nonlocal first
            with nullcontext() if first else recorded(None):
                results = function(*args, **kwargs)
            first = False
            # The backward pass meets these nodes first, on all ranks, and so computes all again
            # here; the first saved tensor that it needs differs on an empty shard.
            return mapped(
                lambda y: Array(barrier(y._local), y._layout) if isinstance(y, Array) else y,
                results,
            )

        with set_checkpoint_early_stop(False):
            return torch_checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False)

    return checkpointed
