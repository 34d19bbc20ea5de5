"""Long random chains of views, which the state machines are too short for, do as NumPy's do."""

from __future__ import annotations

import math

import numpy as np
import pytest

import heat_array_api as xp
from layouts import assert_equal, layouts, make


def a_slice(random, n):
    ends = [None if random.random() < 0.4 else int(random.integers(-n - 1, n + 2)) for _ in "ab"]
    return slice(*ends, [None, 1, 2, -1, -2][random.integers(5)])


def a_key(random, shape):
    """Return a random basic key."""
    items = []
    for n in shape[: random.integers(len(shape) + 1)]:
        integer = n and random.random() < 0.3
        items.append(int(random.integers(-n, n)) if integer else a_slice(random, n))
    if random.random() < 0.3:
        items.append(...)
    if random.random() < 0.2:
        items.insert(random.integers(len(items) + 1), None)
    return items[0] if len(items) == 1 and random.random() < 0.5 else tuple(items)


def a_shape(random, size):
    first = [n for n in range(1, size + 1) if size % n == 0] if size else [1]
    n = int(random.choice(first))
    return [(-1,), (n, size // n), (size // n, 1, n), (1, size)][random.integers(4)]


def with_view(random, pair):
    """Return a view of an array and of NumPy's; a copy where NumPy makes one."""
    x, a = pair
    kind = random.integers(6)
    if kind == 0:
        order = tuple(int(i) for i in random.permutation(a.ndim))
        return xp.permute_dims(x, order), a.transpose(order)
    if kind == 1:
        shape = a_shape(random, a.size)
        return xp.reshape(x, shape), a.reshape(shape)
    if kind == 2 and 1 in a.shape:
        axis = a.shape.index(1)
        return xp.squeeze(x, axis=axis), a.squeeze(axis)
    if kind == 3:
        return xp.expand_dims(x, axis=0), a[None]
    key = a_key(random, a.shape)
    return x[key], a[key]


@pytest.mark.parametrize("seed", range(24))
def test_long_random_chains(seed):
    """A write at the end of a long way shows at its beginning, and the other way round."""
    random = np.random.default_rng(seed)
    shape = [(24,), (6, 5), (4, 3, 2, 2), (7, 1, 4)][seed % 4]
    candidates = list(layouts(shape))
    layout = candidates[random.integers(len(candidates))]
    expected = np.arange(float(math.prod(shape))).reshape(shape)
    x = make(expected, layout)
    y, of_numpy = x, expected
    for _ in range(40):
        z, other = with_view(random, (y, of_numpy))
        if np.shares_memory(other, expected) and other.ndim and (other.size > 2 or seed % 3 == 0):
            y, of_numpy = z, other
    y[...] = y * -2.0 - 1.0
    of_numpy[...] = of_numpy * -2.0 - 1.0
    assert_equal(x, expected)
    assert_equal(y, of_numpy)
    x += 0.5
    expected += 0.5
    assert_equal(y, of_numpy)
    assert len(y._link.steps) <= 10
