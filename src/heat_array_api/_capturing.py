"""Whether a function is being captured for `compile`, for the few kernels that care.

While it is, shards are tensors without values, and communicators record instead of sending.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

__all__ = ["NotCapturable", "captures", "capturing", "checked_later", "depends_on_values"]

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
