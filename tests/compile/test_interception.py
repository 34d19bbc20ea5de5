"""Interception ends with its block, however the block ends: eager arrays are as they were."""

from __future__ import annotations

import threading
from contextlib import suppress

import numpy as np
import pytest
import torch

import heat_array_api as xp
from heat_array_api._compile import compiled as _compiled
from heat_array_api._compile.graph_breaks import CallWithBreaks, Phase
from heat_array_api._compile.interception import intercepted
from heat_array_api._core.array import SLOT, Array


class Log:
    """The reads and writes that were intercepted."""

    def __init__(self):
        self.events = []

    def block(self):
        return intercepted(self.read, self.write)

    def read(self, x):
        self.events.append("read")
        return SLOT.__get__(x)

    def write(self, x, t):
        self.events.append("write")
        SLOT.__set__(x, t)


@pytest.fixture
def x():
    yield xp.ones((3,))
    assert vars(Array)["_local"] is SLOT


def test_reads_and_writes(x):
    log = Log()
    with log.block():
        Array(x._local, x.layout)
    x._local  # noqa: B018
    assert log.events == ["read", "write"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_errors(x, error):
    with pytest.raises(error), Log().block():
        raise error


def test_nested_blocks(x):
    outer, inner = Log(), Log()
    with outer.block():
        with suppress(ValueError), inner.block():
            x._local = torch.ones(3)
            raise ValueError
        assert outer.events == []
        assert isinstance(x._local, torch.Tensor)
        assert outer.events == ["read"]
    assert inner.events == ["write"]


def test_other_threads(x):
    """A block that ends does not end that of another thread, and sees only its own accesses."""
    log, theirs = Log(), Log()
    entered, leave = threading.Event(), threading.Event()

    def other():
        with theirs.block():
            entered.set()
            leave.wait(20)
            x._local  # noqa: B018

    thread = threading.Thread(target=other)
    with log.block():
        thread.start()
        assert entered.wait(20)
    x._local  # noqa: B018
    assert (log.events, theirs.events) == ([], [])
    leave.set()
    thread.join()
    assert theirs.events == ["read"]


@pytest.mark.parametrize("error", [None, KeyError, KeyboardInterrupt])
@pytest.mark.parametrize("breaks", [False, True])
def test_calls_with_breaks(x, monkeypatch, error, breaks):
    """A call ends in its first phase, whether the function raises before or after a break."""
    monkeypatch.setattr(_compiled, "LEAST_BYTES_FOR_SUBGRAPHS", 0)
    monkeypatch.setattr(_compiled, "MOST_FAILURES", 1)  # the second call is not captured
    calls = []

    class Spied(CallWithBreaks):
        def __init__(self, *args):
            super().__init__(*args)
            calls.append(self)

    monkeypatch.setattr(_compiled, "CallWithBreaks", Spied)

    def f(x, last):
        y = x * 2
        if breaks or not last:
            y = y * float(xp.sum(y))
        if last and error is not None:
            raise error
        return y

    g = xp.compile(f, backend="eager", show_progress=False)
    np.testing.assert_array_equal(np.asarray(g(x, False)), 12.0)
    if error is None:
        g(x, True)
    else:
        with pytest.raises(error):
            g(x, True)
    assert [call._phase for call in calls] == [Phase.EAGER] * 2
