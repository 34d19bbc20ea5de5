"""Derivatives of functions of several arrays, each operand in every layout of its own.

A replicated operand that meets a split one must pass `pvary`, or each rank keeps its own part of
the cotangent. So the gradients are compared with those of replicated operands, and the copies of a
replicated one bit by bit across the ranks (`assert_equal` does both).
"""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

import heat_array_api as xp
import operands
from layouts import assert_equal, make
from operands import CASES, combined


def loss_of(function):
    """Return a scalar function in which no two elements of the result count alike."""

    def loss(*xs):
        y = function(*xs)
        weights = xp.reshape(xp.arange(1.0, y.size + 1), y.shape)
        return xp.sum(xp.sin(y) * weights)

    return loss


@pytest.mark.parametrize("name", sorted(CASES))
def test_gradients_on_layouts_that_differ(name):
    function, values = CASES[name]
    loss = loss_of(function)
    argnums = [i for i, v in enumerate(values) if v.dtype.kind == "f"]
    gradient = xp.autograd.grad(loss, argnums)
    expected = [np.asarray(g) for g in gradient(*map(make, values))]
    scale = slope_matches(loss, values, argnums, expected)
    for layouts in combined([v.shape for v in values]):
        xs = [make(v, layout) for v, layout in zip(values, layouts, strict=True)]
        for g, e, i in zip(gradient(*xs), expected, argnums, strict=True):
            assert g.layout == layouts[i]
            assert_equal(g, e, atol=1e-10 * scale)


def slope_matches(loss, values, argnums, gradients):
    """Compare gradients with the slope in one direction; return their size."""
    rng, step = np.random.default_rng(0), 1e-6
    directions = {i: rng.standard_normal(values[i].shape) for i in argnums}

    def moved(sign):
        return float(
            loss(
                *[
                    make(v + sign * step * directions[i] if i in directions else v)
                    for i, v in enumerate(values)
                ]
            )
        )

    slope = (moved(1) - moved(-1)) / (2 * step)
    pairs = [(g, directions[i]) for g, i in zip(gradients, argnums, strict=True)]
    scale = sum(np.linalg.norm(g) * np.linalg.norm(d) for g, d in pairs)
    assert abs(sum(np.vdot(g, d) for g, d in pairs) - slope) <= 1e-6 * scale
    return scale


def some(name):
    """Yield a few combinations of layouts of a case's operands: the arrays, and their layouts."""
    _, values = CASES[name]
    combinations = list(combined([v.shape for v in values]))
    for layouts in combinations[1 :: max(len(combinations) // 3, 1)]:
        yield [make(v, layout) for v, layout in zip(values, layouts, strict=True)], layouts


def differentiated(name):
    """Return a case's loss, which of its operands are differentiated, and a direction of each."""
    function, values = CASES[name]
    rng = np.random.default_rng(1)
    argnums = [i for i, v in enumerate(values) if v.dtype.kind == "f"]
    return loss_of(function), argnums, {i: rng.standard_normal(values[i].shape) for i in argnums}


@pytest.mark.parametrize("name", sorted(CASES))
def test_second_derivatives_on_layouts_that_differ(name):
    values = CASES[name].operands
    loss, argnums, directions = differentiated(name)
    gradient = xp.autograd.grad(loss, argnums)

    def slope(*xs):
        found = zip(gradient(*xs), argnums, strict=True)
        return sum(xp.sum(g * xp.asarray(directions[i], split=None)) for g, i in found)

    second = xp.autograd.grad(slope, argnums)
    expected = [np.asarray(g) for g in second(*map(make, values))]
    scale = slope_matches(slope, values, argnums, expected)
    for xs, layouts in some(name):
        for g, e, i in zip(second(*xs), expected, argnums, strict=True):
            assert g.layout == layouts[i]
            assert_equal(g, e, atol=1e-9 * scale)


@pytest.mark.parametrize("name", sorted(CASES))
def test_forward_mode_on_layouts_that_differ(name):
    values = CASES[name].operands
    loss, argnums, directions = differentiated(name)
    gradients = xp.autograd.grad(loss, argnums)(*map(make, values))
    parts = [np.asarray(g) * directions[i] for g, i in zip(gradients, argnums, strict=True)]
    expected = sum(np.sum(part) for part in parts)
    scale = sum(np.abs(part).sum() for part in parts)
    for xs, layouts in some(name):

        def of_floats(*floats, xs=xs):
            given = dict(zip(argnums, floats, strict=True))
            return loss(*(given.get(i, x) for i, x in enumerate(xs)))

        primals = tuple(xs[i] for i in argnums)
        tangents = tuple(make(directions[i], layouts[i]) for i in argnums)
        tangent = xp.autograd.jvp(of_floats, primals, tangents)[1]
        assert_equal(tangent, expected, atol=1e-10 * scale)


@pytest.mark.parametrize("name", sorted(CASES))
def test_compiled_gradients_are_the_eager_ones(name):
    loss, argnums, _ = differentiated(name)
    gradient = xp.autograd.value_and_grad(loss, argnums)
    for xs, _ in list(some(name))[-1:]:
        value, expected = gradient(*xs)
        compiled = xp.compile(gradient, backend="eager")
        for _ in range(2):
            found, gradients = compiled(*xs)
            assert_equal(found, np.asarray(value))
            for g, e in zip(gradients, expected, strict=True):
                assert g.layout == e.layout
                assert_equal(g, np.asarray(e))


# Parameters that the value depends on smoothly, and that are Python numbers: an array is one only
# off the tape, or its derivative would silently be 0.
NUMBERS = {
    "var": lambda c: xp.var(xp.asarray(operands.X), correction=c),
    "std": lambda c: xp.std(xp.asarray(operands.X), correction=c),
    "nanvar": lambda c: xp.nanvar(xp.asarray(operands.X), correction=c),
    "nanstd": lambda c: xp.nanstd(xp.asarray(operands.X), correction=c),
    "ddof": lambda c: xp.asarray(operands.X).var(ddof=c),
    "full": lambda c: xp.full((3,), c, split=0),
    "full_like": lambda c: xp.full_like(xp.asarray(operands.X), c),
    "linspace, start": lambda c: xp.linspace(c, 1.0, 5),
    "linspace, stop": lambda c: xp.linspace(0.0, c, 5),
    "arange, start": lambda c: xp.arange(c, 3.0),
    "arange, step": lambda c: xp.arange(0.0, 3.0, c),
    "pad": lambda c: xp.pad(xp.asarray(operands.X), 1, constant_values=c),
    "fftfreq": lambda c: xp.fft.fftfreq(5, d=c),
    "rfftfreq": lambda c: xp.fft.rfftfreq(5, d=c),
    "asarray of a list": lambda c: xp.asarray([c, c]),
    "tolist": lambda c: xp.asarray(c.tolist()),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_parameters_without_derivatives_are_refused_on_the_tape(name):
    function = NUMBERS[name]
    assert function(xp.asarray(0.5)).size > 0
    with pytest.raises(RuntimeError, match="is being differentiated"):
        xp.autograd.grad(lambda c: xp.sum(function(c)))(xp.asarray(0.5))


# They return what has no derivative, or are composed of functions that have a case.
WITHOUT = {
    "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift",
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and",
    "logical_or", "logical_xor", "floor_divide", "nextafter", "isin", "searchsorted",
    "result_type", "matrix_rank", "zeta", "polygamma", "gammainc", "gammaincc", "broadcast_shapes",
}  # fmt: skip


def test_every_function_of_several_arrays_has_a_case():
    text = Path(operands.__file__).read_text(encoding="utf-8")
    operators = {
        "add": "+",
        "subtract": "-",
        "multiply": "*",
        "divide": "/",
        "pow": "**",
        "matmul": "@",
    }
    missing = []
    for space in (xp, xp.linalg, xp.special):
        for name in space.__all__:
            function = getattr(space, name)
            if not inspect.isfunction(function) or name in WITHOUT:
                continue
            kinds = [str(p.annotation) for p in inspect.signature(function).parameters.values()]
            several = any("Sequence[Array]" in k for k in kinds)
            several |= sum("Array" in k or k == "Operand" for k in kinds) > 1
            if several and operators.get(name, f".{name}") not in text:
                missing.append(name)
    assert not missing
