"""The report of a dry run: what each rank that was run sends, holds and computes."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .._comm.trace import Event, aligned, short_line, size_text
from .._core.arguments import as_int, as_real
from .._errors import PlanError, shown
from .machine import Machine

ARGUMENT = "an argument"
"""In place of the line, for what the arguments hold."""

_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


@dataclass(frozen=True)
class Messages:
    """Messages of one kind.

    Attributes
    ----------
    operation, collective, line : str
        As in a trace.
    count, bytes : int
        How many there are, and what they send together.
    seconds : float
        What the model says that they take.
    """

    operation: str
    collective: str
    line: str
    count: int
    bytes: int
    seconds: float


@dataclass(frozen=True)
class RankPlan:
    """What one rank does.

    Attributes
    ----------
    rank : int
    events : list of Event
        Its messages, with the model's seconds.
    notes : list of Event
        Named rules that took effect, as in a trace.
    peak_bytes : int
        The most bytes of tensors that are live at once.
    peak_line : str
        The line at which they are.
    held : dict
        Those bytes, by the line that made them.
    flops, traffic : Counter
        Floating-point operations, and bytes read and written, by line.
    assumptions : list of str
        What was assumed in place of values.
    """

    rank: int
    events: list[Event]
    notes: list[Event]
    peak_bytes: int
    peak_line: str
    held: dict[str, int]
    flops: Counter[str]
    traffic: Counter[str]
    assumptions: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """The bytes that it sends."""
        return sum(event.bytes for event in self.events)

    def seconds_by_line(self, machine: Machine) -> Counter[str]:
        """Return the model's seconds of each line: of its messages, and of its operations."""
        found: Counter[str] = Counter()
        for event in self.events:
            found[event.line] += event.seconds  # type: ignore[assignment]
        for line, traffic in self.traffic.items():
            found[line] += machine.work(self.flops[line], traffic)  # type: ignore[assignment]
        return found

    def seconds(self, machine: Machine) -> float:
        """Return the model's seconds of all lines."""
        return float(sum(self.seconds_by_line(machine).values()))


class Plan:
    """What a function would do on many ranks: the result of `dry_run`.

    Figures are those of one rank: the greatest among the ranks that were run (the first, the
    second, one in the middle, the last).

    Attributes
    ----------
    ranks : int
        How many ranks there would be.
    node : int or None
        How many ranks share a node.
    runs : dict of int to object
        By rank: its ``events``, ``peak_bytes``, ``peak_line``, ``held``, ``flops``, ``traffic``.
    machine : object
        The numbers of the model: ``latency``, ``bandwidth``, ``flop_rate``, ``memory_bandwidth``.

    Examples
    --------
    >>> plan = xp.dry_run(lambda: xp.sum(xp.ones((10**6, 1000), split=0)), ranks=1000)
    >>> plan.peak_bytes // 10**6, plan.count("allreduce")
    (8, 1)
    """

    def __init__(
        self, runs: Sequence[RankPlan], ranks: int, node: int | None, machine: Machine
    ) -> None:
        self.runs = {run.rank: run for run in runs}
        self.ranks = ranks
        self.node = node
        self.machine = machine
        self._slowest = max(runs, key=lambda run: run.seconds(machine))
        self._largest = max(runs, key=lambda run: run.peak_bytes)

    @property
    def events(self) -> list[Event]:
        """The messages of the slowest of the ranks that were run; their seconds are the model's."""
        return self._slowest.events

    @property
    def messages(self) -> list[Messages]:
        """The same by operation, collective and line, most bytes first."""
        groups: dict[tuple[str, str, str], list[Event]] = {}
        for e in self.events:
            groups.setdefault((e.operation, e.collective, e.line), []).append(e)
        rows = [
            Messages(*key, len(group), sum(e.bytes for e in group), sum(e.seconds for e in group))
            for key, group in groups.items()
        ]
        return sorted(rows, key=lambda row: -row.bytes)

    def count(self, collective: str | None = None) -> int:
        """Return the number of messages, if asked only those of a collective.

        Parameters
        ----------
        collective : str, optional
            As in a trace.

        Returns
        -------
        int
        """
        return sum(collective in (None, event.collective) for event in self.events)

    @property
    def bytes(self) -> int:
        """The bytes that a rank sends."""
        return max(run.bytes for run in self.runs.values())

    @property
    def peak_bytes(self) -> int:
        """The most bytes of tensors that a rank holds at once."""
        return self._largest.peak_bytes

    @property
    def peak_line(self) -> str:
        """The line of the program at which it does."""
        return self._largest.peak_line

    @property
    def flops(self) -> int:
        """The floating-point operations of a rank."""
        return max(sum(run.flops.values()) for run in self.runs.values())

    @property
    def seconds(self) -> float:
        """What a rank takes by a simple model, without Python's own time, and without waiting."""
        return self._slowest.seconds(self.machine)

    @property
    def assumptions(self) -> list[str]:
        """What was assumed where the program depends on values."""
        return list(dict.fromkeys(a for run in self.runs.values() for a in run.assumptions))

    # ------------------------------------------------------------------ limits

    def check(
        self,
        *,
        memory: str | float | None = None,
        messages: int | None = None,
        seconds: float | None = None,
    ) -> None:
        """Raise if the plan exceeds a limit.

        Parameters
        ----------
        memory : str or number, optional
            Bytes, or a text such as "64 GB": of a node if ``node=`` was given to `dry_run`, else
            of a rank.
        messages : int, optional
            The most messages of a rank.
        seconds : float, optional
            The most seconds, by the model.

        Raises
        ------
        PlanError
            It names the line with the greatest part.
        """
        if memory is not None:
            self._check_memory(_as_bytes(memory))
        if messages is not None:
            limit = as_int("check", "messages", messages, least=0)
            if len(self.events) > limit:
                lines = Counter(event.line for event in self.events)
                line, most = lines.most_common(1)[0]
                raise PlanError(
                    f"check: a rank takes part in {len(self.events)} messages; the limit is "
                    f"{limit}. {most} of them come from {line}"
                )
        if seconds is not None:
            limit_s = as_real("check", "seconds", seconds)
            if self.seconds > limit_s:
                line, most_s = self._slowest.seconds_by_line(self.machine).most_common(1)[0]
                raise PlanError(
                    f"check: by the model it takes {self.seconds:.3g} s; the limit is "
                    f"{limit_s:g} s. {most_s:.3g} s of them are at {line}"
                )

    def _check_memory(self, limit: int) -> None:
        of, times = (
            ("a rank", 1) if self.node is None else (f"a node of {self.node} ranks", self.node)
        )
        needed = self.peak_bytes * times
        if needed > limit:
            line, most = next(iter(self._largest.held.items()))
            raise PlanError(
                f"check: {of} holds {size_text(needed)} of tensors at {self.peak_line}; the limit "
                f"is {size_text(limit)}. {size_text(most * times)} of them are {_made_at(line)}"
            )

    # ------------------------------------------------------------------ texts

    def _facts(self) -> list[tuple[str, str]]:
        m = self.machine
        rates = (
            f"latency {m.latency * 1e6:.3g} us, {m.bandwidth / 1e9:.3g} GB/s, "
            f"{m.flop_rate / 1e9:.3g} Gflop/s, memory {m.memory_bandwidth / 1e9:.3g} GB/s"
        )
        peak = f"{size_text(self.peak_bytes)} a rank, at {short_line(self.peak_line)}"
        if self.node is not None:
            peak += f"; {size_text(self.peak_bytes * self.node)} a node of {self.node}"
        return [
            ("ranks", f"{self.ranks}, of which {', '.join(map(str, self.runs))} were run"),
            ("peak memory", peak),
            ("messages", f"{len(self.events)} a rank, {size_text(self.bytes)} sent"),
            ("flops", f"{float(self.flops):.3g} a rank"),
            ("seconds", f"about {_range(self.seconds)}, a model: {rates} ({m.origin})"),
            *(("assumed", text) for text in self.assumptions),
        ]

    def _table(self) -> list[tuple[str, ...]]:
        head = ("operation", "collective", "calls", "bytes", "seconds", "line")
        return [
            head,
            *(
                (
                    r.operation,
                    r.collective,
                    str(r.count),
                    size_text(r.bytes),
                    f"{r.seconds:.6f}",
                    short_line(r.line),
                )
                for r in self.messages
            ),
        ]

    def _memory_table(self) -> list[tuple[str, ...]]:
        held = [
            (short_line(line), size_text(nbytes)) for line, nbytes in self._largest.held.items()
        ]
        return [("held at the peak, made at", "bytes"), *held[:10]]

    def __str__(self) -> str:
        facts = [f"{name:12} {text}" for name, text in self._facts()]
        return "\n".join(
            [
                *facts,
                *(["", *aligned(self._table())] if self.events else []),
                *(
                    ["", *(f"{a:40} {b:>10}" for a, b in self._memory_table())]
                    if self.peak_bytes
                    else []
                ),
            ]
        )

    def __repr__(self) -> str:
        return (
            f"<Plan for {self.ranks} ranks: {size_text(self.peak_bytes)} a rank, "
            f"{len(self.events)} messages, {size_text(self.bytes)} sent>"
        )

    def _repr_html_(self) -> str:
        tables: list[list[tuple[str, ...]]] = [[("", ""), *self._facts()], self._memory_table()]
        if self.events:
            tables.append(self._table())
        return "".join(map(_html, tables))


def _range(seconds: float) -> str:
    """Return a time to a factor of two either way: a model knows no more."""
    low, high = (float(f"{s:.1g}") for s in (seconds / 2, seconds * 2))
    return f"{low:g} to {high:g} s"


def _made_at(line: str) -> str:
    return "the arguments" if line == ARGUMENT else f"made at {line}"


def _html(table: Sequence[Sequence[str]]) -> str:
    def row(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    head, *rest = table
    lines = [row("td", cells) for cells in rest]
    return f"<table>{row('th', head) if any(head) else ''}{''.join(lines)}</table>"


def _as_bytes(value: Any) -> int:
    if isinstance(value, str):
        text = value.strip().lower()
        number = text.rstrip("kmgtib ")
        unit = text[len(number) :].strip() or "b"
        try:
            return int(float(number) * _UNITS[unit])
        except (ValueError, KeyError):
            raise ValueError(
                f"check: memory is {value!r}; expected a number of bytes, or a text such as '64 GB'"
            ) from None
    if callable(value) or isinstance(value, (bool, complex)):
        raise TypeError(f"check: memory is {shown(value)}; expected a number of bytes, or a text")
    return int(as_real("check", "memory", value))
