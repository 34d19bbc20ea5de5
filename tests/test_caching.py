"""Caches within a limit of bytes, at thousands of ranks too; nothing grows with use."""

from __future__ import annotations

import ctypes
import gc
import threading
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import pytest

import heat_array_api as xp
from files import shared_folder
from heat_array_api import _caching, _linalg, _manipulation, _windows
from heat_array_api._comm.communicator import Communicator
from heat_array_api._comm.transport import SerialTransport
from heat_array_api._compile import compiled
from heat_array_api._core import fetch, lift
from heat_array_api._core.layout import Layout
from heat_array_api._indexing import basic
from heat_array_api._reshape import _plan
from layouts import assert_equal

WORLD = xp.world()
MANY = 4096


@pytest.fixture(autouse=True)
def forgetting():
    _caching.clear_caches()
    yield
    _caching.clear_caches()


@pytest.fixture(scope="module")
def many():
    """Return a communicator of thousands of ranks, for what sends nothing."""
    transport = SerialTransport()
    transport.size, transport.rank = MANY, MANY // 2
    return Communicator(transport)


def uneven(comm, k):
    """Return a layout whose counts, all above those that Python keeps once, depend on `k`."""
    counts = tuple(1000 + (r * (k + 3)) % 97 for r in range(comm.size))
    return Layout.of((sum(counts),), 0, counts, comm)


PLANS = {
    "layouts": lambda x, k: x.with_shape((2, *x.shape), 1),
    "permuted": lambda x, k: x.insert(1, length=k + 2).permuted((1, 0)),
    "meeting": lambda x, k: lift._meeting(x, x),
    "reduction": lambda x, k: lift.plan_reduction("sum", x.insert(1, length=k + 2), 1, False),
    "view": lambda x, k: basic.plan_view(x, ((None, -1 - k, None),)),
    "reshape": lambda x, k: _plan(x, (*x.shape, 1)),
    "expand": lambda x, k: _manipulation._expanded(x, (0, 1)),
    "squeeze": lambda x, k: _manipulation._squeezed(x.insert(1), (1,)),
    "product": lambda x, k: _linalg._plan_matmul(
        x.insert(1, length=3), Layout.replicated((3, k + 5), x.comm)
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_bytes_stay_within_the_limit_at_thousands_of_ranks(name, many):
    limit = 4 * 2**20
    most = 0
    gc.collect()
    tracemalloc.start()
    try:
        with xp.set_options(cache_limit=limit):
            for k in range(100):
                PLANS[name](uneven(many, k), k)
                most = max(most, _caching.cache_info().nbytes)
        held = tracemalloc.get_traced_memory()[0]
        assert limit / 2 < most <= limit
        assert held < 1.1 * limit
    finally:
        tracemalloc.stop()


def test_plans_of_exchanges_count_with_all_that_they_hold():
    transport = SerialTransport()
    transport.size, transport.rank = 64, 32
    x = uneven(Communicator(transport), 0)
    n = x.shape[0]
    x.insert(1)
    before = _caching.cache_info().nbytes
    gc.collect()
    tracemalloc.start()
    try:
        for k in range(20):
            segments = (fetch.Segment(n - k, k, 1), fetch.Segment(0, n - k, 1))
            fetch._plan_arrange(x, x, segments)
            _windows._plan_windows(x, k + 2)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held <= 1.2 * (_caching.cache_info().nbytes - before)


def test_what_several_entries_share_counts_once(many):
    x = uneven(many, 0)
    before = _caching.cache_info().nbytes
    for k in range(10):
        lift.plan_reduction(f"sum {k}", x, None, False)
    assert _caching.cache_info().nbytes - before < 20_000


def test_a_result_beyond_the_limit_makes_way_for_the_next():
    with xp.set_options(cache_limit=0):
        for n in range(5, 10):
            assert Layout.replicated((n,), WORLD).shape == (n,)
            assert _caching.cache_info().entries <= 2


def test_hits_are_those_of_functools():
    x = xp.arange(12, split=0)
    first = Layout.balanced(x.shape, 0, WORLD)
    hits = Layout.balanced.cache_info().hits
    assert Layout.balanced(x.shape, 0, WORLD) is first
    assert Layout.balanced.cache_info().hits == hits + 1
    assert Layout.balanced.__name__ == "balanced"


def test_errors_are_not_remembered():
    x = xp.arange(12, split=0)
    entries = _caching.cache_info().entries
    for _ in range(2):
        with pytest.raises(IndexError):
            xp.sum(x, axis=3)
    assert _caching.cache_info().entries == entries


def test_layouts_in_use_stay_the_same_objects():
    """Identity decides where equality would do: ranks empty their caches at different times."""
    x = xp.arange(12, split=0)
    for rounds in range(3):
        if WORLD.rank <= rounds:
            _caching.clear_caches()
        y = xp.arange(12, split=0)
        assert y.layout is x.layout
        assert xp.resplit(x, None).layout is Layout.replicated((12,), WORLD)
        with xp.trace() as t:
            assert_equal(x + y, 2 * np.arange(12))
        assert t.count("alltoall") == t.count("exchange") == 0


def test_layouts_out_of_use_are_forgotten():
    layout = Layout.replicated((12345,), WORLD)
    alive = weakref.ref(layout)
    del layout
    assert alive() is not None
    _caching.clear_caches()
    gc.collect()
    assert alive() is None


# ---------------------------------------------------------------------- communicators, programs


def program(x):
    return xp.sum(x * 2.0 + 1.0)


def test_caches_let_go_of_a_freed_communicator():
    f = xp.compile(program, backend="eager")
    with WORLD.split(1234) as comm:  # a color of its own: equal divisions are one object
        x = xp.arange(6.0, split=0, comm=comm)
        assert xp.sum(x[1:]) == 15
        assert f(x) == 36
        alive = weakref.ref(comm)
    del x, comm
    WORLD.split(1235).free()  # the parent drops those that were freed when it divides again
    gc.collect()
    assert alive() is None
    assert f(xp.arange(6.0, split=0)) == 36
    assert f.captures == 2


def test_compiled_calls_beyond_the_limit_are_not_remembered(monkeypatch):
    monkeypatch.setattr(compiled, "MOST_PROGRAMS", 3)
    f = xp.compile(lambda x, a: x * a, backend="eager")
    x = xp.arange(4.0, split=0)
    for a in range(3):
        assert_equal(f(x, float(a)), a * np.arange(4.0))
    with pytest.warns(xp.CompileWarning, match="more than 3 different ways"):
        assert_equal(f(x, 3.0), 3 * np.arange(4.0))
    for a in range(4, 20):
        assert_equal(f(x, float(a)), a * np.arange(4.0))
    assert len(f._outcomes) == 3
    assert f.captures == 3


# ---------------------------------------------------------------------- long use


def resident():
    """Return this process's memory in bytes, without what the allocator keeps for later."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def operations(i, folder):
    """Yield functions that are different in each turn: shapes, splits, counts, amounts."""
    n, m = 40 + i % 23, 3 + i % 5
    x = xp.reshape(xp.arange(n * m, dtype=xp.float64, split=0), (n, m))
    y = xp.resplit(x, i % 2)
    u = x[i % 7 :]
    v = y[:, 0][y[:, 1] > i % 30]
    yield lambda: u + x[: n - i % 7]
    yield lambda: xp.sum(v * 2.0)
    yield lambda: xp.reshape(y, (m, n))
    yield lambda: xp.roll(x, i % 31, axis=0)
    yield lambda: xp.concat([x, u, y])
    yield lambda: xp.flip(u, axis=0)
    yield lambda: xp.sort(y, axis=0)
    yield lambda: x.T @ x
    yield lambda: u @ xp.ones((m, 2 + i % 4))
    yield lambda: xp.linalg.qr(x)
    yield lambda: xp.fft.fft(x[:, 0])
    yield lambda: x[xp.arange(i % 11, n, 3, split=0)]
    yield lambda: xp.cumulative_sum(u, axis=0)
    yield lambda: xp.tile(v, (2 + i % 3,))
    yield lambda: y.__setitem__((slice(i % 5, None), 0), float(i))
    yield lambda: xp.mean(xp.diff(u, axis=0), axis=i % 2)
    yield lambda: xp.unique_values(xp.astype(y, xp.int64) % (i % 9 + 2))
    yield lambda: xp.expand_dims(xp.squeeze(x[:, :1], axis=1), axis=0)
    if i % 10 == 0:
        yield lambda: in_part(i)
        yield lambda: saved_and_loaded(u, folder)
        yield lambda: xp.compile(program, backend="aot_eager")(u)


def in_part(i):
    with WORLD.split(WORLD.rank % 2, i) as comm:
        z = xp.arange(20 + i, split=0, comm=comm)
        return xp.sum(xp.roll(z, i)[1:]), xp.sort(z)


def saved_and_loaded(x, folder):
    xp.io.save(x, folder / "x.npy")
    return xp.io.load(folder / "x.npy", split=0)


def figures():
    """Return the bytes of memory, and numbers that must not grow."""
    memory = resident()
    live = sum(type(each) is Communicator for each in gc.get_objects())
    files = len(list(Path("/proc/self/fd").iterdir()))
    return memory, (live, files, threading.active_count())


def test_nothing_grows_in_long_use():
    """The first half of 2,000 operations fills the caches; the second half takes no more."""
    turns, limit = 110, 2**19
    found = []
    with shared_folder(WORLD) as folder, xp.set_options(cache_limit=limit):
        for i in range(turns):
            for operation in operations(i, folder):
                operation()
            if i in (turns // 2, turns - 1):
                found.append(figures())
        assert _caching.cache_info().nbytes <= limit
    (before, counted), (after, again) = found
    assert again == counted
    assert after - before < 16 * 2**20
