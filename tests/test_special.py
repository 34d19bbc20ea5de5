"""Special functions against SciPy, on split arrays and for every real dtype."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import scipy.special as sc

import heat_array_api as xp
from heat_array_api import special
from heat_array_api._core.layout import Layout
from layouts import assert_equal, describe, divide, layouts, make

N = 120


def drawn(low, high, seed=0):
    return np.random.default_rng(seed).uniform(low, high, N)


REAL = np.concatenate([drawn(-6, 6)[:-8], [0.0, -0.0, 1, 2, -3, np.inf, -np.inf, np.nan]])
UNIT = np.concatenate([drawn(0, 1)[:-5], [0, 1, 0.5, 1e-30, np.nan]])
POSITIVE = np.concatenate([drawn(0, 60)[:-2], [np.inf, np.nan]])
MAYBE_ZERO = np.where(drawn(0, 1, 2) < 0.1, 0, drawn(0, 60, 3))

ARGUMENTS = {
    "erfinv": [2 * UNIT - 1],
    "logit": [UNIT],
    "ndtri": [UNIT],
    "k0": [POSITIVE],
    "k0e": [POSITIVE],
    "k1": [POSITIVE],
    "k1e": [POSITIVE],
    "gammainc": [POSITIVE[::-1], drawn(0, 60, 1)],
    "gammaincc": [POSITIVE[::-1], drawn(0, 60, 1)],
    "rel_entr": [MAYBE_ZERO, REAL],
    "kl_div": [MAYBE_ZERO, REAL],
    "xlogy": [MAYBE_ZERO, np.abs(REAL)],
    "xlog1py": [MAYBE_ZERO, UNIT],
    "zeta": [1 + POSITIVE, UNIT + 0.1],
}

ELEMENTWISE = sorted(
    set(special.__all__) - {"polygamma", "multigammaln", "logsumexp", "softmax", "log_softmax"}
)


def reference(name):
    return getattr(sc, {"digamma": "psi"}.get(name, name))


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name, check):
    for dtype in (np.float64, np.float32, np.float16, ml_dtypes.bfloat16):
        arguments = [a.astype(dtype) for a in ARGUMENTS.get(name, [REAL])]
        # SciPy's values of half precision: those of the rounded arguments, rounded.
        wide = np.float32 if np.dtype(dtype).itemsize == 2 else dtype
        expected = reference(name)(*(a.astype(wide) for a in arguments)).astype(dtype)
        for layout in layouts((N,), few=True):
            result = getattr(special, name)(*(make(a, layout) for a in arguments))
            assert result.layout == layout
            check(result, expected, describe(layout), atol=64 * np.finfo(np.float64).eps)


def test_tails(check):
    """Values far from 1 are right to the last digits too."""
    x = make(np.linspace(-30, 5, 50), None)
    # Half a rounding of x is 900 roundings of exp(-x**2 / 2).
    check(special.ndtr(x), sc.ndtr(np.asarray(x)), "ndtr", atol=0, rtol=2e-13)
    check(special.log_ndtr(x), sc.log_ndtr(np.asarray(x)), "log_ndtr", atol=0)
    near = make(0.5 + np.geomspace(1e-12, 1e-2, 20), None)
    check(special.logit(near), sc.logit(np.asarray(near)), "logit", atol=0)
    a, b = np.geomspace(1e-200, 1, 30), np.geomspace(1e-300, 1, 30)
    check(special.rel_entr(make(a, None), make(b, None)), sc.rel_entr(a, b), "rel_entr", atol=0)


def test_integers_become_floating(check):
    n = np.arange(5)
    check(special.expit(make(n)), sc.expit(n.astype(float)), "expit")
    check(special.xlogy(make(n), 2), sc.xlogy(n, 2.0), "xlogy")
    check(special.gammaln(make(n.astype("uint16"))), sc.gammaln(n), "gammaln")
    check(special.logsumexp(make(n)), sc.logsumexp(n), "logsumexp")


@pytest.mark.parametrize("n", [0, 1, 2, 6])
def test_polygamma(n, check):
    values = drawn(0.01, 50)
    for layout in layouts((N,), few=True):
        check(special.polygamma(n, make(values, layout)), sc.polygamma(n, values), n)


def test_polygamma_of_an_array_of_orders(check):
    orders, values = np.arange(N) % 6, drawn(0.01, 50)
    orders = np.where(np.arange(N) == 7, -1, orders)
    expected = np.where(orders < 0, np.nan, sc.polygamma(np.abs(orders), values))
    for layout in layouts((N,), few=True):
        check(special.polygamma(make(orders, layout), make(values, layout)), expected, "polygamma")


@pytest.mark.parametrize("d", [1, 2, 5])
def test_multigammaln(d, check):
    values = drawn(0, 50)
    expected = [sc.multigammaln(v, d) if v > (d - 1) / 2 else np.nan for v in values]
    for layout in layouts((N,), few=True):
        check(special.multigammaln(make(values, layout), d), np.array(expected), d)


def test_any_elementwise_function_of_scipy(check):
    values, shape = drawn(0, 1), drawn(0.5, 30, 1)
    for layout in layouts((N,), few=True):
        x, a = make(values, layout), make(shape, layout)
        with xp.trace() as t:
            check(special.betainc(a, 2.0, x), sc.betainc(shape, 2.0, values), "betainc")
            check(special.j0(x), sc.j0(values), "j0")
            check(special.chdtrc(a, x), sc.chdtrc(shape, values), "chdtrc")
        assert not t.events
    assert special.j0 is special.j0
    assert special.j0.__name__ == "j0"
    for name in ("no_such_function", "logsumexp_", "comb", "ellipj"):
        assert not hasattr(special, name)


@pytest.mark.parametrize("name", ["loggamma", "expi", "gamma", "rgamma", "spence"])
def test_complex_arguments_of_scipys_functions(name, check):
    for dtype in (np.complex128, np.complex64):
        values = (drawn(-2, 2) + 1j * drawn(-2, 2, 1)).astype(dtype)
        for layout in layouts((N,), few=True):
            check(getattr(special, name)(make(values, layout)), getattr(sc, name)(values), name)


def test_complex_arguments_of_real_functions():
    with pytest.raises(TypeError, match="binom: got complex128"):
        special.binom(make(drawn(0, 1) * 1j), 2)


def test_integer_arguments_stay_integers(check):
    """SciPy warns of an integer argument that is given as a float, whatever its value."""
    n, k, p = np.arange(N) % 9, np.arange(N) % 5 + 0.5, drawn(0, 1)
    for layout in layouts((N,), few=True):
        args = [make(a, layout) for a in (k, n, p)]
        check(special.bdtr(*args), sc.bdtr(k, n, p), "bdtr")
        check(special.bdtr(args[0], 7, args[2]), sc.bdtr(k, 7, p), "bdtr")
        check(special.yn(2, args[2]), sc.yn(2, p), "yn")


def test_layouts_meet(comm):
    one = Layout.balanced((N,), 0, comm)
    two = Layout.of((N,), 0, divide(N, [1 + 2 * rank for rank in range(comm.size)]), comm)
    x, y = make(UNIT, one), make(MAYBE_ZERO, two)
    with xp.trace() as t:
        result = special.xlogy(x, y)
    assert t.collectives == ["exchange"] * (comm.size > 1)
    assert_equal(result, sc.xlogy(UNIT, MAYBE_ZERO), split=0)


AXES = [None, 0, 1, (0, 1), -1, ()]


@pytest.mark.parametrize("axis", AXES, ids=str)
def test_along_axes(axis, check):
    values = np.random.default_rng(0).normal(scale=300, size=(5, 7))
    values[1] = -np.inf
    values[2, 3] = np.inf
    values[3, 3] = np.nan
    # SciPy takes () for all axes in places; by the standard's rule it is none.
    total = values if axis == () else sc.logsumexp(values, axis=axis)
    for layout in layouts(values.shape):
        x = make(values, layout)
        check(special.logsumexp(x, axis), total, describe(layout))
        if axis != ():
            kept = sc.logsumexp(values, axis=axis, keepdims=True)
            check(special.logsumexp(x, axis, keepdims=True), kept, describe(layout))
    values = np.nan_to_num(values, posinf=3.0)
    for layout in layouts(values.shape):
        x = make(values, layout)
        if axis != ():
            result = special.softmax(x, axis)
            assert result.layout == layout
            check(result, sc.softmax(values, axis=axis), describe(layout))
            check(special.log_softmax(x, axis), sc.log_softmax(values, axis=axis), describe(layout))


def test_logsumexp_of_nothing_and_messages(comm):
    assert_equal(special.logsumexp(xp.zeros((0, 3)), 0), np.full(3, -np.inf))
    x = make(np.ones((60, 3), "float32"), Layout.balanced((60, 3), 0, comm))
    with xp.trace() as t:
        special.logsumexp(x, 1)
        assert not t.events
        result = special.logsumexp(x, 0)
    assert t.collectives == ["allreduce"] * 2 * (comm.size > 1)
    assert_equal(result, sc.logsumexp(np.ones((60, 3), "float32"), axis=0), split=None)


def test_errors():
    x = xp.ones(3)
    with pytest.raises(TypeError, match="erf: x has dtype complex128"):
        special.erf(xp.astype(x, xp.complex128))
    with pytest.raises(TypeError, match="logsumexp: x has dtype complex128"):
        special.logsumexp(xp.astype(x, xp.complex128))
    with pytest.raises(ValueError, match="polygamma: n is -1"):
        special.polygamma(-1, x)
    with pytest.raises(ValueError, match="multigammaln: d is 0"):
        special.multigammaln(x, 0)
    with pytest.raises(IndexError):
        special.softmax(x, 1)
