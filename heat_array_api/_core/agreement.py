"""Steps that can fail on one rank alone: their errors are raised on all ranks or on none.

What a rank holds of its own (a shard from elsewhere, a file) is no metadata that all ranks share.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import TypeVar

from .._comm.communicator import Communicator

__all__ = ["agreed"]

T = TypeVar("T")
F = TypeVar("F")


def agreed(
    func: str, comm: Communicator, step: Callable[[], T], facts: Callable[[T], F]
) -> tuple[T, list[F]]:
    """Run `step` on every rank; if it fails on any rank, raise the same error on all.

    Parameters
    ----------
    func : str
        The public function, for the message.
    comm : Communicator
        The ranks.
    step : callable
        It must not communicate.
    facts : callable
        Returns what the other ranks are told of the result of `step`.

    Returns
    -------
    result : object
        What `step` returned on this rank.
    facts : list
        Those of all ranks. Sends one small allgather.

    Raises
    ------
    Exception
        That of the lowest rank that fails: of its type if that is a builtin, else a RuntimeError.
    """
    cause: Exception | None = None
    try:
        result = step()
        report: tuple[str, str, F | None] = ("", "", facts(result))
    except Exception as error:
        cause = error
        report = (type(error).__name__, _text(error).removeprefix(f"{func}: "), None)
    reports = comm.allgather_object(report)
    failed = [rank for rank, (kind, _, _) in enumerate(reports) if kind]
    if failed:
        kind, text, _ = reports[failed[0]]
        ranks = ", ".join(map(str, failed))
        where = "" if len(failed) == comm.size else f" (on rank {ranks} of {comm.size})"
        raise _error_type(kind)(f"{func}: {text}{where}") from cause
    return result, [told for _, _, told in reports]


def _text(error: Exception) -> str:
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # str(KeyError) is the repr of its argument
    return str(error) or type(error).__name__


def _error_type(name: str) -> type[Exception]:
    found = getattr(builtins, name, None)
    if not isinstance(found, type) or not issubclass(found, Exception):
        return RuntimeError
    # The constructors of Unicode errors take more than a message.
    return ValueError if issubclass(found, UnicodeError) else found
