"""Random programs of views, writes and reads do on our arrays what they do on NumPy's."""

from __future__ import annotations

import math

import numpy as np
import pytest

import heat_array_api as xp
from layouts import assert_equal, describe, layouts, make

SHAPES = [(7,), (5, 4), (2, 3), (1, 6), (3, 1, 4), (2, 5, 3), (0, 3)]
STEPS = 25


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


def write(random, pair, others):
    """Write to an array, and to NumPy's."""
    (x, a), value = pair, float(random.integers(1000))
    kind = random.integers(5)
    if kind == 0:
        x += value
        a += value
    elif kind == 1:
        x[x > value] = -value
        a[a > value] = -value
    elif kind == 2:
        same = [(y, b) for y, b in others if b.shape == a.shape]
        y, b = same[random.integers(len(same))]
        x[...] = y + 1.0
        a[...] = b + 1.0
    elif kind == 3 and a.ndim and a.shape[0]:
        index = random.integers(-a.shape[0], a.shape[0], size=3)
        x[index] = value
        a[index] = value
    else:
        key = a_key(random, a.shape)
        values = value + np.arange(float(a[key].size)).reshape(np.shape(a[key]))
        split = random.integers(2)
        x[key] = xp.asarray(values, split=0 if split and values.ndim else None)
        a[key] = values


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed):
    random = np.random.default_rng(seed)
    shape = SHAPES[seed % len(SHAPES)]
    candidates = list(layouts(shape))
    layout = candidates[random.integers(len(candidates))]
    values = np.arange(float(math.prod(shape))).reshape(shape)
    pairs = [(make(values, layout), values.copy())]
    for step in range(STEPS):
        i = random.integers(len(pairs))
        what = f"step {step} of {describe(layout)}"
        if random.random() < 0.5:
            x, a = with_view(random, pairs[i])
            if isinstance(a, np.ndarray):
                pairs.append((x, a))
            else:
                total, expected = x, a
                total += 1.0
                expected += 1.0
                assert_equal(total, expected)
        else:
            write(random, pairs[i], pairs)
        if len(pairs) > 8:
            del pairs[random.integers(len(pairs))]
        for j in random.permutation(len(pairs))[: random.integers(3)]:
            assert pairs[j][0].shape == pairs[j][1].shape, what
            assert_equal(*pairs[j])
    for x, a in pairs:
        assert_equal(x, a)
