"""A check of derivatives against differences: `check_grads`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from .._autograd import pull, push, stop_gradient
from .._comm.recording import breaks
from .._core.arguments import as_callable, as_choice, as_int, as_real
from .._core.array import Array, check_array
from .._core.dtypes import FLOATING, to_numpy_dtype
from .._core.redistribute import redistribute
from .._core.trees import leaves, rebuilt
from .._creation import asarray
from .._errors import shown

__all__ = ["check_grads"]


_HIGHEST_ORDER = 8  # each order costs as many calls as all before it


@breaks
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
        Takes arrays, or nested tuples, lists and dicts of them; returns such. It must be smooth at
        `args`.
    args : sequence
        Its arguments: floating-point arrays, any layout.
    order : int
        The highest order of derivatives to check.
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
    ValueError
        If `modes` is empty or unknown.
    TypeError
        If an argument or a result is not a floating-point array.

    Examples
    --------
    >>> xp.autograd.check_grads(xp.sin, (xp.asarray([0.5, 1.0], split=0),), order=2)
    """
    as_callable("check_grads", "f", f)
    order = as_int("check_grads", "order", order, least=1)
    if order > _HIGHEST_ORDER:
        raise ValueError(f"check_grads: order is {order}; expected at most {_HIGHEST_ORDER}")
    kinds = modes if isinstance(modes, (tuple, list)) else [modes]
    modes = [as_choice("check_grads", "modes", kind, ("fwd", "rev")) for kind in kinds]
    if not modes:
        raise ValueError("check_grads: modes is empty; expected 'fwd', 'rev' or both")
    if not isinstance(args, (tuple, list)):
        raise TypeError(f"check_grads: args is {shown(args)}; expected a tuple of arguments")
    step, rtol, atol = (
        None if value is None else _positive(name, value)
        for name, value in (("step", step), ("rtol", rtol), ("atol", atol))
    )
    for x in leaves(args):
        check_array("check_grads", "an argument", x, FLOATING)
    eps = max((torch.finfo(x._local.dtype).eps for x in leaves(args)), default=1.0)
    step = eps ** (1 / 3) if step is None else step
    tolerance = 100 * step**2
    tolerances = (tolerance if rtol is None else rtol, tolerance if atol is None else atol)
    _check_order(f, tuple(args), order, tuple(modes), step, tolerances, 1)


def _positive(name: str, value: Any) -> float:
    """Return a positive finite number."""
    number = as_real("check_grads", name, value)
    if not 0 <= number < math.inf:
        raise ValueError(f"check_grads: {name} is {value}; expected a finite positive number")
    return number


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
    value, pushed = push("check_grads", f, args, directions)
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
        pulled = pull("check_grads", f, args)[1](rebuilt(value, iter(cotangents)))
        backward = _dot(leaves(pulled), leaves(directions))
        _assert_close("vjp", level, backward, forward, tolerances)
    if order > 1:

        def slope(*args: Any) -> Any:
            return (
                push("check_grads", f, args, directions)[1]
                if "rev" not in modes
                else pull("check_grads", f, args)[1](rebuilt(value, iter(cotangents)))
            )

        _check_order(slope, args, order - 1, modes, step, tolerances, level + 1)


def _random_like(x: Array, seed: int) -> Array:
    """Return normal numbers in the layout of `x`, the same numbers for every layout."""
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
