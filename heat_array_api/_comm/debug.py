"""Debug mode: every collective is compared over the ranks before it runs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from .._errors import CollectiveMismatchError
from .transport import Transport

DEBUG = os.environ.get("HEAT_ARRAY_API_DEBUG", "") not in ("", "0")

TIMEOUT = float(os.environ.get("HEAT_ARRAY_API_DEBUG_TIMEOUT", "300"))
"""Seconds that a rank waits for the others to make the same call."""


@dataclass(frozen=True)
class Call:
    """One rank's part in a collective.

    Parameters
    ----------
    operation, collective, line : str
        The function that the user called, the collective, and the user's line.
    detail : str
        What must be the same on every rank: shape, dtype, counts, operation, root.
    sends, expects : mapping of int to int
        How much goes to each rank and how much is expected of each.
    """

    operation: str
    collective: str
    line: str
    detail: str = ""
    sends: Mapping[int, int] = field(default_factory=dict)
    expects: Mapping[int, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What must be the same on every rank."""
        name = f"{self.operation}: {self.collective}" if self.operation else self.collective
        return f"{name} {self.detail}".rstrip()


def mismatch(calls: Sequence[Call]) -> str:
    """Return why the ranks' calls do not match; "" if they do."""
    if len({call.text for call in calls}) > 1:
        return "the ranks make different collective calls"
    for sender, call in enumerate(calls):
        for receiver, sent in call.sends.items():
            expected = calls[receiver].expects.get(sender, 0)
            if sent != expected:
                return (
                    f"rank {sender} sends {sent} elements to rank {receiver}, which expects "
                    f"{expected}"
                )
    return ""


def table(calls: Sequence[Call]) -> str:
    """Return which ranks make which call, and where."""
    groups: dict[tuple[str, str], list[int]] = {}
    for rank, call in enumerate(calls):
        groups.setdefault((call.text, call.line), []).append(rank)
    return "\n".join(
        f"  rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}: {text}\n    at {line}"
        for (text, line), ranks in groups.items()
    )


class Checker:
    """Compares calls over the ranks of a communicator.

    Parameters
    ----------
    transport : Transport
        A private duplicate of the communicator's.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.number = 0
        self.latest: list[Call] = []

    def free(self) -> None:
        """Give the private duplicate back."""
        self.transport.free()

    def check(self, call: Call) -> None:
        """Raise on every rank if the ranks' calls do not match."""
        self.number += 1
        self.latest = []
        self._wait(call)
        self.latest = calls = self.transport.allgather_object(call)
        problem = mismatch(calls)
        if problem:
            title = f"call {self.number} on a communicator of {len(calls)} ranks"
            raise CollectiveMismatchError(f"{problem} ({title}):\n{table(calls)}")

    def _wait(self, call: Call) -> None:
        """Wait a limited time for the other ranks to make this call."""
        all_have_come = self.transport.arrive()
        started = time.monotonic()
        while not all_have_come():
            waited = time.monotonic() - started
            if waited > TIMEOUT:
                raise CollectiveMismatchError(
                    f"after {TIMEOUT:g} s (HEAT_ARRAY_API_DEBUG_TIMEOUT) some rank has still not "
                    f"come to call {self.number} on a communicator of {self.transport.size} ranks; "
                    f"rank {self.transport.rank} is there:\n  {call.text} at {call.line}"
                )
            time.sleep(0.0 if waited < 0.01 else 0.001)

    def end_of_program(self, abort: Callable[[int], NoReturn]) -> None:
        """Compare the ends of the programs, to find a rank that ends early.

        An exception would be lost at interpreter exit, so the first of the ranks that have ended
        shows it, and all ranks are ended.
        """
        end = Call("", "end of the program", "interpreter exit")
        try:
            self.check(end)
        except CollectiveMismatchError as error:
            rank = self.transport.rank
            if end not in self.latest or self.latest.index(end) == rank:
                sys.stderr.write(f"[rank {rank} of {self.transport.size}] {error}\n")
                sys.stderr.flush()
            time.sleep(1.0)  # let the other ranks show where they are
            abort(1)
