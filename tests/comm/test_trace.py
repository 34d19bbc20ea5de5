"""Traces: what is recorded of every message, and what becomes of it."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path

import pytest
import torch

import heat_array_api
from files import shared_folder
from heat_array_api._comm import attribution as _attribution
from heat_array_api._comm import trace as _trace
from heat_array_api._comm.communicator import world
from heat_array_api._comm.trace import Event, Trace, note, trace

W = world()
P, RANK = W.size, W.rank
PACKAGE = Path(heat_array_api.__file__).parent

several = pytest.mark.skipif(P == 1, reason="nothing is sent on one rank")

SOURCE = """
def total(comm, t):
    return partial(comm, t)

def partial(comm, t):
    return [comm.allreduce(t) for _ in range(2)][0]

def through(function, *args):
    return function(*args)
"""
INSIDE: dict[str, object] = {"__name__": "heat_array_api._fake"}
exec(compile(SOURCE, str(PACKAGE / "_fake.py"), "exec"), INSIDE)
OUTSIDE: dict[str, object] = {"__name__": "torch.fake"}
exec(compile(SOURCE, "/site-packages/torch/fake.py", "exec"), OUTSIDE)
PROGRAM: dict[str, object] = {"__name__": "__main__"}
exec(compile(SOURCE, str(PACKAGE / "program.py"), "exec"), PROGRAM)


def here() -> str:
    """Return the caller's line, as events name it."""
    frame = inspect.currentframe().f_back
    return f"{__file__}:{frame.f_lineno}"


@several
def test_every_collective_and_its_bytes():
    t = torch.zeros(P, 3, dtype=torch.float32)
    with trace() as events:
        W.allreduce(t)
        W.allreduce(t, "max")
        W.allreduce(t.to(torch.bfloat16))
        W.reduce_scatter(t, [1] * P)
        W.exscan(t)
        W.bcast(t, 0)
        W.allgatherv(t[:RANK], range_of(P))
        W.alltoallv(t.view(-1), [3] * P, [3] * P)
        W.exchange(t.view(-1)[:2], (((RANK + 1) % P, 2),), (((RANK - 1) % P, 2),))
        W.sendrecv(t, (RANK + 1) % P, (RANK - 1) % P, t.shape)
        W.sendrecv(t, None, None, t.shape)
        W.allgather_ints((1, 2))
        W.barrier()
    size = 12 * P
    assert [(e.collective, e.bytes) for e in events.events] == [
        ("allreduce", size),
        ("allreduce", size),
        ("allreduce", size),  # as float32
        ("reduce_scatter", size),
        ("exscan", size),
        ("bcast", size),
        ("allgather", 12 * RANK),
        ("alltoall", size - 12),
        ("exchange", 8),
        ("sendrecv", size),
        ("sendrecv", 0),
        ("allgather_ints", 16),
        ("barrier", 0),
    ]
    with trace() as objects:
        W.allgather_object("abc")
        W.bcast_object("abc", P - 1)
    assert objects.bytes("allgather_object") > 3
    assert (objects.bytes("bcast_object") > 3) == (RANK == P - 1)
    for event in events.events + objects.events:
        assert event.operation == (
            event.collective
            if event.collective not in ("allgather", "alltoall")
            else event.collective + "v"
        )
        assert event.nranks == P
        assert event.seconds > 0
        assert event.start > 1e9
        assert event.line.startswith(f"{__file__}:")


def range_of(n: int) -> list[int]:
    return list(range(n))


@several
def test_nothing_is_recorded_of_nothing():
    with trace() as t:
        W.allreduce(torch.zeros(0, 3))
        W.bcast(torch.zeros(0))
        W.allgatherv(torch.zeros(0, 2), [0] * P)
    assert t.collectives == []


@several
def test_operation_and_line():
    t = torch.ones(2)
    with trace() as events:
        INSIDE["total"](W, t)
        line = here()
    path, _, number = line.rpartition(":")
    line = f"{path}:{int(number) - 1}"
    assert [(e.operation, e.line) for e in events.events] == [("total", line)] * 2


@several
def test_frames_of_torch_are_nobodys():
    """As in a backward pass: package, torch's engine, package."""
    t = torch.ones(2)
    with trace() as events:
        INSIDE["through"](OUTSIDE["through"], INSIDE["total"], W, t)
    assert [e.operation for e in events.events] == ["through"] * 2
    assert all(e.line.startswith(__file__) for e in events.events)


@several
def test_a_program_in_the_package_is_the_user():
    with trace() as events:
        PROGRAM["total"](W, torch.ones(2))
    assert [e.operation for e in events.events] == ["allreduce"] * 2
    assert events.events[0].line == f"{PACKAGE / 'program.py'}:6"


@several
def test_modules_register_what_they_are(monkeypatch):
    """A program in the package is the user's code, a wrapper passes for what it calls."""
    monkeypatch.setattr(_attribution, "_programs", ())
    monkeypatch.setattr(_attribution, "_wrappers", set())
    module: dict[str, object] = {"__name__": "heat_array_api._registered"}
    exec(compile(SOURCE, "/elsewhere/registered.py", "exec"), module)
    t = torch.ones(2)
    seen = []
    for register in (None, _attribution.register_wrapper, _attribution.register_program):
        if register is not None:
            register("heat_array_api._registered")
        with trace() as events:
            module["through"](INSIDE["partial"], W, t)
        seen.append(
            {(e.operation, os.path.basename(e.line.rpartition(":")[0])) for e in events.events}
        )
    here = os.path.basename(__file__)
    assert seen == [{("through", here)}, {("partial", here)}, {("partial", "registered.py")}]


def test_caller_without_a_user():
    seen = {}

    def spy() -> None:
        seen["caller"] = _attribution.caller()

    spy()
    operation, line = seen["caller"]
    assert operation == "caller" or operation == ""
    assert line.startswith(__file__)


@several
def test_traces_nest():
    t = torch.ones(2)
    with trace() as outer:
        W.barrier()
        with trace() as inner, trace() as twin:
            W.allreduce(t)
        W.bcast(t)
    W.barrier()
    assert outer.collectives == ["barrier", "allreduce", "bcast"]
    assert inner.collectives == twin.collectives == ["allreduce"]
    assert inner.events == twin.events
    with outer:
        W.barrier()
    assert outer.count() == 4
    assert not _trace.active


def test_a_trace_ends_with_an_error():
    with pytest.raises(KeyError), trace():
        raise KeyError
    assert not _trace.active


def event(operation: str, collective: str, nbytes: int, line: str = "/a/user.py:3") -> Event:
    return Event(operation, collective, nbytes, 0.5, 1e9, line, 4)


def test_counts_and_bytes():
    t = Trace()
    t.events += [event("sum", "allreduce", 8), event("sum", "bcast", 2), event("max", "bcast", 1)]
    assert t.count() == 3
    assert t.count("bcast") == 2
    assert t.count("bcast", "max") == 1
    assert t.count(operation="sum") == 2
    assert t.bytes() == 11
    assert t.bytes("bcast") == 3
    assert t.bytes(operation="sum") == 10
    assert t.collectives == ["allreduce", "bcast", "bcast"]
    assert repr(t) == "<Trace of 3 communications, 11 bytes>"


def test_summary():
    t = Trace()
    t.events += [
        event("sum", "allreduce", 8),
        event("sum", "allreduce", 8),
        event("sort", "alltoall", 2_500_000, "/a/b/other.py:77"),
        event("sum", "allreduce", 1200, "/a/user.py:9"),
    ]
    lines = str(t).splitlines()
    assert lines[0] == f"rank {RANK}: 4 communications, 2.5 MB sent, 2.000000 s"
    assert [line.split() for line in lines[1:]] == [
        ["operation", "collective", "calls", "bytes", "seconds", "line"],
        ["sort", "alltoall", "1", "2.5", "MB", "0.500000", "other.py:77"],
        ["sum", "allreduce", "1", "1.2", "kB", "0.500000", "user.py:9"],
        ["sum", "allreduce", "2", "16", "B", "1.000000", "user.py:3"],
    ]
    assert (
        len({line.index(cell) for line, cell in zip(lines[1:3], ["line", "other"], strict=True)})
        == 1
    )
    assert str(Trace()) == f"rank {RANK}: 0 communications, 0 B sent, 0.000000 s"


def test_notes():
    note("gather-fallback")  # nobody listens
    with trace() as t:
        INSIDE["through"](note, "gather-fallback", 80, P)
        INSIDE["through"](note, "gather-fallback", 80, P)
    assert t.count() == 0
    assert [(n.operation, n.collective, n.bytes) for n in t.notes] == [
        ("through", "gather-fallback", 80)
    ] * 2
    assert "note: through: gather-fallback at test_trace.py:" in t.summary()


def test_chrome():
    t = Trace()
    t.events += [event("sum", "allreduce", 8 + RANK)]
    with shared_folder(W) as folder:
        path = str(folder / "trace.json")
        with trace() as outer:
            t.to_chrome(path)
        assert not outer.events
        W.barrier()
        document = json.loads(Path(path).read_text("utf-8"))
    events = document["traceEvents"]
    assert [e["pid"] for e in events if e["ph"] == "M"] == list(range(P))
    spans = [e for e in events if e["ph"] == "X"]
    assert [(e["pid"], e["args"]["bytes"]) for e in spans] == [(r, 8 + r) for r in range(P)]
    assert spans[0]["name"] == "sum: allreduce"
    assert spans[0]["ts"] == 1e15
    assert spans[0]["dur"] == 5e5
    assert os.path.basename(spans[0]["args"]["line"]) == "user.py:3"
