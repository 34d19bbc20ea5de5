"""Whether a function is being captured for `compile`.

During a capture, shards are fake tensors (shapes and dtypes without values), and communicators
record their messages instead of sending them. Few kernels need to know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from torch import Tensor

from .attribution import register_wrapper

register_wrapper(__name__)

P = ParamSpec("P")

R = TypeVar("R")

SMALL_MESSAGE = 1 << 16
"""Bytes up to which a message costs little more than the ranks' wait for each other."""

captures: list[Any] = []
"""The recorders of the captures in force, outermost first. Never rebound."""


class NotCapturable(Exception):
    """The function cannot become one program: it depends on values, or on hidden state.

    The recorder remembers it, for the function's own handlers may catch it.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        if captures:
            captures[-1].refuse(self)


def capturing() -> bool:
    """Return whether a function is being captured: kernels then leave blocking to the compiler."""
    return bool(captures)


@contextmanager
def paused() -> Iterator[None]:
    """Send the messages of a block, instead of recording them."""
    recorders = captures[:]
    captures.clear()
    try:
        yield
    finally:
        captures[:] = recorders


def checked_later(bad: Tensor, error: Exception) -> bool:
    """Let the program being captured raise `error`, on all ranks, each time that `bad` is true.

    Returns
    -------
    bool
        Whether a program is being captured; otherwise the caller raises.
    """
    if captures:
        captures[-1].checks.append((bad, error))
    return bool(captures)


def depends_on_values(what: str) -> None:
    """Say that what follows cannot be part of a captured program.

    Raises
    ------
    NotCapturable
        While a function is being captured.
    """
    if captures:
        raise NotCapturable(what)


# ---------------------------------------------------------------------- graph breaks

# An operation that needs values breaks the captured graph in two. All ranks must break it at the
# same place, so these decorators belong on functions of arrays, which all ranks call alike, and
# never on kernels. While nothing is captured they cost a truth test of a list.


def breaks(f: Callable[P, R]) -> Callable[P, R]:
    """Let a function that needs values break a captured graph."""
    return _operation(f, True)


def may_break(f: Callable[P, R]) -> Callable[P, R]:
    """Let a function break a captured graph if it cannot be captured.

    It may change its arguments' shards and layouts, and nothing else of them.
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
