"""Ranks that go different ways through a compiled function: all raise, and can go on."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from test_compile import compiled

import heat_array_api as xp
from heat_array_api._compile import compiled as _compiled
from layouts import agree

COMM = xp.world()
SIZE = COMM.size

several = pytest.mark.skipif(SIZE == 1, reason="one rank is never out of step")

pytestmark = pytest.mark.filterwarnings("ignore::heat_array_api.CompileWarning")


class Astray(Exception):
    """What one rank raises."""


class Switch:
    """Says whether the last rank goes astray; without attributes that a capture depends on."""

    __slots__ = ("on",)

    def __init__(self):
        self.on = False

    def __bool__(self):
        return self.on and COMM.rank == SIZE - 1

    def trip(self, error=Astray):
        if self:
            raise error("here")


astray = Switch()

# ---------------------------------------------------------------------- functions


def goes_on(x):
    y = 0.0
    with contextlib.suppress(Astray):
        astray.trip()
        y = xp.sum(x)
    return xp.sum(x * 2 + y)


def returns_early(x):
    y = x * 2
    try:
        astray.trip()
    except Astray:
        return y
    return y + xp.sum(y)


def returns_another_array(x):
    try:
        astray.trip()
    except Astray:
        return x[:3]
    return x * 2


def calls_another_function(x):
    try:
        astray.trip()
        return xp.sum(x)
    except Astray:
        return xp.max(x)


def shapes(x):
    try:
        y = x + xp.ones(3 if astray else 1, dtype=x.dtype)
        return xp.sum(y) + 1
    except ValueError:
        return xp.sum(x * 3)[None]


def in_a_loop(x):
    y = x
    for step in range(4):
        try:
            if step == 1:
                astray.trip()
            y = y + xp.sum(y) / 100
        except Astray:
            continue
    return y


def finally_returns(x):
    y = x * 2
    try:
        y = y + xp.sum(y)
        astray.trip()
        y = y - xp.max(y)
    finally:
        return y  # noqa: B012


def of_torch(x):
    y = xp.sum(x)
    try:
        torch.zeros(3) @ torch.zeros(4 if astray else 3)
        y = y + xp.sum(x * x)
    except RuntimeError:
        y = y * 2
    return y


def in_a_generator(x):
    def parts():
        for n in range(1, 4):
            try:
                if n == 2:
                    astray.trip()
                yield xp.sum(x * n)
            except Astray:
                pass

    return sum(parts(), start=xp.zeros((), dtype=x.dtype))


def uncaught(x):
    y = xp.sum(x)
    x += 1
    astray.trip()
    return y + xp.sum(x * x)


def uncaught_exit(x):
    y = xp.sum(x)
    astray.trip(SystemExit)
    return y + xp.sum(x * x)


def swallows_all(x):
    """A handler that catches everything, also what tells the ranks to leave."""
    y = x
    for _ in range(20):
        try:
            astray.trip()
            y = y + xp.sum(y) / 100
        except:  # noqa: E722
            pass
    return y


inner = compiled(lambda x: xp.sum(x * x))


def around_another(x):
    try:
        y = inner(x)
        astray.trip()
        return y + inner(x)
    except Astray:
        return xp.max(x)


def inside_another(x):
    try:
        return compiled(uncaught)(x) * 2
    except Astray:
        return xp.max(x) * 0


def gradient(x):
    def loss(x):
        try:
            astray.trip()
            return xp.sum(x * x)
        except Astray:
            return xp.sum(x * xp.sum(x))

    return xp.autograd.grad(loss)(x)


FUNCTIONS = {
    f.__name__: f
    for f in (
        *(goes_on, returns_early, returns_another_array, calls_another_function, shapes),
        *(in_a_loop, finally_returns, of_torch, in_a_generator, uncaught, uncaught_exit),
        *(swallows_all, around_another, inside_another, gradient),
    )
}


def with_breaks(f):
    """Return a function that needs values before, between and after."""

    def function(x):
        y = x[x > -5] * float(xp.sum(x) * 0 + 1)
        z = f(y)
        return z + float(xp.max(y)) * 0

    return function


# ---------------------------------------------------------------------- what is tested


def new():
    return xp.asarray(np.linspace(-1.0, 2.0, 4 * SIZE), split=0)


def outcome(f, x):
    """Return a result's values, or an error's name."""
    try:
        return np.asarray(f(x))
    except (Exception, SystemExit) as error:
        return type(error).__name__, str(error)


def right(f, expected, problems, note):
    """Check that the ranks are in step: a message of another kind, and the function itself."""
    if COMM.allgather_object(note) != [note] * SIZE or float(xp.sum(new() * 0 + 1)) != 4 * SIZE:
        problems.append(f"{note}: out of step")
    found = outcome(f, new())
    if not isinstance(found, np.ndarray) or not np.allclose(found, expected):
        problems.append(f"{note}: {found}, expected {expected}")


def alike(found, must, problems, note):
    """Check that all ranks have raised; where they need not, that all have the same instead."""
    failed = isinstance(found, tuple)
    everyone = COMM.allgather_object((failed, "" if failed else str(found)))
    if SIZE > 1 and (len(set(everyone)) > 1 or must > failed):
        problems.append(f"{note}: {everyone}")


@several
@pytest.mark.parametrize("breaks", [False, True], ids=["whole", "breaks"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_ranks_raise(name, breaks, monkeypatch):
    monkeypatch.setattr(_compiled, "LEAST_BYTES_FOR_SUBGRAPHS", 0)
    f = with_breaks(FUNCTIONS[name]) if breaks else FUNCTIONS[name]
    expected = np.asarray(f(new()))
    problems = []
    for first in (True, False):  # astray in the first call, or in a later one
        g = compiled(f)
        if not first:
            right(g, expected, problems, "first")
        for again in (False, True):
            x = new()
            astray.on = True
            found = outcome(g, x)
            astray.on = False
            # A whole program, once made, does not run the function.
            alike(found, breaks or (first and not again), problems, f"{first=} {again=}")
            if not np.array_equal(np.asarray(x), np.asarray(new())) and isinstance(found, tuple):
                problems.append(f"argument {np.asarray(x)}")
            right(g, expected, problems, f"after, first={first}")
    agree("\n".join(problems) or None)


def small_or_large(monkeypatch, large):
    monkeypatch.setattr(_compiled, "LEAST_BYTES_FOR_SUBGRAPHS", 0 if large else 1 << 40)


def retries(x):
    try:
        y = x[x > 0]
        astray.trip()
        z = y * 2
    except Astray:
        z = y * 2
    return xp.sum(z) + float(xp.sum(y))


def one_rank_looks(x):
    y = xp.sum(x)
    if astray:
        print("the sum is", float(y))  # every rank has it: no message
    return x / y


def one_rank_prints(x):
    if astray:
        print(x)
    return xp.sum(x)


def one_rank_sorts(x):
    try:
        return xp.sort(x, axis=5 if astray else 0)
    except IndexError:
        return x


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("f", [retries, one_rank_looks])
def test_what_eager_code_allows(f, large, monkeypatch, capsys):
    """Ranks may differ in what sends nothing."""
    small_or_large(monkeypatch, large)
    expected = np.asarray(f(new()))
    g = compiled(f)
    problems = []
    for on in (True, True, False, True):
        astray.on = on
        right(g, expected, problems, on)
        astray.on = False
    agree("\n".join(problems) or None)


@several
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("f", [one_rank_prints, one_rank_sorts])
def test_the_error_names_ranks_and_lines(f, large, monkeypatch):
    small_or_large(monkeypatch, large)
    g = compiled(f)
    astray.on = True
    texts = []
    for _ in range(2):
        with pytest.raises(xp.CollectiveMismatchError, match="different") as caught:
            g(new())
        texts.append(str(caught.value))
    astray.on = False
    assert COMM.allgather_object(texts) == [texts] * SIZE
    for text in texts:
        assert f"compile: {f.__name__}: " in text
        assert f"rank {SIZE - 1}: " in text
        assert f"{__file__}:" in text
    agree(None if float(xp.sum(new() * 0 + 1)) == 4 * SIZE else "out of step")


@several
def test_an_error_on_one_rank_is_told_to_the_others(monkeypatch):
    monkeypatch.setattr(_compiled, "LEAST_BYTES_FOR_SUBGRAPHS", 0)
    g = compiled(with_breaks(uncaught))
    astray.on = True
    kind = Astray if astray else RuntimeError
    text = "here" if astray else f"raised an error on rank {SIZE - 1} and not on all"
    with pytest.raises(kind, match=text) as caught:
        g(new())
    astray.on = False
    agree(None if kind is Astray or "raised Astray: here" in str(caught.value) else "not told why")


# ---------------------------------------------------------------------- on all ranks alike


def catches(what):
    """Return a function that handles every exception of an operation that needs values."""

    def function(x):
        try:
            y = what(x)
        except Exception:  # nothing is raised with values
            y = x * 0 - 7
        return xp.sum(x) + y

    return function


def caught_again(x):
    try:
        return int(xp.sum(x * 0))
    except Exception as error:
        raise KeyError from error


CATCHING = {
    "mask": lambda x: xp.sum(x[x > 0]),
    "float": lambda x: float(xp.sum(x)),
    "sort": xp.sort,
    "numpy": lambda x: np.asarray(x.local).size * 0 + 1,
    "tolist": lambda x: len(x.local.tolist()) * 0 + 1,
    "error from an error": caught_again,
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", CATCHING)
def test_handlers_do_not_hide_what_needs_values(name, large, monkeypatch):
    """A capture meets exceptions that the function does not: its handlers must not take them."""
    small_or_large(monkeypatch, large)
    f = catches(CATCHING[name])
    expected = np.asarray(f(new()))
    g = compiled(f)
    problems = []
    for n in range(2):
        right(g, expected, problems, n)
    agree("\n".join(problems) or None)


def test_first_call_of_a_small_function_is_compared(monkeypatch):
    """Later ones send no more than eager code."""
    small_or_large(monkeypatch, False)
    g = compiled(with_breaks(goes_on))
    x = new()
    g(x)
    with xp.trace() as mine:
        g(x)
    with xp.trace() as theirs:
        with_breaks(goes_on)(x)
    assert mine.collectives == theirs.collectives
