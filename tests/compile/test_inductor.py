"""Inductor's machine code of the captured graphs equals eager, and is the same on all ranks."""

from __future__ import annotations

import ml_dtypes  # noqa: F401  NumPy knows "bfloat16" by it
import numpy as np
import pytest
from test_compile import kmeans_step, logistic, messages, random, zscore

import heat_array_api as xp
from heat_array_api._compile.inductor import no_compiler
from layouts import assert_consistent, assert_equal, make

SIZE = xp.world().size

pytestmark = pytest.mark.skipif(no_compiler() is not None, reason=f"{no_compiler()}")


def compiled(f):
    return xp.compile(f, fullgraph=True, show_progress=False)


def uneven(values):
    n = values.shape[0]
    counts = (n - 1, *[0] * (SIZE - 2), 1) if SIZE > 1 else (n,)
    return make(values, xp.Layout.of(values.shape, 0, counts, xp.world()))


def test_kmeans():
    f = compiled(kmeans_step)
    centers = random((2, 3), None, 1)
    for x in (random((60, 3)), uneven(np.random.default_rng(0).random((9, 3)))):
        result = f(x, centers)
        assert_equal(result, np.asarray(kmeans_step(x, centers)))
        assert_consistent(result)
    assert f.compilations <= 2
    assert messages(f, x, centers) == ["allreduce"] * (SIZE > 1)


def test_zscore_of_many_sizes():
    f = compiled(zscore)
    for n in (40, 60, 90, 200):
        x = random((n, 3), dtype="float32")
        assert_equal(f(x), np.asarray(zscore(x)), rtol=1e-4, atol=1e-5)
    assert f.compilations == 2


def test_gradients():
    x = random((30, 3))
    w, y = random((3,), None, 1), xp.astype(x[:, 0] > 0, xp.float64)
    inside = compiled(xp.autograd.value_and_grad(logistic))
    value, gradient = xp.autograd.value_and_grad(logistic)(w, x, y)
    assert_equal(inside(w, x, y)[0], np.asarray(value))
    assert_equal(inside(w, x, y)[1], np.asarray(gradient))
    assert_consistent(inside(w, x, y)[1])
    assert_equal(xp.autograd.grad(compiled(logistic))(w, x, y), np.asarray(gradient))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "complex128"])
def test_other_dtypes(dtype):
    """Half precision is computed as Inductor does; complex numbers by torch's own kernels."""

    def f(x):
        return xp.sum(x * x + x, axis=0), xp.exp(x) * 2

    x = xp.astype(random((12, 3)), np.dtype(dtype))
    tolerance = {"float16": 1e-2, "bfloat16": 5e-2, "complex128": 1e-12}[dtype]
    for mine, theirs in zip(compiled(f)(x), f(x), strict=True):
        assert_equal(mine, np.asarray(theirs), rtol=tolerance, atol=tolerance)


def test_moving_data():
    def f(x, y):
        z = xp.resplit(x, 1) + xp.roll(xp.resplit(y, 1), 1, axis=0)
        z[1:3] = 0.5
        return xp.cumulative_sum(z, axis=0), xp.matmul(xp.matrix_transpose(x), y), x[::-1] * y

    g = compiled(f)
    x, y = random((10, 4)), random((10, 4), seed=1)
    for mine, theirs in zip(g(x, y), f(x, y), strict=True):
        assert mine.layout == theirs.layout
        assert_equal(mine, np.asarray(theirs))
    assert len(messages(g, x, y)) <= len(messages(f, x, y))
