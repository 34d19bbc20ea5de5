"""What a compiled function depends on: any callable, its variables, wherever they live."""

from __future__ import annotations

import functools
import operator
import types

import numpy as np
import pytest

import heat_array_api as xp
from layouts import assert_equal

VALUES = np.arange(8.0)


def made(source, **around):
    """Return the function ``f`` of a source text, which belongs to no module."""
    space = {"xp": xp, **around}
    exec(source, space)
    return space["f"]


class Scaled:
    """A callable object with methods of each kind."""

    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return x * self.by

    def method(self, x):
        return x + self.by

    @staticmethod
    def static(x):
        return x - 1

    @classmethod
    def of_class(cls, x):
        return x - 2


WITHOUT_A_MODULE = types.FunctionType(made("def f(x): return xp.exp(x)").__code__, {"xp": xp})
WITHOUT_A_MODULE.__module__ = None
CALLABLES = {
    "made by exec": made("def f(x): return xp.sin(x) * 2"),
    "a lambda made by exec": made("f = lambda x: xp.cos(x)"),
    "of no module": WITHOUT_A_MODULE,
    "that calls a made one": lambda x: WITHOUT_A_MODULE(x) + 1,
    "wraps": functools.wraps(WITHOUT_A_MODULE)(lambda x: x + 1),
    "partial": functools.partial(xp.add, xp.asarray(VALUES)),
    "object": Scaled(3.0),
    "method": Scaled(3.0).method,
    "static method": Scaled.static,
    "class method": Scaled.of_class,
    "built-in": abs,
    "operator": operator.neg,
    "itemgetter": operator.itemgetter(slice(1, 5)),
    "function of the namespace": xp.sin,
    "ufunc": np.sin,
}


@pytest.mark.parametrize("name", sorted(CALLABLES))
def test_any_callable(name):
    f = CALLABLES[name]
    x = xp.asarray(VALUES, split=0)
    compiled = xp.compile(f, backend="eager")
    for _ in range(2):
        assert_equal(compiled(x), np.asarray(f(x)))
    assert compiled.captures == 1


def test_variables_of_made_functions_count():
    f = made("def f(x): return x * k", k=2.0)
    x = xp.asarray(VALUES, split=0)
    compiled = xp.compile(f, backend="eager")
    assert_equal(compiled(x), VALUES * 2)
    f.__globals__["k"] = 3.0
    assert_equal(compiled(x), VALUES * 3)


def test_functions_of_sympy():
    sympy = pytest.importorskip("sympy")
    s = sympy.symbols("s")
    f = sympy.lambdify(s, sympy.sin(s) ** 2 + s, xp)
    compiled = xp.compile(f, backend="eager")
    assert_equal(compiled(xp.asarray(VALUES, split=0)), np.sin(VALUES) ** 2 + VALUES)


def generator(x):
    yield x * 2


async def coroutine(x):
    return x * 2


@pytest.mark.parametrize("f", [generator, coroutine, functools.partial(generator)])
def test_functions_that_run_later_are_refused(f):
    with pytest.raises(TypeError, match="runs after the call"):
        xp.compile(f)
