"""What readers and writers share: agreement of the ranks on errors.

A file can fail on one rank alone (a node without the mount, a full memory). Every step
that touches it therefore ends in one small allgather of the ranks' errors, so that an
error is raised on all of them or on none.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from .._comm.communicator import Communicator

__all__ = ["at_root", "attempt", "members", "missing_package", "progress"]


T = TypeVar("T")


def attempt(
    func: str,
    comm: Communicator,
    step: Callable[[], T],
    same: Callable[[T], object] = lambda result: None,
) -> T:
    """Run `step` on every rank; if it fails on any, raise one and the same error on all.

    Parameters
    ----------
    func : str
        The public function on whose behalf this is done, for the message.
    comm : Communicator
        Whose ranks must agree.
    step : callable
        Takes nothing, must not communicate.
    same : callable, optional
        What of the result must be equal on all ranks (metadata, picklable).

    Returns
    -------
    object
        This rank's result of `step`.

    Notes
    -----
    Messages: one small allgather.

    Raises
    ------
    Exception
        The error of the lowest rank that has one, of its type where that is a builtin,
        else a RuntimeError.
    """
    cause: Exception | None = None
    try:
        result = step()
        report: tuple[str, str, object] = ("", "", same(result))
    except Exception as error:
        cause = error
        report = (type(error).__name__, _text(error), None)
    reports = comm.allgather_object(report)
    failed = [rank for rank, (kind, _, _) in enumerate(reports) if kind]
    if failed:
        kind, text, _ = reports[failed[0]]
        where = "" if len(failed) == comm.size else f" (on rank {_listed(failed)} of {comm.size})"
        raise _error_type(kind)(f"{func}: {text}{where}") from cause
    if any(other[2] != reports[0][2] for other in reports):
        seen = "; ".join(f"rank {rank}: {other[2]}" for rank, other in enumerate(reports))
        raise RuntimeError(f"{func}: the ranks see different files: {seen}")
    return result


def at_root(func: str, comm: Communicator, step: Callable[[], T]) -> T:
    """Run `step` on rank 0 and return its result on all ranks; an error is raised on all.

    The result is sent to the others, pickled. Messages: one small allgather.
    """
    found: list[T] = []

    def run() -> None:
        if comm.rank == 0:
            found.append(step())

    attempt(func, comm, run)
    result: T = comm.bcast_object(found[0] if found else None)
    return result


def _text(error: Exception) -> str:
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # str(KeyError) is the repr of its argument
    return str(error) or type(error).__name__


def _listed(ranks: list[int]) -> str:
    return ", ".join(map(str, ranks))


def _error_type(name: str) -> type[Exception]:
    found = getattr(builtins, name, None)
    if not isinstance(found, type) or not issubclass(found, Exception):
        return RuntimeError
    # Their constructors want more than a message.
    return ValueError if issubclass(found, UnicodeError) else found


def missing_package(package: str, extra: str) -> ImportError:
    """Return the error that tells how to get an optional package."""
    return ImportError(f'needs {package}; install it with: pip install "heat_array_api[{extra}]"')


def members(kind: str, names: list[str]) -> str:
    """Return ", it has <kind> a, b, c" for the message of a missing name."""
    shown = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
    return f"it has the {kind} {shown}" if names else f"it has no {kind}"


LARGE = 256 << 20
"""Bytes from which on a bar is shown of itself."""


@contextmanager
def progress(
    func: str, total: int, comm: Communicator, show: bool | None
) -> Iterator[Callable[[int], object]]:
    """Yield a function that is told of the bytes this rank has read or written.

    Rank 0 shows its own part of `total` as that of all. `show` None: where there is much, and
    a terminal, and tqdm is installed.
    """
    wanted = show if show is not None else total >= LARGE and sys.stderr.isatty()
    if not wanted or comm.rank != 0:
        yield lambda nbytes: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda nbytes: None
        return
    share = max(total // comm.size, 1)
    with tqdm(total=share, desc=func, unit="B", unit_scale=True) as bar:
        yield bar.update
        bar.update(max(share - bar.n, 0))  # ranks' parts differ by some rows
