"""Debug mode: every collective is compared over the ranks before it runs."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from .._errors import CollectiveMismatchError
from .table import Parts
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
    sends, expects : tuple of (int, int)
        Ranks, with how much goes to each, and how much is expected of each.
    """

    operation: str
    collective: str
    line: str
    detail: str = ""
    sends: Parts = ()
    expects: Parts = ()

    @property
    def text(self) -> str:
        """What must be the same on every rank."""
        name = f"{self.operation}: {self.collective}" if self.operation else self.collective
        return f"{name} {self.detail}".rstrip()


def mismatch(calls: Sequence[Call]) -> str:
    """Return why the ranks' calls do not match; "" if they do."""
    if len({call.text for call in calls}) > 1:
        return "the ranks make different collective calls"
    expects = [dict(call.expects) for call in calls]
    for sender, call in enumerate(calls):
        for receiver, sent in call.sends:
            expected = expects[receiver].pop(sender, 0)
            if sent != expected:
                return (
                    f"rank {sender} sends {sent} elements to rank {receiver}, which expects "
                    f"{expected}"
                )
    for receiver, left in enumerate(expects):
        for sender, expected in left.items():
            if expected:
                return (
                    f"rank {sender} sends 0 elements to rank {receiver}, which expects {expected}"
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


def digest_of(call: Call) -> int:
    """Return a number of 60 bits for what the user called where, the same on all ranks."""
    text = f"{call.text} {os.path.basename(call.line)}"  # paths may differ from node to node
    return _digest(text) >> 4 or 1


def balance_of(call: Call, rank: int) -> int:
    """Return a number of 64 bits whose sum over the ranks is 0 if all is expected that is sent.

    Each message adds the hash of (sender, receiver, length) on one side, and takes it away on the
    other; any other sum of them is 0 by a chance of 2**-64.
    """
    goes = _hashes([(rank, dest, n) for dest, n in call.sends if n])
    comes = _hashes([(source, rank, n) for source, n in call.expects if n])
    difference = (int(goes.sum()) - int(comes.sum())) % 2**64
    return difference - 2**64 if difference >= 2**63 else difference


def _hashes(messages: Sequence[tuple[int, int, int]]) -> Any:
    """Return a hash of each triple (the finaliser of splitmix64, Steele et al. 2014)."""
    columns = np.asarray(messages, dtype=np.uint64).reshape(-1, 3).T
    state = np.zeros(columns.shape[1], dtype=np.uint64)
    for column in columns:
        state = state ^ column
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
        state = (state ^ (state >> np.uint64(31))) + np.uint64(0x9E3779B97F4A7C15)
    return state


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


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
        if not self._differs(digest_of(call), call):
            return
        self.latest = calls = self.transport.allgather_object(call)
        problem = mismatch(calls)
        if problem:
            title = f"call {self.number} on a communicator of {len(calls)} ranks"
            raise CollectiveMismatchError(f"{problem} ({title}):\n{table(calls)}")

    def _differs(self, digest: int, call: Call) -> bool:
        """Return whether ranks have other digests, or expect what is not sent: 16 bytes each."""
        balance = balance_of(call, self.transport.rank)
        everyone = self.transport.allgather_ints((digest, balance))
        same = (everyone[:, 0] == digest).all()
        # The sum wraps around, as the ranks' own do.
        return not same or int(everyone[:, 1].sum()) != 0

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
