"""Implicit gathers: noted in traces with their line, warned about or refused above a size."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest

import heat_array_api as xp
from heat_array_api._comm import trace as _trace
from heat_array_api._comm.communicator import world
from jobs import alone, run

W = world()
several = pytest.mark.skipif(W.size == 1, reason="nothing is gathered on one rank")


@pytest.fixture(autouse=True)
def restored():
    before = set(_trace._warned)
    with xp.set_options(**xp.get_options()):
        yield
    _trace._warned.clear()
    _trace._warned.update(before)


def line_of_caller(back: int = 0) -> str:
    frame = inspect.currentframe().f_back
    return f"{__file__}:{frame.f_lineno - back}"


GATHERS = {
    "__array__": np.asarray,
    "__dlpack__": np.from_dlpack,
    "tolist": lambda x: x.tolist(),
}


@several
@pytest.mark.parametrize("operation", GATHERS)
def test_the_trace_names_every_implicit_gather(operation):
    x = xp.arange(7, dtype=xp.float32, split=0)
    with xp.trace() as t:
        values = GATHERS[operation](x)
    assert list(values) == list(range(7))
    (gather,) = t.gathers
    assert (gather.operation, gather.bytes, gather.nranks) == (operation, 28, W.size)
    assert gather.line.startswith(__file__) or operation == "tolist"
    assert t.collectives == ["allgather"]
    assert t.events[0].result == 28


@several
def test_the_line_is_the_users():
    x = xp.arange(7, split=0)
    with xp.trace() as t:
        np.asarray(x)
        line = line_of_caller(1)
    assert [gather.line for gather in t.gathers] == [line]
    assert f"__array__: implicit gather at test_gathers.py:{line.rpartition(':')[2]}" in str(t)


@several
def test_what_is_no_implicit_gather():
    x = xp.arange(7, split=0)
    with xp.trace() as t:
        x.full_tensor()
        xp.resplit(x, None)
        float(x[3])
        bool(xp.any(x))
        str(x)
        xp.unique_values(x)
        np.asarray(xp.arange(7, split=None))
        np.asarray(xp.sum(x))
    assert t.gathers == []


@several
@pytest.mark.parametrize("operation", GATHERS)
def test_refused_before_any_message(operation):
    x = xp.arange(100, split=0)
    with xp.set_options(on_gather="error", gather_limit=799), xp.trace() as t:
        with pytest.raises(
            xp.GatherError, match=r"a split array of 800 bytes is gathered .*test_gathers"
        ):
            GATHERS[operation](x)
        assert t.count() == 0
        assert len(t.gathers) == 1
    with xp.set_options(on_gather="error", gather_limit=800):
        assert len(GATHERS[operation](x)) == 100


def test_nothing_is_refused_that_is_whole_already():
    with xp.set_options(on_gather="error", gather_limit=0):
        assert np.asarray(xp.arange(7, split=None)).sum() == 21
        if W.size == 1:
            assert np.asarray(xp.arange(7, split=0)).sum() == 21


def test_an_array_protocol_error_that_dlpack_allows():
    assert issubclass(xp.GatherError, ValueError)


@several
def test_warns_once_for_each_line():
    xp.set_options(gather_limit=10)
    x = xp.arange(100, split=0)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(3):
            np.asarray(x)
        first = line_of_caller(1)
        np.asarray(x)
        second = line_of_caller(1)
        with xp.set_options(on_gather="allow"):
            np.asarray(x)
    assert [f"{w.filename}:{w.lineno}" for w in seen] == [first, second]
    assert {w.category for w in seen} == {xp.GatherWarning}


@several
def test_a_small_array_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.asarray(xp.zeros(1000, split=0))


def test_a_filter_makes_it_an_error_on_all_ranks():
    xp.set_options(gather_limit=10)
    x = xp.arange(100, split=0)
    if W.size > 1:
        with pytest.raises(xp.GatherWarning):
            np.asarray(x)
    assert xp.sum(x) == 4950


@pytest.mark.parametrize(
    "options",
    [{"on_gather": "never"}, {"gather_limit": -1}, {"gather_limit": 1.5}, {"gather_limit": True}],
)
def test_options_are_checked(options):
    with pytest.raises(ValueError, match=f"set_options: {next(iter(options))} is "):
        xp.set_options(**options)


def test_defaults():
    options = xp.get_options()
    assert (options["on_gather"], options["gather_limit"]) == ("warn", 64 * 2**20)


@alone
def test_only_rank_0_shows_the_warning():
    done = run(
        """
        import numpy as np
        import heat_array_api as xp
        xp.set_options(gather_limit=10)
        np.asarray(xp.zeros(100, split=0))
        """,
        ranks=3,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("GatherWarning") == 1, done.stderr


@alone
def test_global_generators_draw_alike_from_the_import_on():
    done = run(
        """
        import random
        import numpy as np, torch
        import heat_array_api as xp
        drawn = (random.random(), np.random.rand(), float(torch.rand(())))
        everyone = xp.world().allgather_object(drawn)
        assert len(set(everyone)) == 1, everyone
        """,
        ranks=3,
    )
    assert done.returncode == 0, done.stderr


@alone
def test_generators_seeded_before_the_import_stay_so():
    done = run(
        """
        import random
        import numpy as np, torch
        random.seed(1), np.random.seed(2), torch.manual_seed(3)
        expected = (random.random(), np.random.rand(), float(torch.rand(())))
        random.seed(1), np.random.seed(2), torch.manual_seed(3)
        import heat_array_api as xp
        assert (random.random(), np.random.rand(), float(torch.rand(()))) == expected
        """,
        ranks=2,
    )
    assert done.returncode == 0, done.stderr
