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
