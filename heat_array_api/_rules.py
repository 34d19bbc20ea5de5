"""Functions with a rule of their own for the backward pass: `custom_vjp`, `checkpoint`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import update_wrapper, wraps
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint as torch_checkpoint
from torch.utils.checkpoint import set_checkpoint_early_stop

from ._array import Array
from ._autograd import Function, as_results, differentiable, zeros_in
from ._tape import barrier, recorded, tracked
from ._trees import leaves, mapped, rebuilt

__all__ = ["CustomVjp", "checkpoint", "custom_vjp"]


class CustomVjp:
    """A function with a rule of its own for cotangents; see `custom_vjp`."""

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
            Of the function's arguments; returns its value, and what `backward` will need.
        backward : callable
            Of that and a cotangent of the value's structure; returns a tuple of cotangents, one for
            each argument (None for one that has none).
        """
        self._forward, self._backward = forward, backward

    def __call__(self, *args: Any) -> Any:
        """Call the function; on the tape with its rule."""
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
            if torch.is_grad_enabled():  # the rule itself is differentiated: what it needs, too
                needed = forward(*with_inputs(values))[1]
            filled = [
                zeros_in(y) if g is None else g for y, g in zip(results, cotangents, strict=True)
            ]
            found = backward(needed, rebuilt(y, iter(filled)))
            return _by_input(found, args, inputs)

        results = differentiable(value, adjoint, *inputs)
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
        Of arrays, or nested tuples, lists and dicts of them; returns such.

    Returns
    -------
    CustomVjp
        The function; its ``defvjp(forward, backward)`` sets the rule. Arrays that the function
        refers to but does not take as arguments are constants to it.

    Examples
    --------
    >>> @xp.autograd.custom_vjp
    ... def clipped(x):
    ...     return xp.clip(x, -1.0, 1.0)
    >>> clipped.defvjp(lambda x: (clipped(x), None), lambda _, g: (g,))  # straight through
    """
    return CustomVjp(function)


def checkpoint(function: Function) -> Function:
    """Return a function that keeps no intermediate results for the backward pass.

    They are computed again when the backward pass comes to it, messages included: memory for time.
    """

    @wraps(function)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        first = True

        def run(*args: Any) -> Any:
            nonlocal first
            with nullcontext() if first else recorded(None):
                results = function(*args, **kwargs)
            first = False
            # The backward pass meets these nodes first, on all ranks: it is here that it computes
            # all again, not at whatever it needs first, which is another thing on an empty shard.
            return mapped(
                lambda y: Array(barrier(y._local), y._layout) if isinstance(y, Array) else y,
                results,
            )

        with set_checkpoint_early_stop(False):
            return torch_checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False)

    return checkpointed
