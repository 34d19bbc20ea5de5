"""Traces: a record of every message that this rank takes part in, and of implicit gathers.

While no trace is in force, this costs one truth test of the list `active` per message.

NumPy, DLPack and ``tolist`` need the whole array on every rank: an implicit gather, by which one
line of another library may turn a terabyte into a NumPy array. Traces note each implicit gather,
and above a size it warns or is refused (`account`).
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from .._errors import GatherError, GatherWarning
from .._options import gather_policy
from .attribution import caller
from .debug import DEBUG
from .recording import captures

IMPLICIT_GATHER = "implicit gather"
"""The rule under which traces note that code outside the package asked for a whole split array."""

active: list[Trace] = []
"""The traces in force, outermost first. Never rebound: other modules hold this list."""


@dataclass(frozen=True, slots=True)
class Event:
    """One message as this rank saw it.

    Parameters
    ----------
    operation : str
        The package's function that the user called, such as ``"sum"``.
    collective : str
        What was sent: ``"allreduce"``, ``"allgather"``, ... (`Trace` lists them).
    bytes : int
        What this rank sent, as `Trace` counts it.
    seconds : float
        How long this rank was in the call. Waiting for others and encoding are included, and for
        devices the copies through host memory, after all kernels before them.
    start : float
        When it began, in seconds since the epoch.
    line : str
        ``"file:line"`` of the user's call.
    nranks : int
        The size of the communicator.
    result : int
        The bytes of this rank's result (0 for pickled objects).
    """

    operation: str
    collective: str
    bytes: int
    seconds: float
    start: float
    line: str
    nranks: int
    result: int = 0


@dataclass
class _Ranks:
    """What a trace must know of the world; `join` fills it in."""

    rank: int = 0
    gather: Callable[[Any], list[Any]] = field(default=lambda mine: [mine])


_ranks = _Ranks()


def join(rank: int, gather: Callable[[Any], list[Any]]) -> None:
    """Tell traces this process's rank, and how to gather an object from all ranks."""
    _ranks.rank, _ranks.gather = rank, gather


def origin() -> tuple[str, str] | None:
    """Return the operation and line that a node of the tape belongs to; None if nobody asks."""
    return caller() if active or DEBUG or captures else None


@contextmanager
def unrecorded() -> Iterator[None]:
    """Keep the messages of a block, of debug mode's own or of a dry run, out of the traces."""
    watching = active[:]
    active.clear()
    try:
        yield
    finally:
        active[:] = watching


def record(event: Event) -> None:
    """Give an event to every trace in force."""
    for one in active:
        one.events.append(event)


def note(rule: str, nbytes: int = 0, nranks: int = 1) -> None:
    """Note in traces that a named rule took effect, such as a fallback that gathers."""
    if active:
        operation, line = caller()
        event = Event(operation, rule, nbytes, 0.0, 0.0, line, nranks)
        for one in active:
            one.notes.append(event)


class Trace:
    """A record of the messages between ``__enter__`` and ``__exit__``, made by `trace`.

    Attributes
    ----------
    events : list of Event
        This rank's messages, in order.
    notes : list of Event
        Named rules that took effect (implicit gathers, fallbacks). They are not messages.

    Notes
    -----
    ``Event.bytes`` counts what this rank sends:

    ================== =================================================================
    collective         bytes
    ================== =================================================================
    allreduce          the tensor (float16, bfloat16: as the float32 that is summed)
    reduce_scatter     the whole input tensor
    exscan             the tensor
    bcast              the tensor, on every rank
    allgather          what this rank contributes
    alltoall           what goes to the other ranks; the own block is not counted
    exchange           what goes to other ranks: neighbours, as a rule
    sendrecv           the tensor sent (0 without a destination)
    allgather_ints     8 bytes for each of this rank's numbers
    allgather_object   this rank's pickle
    bcast_object       the pickle, on the root; 0 elsewhere
    barrier            0
    ================== =================================================================

    On a communicator of one rank nothing is sent and nothing recorded. Traces nest: an
    event goes to every trace in force.

    Examples
    --------
    >>> with xp.trace() as t:
    ...     total = xp.sum(xp.ones(4, split=0))
    >>> t.count("allgather"), t.bytes(operation="matmul")
    (0, 0)
    """

    __slots__ = ("events", "notes")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.notes: list[Event] = []

    def __enter__(self) -> Trace:
        active.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Traces are equal by identity, and the same trace may be entered twice.
        del active[len(active) - 1 - active[::-1].index(self)]

    @property
    def gathers(self) -> list[Event]:
        """The implicit gathers of whole split arrays: operation, bytes of the array, line."""
        return [note for note in self.notes if note.collective == IMPLICIT_GATHER]

    @property
    def collectives(self) -> list[str]:
        """The collectives' names, in order."""
        return [event.collective for event in self.events]

    def _select(self, collective: str | None, operation: str | None) -> list[Event]:
        return [
            event
            for event in self.events
            if (collective is None or event.collective == collective)
            and (operation is None or event.operation == operation)
        ]

    def count(self, collective: str | None = None, operation: str | None = None) -> int:
        """Return the number of messages, if asked only those of a collective or an operation."""
        return len(self._select(collective, operation))

    def bytes(self, collective: str | None = None, operation: str | None = None) -> int:
        """Return the bytes sent, if asked only those of a collective or an operation."""
        return sum(event.bytes for event in self._select(collective, operation))

    def summary(self) -> str:
        """Return a table of this rank's messages: a row a source line, most bytes first."""
        groups: dict[tuple[str, str, str], list[Event]] = {}
        for event in self.events:
            key = (event.operation, event.collective, event.line)
            groups.setdefault(key, []).append(event)
        rows = [
            (*key[:2], len(group), sum(e.bytes for e in group), sum(e.seconds for e in group), key)
            for key, group in groups.items()
        ]
        rows.sort(key=lambda row: -row[3])
        table: list[tuple[str, ...]] = [
            ("operation", "collective", "calls", "bytes", "seconds", "line")
        ]
        table += [
            (
                operation,
                collective,
                str(calls),
                size_text(nbytes),
                f"{seconds:.6f}",
                short_line(key[2]),
            )
            for operation, collective, calls, nbytes, seconds, key in rows
        ]
        seconds = sum(event.seconds for event in self.events)
        title = (
            f"rank {_ranks.rank}: {len(self.events)} communications, "
            f"{size_text(self.bytes())} sent, {seconds:.6f} s"
        )
        notes = [f"note: {n.operation}: {n.collective} at {short_line(n.line)}" for n in self.notes]
        return "\n".join([title, *(aligned(table) if rows else []), *dict.fromkeys(notes)])

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        return f"<Trace of {len(self.events)} communications, {self.bytes()} bytes>"

    def to_chrome(self, path: str | os.PathLike[str]) -> None:
        """Write all ranks' events as Chrome trace JSON (chrome://tracing, ui.perfetto.dev).

        Parameters
        ----------
        path : path-like
            The file, written by rank 0. Each rank is shown as a process.

        Notes
        -----
        All ranks of the job call it; one gather of the events, which is not traced.
        """
        parts = _ranks.gather(_chrome_events(_ranks.rank, self.events))
        if _ranks.rank == 0:
            document = {
                "traceEvents": [event for part in parts for event in part],
                "displayTimeUnit": "ms",
            }
            with open(path, "w", encoding="utf-8") as file:
                json.dump(document, file)


def trace() -> Trace:
    """Record every message of a ``with`` block.

    Each rank records the messages that it takes part in, and tests can assert what a program sends.

    Returns
    -------
    Trace
        ``events`` lists the messages (operation, collective, bytes sent, seconds, and the line of
        your program); ``count`` and ``bytes`` add them up; ``print(t)`` shows a table;
        ``to_chrome`` writes a timeline; ``gathers`` lists implicit gathers. Sends nothing.

    Examples
    --------
    >>> x = xp.ones(4, split=0)
    >>> with xp.trace() as t:
    ...     total = xp.sum(x)
    >>> t.collectives == ["allreduce"] * (x.comm.size > 1)
    True
    """
    return Trace()


def _chrome_events(rank: int, events: list[Event]) -> list[dict[str, Any]]:
    name = {"name": "process_name", "ph": "M", "pid": rank, "args": {"name": f"rank {rank}"}}
    return [
        name,
        *(
            {
                "name": f"{event.operation}: {event.collective}",
                "cat": event.collective,
                "ph": "X",
                "ts": event.start * 1e6,
                "dur": event.seconds * 1e6,
                "pid": rank,
                "tid": 0,
                "args": {"bytes": event.bytes, "ranks": event.nranks, "line": event.line},
            }
            for event in events
        ),
    ]


def size_text(nbytes: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= scale:
            return f"{nbytes / scale:.1f} {unit}"
    return f"{nbytes} B"


def short_line(line: str) -> str:
    path, _, number = line.rpartition(":")
    return f"{os.path.basename(path)}:{number}" if path else line


def aligned(table: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    numbers = range(2, 5)  # calls, bytes, seconds
    return [
        "  ".join(
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


# ---------------------------------------------------------------------- implicit gathers

_warned: set[str] = set()


def account(what: str, size: int, nranks: int) -> None:
    """Note an implicit gather before it is made; warn, or raise if the options forbid it.

    All ranks decide alike: from the array's metadata, the options, and the line of the program.

    Parameters
    ----------
    what : str
        The function that gathers.
    size : int
        The bytes of the whole array.
    nranks : int
        How many ranks will hold it.
    """
    note(IMPLICIT_GATHER, size, nranks)
    policy, limit = gather_policy()
    if size <= limit or policy == "allow":
        return
    line = caller()[1]
    text = (
        f"{what}: a split array of {size} bytes is gathered on each of {nranks} ranks; compute "
        f"with the namespace's functions, or use set_options(on_gather=, gather_limit=)"
    )
    if policy == "error":
        raise GatherError(f"{text} (at {line})")
    if line not in _warned:
        _warned.add(line)
        path, _, number = line.rpartition(":")  # "?" where no frame is the user's
        number = number if number.isdecimal() else "0"
        warnings.warn_explicit(text, GatherWarning, path or "?", int(number), __name__)


def quiet(rank: int) -> None:
    """Show warnings of gathers on rank 0 only, unless the user's filters say otherwise.

    All ranks warn, so that a filter that turns warnings into errors does so on all of them.
    """
    if rank:
        warnings.filterwarnings("ignore", category=GatherWarning, append=True)
