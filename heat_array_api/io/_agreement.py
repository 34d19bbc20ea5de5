"""What readers and writers share: sizes, agreement of the ranks on errors, progress bars.

A file can fail on one rank alone (a node without the mount, a full memory). Every step
that touches a file therefore ends in one small allgather of the ranks' errors, so that an
error is raised on all ranks or on none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np

from .._comm.communicator import Communicator
from .._core.agreement import agreed

T = TypeVar("T")

Values = np.ndarray[Any, Any]

ROUND = 4 << 20
"""Bytes that a rank reads, writes or redistributes at once."""


# ---------------------------------------------------------------------- errors


def attempt(
    func: str,
    comm: Communicator,
    step: Callable[[], T],
    same: Callable[[T], object] = lambda result: None,
) -> T:
    """Run `step` on every rank; if it fails on any rank, raise the same error on all.

    As `agreed`, of which it is one small allgather; and `same` returns the part of the result that
    must be equal on all ranks.
    """
    result, seen = agreed(func, comm, step, same)
    if any(other != seen[0] for other in seen):
        each = "; ".join(f"rank {rank}: {other}" for rank, other in enumerate(seen))
        raise RuntimeError(f"{func}: the ranks see different files: {each}")
    return result


def at_root(func: str, comm: Communicator, step: Callable[[], T]) -> T:
    """Run `step` on rank 0 and return its result on all ranks; an error is raised on all.

    Messages: one small allgather and one broadcast of the pickled result.
    """
    found: list[T] = []

    def run() -> None:
        if comm.rank == 0:
            found.append(step())

    attempt(func, comm, run)
    result: T = comm.bcast_object(found[0] if found else None)
    return result


class Deferred:
    """The first error of this rank, kept while the ranks go on exchanging data.

    A rank that raised at once would leave the others waiting; `finish` raises it on all ranks.
    """

    def __init__(self, func: str, comm: Communicator) -> None:
        self._func, self._comm = func, comm
        self.problem: Exception | None = None

    def run(self, step: Callable[[], T], *, always: bool = False) -> T | None:
        """Run a step unless an earlier one has failed; return its result, None if it fails."""
        if self.problem is None or always:
            try:
                return step()
            except Exception as error:
                self.problem = self.problem or error
        return None

    def finish(self) -> None:
        """Raise the error of any rank on all. Messages: one small allgather."""

        def step() -> None:
            if self.problem is not None:
                raise self.problem

        attempt(self._func, self._comm, step)


def missing_package(package: str, extra: str) -> ImportError:
    """Return the error that says how to install an optional package."""
    return ImportError(f'needs {package}; install it with: pip install "heat_array_api[{extra}]"')


def optional_package(name: str, extra: str = "io") -> Any:
    """Import an optional package, which an extra of this package installs."""
    try:
        return __import__(name)
    except ImportError:
        raise missing_package(name, extra) from None


def members(kind: str, names: Iterable[str], wanted: str = "") -> str:
    """Return "it has the <kind> a, b, c", for the message about the missing name `wanted`."""
    names = list(names)
    shown = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
    near = get_close_matches(wanted, names, 1) if wanted else []
    guess = f"; did you mean {near[0]!r}?" if near else ""
    return f"it has the {kind} {shown}{guess}" if names else f"it has no {kind}"


# ---------------------------------------------------------------------- progress

LARGE = 256 << 20
"""Bytes from which a progress bar is shown by default."""


@contextmanager
def progress(
    func: str, total: int, comm: Communicator, show: bool | None
) -> Iterator[Callable[[int], object]]:
    """Yield a function to call with the number of bytes that this rank has read or written.

    Rank 0 shows its own progress as that of all ranks, if tqdm is installed. `show` None: only
    for much data, on a terminal.
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
        bar.update(max(share - bar.n, 0))  # the ranks' parts differ by some rows
