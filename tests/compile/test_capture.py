"""Capture: messages go to the recording transport, and no class is changed."""

from __future__ import annotations

import pytest
import torch

import heat_array_api as xp
from heat_array_api._comm.communicator import Communicator, world
from heat_array_api._comm.mpi import MPITransport
from heat_array_api._comm.recording import NotCapturable, captures, paused
from heat_array_api._comm.table import TABLE
from heat_array_api._comm.transport import SerialTransport
from heat_array_api._compile.capture import Capture, Recorder, recording

W = world()
P, RANK = W.size, W.rank

several = pytest.mark.skipif(P == 1, reason="nothing is sent on one rank")


def attributes() -> list[dict[str, object]]:
    return [dict(vars(kind)) for kind in (Communicator, MPITransport, SerialTransport)]


def fake(recorder: Recorder, *shape: int) -> torch.Tensor:
    """Return an input without values."""
    with recorder.mode:
        t = torch.empty(shape)
    recorder.placeholder(t)
    return t


def test_no_class_is_changed():
    before = attributes()
    during = []

    def f(x):
        during.append(attributes())
        return x / xp.sum(x)

    x = xp.ones((2 * P, 3), split=0)
    assert xp.all(xp.compile(f, backend="eager")(x) == f(x))
    assert during == [before, before]
    assert attributes() == before
    assert not captures


@several
def test_messages_are_recorded_by_the_table():
    recorder = Recorder(Capture())
    t = fake(recorder, P, 3)
    counts = [1] * P
    with xp.trace() as sent, recording(recorder):
        results = [
            W.allreduce(t, "max"),
            W.reduce_scatter(t, counts),
            W.exscan(t),
            W.bcast(t, P - 1),
            W.allgatherv(t[:1], counts),
            W.alltoallv(t[:, 0], counts, counts),
            W.exchange(t[:, 0], (((RANK + 1) % P, P),), (((RANK - 1) % P, P),)),
            W.sendrecv(t, (RANK + 1) % P, (RANK - 1) % P, [3, P]),
        ]
    assert sent.events == []
    messages = recorder.capture.messages
    assert [m.collective for m in messages] == [row.name for row in list(TABLE.values())[:8]]
    for message, result in zip(messages, results, strict=True):
        row = TABLE[message.collective]
        assert tuple(result.shape) == row.result(W, message.shape, *message.args)
        assert message.comm is W
        assert hash(message.kind)


@several
def test_captures_nest_and_end_with_an_error():
    outer = Recorder(Capture())
    inner = Recorder(Capture(outer.mode))
    t, u = fake(outer, 4), fake(inner, 4)
    with recording(outer):
        W.allreduce(t)
        with pytest.raises(NotCapturable), recording(inner):  # noqa: PT012
            W.allreduce(u)
            W.bcast(u)
            W.barrier()
        assert captures == [outer]
        W.exscan(t)
    assert [m.collective for m in outer.capture.messages] == ["allreduce", "exscan"]
    assert [m.collective for m in inner.capture.messages] == ["allreduce", "bcast"]
    assert not captures
    assert W.allreduce(torch.ones(1)).item() == P


def test_bookkeeping_is_refused_and_can_be_sent_all_the_same():
    for call in (
        lambda: W.allgather_ints((1,)),
        lambda: W.allgather_object(1),
        lambda: W.bcast_object(1),
        W.barrier,
        lambda: W.split(0),
    ):
        with recording(Recorder(Capture())):
            with pytest.raises(NotCapturable, match="depend on values"):
                call()
            with paused():
                assert not captures
                call()
            assert len(captures) == 1
