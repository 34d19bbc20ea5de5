"""Whether a function is being captured for `compile`, for the few kernels that care.

While it is, shards are tensors without values, and communicators record instead of sending.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from torch import Tensor

from .attribution import register_wrapper

__all__ = [
    "SMALL",
    "NotCapturable",
    "breaks",
    "captures",
    "capturing",
    "checked_later",
    "depends_on_values",
    "may_break",
]


register_wrapper(__name__)


P = ParamSpec("P")


R = TypeVar("R")


SMALL = 1 << 16
"""Bytes: what a message of no more costs is mostly the wait of ranks for each other."""


captures: list[Any] = []
"""The captures in force, outermost first."""


class NotCapturable(Exception):
    """The function cannot become one program: it depends on values, or on hidden state."""


def capturing() -> bool:
    """Return whether a function is being captured: kernels then leave blocking to the compiler."""
    return bool(captures)


def checked_later(bad: Tensor, error: Exception) -> bool:
    """Let the program being captured raise `error`, on all ranks, each time that `bad` is true.

    Returns
    -------
    bool
        Whether there is one; else the caller raises.
    """
    if captures:
        captures[-1].checks.append((bad, error))
    return bool(captures)


def depends_on_values(what: str) -> None:
    """Say that what follows cannot be part of a captured program; nothing while none is captured.

    Raises
    ------
    NotCapturable
        While a function is being captured.
    """
    if captures:
        raise NotCapturable(what)


# ---------------------------------------------------------------------- breaks of the graph

# A function that runs in pieces (see `_breaking`) leaves recording for an operation that needs
# values. All ranks must do so at once, so the operations are functions that all ranks call
# alike, of arrays, and never kernels. While nothing is recorded this costs a truth test of a list.


def breaks(f: Callable[P, R]) -> Callable[P, R]:
    """Let a function that needs values break a captured graph."""
    return _operation(f, True)


def may_break(f: Callable[P, R]) -> Callable[P, R]:
    """Let a function break a captured graph where it cannot become a part of it.

    Of its arguments it may change the shard and the layout only.
    """
    return _operation(f, False)


def _operation(f: Callable[P, R], always: bool) -> Callable[P, R]:
    @wraps(f)
    def operation(*args: P.args, **kwargs: P.kwargs) -> R:
        if captures:
            result: R = captures[-1].operation(f, args, kwargs, always)
            return result
        return f(*args, **kwargs)

    return operation
