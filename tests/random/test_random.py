"""Random arrays: the same values on any number of ranks and any split, rightly distributed."""

from __future__ import annotations

import copy
import pickle
import random as python_random

import numpy as np
import pytest
import scipy.stats
import torch

import heat_array_api as xp
from heat_array_api._core.layout import Layout
from heat_array_api.random import _generator as random
from heat_array_api.random import _philox
from layouts import assert_equal, describe, divide, layouts, make, same_everywhere, to_numpy

N = 20_000


def numpy_generator(seed):
    return np.random.Generator(np.random.Philox(seed))


def splits(shape):
    return (None, *range(len(shape)))


# ---------------------------------------------------------------- one value for every layout

DRAWS = {
    "random": lambda g, size, **kw: g.random(size, **kw),
    "random32": lambda g, size, **kw: g.random(size, "float32", **kw),
    "standard_normal": lambda g, size, **kw: g.standard_normal(size, **kw),
    "standard_normal32": lambda g, size, **kw: g.standard_normal(size, np.float32, **kw),
    "normal": lambda g, size, **kw: g.normal(3.0, 0.5, size, **kw),
    "uniform": lambda g, size, **kw: g.uniform(-1, 2, size, **kw),
    "exponential": lambda g, size, **kw: g.exponential(2.0, size, **kw),
    "integers": lambda g, size, **kw: g.integers(-3, 10**6, size, **kw),
    "wide integers": lambda g, size, **kw: g.integers(-(2**60), 2**61, size, **kw),
    "uint16": lambda g, size, **kw: g.integers(2**16, size=size, dtype="uint16", **kw),
    "choice": lambda g, size, **kw: g.choice(50, size, **kw),
    "choice p": lambda g, size, **kw: g.choice(4, size, p=[0.5, 0, 0.25, 0.25], **kw),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (13,), (7, 5), (2, 3, 5), (3, 0, 2)], ids=str)
def test_values_do_not_depend_on_the_split(name, shape, check):
    draw = DRAWS[name]
    generator = random.default_rng(5)
    generator.random(3)
    start = generator.state
    expected = to_numpy(draw(generator, shape, split=None))
    position = generator.position
    for split in splits(shape):
        generator.state = start
        result = draw(generator, shape, split=split)
        assert result.split == split
        assert result.is_balanced
        assert generator.position == position
        check(result, expected, (name, split), rtol=0, atol=0)


def test_long_runs_are_drawn_in_place(comm, check):
    shape = (3, 8192 * comm.size + 5)
    expected = numpy_generator(1).random(shape)
    with xp.trace() as t:
        result = random.default_rng(1).random(shape, split=1)
    assert not t.events
    check(result, expected, "split 1", rtol=0, atol=0)


def test_messages(comm):
    generator = random.default_rng(1)
    with xp.trace() as t:
        generator.random((90, 3), split=0)
        generator.random((90, 3), split=None)
        assert not t.events
        generator.random((90, 3), split=1)
    assert t.collectives == ["alltoall"] * (comm.size > 1)


@pytest.mark.parametrize("split", [None, 0])
def test_random_is_numpys_philox(split, check):
    for seed in (0, 12345, [1, 2, 3], np.random.SeedSequence(9)):
        ours, numpys = random.default_rng(seed), numpy_generator(seed)
        check(ours.random((31, 3), split=split), numpys.random((31, 3)), seed, rtol=0, atol=0)
        ours, numpys = random.default_rng(seed), numpy_generator(seed)
        expected = numpys.random(77, dtype="float32")
        check(ours.random(77, "float32", split=split), expected, seed, rtol=0, atol=0)


def test_pinned_values():
    """Literals: a change of any of them breaks programs that rely on a seed."""
    g = random.default_rng(2026)
    drawn = [
        float(g.random(8, split=0)[7]),
        float(g.random(8, "float32", split=0)[7]),
        float(g.standard_normal(8, split=0)[7]),
        float(g.standard_exponential(8, split=0)[7]),
        int(g.integers(1000, size=8, split=0)[7]),
        int(g.integers(-(2**62), 2**62, size=8, split=0)[7]),
        [int(i) for i in to_numpy(g.permutation(8, split=0))],
        [int(i) for i in to_numpy(g.choice(8, 4, replace=False, split=0))],
        [int(i) for i in to_numpy(g.choice(3, 6, p=[0.2, 0.3, 0.5], split=0))],
        float(g.spawn(2)[1].random(split=None)),
        g.position,
    ]
    drawn[2:4] = [pytest.approx(value, rel=1e-14) for value in drawn[2:4]]  # torch's kernels
    assert drawn == PINNED


PINNED = [
    0.3278986166045096,
    0.06989586353302002,
    0.5923871922738136,
    0.6265909497186973,
    455,
    -3126214508394355358,
    [5, 1, 6, 0, 4, 2, 3, 7],
    [1, 6, 4, 0],
    [1, 1, 2, 0, 2, 2],
    0.8203547611272861,
    19,
]


# ---------------------------------------------------------------- distributions


@pytest.mark.parametrize(
    ("draw", "distribution"),
    [
        (lambda g: g.random(N, split=0), "uniform"),
        (lambda g: g.random(N, "float32", split=0), "uniform"),
        (lambda g: g.standard_normal(N, split=0), "norm"),
        (lambda g: g.standard_normal(N, "float32", split=0), "norm"),
        (lambda g: (g.normal(3.0, 0.5, N, split=0) - 3) / 0.5, "norm"),
        (lambda g: (g.uniform(-1, 3, N, split=0) + 1) / 4, "uniform"),
        (lambda g: g.exponential(2.0, N, split=0) / 2, "expon"),
        (lambda g: g.integers(2**64, size=N, dtype="uint64", split=0) / 2.0**64, "uniform"),
        (
            lambda g: g.integers(3 * 2**62, size=N, dtype="uint64", split=0) / (3 * 2.0**62),
            "uniform",
        ),
        (lambda g: (g.integers(-(10**9), 10**9, N, split=0) + 10**9) / 2e9, "uniform"),
    ],
)
def test_distributions(draw, distribution):
    values = to_numpy(draw(random.default_rng(3))).astype(np.float64)
    assert scipy.stats.kstest(values, distribution).pvalue > 1e-3
    # Neighbours, and elements of one block of the counter, are not correlated.
    centred = scipy.stats.rankdata(values) / N - 0.5
    for lag in (1, 2, 4):
        assert abs(np.mean(centred[lag:] * centred[:-lag])) < 4 / 12 / np.sqrt(N)


def frequencies(values, count):
    assert values.min() >= 0
    assert values.max() < count
    return scipy.stats.chisquare(np.bincount(values, minlength=count)).pvalue


def test_integers_are_uniform():
    g = random.default_rng(4)
    assert frequencies(to_numpy(g.integers(7, size=N, split=0)), 7) > 1e-3
    assert frequencies(to_numpy(g.integers(1, 7, size=N, endpoint=True, split=0)) - 1, 7) > 1e-3
    assert frequencies(to_numpy(g.choice(11, N, split=0)), 11) > 1e-3
    firsts = [int(g.permutation(4, split=None)[0]) for _ in range(400)]
    assert frequencies(np.array(firsts), 4) > 1e-3


def test_wide_products_are_exact():
    words = np.random.default_rng(0).integers(2**64, size=64, dtype="uint64")
    words[:4] = [0, 2**64 - 1, 0, 2**64 - 1]
    words[4:8] = [2**64 - 1, 2**64 - 1, 2**32, 2**32 - 1]
    for extent in (1, 2, 3, 7, 2**31 + 1, 2**32 - 1, 2**32):
        expected = [int(w) * extent >> 64 for w in words]
        assert [int(v) for v in _philox.multiples(words, extent)] == expected
    for extent in (2**32 + 1, 2**63, 3 * 2**62 + 5, 2**64 - 1, 2**64):
        pairs = [(int(h) << 64) + int(low) for h, low in words.reshape(-1, 2)]
        expected = [w * extent >> 128 for w in pairs]
        assert [int(v) for v in _philox.wide_multiples(words, extent)] == expected


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
)
def test_integers_of_the_whole_range(dtype):
    info = np.iinfo(dtype)
    values = random.default_rng(0).integers(
        info.min, info.max, 4000, dtype=dtype, endpoint=True, split=0
    )
    drawn = to_numpy(values)
    assert drawn.dtype == np.dtype(dtype)
    span = float(info.max) - float(info.min)
    assert drawn.min() < info.min + span / 100
    assert drawn.max() > info.max - span / 100
    constant = random.default_rng(0).integers(info.max, info.max, 5, dtype, True, split=0)
    assert_equal(constant, np.full(5, info.max, dtype))


# ---------------------------------------------------------------- parameters that are arrays


def test_parameters_may_be_arrays(comm, check):
    mean, scale = np.arange(12.0).reshape(6, 2), np.array([1.0, 0.0])
    expected = mean + scale * to_numpy(random.default_rng(1).standard_normal((6, 2)))
    for layout in layouts((6, 2), few=True):
        loc = make(mean, layout)
        result = random.default_rng(1).normal(loc, make(scale), split=layout.split)
        check(result, expected, describe(layout))
    low = make(mean, Layout.balanced((6, 2), 0, comm))
    result = random.default_rng(1).uniform(low, low + 1.0, split=0)
    check(result, mean + numpy_generator(1).random((6, 2)), "uniform")
    result = random.default_rng(1).exponential(low, split=0)
    check(result, -np.log1p(-numpy_generator(1).random((6, 2))) * mean, "exponential")


# ---------------------------------------------------------------- permutations and choices


def test_permutation_of_integers(check):
    expected = None
    for split in (None, 0):
        order = random.default_rng(1).permutation(101, split=split)
        expected = to_numpy(order) if expected is None else expected
        check(order, expected, split)
    assert sorted(expected) == list(range(101))
    assert random.default_rng(1).permutation(0).shape == (0,)


@pytest.mark.parametrize(("shape", "axis"), [((17,), 0), ((17, 3), 0), ((4, 9), 1), ((5, 0), 0)])
def test_permutation_of_arrays(shape, axis, check):
    values = np.arange(np.prod(shape)).reshape(shape)
    order = to_numpy(random.default_rng(1).permutation(shape[axis]))
    for layout in layouts(shape):
        x = make(values, layout)
        result = random.default_rng(1).permutation(x, axis)
        assert result.split == layout.split
        check(result, np.take(values, order, axis), describe(layout))
        random.default_rng(1).shuffle(x, axis)
        assert x.layout == layout
        check(x, np.take(values, order, axis), describe(layout))


def test_choice_without_replacement(comm):
    order = to_numpy(random.default_rng(1).permutation(30))
    for split in (None, 0):
        drawn = random.default_rng(1).choice(30, (4, 3), replace=False, split=split)
        assert drawn.split == split
        assert_equal(drawn, order[:12].reshape(4, 3))
    values = np.arange(60.0).reshape(30, 2)
    for layout in layouts((30, 2), few=True):
        drawn = random.default_rng(1).choice(make(values, layout), 7, replace=False)
        assert_equal(drawn, values[order[:7]], split=layout.split)
    columns = make(values.T, Layout.balanced((2, 30), 1, comm))
    drawn = random.default_rng(1).choice(columns, (2, 2), replace=False, axis=1)
    assert_equal(drawn, values.T[:, order[:4]].reshape(2, 2, 2))
    assert random.default_rng(1).choice(columns, axis=1).shape == (2,)


def test_choice_with_probabilities(comm):
    p = np.array([0.1, 0.0, 0.4, 0.3, 0.2, 0.0])
    uneven = Layout.of((6,), 0, divide(6, [comm.size - r for r in range(comm.size)]), comm)
    for weights in (p, make(p), make(p, uneven), make(p.astype("float32"), uneven)):
        drawn = to_numpy(random.default_rng(1).choice(6, N, p=weights, split=0))
        counts = np.bincount(drawn, minlength=6)
        assert scipy.stats.chisquare(counts[p > 0], N * p[p > 0]).pvalue > 1e-3
        assert not counts[p == 0].any()
        few = to_numpy(random.default_rng(1).choice(6, 4, False, weights))
        assert sorted(few) == [0, 2, 3, 4]
    g = random.default_rng(2)
    firsts = [int(g.choice(3, 2, False, [0.6, 0.3, 0.1])[0]) for _ in range(400)]
    expected = 400 * np.array([0.6, 0.3, 0.1])
    assert scipy.stats.chisquare(np.bincount(firsts, minlength=3), expected).pvalue > 1e-3


def test_choice_of_nothing():
    assert random.default_rng(1).choice(0, 0).shape == (0,)
    assert random.default_rng(1).choice(5, (0, 2), replace=False).shape == (0, 2)
    assert random.default_rng(1).choice(xp.ones((0, 3)), 0).shape == (0, 3)


# ---------------------------------------------------------------- seeds and states


def test_seeds(comm):
    fresh = random.default_rng()
    same_everywhere("key", str(fresh.state))
    assert fresh.state != random.default_rng().state
    assert random.default_rng(fresh) is fresh
    with pytest.raises(ValueError):
        random.default_rng(-1)
    assert "position=0" in repr(fresh)


def test_states():
    g = random.default_rng(1)
    g.random(7)
    assert g.position == 2
    copies = [copy.deepcopy(g), pickle.loads(pickle.dumps(g)), random.default_rng(99)]
    copies[-1].state = g.state
    expected = to_numpy(g.standard_normal(9, split=0))
    for other in copies:
        assert_equal(other.standard_normal(9, split=0), expected, rtol=0, atol=0)
    children = random.default_rng(1).spawn(3)
    assert children[0].state != children[1].state
    expected = np.random.SeedSequence(1).spawn(3)[2].generate_state(2, np.uint64)
    assert children[2].state["key"] == tuple(int(k) for k in expected)


def test_sub_communicator(comm):
    alone = comm.split(comm.rank)
    x = random.default_rng(1, comm=alone).random(5, split=0)
    assert x.comm is alone
    np.testing.assert_array_equal(to_numpy(x), numpy_generator(1).random(5))


def test_default_split_applies():
    with xp.set_options(default_split=0):
        assert random.default_rng(1).random(5).split == 0
        assert random.default_rng(1).random().split is None


def test_seed_everything():
    drawn = []
    for seed in (7, 7, None, None):
        used = random.seed_everything(seed)
        assert seed in (None, used)
        values = (python_random.random(), np.random.random(), torch.rand(1).item())
        same_everywhere("draws", str(values))
        drawn.append(values)
    assert drawn[0] == drawn[1] != drawn[2] != drawn[3]
    with pytest.raises(ValueError, match="seed is -1"):
        random.seed_everything(-1)


def test_errors():
    g = random.default_rng(1)
    for call, error, message in [
        (lambda: g.random(3, "int32"), TypeError, "random: dtype is 'int32'"),
        (lambda: g.standard_normal(3, "float16"), TypeError, "expected float32 or float64"),
        (lambda: g.normal(scale=-1.0), ValueError, "scale is -1.0"),
        (lambda: g.integers(3, dtype="float32"), TypeError, "expected an integer dtype"),
        (lambda: g.integers(0), ValueError, "no integer from 0 to -1"),
        (lambda: g.integers(5, 5), ValueError, "no integer from 5 to 4"),
        (lambda: g.integers(256, 300, dtype="uint8"), ValueError, "does not fit uint8"),
        (lambda: g.integers(1.5), TypeError, "expected ints"),
        (lambda: g.random((2, -1)), ValueError, "negative"),
        (lambda: g.choice(0, 2), ValueError, "no items"),
        (lambda: g.choice(3, 4, replace=False), ValueError, "4 of 3 items"),
        (lambda: g.choice(3, p=[0.5, 0.5]), ValueError, "p has shape"),
        (lambda: g.choice(2, p=[0.5, 0.6]), ValueError, "sum is 1.1"),
        (lambda: g.choice(2, p=[1.5, -0.5]), ValueError, "must not be negative"),
        (lambda: g.choice(2, 2, False, [1.0, 0.0]), ValueError, "fewer than 2"),
        (lambda: g.permutation(xp.ones(3), 1), IndexError, "axis 1"),
    ]:
        with pytest.raises(error, match=message):
            call()
