"""Plans: figures that can be counted by hand, limits, what is assumed, and that the job stays as
it is."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
import torch

import heat_array_api as xp
from heat_array_api import probe
from heat_array_api._comm.assumptions import dry_runs
from heat_array_api._dry_run import machine as _machine

RANKS = 4096
N = 10**6 * RANKS + 5  # the first five ranks have one row more
SHARD = 8 * 10**6
X = xp.ShapeDtype((N,), split=0)


@pytest.fixture(autouse=True)
def defaults(monkeypatch, tmp_path):
    """Let no file of the user decide the model's numbers."""
    monkeypatch.setenv("HEAT_ARRAY_API_MACHINE", str(tmp_path / "machine.json"))


def line_of(function, offset=1):
    return f"{__file__}:{function.__code__.co_firstlineno + offset}"


# ---------------------------------------------------------------------- figures


def test_memory_is_that_of_the_live_arrays():
    def f(x):
        y = x + x
        z = y * x
        del y
        return z - x

    plan = xp.dry_run(f, X, ranks=RANKS)
    assert plan.peak_bytes == 3 * (SHARD + 8)  # x, y and z
    assert plan.peak_line == line_of(f, 2)
    assert list(plan.runs) == [0, 1, RANKS // 2, RANKS - 1]
    assert plan.runs[RANKS - 1].peak_bytes == 3 * SHARD
    assert plan.runs[0].held == {
        "an argument": SHARD + 8, line_of(f, 1): SHARD + 8, line_of(f, 2): SHARD + 8,
    }  # fmt: skip


def test_views_take_no_memory():
    def f(x):
        y = x[10:]
        return xp.reshape(y, (-1, 1))

    plan = xp.dry_run(f, X, ranks=RANKS, rank=7)
    assert plan.peak_bytes == SHARD


def test_messages_by_line():
    def f(x):
        total = xp.sum(x)
        total = total + xp.sum(x * x)
        return total / xp.max(x)

    plan = xp.dry_run(f, X, ranks=RANKS)
    assert plan.count() == plan.count("allreduce") == 3
    assert plan.count("alltoall") == 0
    assert plan.bytes == 24
    rows = {(m.operation, m.line): (m.collective, m.count, m.bytes) for m in plan.messages}
    assert rows == {
        ("sum", line_of(f, 1)): ("allreduce", 1, 8),
        ("sum", line_of(f, 2)): ("allreduce", 1, 8),
        ("max", line_of(f, 3)): ("allreduce", 1, 8),
    }
    assert all(event.nranks == RANKS for event in plan.events)


def test_flops_of_a_product():
    plan = xp.dry_run(lambda x: x.T @ x, xp.ShapeDtype((1000 * RANKS, 10), split=0), ranks=RANKS)
    assert plan.flops == 2 * 1000 * 10 * 10


def test_seconds_are_the_models():
    """One allreduce of 8 bytes: 12 rounds; reading and writing a shard once each."""
    plan = xp.dry_run(lambda: xp.sum(xp.zeros(N, split=0)), ranks=RANKS)
    m = plan.machine
    message = 12 * m.latency + 16 / m.bandwidth
    assert plan.events[0].seconds == pytest.approx(message)
    assert plan.seconds == pytest.approx(message + 2 * SHARD / m.memory_bandwidth, rel=1e-3)


def test_an_exchange_with_neighbours_takes_a_round_for_each():
    shifted = xp.dry_run(lambda x: xp.roll(x, 1), xp.ShapeDtype((80,), split=0), ranks=8)
    (event,) = shifted.events
    m = shifted.machine
    assert event.bytes == 8
    assert event.seconds == pytest.approx(2 * m.latency + 8 / m.bandwidth)


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 64])
def test_any_number_of_ranks(ranks):
    def f():
        assert xp.world().size == ranks
        x = xp.ones((70, 3), split=0)
        assert x.comm is xp.world()
        return xp.sort(xp.cumulative_sum(x, axis=0), axis=0).T @ x

    plan = xp.dry_run(f, ranks=ranks)
    assert set(plan.runs) == {0, min(1, ranks - 1), ranks // 2, ranks - 1}
    assert (plan.count() > 0) == (ranks > 1)


def test_arguments_are_arrays_of_the_job_spread_over_the_ranks():
    x = xp.ones((40, 3), dtype=xp.float32, split=0)
    seen = {}

    def f(tree, number):
        (y,) = tree["data"]
        seen.update(shape=y.shape, dtype=y.dtype, split=y.split, counts=y.layout.counts)
        assert number == 5
        return y

    xp.dry_run(f, {"data": [x]}, 5, ranks=8)
    assert seen == {"shape": (40, 3), "dtype": np.float32, "split": 0, "counts": (5,) * 8}


def test_derivatives():
    def step(x, w):
        return xp.autograd.grad(lambda w: xp.sum((x @ w) ** 2))(w)

    data = xp.ShapeDtype((1000 * RANKS, 4), split=0), xp.ShapeDtype((4,))
    plan = xp.dry_run(step, *data, ranks=RANKS)
    assert [(m.operation, m.bytes) for m in plan.messages] == [
        ("adjoint of __matmul__", 32),
        ("sum", 8),
    ]


def test_compiled_functions_run_by_operations():
    f = xp.compile(lambda x: xp.sum(x) + xp.sum(x * x))
    plan = xp.dry_run(f, X, ranks=RANKS)
    assert plan.count("allreduce") == 2
    assert any("compiled" in text for text in plan.assumptions)


def test_tensors_on_a_device_that_is_not_there():
    seen = []

    def f(x):
        y = xp.sort(x * 2)
        seen.append((y.device, y.local.device.type))
        return y @ y

    plan = xp.dry_run(f, X, ranks=RANKS, device="cuda", rank=0)
    assert seen == [("cuda", "cuda")]
    assert plan.peak_bytes >= 2 * SHARD
    if torch.version.cuda is None:
        with pytest.raises(xp.PlanError, match="differentiates on device 'cuda'"):
            xp.dry_run(xp.autograd.grad(xp.sum), X, ranks=2, device="cuda")
        with pytest.raises(xp.PlanError, match="needs a torch that was built with CUDA"):
            xp.dry_run(lambda x: x[0], X, ranks=1, device="cuda")


def test_mixed_devices_are_found():
    with pytest.raises(RuntimeError, match="same device"):
        xp.dry_run(lambda x: x + xp.ones(N), X, ranks=2, device="cuda")


def test_the_longest_transforms_are_not_refused():
    """A vector of 2e7 elements has no 4e14."""
    plan = xp.dry_run(xp.fft.fft, xp.ShapeDtype((2 * 10**7,)), ranks=1)
    assert plan.peak_bytes >= 2 * 16 * 10**7


# ---------------------------------------------------------------------- values


def test_a_mask_selects_what_is_stated():
    def f(x):
        return xp.sum(x[x > 0])

    plan = xp.dry_run(f, X, ranks=RANKS, selectivity=0.25)
    whole = xp.dry_run(f, X, ranks=RANKS, selectivity=1)
    assert whole.peak_bytes - plan.peak_bytes == pytest.approx(0.75 * SHARD, rel=0.01)
    assert "a mask selects 25% of its elements (selectivity=0.25)" in plan.assumptions


@pytest.mark.parametrize("ranks", [4, 11])
def test_ranks_hear_what_the_others_say(ranks):
    """The layout of a selection is one, though the first ranks have a row more."""
    layouts = []

    def f():
        x = xp.zeros(8 * ranks + 3, split=0)
        layouts.append(x[x > 0].layout.counts)

    xp.dry_run(f, ranks=ranks, selectivity=1)
    last = layouts[-len({0, 1, ranks // 2, ranks - 1}) :]
    assert len(set(last)) == 1
    assert last[0][:2] == (9, 9)
    assert last[0][-1] == 8


def test_integers_that_are_read_are_errors_with_a_line():
    def f(x):
        n = xp.count_nonzero(x > 0)
        return x[: int(n)]

    with pytest.raises(xp.PlanError, match="depends on data") as caught:
        xp.dry_run(f, X, ranks=RANKS)
    assert line_of(f, 2) in str(caught.value)

    def g(x):
        return x.local.numpy()

    with pytest.raises(xp.PlanError, match="depends on values") as caught:
        xp.dry_run(g, X, ranks=RANKS)
    assert line_of(g, 1) in str(caught.value)


def test_floats_that_are_read_are_nan(capsys):
    def f(x):
        for _ in range(3):
            error = float(xp.max(xp.abs(x)))
            print(error, xp.sum(x), x[:3])
            if error < 1e-3:
                break
            x = x / 2

    plan = xp.dry_run(f, X, ranks=RANKS, rank=0)
    assert capsys.readouterr().out == "nan nan [nan nan nan]\n" * 3
    assert plan.count(collective="allreduce") == 6
    assert any(line_of(f, 2) in text for text in plan.assumptions)


def test_errors_of_the_function_are_its_own():
    with pytest.raises(ValueError, match="broadcast"):
        xp.dry_run(lambda x: x + xp.zeros(3), X, ranks=RANKS)
    with pytest.raises(ZeroDivisionError):
        xp.dry_run(lambda: 1 / 0, ranks=2)


# ---------------------------------------------------------------------- limits and texts


def heavy(x):
    y = xp.sort(x)
    return y + xp.sum(y)


def test_check_names_the_line_to_blame():
    plan = xp.dry_run(heavy, X, ranks=RANKS, node=64)
    plan.check(memory="64 GB", messages=100, seconds=100)
    plan.check()
    limits = {
        "memory": ("100 MiB", 2),
        "messages": (3, 1),
        "seconds": (1e-4, 1),
    }
    for name, (value, line) in limits.items():
        with pytest.raises(xp.PlanError) as caught:
            plan.check(**{name: value})
        assert line_of(heavy, line) in str(caught.value), name
    with pytest.raises(xp.PlanError, match="a node of 64 ranks holds"):
        plan.check(memory=64 * plan.peak_bytes - 1)
    plan.check(memory=64 * plan.peak_bytes)
    plan = xp.dry_run(heavy, X, ranks=RANKS)
    plan.check(memory=plan.peak_bytes)
    with pytest.raises(xp.PlanError, match="a rank holds"):
        plan.check(memory=plan.peak_bytes - 1)


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [("1 GB", 10**9), ("1GiB", 2**30), ("0.5 kb", 500), ("7", 7), (" 2 TB ", 2e12)],
)
def test_memory_as_a_text(text, nbytes):
    assert _plan_module()._as_bytes(text) == nbytes


def _plan_module():
    from heat_array_api._dry_run import plan

    return plan


@pytest.mark.parametrize("wrong", ["many", "1 XB", "GB", None, [], True])
def test_wrong_memory(wrong):
    with pytest.raises((TypeError, ValueError), match="check: memory is"):
        _plan_module()._as_bytes(wrong)


def test_texts():
    plan = xp.dry_run(heavy, X, ranks=RANKS, node=64)
    text = str(plan)
    for part in (
        "4096, of which 0, 1, 2048, 4095 were run",
        "a node of 64",
        "a model",
        "sort",
        "assumed",
    ):
        assert part in text
    assert repr(plan).startswith("<Plan for 4096 ranks: ")
    html = plan._repr_html_()
    assert html.count("<table>") == html.count("</table>") == 3
    assert "&lt;" not in re.sub(r"<lambda>", "", html)
    silent = xp.dry_run(lambda: None, ranks=3)
    assert (silent.peak_bytes, silent.seconds, silent.messages) == (0, 0, [])
    assert "messages" in str(silent)
    assert silent._repr_html_().count("<table>") == 2


# ---------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("error", "text", "options"),
    [
        (TypeError, "ranks is 'many'", {"ranks": "many"}),
        (ValueError, "ranks is 0", {"ranks": 0}),
        (ValueError, "ranks is 1000000000", {"ranks": 10**9}),
        (ValueError, "node is 0", {"ranks": 2, "node": 0}),
        (ValueError, "rank is 2", {"ranks": 2, "rank": 2}),
        (ValueError, "selectivity is 2.0", {"ranks": 2, "selectivity": 2}),
        (ValueError, "device is 'tpu'", {"ranks": 2, "device": "tpu"}),
    ],
)
def test_wrong_arguments(error, text, options):
    with pytest.raises(error, match=f"dry_run: {text}"):
        xp.dry_run(lambda: None, **options)


def test_wrong_functions():
    with pytest.raises(TypeError, match="dry_run: f is"):
        xp.dry_run(3, ranks=2)
    with pytest.raises(TypeError, match="expected an Array"):
        xp.dry_run(len, torch.zeros(3), ranks=2)
    with pytest.raises(ValueError, match="calls dry_run itself"):
        xp.dry_run(lambda: xp.dry_run(lambda: None, ranks=2), ranks=2)


def test_descriptions():
    assert repr(xp.ShapeDtype(4)) == "ShapeDtype((4,), 'float64', split=None)"
    assert xp.ShapeDtype((4, 5), xp.int32, split=-1).split == 1
    with pytest.raises(IndexError, match="ShapeDtype: split"):
        xp.ShapeDtype((4,), split=1)
    with pytest.raises(TypeError, match="ShapeDtype"):
        xp.ShapeDtype((4,), "text")


# ---------------------------------------------------------------------- the job stays as it is


def states():
    legacy = np.random.get_state()
    return random.getstate(), legacy[1].tolist(), torch.get_rng_state().tolist()


def test_the_job_stays_as_it_is():
    comm = xp.world()
    x = xp.arange(7, split=0)
    kept = []

    def f(fails):
        assert xp.world() is not comm
        kept.append(xp.zeros(64, split=0))
        np.random.random()
        random.random()
        torch.rand(3)
        xp.sum(kept[-1])
        if fails:
            raise KeyError("its own")

    before = states()
    with xp.trace() as t:
        xp.dry_run(f, False, ranks=RANKS)
        with pytest.raises(KeyError, match="its own"):
            xp.dry_run(f, True, ranks=RANKS)
    assert states() == before
    assert not t.events
    assert not t.notes
    assert not dry_runs
    assert xp.world() is comm
    assert x.comm is comm
    assert int(xp.sum(x)) == 21
    with pytest.raises(RuntimeError, match="made in a dry run"):
        xp.sum(kept[0])


def test_arrays_of_the_job_are_refused_inside():
    x = xp.ones(8, split=0)
    with pytest.raises(xp.CommunicatorMismatchError):
        xp.dry_run(lambda: x + xp.ones(8, split=0), ranks=RANKS)
    if x.comm.size > 1:
        for f in (lambda: xp.sum(x), lambda: np.asarray(x), lambda: x[x > 0]):
            with pytest.raises(xp.CommunicatorMismatchError, match="pass it as an argument"):
                xp.dry_run(f, ranks=RANKS)
    assert int(xp.sum(x)) == 8


def test_what_never_settles_is_said():
    """Each run makes another selection: what the ranks heard of it is old."""
    runs = []

    def f():
        runs.append(None)
        xp.world().allgather_ints((len(runs),))

    plan = xp.dry_run(f, ranks=5)
    assert len(runs) == 3 * 4
    assert any("in the last of 3 runs" in text for text in plan.assumptions)


# ---------------------------------------------------------------------- the machine


def test_the_machine_is_read_from_its_file():
    assert _machine.load() == _machine.Machine()
    faster = _machine.Machine(1e-6, 1e10, 1e12, 1e11, "measured")
    file = _machine.save(faster) if xp.world().rank == 0 else _machine.path()
    if xp.world().rank == 0:
        plan = xp.dry_run(lambda: xp.sum(xp.zeros(N, split=0)), ranks=RANKS)
        assert plan.machine.flop_rate == 1e12
        assert str(file) in str(plan)
        file.write_text('{"latency": -1}')
        with pytest.raises(ValueError, match="does not hold"):
            xp.dry_run(lambda: None, ranks=2)


def test_the_probe_measures(monkeypatch):
    monkeypatch.setattr(probe, "_SECONDS", 0.01)
    monkeypatch.setattr(probe, "_LONG", 1 << 16)
    monkeypatch.setattr(probe, "_WIDTH", 64)
    found = probe.measure(xp.world())
    assert found.flop_rate > 0
    assert found.memory_bandwidth > 0
    assert (found.latency != _machine.Machine().latency) == (xp.world().size > 1)
    assert xp.world().allgather_object(found) == [found] * xp.world().size
