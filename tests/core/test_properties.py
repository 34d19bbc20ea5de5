"""Any shape, any layout: the values are NumPy's, and the array keeps its invariants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import heat_array_api as xp
from layouts import assert_equal
from strategies import arrays, layouts_of


@given(st.data())
def test_redistribution(data):
    x, values = data.draw(arrays(dtype="uint16"))
    target = data.draw(layouts_of(x.shape))
    y = xp.redistribute(x, target)
    assert y.layout == target
    assert_equal(y, values)
    assert_equal(xp.rebalance(y), values)


@given(st.data())
def test_broadcasting(data):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=6))
    (x, a), (y, b) = (data.draw(arrays(st.just(s))) for s in shapes.input_shapes)
    assert_equal(x + y, a + b)
    assert_equal(x < y, a < b)
    assert_equal(xp.maximum(y, x), np.maximum(b, a))


@given(st.data())
def test_operands_of_three_kinds(data):
    x, values = data.draw(arrays(dtype=data.draw(st.sampled_from(["int8", "float32", "uint64"]))))
    clipped = xp.clip(x, 1, 3)
    assert clipped.layout == x.layout
    assert_equal(clipped, np.clip(values, 1, 3))


@pytest.mark.parametrize("func", ["sum", "max", "mean", "var", "any", "prod", "count_nonzero"])
@given(st.data())
def test_reductions(func, data):
    x, values = data.draw(arrays())
    axis = data.draw(st.none() | hnp.valid_tuple_axes(x.ndim)) if x.ndim else None
    keepdims = data.draw(st.booleans())
    axes = range(x.ndim) if axis is None else axis
    if func in ("max", "mean", "var") and 0 in [x.shape[i] for i in axes]:
        return
    expected = np.asarray(getattr(np, func)(values, axis=axis, keepdims=keepdims))
    assert_equal(getattr(xp, func)(x, axis=axis, keepdims=keepdims), expected)


@given(st.data())
def test_scans(data):
    x, values = data.draw(arrays(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    initial = data.draw(st.booleans())
    expected = np.cumulative_sum(values, axis=axis, include_initial=initial)
    y = xp.cumulative_sum(x, axis=axis, include_initial=initial)
    assert y.split == x.split
    assert_equal(y, expected)


@given(st.data())
def test_writes_do_not_show_elsewhere(data):
    x, values = data.draw(arrays(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1)))
    y = xp.redistribute(x, data.draw(layouts_of(x.shape)))
    others = [x + 0, +x, y]
    turned, same = xp.permute_dims(x, tuple(reversed(range(x.ndim)))), x[...]
    x[0] = 100.0
    x *= 2
    for other in others:
        assert_equal(other, values)
    written = values.copy()
    written[0] = 100.0
    assert_equal(turned, (written * 2).T)  # views are the exception
    assert_equal(same, written * 2)


@given(st.data())
def test_str(data):
    x, values = data.draw(arrays(dtype="int64"))
    assert str(x) == str(values)
    options = {"threshold": 5, "edgeitems": 2}
    assert xp.to_string(x, **options) == np.array2string(values, **options) or not x.ndim


@given(st.data())
def test_a_pipeline(data):
    """Slices, sums, broadcasts and sorts after one another: layouts no single test would make."""
    x, a = data.draw(arrays(hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9)))
    x, a = x[1:, ::-1], a[1:, ::-1]
    x, a = x - xp.mean(x, axis=0), a - np.mean(a, axis=0)
    x, a = xp.concat([x, x[:1]], axis=0), np.concatenate([a, a[:1]], axis=0)
    x, a = (
        xp.cumulative_sum(x, axis=0) * xp.sum(x, axis=1, keepdims=True),
        np.cumsum(a, axis=0) * np.sum(a, axis=1, keepdims=True),
    )
    x, a = x.T + xp.max(x, axis=1), a.T + np.max(a, axis=1)
    assert_equal(x, a)
    assert_equal(xp.sort(x, axis=0), np.sort(a, axis=0))
