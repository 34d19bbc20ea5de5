"""Few steps lead to the view that NumPy makes by many. No message is sent: one rank would do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from heat_array_api._core import view_steps
from heat_array_api._core.view_steps import Step, placed, shortened

SHAPES = [(), (240,), (97,), (24, 5), (4, 6, 5), (7, 1, 9), (2, 3, 4, 5), (1, 36), (0, 3), (2, 0)]


def a_slice(random, n):
    """Return a slice that keeps most of an axis, so that a long way does not end early."""
    begin, end = random.integers(n // 3 + 1), n - random.integers(n // 4 + 1)
    step = int(random.choice([1, 1, 1, 2, 3]))
    if random.random() < 0.7:
        return slice(int(begin), int(end), step)
    return slice(int(end) - 1, int(begin) - 1 if begin else None, -step)


def a_step(random, shape):
    kind = random.choice(["permute_dims", "reshape", "reshape", "expand_dims", "squeeze", "index"])
    if kind == "permute_dims":
        return Step(kind, tuple(random.permutation(len(shape)).tolist()))
    if kind == "reshape":
        rest, lengths = math.prod(shape), []
        while rest > 1 and random.random() < 0.8:
            lengths.append(int(random.choice([n for n in range(1, rest + 1) if rest % n == 0])))
            rest //= lengths[-1]
        return Step(kind, (*lengths, rest))
    if kind == "expand_dims":
        return Step(kind, int(random.integers(len(shape) + 1)))
    if kind == "squeeze" and 1 in shape:
        return Step(kind, shape.index(1))
    items = []
    for n in shape:
        which = random.random()
        integer = n and which < 0.15
        items.append(int(random.integers(n)) if integer else a_slice(random, n))
        items[-1] = slice(None) if which > 0.55 else items[-1]
    return Step("index", (*items, None) if random.random() < 0.1 else tuple(items))


def a_way(random, first):
    """Return random steps such that NumPy copies at none of them, and the view."""
    steps = ()
    view = placed(steps, first)
    for _ in range(random.integers(1, 40)):
        step = a_step(random, view.shape)
        if step.kind == "reshape":
            try:
                view.reshape(step.how, copy=False)
            except ValueError:
                continue
        longer = placed((*steps, step), first)
        if longer.ndim <= 8 and (longer.size or random.random() < 0.05):
            steps, view = (*steps, step), longer
    return steps, view


def facts(view, first):
    """Return what distinguishes a view: its shape, and where its elements are."""
    if not view.size:
        return view.shape
    begin = placed((), first).ctypes.data
    return (
        view.shape,
        view.ctypes.data - begin,
        *(stride for n, stride in zip(view.shape, view.strides, strict=True) if n > 1),
    )


@pytest.mark.parametrize("seed", range(20))
def test_few_steps_lead_to_the_same_view(seed):
    random = np.random.default_rng(seed)
    for _ in range(50):
        first = SHAPES[random.integers(len(SHAPES))]
        steps, view = a_way(random, first)
        found = shortened(steps, first)
        assert facts(placed(found, first), first) == facts(view, first)
        assert len(found) <= 10


@pytest.mark.parametrize(
    ("first", "steps", "expected"),
    [
        ((9, 3), [Step("index", (slice(1, None),))] * 5, 1),
        ((9, 3), [Step("index", (None,)), Step("index", (0,))] * 5, 1),
        ((9, 4), [Step("reshape", (36,)), Step("reshape", (9, 4))] * 5, 1),
        ((9, 4), [Step("index", (slice(None, None, -1),))] * 9, 1),
        ((9, 4), [Step("permute_dims", (1, 0))] * 9, 1),
        ((9, 4), [Step("index", (2, ...)), Step("expand_dims", 0)], 1),
        ((36,), [Step("index", (slice(2, 35),)), Step("reshape", (3, 11))] , 2),
        ((36,), [Step("reshape", (6, 6)), Step("index", (slice(0, 6, 2), slice(1, 5)))], 2),
    ],
)  # fmt: skip
def test_there_is_no_step_too_many(first, steps, expected):
    assert len(shortened(tuple(steps), first)) == expected


def test_steps_stay_as_they_are_where_no_short_way_is_found(monkeypatch):
    columns = [Step("index", (slice(None), key)) for key in (slice(4, 9), slice(0, 4), slice(1, 3))]
    steps = (Step("reshape", (3, 12)), *columns)
    assert len(shortened(steps, (36,))) < len(steps)
    monkeypatch.setattr(view_steps, "_MOST_STEPS", 0)
    assert shortened(steps, (36,)) == steps
