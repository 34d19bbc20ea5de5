"""How ranks part, without MPI: rank 0 asks, the others answer, rank 0 concludes."""

from __future__ import annotations

import threading
import time
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import heat_array_api as xp
from heat_array_api._comm import parting as _parting
from heat_array_api._comm.parting import Parting, Place, counts, listed, place, same_on, tally


class Queue:
    """Messages between ranks that live in this process."""

    from_threads = True

    def __init__(self, rank: int, boxes: list[deque[tuple[int, tuple[Any, ...]]]]) -> None:
        self.rank, self.size, self.boxes = rank, len(boxes), boxes

    def send(self, dest: int, message: tuple[Any, ...]) -> None:
        self.boxes[dest].append((self.rank, message))

    def receive(self) -> list[tuple[int, tuple[Any, ...]]]:
        box = self.boxes[self.rank]
        return [box.popleft() for _ in range(len(box))]


class Job:
    """The ranks of a job, where each is, what rank 0 says, and the codes of aborts."""

    def __init__(self, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
        boxes: list[deque[Any]] = [deque() for _ in range(size)]
        self.said: list[str] = []
        self.codes: list[int] = []
        self.ranks = [
            Parting(Queue(rank, boxes), self.said.append, self.codes.append) for rank in range(size)
        ]
        self.now = time.monotonic()
        self.places: dict[int, Place] = {}
        for rank, one in enumerate(self.ranks):
            one.thread = rank
        monkeypatch.setattr(_parting, "place", lambda rank: self.places[rank])
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=lambda seconds: None)
        monkeypatch.setattr(_parting, "time", clock)

    def end(self, rank: int, code: int, calls: dict[int, int], waited: bool = True) -> None:
        self.ranks[rank].ended = code, calls
        if waited:
            self.ranks[rank].report("ended", code, calls)

    def go_on(self, seconds: float, silent: tuple[int, ...] = ()) -> None:
        """Let time pass, in which the ranks serve."""
        end = self.now + seconds
        while self.now < end:
            self.now += 0.25
            for rank, one in enumerate(self.ranks):
                if rank not in silent:
                    one.serve()


@pytest.fixture
def job(monkeypatch):
    with xp.set_options(exit_patience=10.0, exit_grace=5.0):
        yield lambda size: Job(size, monkeypatch)


GROUP, PAIR = 1, 2


def test_only_who_waits_in_vain_ends_the_job(job):
    """Rank 3 has ended after 7 calls, rank 2 after 6 calls of all ranks; both end one by one."""
    ranks = job(4)
    ranks.places = {0: Place("sum", "a.py:3", GROUP, 7), 1: Place("", "a.py:9")}
    ranks.end(3, 0, {GROUP: 7})
    ranks.places[2] = Place("sum", "a.py:5", PAIR, 9)  # a group without the one that has ended
    ranks.go_on(30)
    assert not ranks.said  # rank 1 may still come
    assert not ranks.codes
    ranks.end(2, 0, {GROUP: 6}, waited=False)  # found by asking
    ranks.go_on(11)
    assert ranks.said[0].startswith(
        "ranks 2-3 have ended; rank 0 is in sum at line 3 of a.py, which needs all ranks; HEAT"
    )
    assert "The job ends in 5 s." in ranks.said[0]
    ranks.go_on(11)
    assert ranks.codes[0] == 1
    assert len(ranks.said) == 1


@pytest.mark.parametrize("ended", [0, 2])
def test_an_exit_with_an_error_ends_the_job_at_once(job, ended):
    ranks = job(3)
    ranks.end(ended, 3, {GROUP: 4})
    stuck = {rank: Place("sum", "a.py:3", GROUP, 5) for rank in range(3) if rank != ended}
    ranks.places = stuck
    ranks.go_on(0.5)
    assert ranks.codes[0] == 3
    assert f"rank {ended} has ended with exit code 3; ranks " in ranks.said[0]
    assert "are in sum at line 3 of a.py" in ranks.said[0]


def test_an_infinite_grace_never_ends_the_job(job):
    ranks = job(2)
    ranks.places[1] = Place("sum", "a.py:3", GROUP, 5)
    ranks.end(0, 0, {GROUP: 4})
    with xp.set_options(exit_grace=float("inf")):
        ranks.go_on(200)
    assert "The job ends" not in ranks.said[0]
    assert not ranks.codes


def test_what_is_not_known_to_wait_is_named_once_and_late(job):
    """It computes, or waits for a message that is not the library's."""
    ranks = job(3)
    ranks.places[1] = Place("", "a.py:3")
    ranks.end(0, 0, {GROUP: 4})
    ranks.go_on(59, silent=(2,))
    assert not ranks.said
    ranks.go_on(200, silent=(2,))
    assert ranks.said == ["rank 0 has ended; rank 1 is at line 3 of a.py. The job goes on."]
    assert not ranks.codes


def test_one_rank_of_those_that_fail_alike_is_chosen(job):
    ranks = job(4)
    for rank, text in enumerate((b"a", b"b", b"a")):
        ranks.ranks[rank].report("failed", text)
    ranks.go_on(0.25)
    assert ranks.ranks[0].verdict is None  # the last one may be about to fail, too
    ranks.go_on(0.5)
    assert [one.verdict for one in ranks.ranks] == [(0, [0, 2]), (1, [1]), (0, []), None]
    ranks.ranks[3].report("failed", b"b")
    ranks.go_on(0.5)
    assert ranks.ranks[3].verdict == (1, [])  # shown already


def test_where_no_more_can_fail_nobody_waits(job):
    ranks = job(3)
    ranks.end(2, 0, {})
    for rank in range(2):
        ranks.ranks[rank].report("failed", b"a")
    ranks.go_on(0.25)
    assert [one.verdict for one in ranks.ranks] == [(0, [0, 1]), (0, []), None]


def test_texts():
    assert listed([3]) == "rank 3"
    assert listed([5, 0, 2, 3, 4]) == "ranks 0, 2-5"
    assert same_on([0], 1) == ""
    assert same_on([0, 1, 2], 3) == "(the same on 2 other ranks)"
    assert same_on([0, 2], 3) == same_on([1, 2], 2) == "(the same on rank 2)"
    assert same_on([0, 1, 2], 256) == "(the same on ranks 1-2)"
    assert str(Place("", "?")) == "at an unknown line"


def test_calls_are_counted_alike_on_all_ranks(comm):
    """Each group by itself, on whichever of its communicators, and after these are freed."""
    if comm.size == 1:
        return
    before = dict(counts())
    comm.allreduce(torch.zeros(3))
    comm.bcast(torch.zeros(3))
    comm.barrier()
    comm.allgather_object("a", patient=True)
    with comm.split(0) as same, comm.split(comm.rank % 2) as half:
        same.allreduce(torch.zeros(3))
        key = half.transport.tally.key
        assert same.transport.tally is comm.transport.tally is not half.transport.tally
        half.barrier()
    made = {key: n - before.get(key, 0) for key, n in counts().items()}
    everyone = comm.transport.allgather_object(made[comm.transport.tally.key])
    assert set(everyone) == {everyone[0]}
    assert everyone[0] >= 8
    if half.size > 1:
        assert made[key] == 2  # and that it was freed


def test_the_place_of_a_thread():
    assert place(-1) == Place("", "?")
    found = []

    def other(thread: int) -> None:
        found.append(place(thread))

    def work(thread: int) -> None:
        watcher = threading.Thread(target=other, args=(thread,))
        watcher.start()
        watcher.join()

    work(threading.get_ident())
    assert found[0].group == 0
    assert found[0].operation == ""
    assert tally((0, 5)) is tally([0, 5])
