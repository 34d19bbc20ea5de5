"""How ranks part: who has ended, who waits for them in vain, who shows an error that many raised.

Ranks exchange small messages that nobody waits for, only when one has failed or has ended long
before the others. Rank 0 collects them (`Chair`). A rank that is blocked in a collective answers
from a thread of its own (`Watch`).

Of each group of ranks every rank counts the collectives that it has begun (`Tally`). If a rank has
ended, and another is in a collective of a group of both with a higher number, it waits in vain.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn, Protocol

from .._options import exit_limits
from .attribution import caller

# ---------------------------------------------------------------------- where a rank is


class Tally:
    """How many collectives this rank has begun on communicators of the same ranks.

    Attributes
    ----------
    key : int
        The group of ranks, by the same number on each of them.
    calls : int
        How many.
    """

    __slots__ = ("calls", "key")

    def __init__(self, key: int) -> None:
        self.key, self.calls = key, 0


_tallies: dict[int, Tally] = {}


def tally(ranks: Sequence[int]) -> Tally:
    """Return the count of a group, which outlives its communicators."""
    key = hash(tuple(ranks))  # of integers: the same in every process
    return _tallies.setdefault(key, Tally(key))


def counts() -> dict[int, int]:
    """Return how many collectives this rank has begun in each group that it is in."""
    return {key: one.calls for key, one in _tallies.items()}


@dataclass(frozen=True)
class Place:
    """Where a rank's program is.

    Parameters
    ----------
    operation, line : str
        The library's function that the user called, if any, and the user's line.
    group, call : int
        The group and the number of the collective that it is in; 0, 0 outside of any.
    """

    operation: str
    line: str
    group: int = 0
    call: int = 0

    def __str__(self) -> str:
        path, _, number = self.line.rpartition(":")
        line = f"line {number} of {os.path.basename(path)}" if path else "an unknown line"
        return f"in {self.operation} at {line}" if self.operation else f"at {line}"


def place(thread: int) -> Place:
    """Return where a thread of this process is."""
    frame: FrameType | None = sys._current_frames().get(thread)
    if frame is None:
        return Place("", "?")
    operation, line = caller(frame)
    while frame is not None:
        if frame.f_globals.get("__name__") == f"{__package__}.mpi":
            mine = getattr(frame.f_locals.get("self"), "tally", None)
            if isinstance(mine, Tally):
                return Place(operation, line, mine.key, mine.calls)
        frame = frame.f_back
    return Place(operation, line)


# ---------------------------------------------------------------------- messages


class Post(Protocol):
    """Messages between any two ranks of the job, which nobody waits for.

    Attributes
    ----------
    rank, size : int
        This rank's number in the job, and how many ranks there are.
    from_threads : bool
        Whether a second thread may use it while the first is in a collective.
    """

    rank: int
    size: int
    from_threads: bool

    def send(self, dest: int, message: tuple[Any, ...]) -> None:
        """Send a message, without waiting."""

    def receive(self) -> Iterable[tuple[int, tuple[Any, ...]]]:
        """Return the messages that have come, each with its sender."""

    def arrive(self) -> Callable[[], bool]:
        """Say that this rank has ended; the result tells whether all have."""


class Parting:
    """One rank's part in the conversation.

    Parameters
    ----------
    post : Post
        What carries the messages.
    say : callable
        ``say(text)`` writes to standard error.
    abort : callable
        ``abort(code)`` ends all ranks.
    """

    def __init__(
        self, post: Post, say: Callable[[str], None], abort: Callable[[int], NoReturn]
    ) -> None:
        self.post = post
        self.thread = threading.get_ident()
        self.chair = Chair(self, say, abort) if post.rank == 0 else None
        self.ended: tuple[int, dict[int, int]] | None = None
        self.verdict: tuple[int, list[int]] | None = None

    def report(self, kind: str, *content: Any) -> None:
        """Tell rank 0."""
        if self.chair is None:
            self.post.send(0, (kind, *content))
        else:
            self.chair.take(0, kind, *content)

    def instruct(self, rank: int, kind: str, *content: Any) -> None:
        """Tell another rank, as rank 0 does."""
        if rank == self.post.rank:
            self._obey(kind, *content)
        else:
            self.post.send(rank, (kind, *content))

    def serve(self) -> None:
        """Answer the messages that have come; on rank 0 also draw the conclusions."""
        for sender, (kind, *content) in self.post.receive():
            if kind in ("where", "verdict"):
                self._obey(kind, *content)
            elif self.chair is not None:
                self.chair.take(sender, kind, *content)
        if self.chair is not None:
            self.chair.act(time.monotonic())

    def _obey(self, kind: str, *content: Any) -> None:
        if kind == "verdict":
            self.verdict = content[0], content[1]
        elif self.ended is not None:
            self.report("ended", *self.ended)
        else:
            self.report("at", place(self.thread))


class Watch:
    """A thread that serves while this rank's program runs.

    Parameters
    ----------
    parting : Parting
        What it serves.
    """

    def __init__(self, parting: Parting) -> None:
        self._over = threading.Event()
        pause = 0.25 if parting.post.rank == 0 else 1.0

        def watch() -> None:
            while not self._over.wait(pause):
                parting.serve()

        self._thread = threading.Thread(target=watch, name="heat_array_api-watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End: this rank's own thread serves from now on."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()


# ---------------------------------------------------------------------- conclusions

TOGETHER = 0.3
"""Seconds within which ranks that fail alike are taken to do so at the same time."""

ANSWER = 2.5
"""Seconds that rank 0 waits for the ranks' answers."""

REMEDY = (
    "Remedy: all ranks must make the same calls with split arrays. Take them out of what only\n"
    "some ranks do, such as `if xp.world().rank == 0:`. To show x once, make `text = str(x)`\n"
    "on all ranks and print it on one."
)


def listed(ranks: Iterable[int]) -> str:
    """Return ranks as text: ``"rank 3"``, ``"ranks 0, 2-5"``."""
    runs: list[list[int]] = []
    for rank in sorted(ranks):
        if runs and runs[-1][1] == rank - 1:
            runs[-1][1] = rank
        else:
            runs.append([rank, rank])
    text = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
    return f"rank {text}" if text.isdecimal() else f"ranks {text}"


def same_on(ranks: Sequence[int], size: int) -> str:
    """Return where else an error was raised: by all `ranks` of `size`, the first of which shows it.

    It is empty if no other rank did.
    """
    others = len(ranks) - 1
    if not others:
        return ""
    where = f"{others} other ranks" if others > 1 else listed(ranks[1:])
    return f"(the same on {where if len(ranks) == size else listed(ranks[1:])})"


class Chair:
    """What rank 0 knows of the others, and concludes.

    Parameters
    ----------
    parting : Parting
        Rank 0's part in the conversation.
    say, abort : callable
        As in `Parting`.
    """

    def __init__(
        self, parting: Parting, say: Callable[[str], None], abort: Callable[[int], NoReturn]
    ) -> None:
        self.parting, self.say, self.abort = parting, say, abort
        self.size = parting.post.size
        self.failed: dict[int, bytes] = {}
        self.judged: set[int] = set()
        self.ended: dict[int, tuple[int, dict[int, int]]] = {}
        self.places: dict[int, Place] = {}
        self.first_failure = self.first_end = self.told = 0.0
        self.asked = self.next_question = 0.0
        self.noted = False

    def take(self, rank: int, kind: str, *content: Any) -> None:
        """Note what a rank reports."""
        now = time.monotonic()
        if kind == "failed":
            self.first_failure = self.first_failure or now
            self.failed[rank] = content[0]
        elif kind == "ended":
            self.first_end = self.first_end or now
            self.places.pop(rank, None)
            self.ended[rank] = content[0], content[1]
        elif rank not in self.ended:
            self.places[rank] = content[0]

    def act(self, now: float) -> None:
        """Draw conclusions from what is known by now."""
        if len(self.failed) > len(self.judged):
            all_known = len(self.failed.keys() | self.ended.keys()) == self.size
            if all_known or now - self.first_failure >= TOGETHER:
                self._judge()
        if self.ended and len(self.ended) < self.size and not self.failed:
            self._look(now)

    def _judge(self) -> None:
        """Tell the ranks that have failed which of them shows the error."""
        alike: dict[bytes, list[int]] = {}
        for rank, digest in self.failed.items():
            alike.setdefault(digest, []).append(rank)
        for ranks in alike.values():
            # Who has been told to show it does so.
            ranks.sort(key=lambda rank: (rank not in self.judged, rank))
            for rank in ranks:
                if rank not in self.judged:
                    self.parting.instruct(
                        rank, "verdict", ranks[0], ranks if rank == ranks[0] else []
                    )
        self.judged = set(self.failed)

    def _look(self, now: float) -> None:
        """Ask the other ranks where they are, and consider their answers."""
        if not self.asked:
            if now >= self.next_question:
                self.asked = now
                self.places.clear()
                for rank in range(self.size):
                    if rank not in self.ended:
                        self.parting.instruct(rank, "where")
        elif len(self.places) + len(self.ended) >= self.size or now - self.asked > ANSWER:
            pause = min(10.0, max(0.5, (now - self.first_end) / 10))
            self.asked, self.next_question = 0.0, now + pause
            self._consider(now)

    def _consider(self, now: float) -> None:
        patience, grace = exit_limits()
        stuck = {rank: at for rank, at in self.places.items() if self._in_vain(at)}
        code = max((code for code, _ in self.ended.values()), default=0)
        if stuck and not self.told:
            self.told = now
            end = f"\n{REMEDY}\n" + (
                "Ending all ranks." if code else f"The job ends in {grace:g} s."
            )
            self.say(
                f"{self._who_has_ended()}; {self._where(stuck)}, which needs all ranks; "
                f"HEAT_ARRAY_API_DEBUG=1 tells more.{end if grace < 1e9 else ''}"
            )
        if stuck and (code or now - self.told >= grace):
            time.sleep(0.25)  # in which the launcher passes on what has been written
            self.abort(code or 1)
        # It may be busy with what is its own; or wait for a message that is not the library's.
        if not (stuck or self.noted) and self.places and now - self.first_end >= 6 * patience:
            self.noted = True
            self.say(f"{self._who_has_ended()}; {self._where(self.places)}. The job goes on.")

    def _in_vain(self, at: Place) -> bool:
        return any(known.get(at.group, at.call) < at.call for _, known in self.ended.values())

    def _who_has_ended(self) -> str:
        """Return e.g. ``"rank 2 has ended with exit code 3; ranks 0-1 have ended"``."""
        by_code: dict[int, list[int]] = {}
        for rank, (code, _) in self.ended.items():
            by_code.setdefault(code, []).append(rank)
        return "; ".join(
            f"{listed(ranks)} {'have' if len(ranks) > 1 else 'has'} ended"
            + (f" with exit code {code}" if code else "")
            for code, ranks in sorted(by_code.items(), reverse=True)
        )

    def _where(self, places: dict[int, Place]) -> str:
        same: dict[str, list[int]] = {}
        for rank, at in places.items():
            same.setdefault(str(at), []).append(rank)
        return "; ".join(
            f"{listed(ranks)} {'are' if len(ranks) > 1 else 'is'} {at}"
            for at, ranks in sorted(same.items(), key=lambda item: min(item[1]))
        )
