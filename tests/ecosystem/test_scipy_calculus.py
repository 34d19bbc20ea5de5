"""SciPy's integrals, derivatives, roots and minima of many functions at once, split over the ranks.

The axis of n is one of problems, or of samples of an integrand.

One thing fails, see the last test: `tanhsinh` where the integrand is infinite or NaN at an end of
the interval, as on an infinite one, and so `nsum` to infinity.
"""

# ruff: noqa: PLW0108 - the parameters of a case name its samples

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import differentiate, integrate, optimize
from scipy._lib._array_api import array_namespace, xp_capabilities_table
from scipy.optimize import elementwise

import heat_array_api as xp
from agnostic import attributes, capable, compare, layout_of, samples
from consumers import consumer, entries, rows, stays_distributed
from layouts import make

N = 1_000
# SciPy's own, where it tries arguments outside of a function's domain.
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in .*:RuntimeWarning")


def data(n: int, dtype: Any = np.float64) -> dict[str, np.ndarray]:
    """Return arguments by the names that the cases call them."""
    rng = np.random.default_rng(7)
    values = {
        "y": rng.normal(size=(n, 2)),
        "t": np.cumsum(rng.uniform(0.1, 1, size=n)) / n,
        "c": rng.uniform(0.5, 2, size=n),
        "d": rng.uniform(1, 3, size=n),
        "points": rng.uniform(0.5, 2, size=(2, n)),
        "dyadic": rng.normal(size=(2 ** int(np.log2(n)) + 1, 2)),
    }
    return {name: value.astype(dtype) for name, value in values.items()}


def parabola(x: Any, c: Any) -> Any:
    return x**2 - c


def valley(x: Any, c: Any) -> Any:
    return (x - c) ** 2 + 0.1 * x**4


def decay(x: Any, c: Any) -> Any:
    return array_namespace(x).exp(-c * x**2)


def terms(k: Any, c: Any) -> Any:
    return 1 / (k**2 + c)


def oscillation(x: Any, c: Any) -> Any:
    """An integrand for `cubature`: points by axes to points by values."""
    space = array_namespace(x)
    return space.cos(space.sum(x, axis=-1)[:, None] * c[None, :])


def field(x: Any) -> Any:
    space = array_namespace(x)
    return space.stack([x[0] ** 2 * x[1], space.sin(x[0]) + x[1] ** 3, x[0] * x[1]])


def energy(x: Any) -> Any:
    return x[0] ** 3 * x[1] + array_namespace(x).exp(x[1])


def estimate(c: Any) -> Any:
    """An integral by quasi-Monte Carlo: SciPy draws the points, of NumPy, for every backend."""
    from scipy.stats import qmc

    space = array_namespace(c)
    low, high = space.asarray([0.0, 0.0]), space.asarray([1.0, 2.0])

    def integrand(x: Any) -> Any:
        return x[0, ...] ** 2 + x[1, ...]

    found = integrate.qmc_quad(
        integrand, low, high, n_points=256, n_estimates=4, qrng=qmc.Halton(2, rng=1)
    )
    return found.integral, found.standard_error


SOLVED = ("status", "success")
CASES = {
    "integrate.trapezoid": lambda y, t: (
        integrate.trapezoid(y, axis=0, dx=0.5),
        integrate.trapezoid(y, t, axis=0),
        integrate.trapezoid(y, axis=1),
    ),
    "integrate.cumulative_trapezoid": lambda y, t: (
        integrate.cumulative_trapezoid(y, axis=0, initial=0),
        integrate.cumulative_trapezoid(y, t[:, None], axis=0),
    ),
    "integrate.cumulative_simpson": lambda y, t: (
        integrate.cumulative_simpson(y, axis=0),
        integrate.cumulative_simpson(y[:, 0], x=t, initial=0),
    ),
    "integrate.romb": lambda dyadic: integrate.romb(dyadic, axis=0, dx=0.1),
    "integrate.cubature": lambda c: attributes(
        integrate.cubature(
            oscillation, *limits(c, [0.0, 0.0], [1.0, 2.0]), rule="gauss-kronrod", args=(c,)
        ),
        "estimate",
        "error",
        "status",
    ),
    "integrate.tanhsinh": lambda c: attributes(
        integrate.tanhsinh(decay, 0 * c, c, args=(c,)), "integral", *SOLVED
    ),
    "integrate.nsum": lambda c: attributes(
        integrate.nsum(terms, 1 + 0 * c, 60 + 0 * c, args=(c,)), "sum", *SOLVED
    ),
    "integrate.qmc_quad": estimate,
    "differentiate.derivative": lambda c, d: attributes(
        differentiate.derivative(decay, d, args=(c,)), "df", *SOLVED
    ),
    "differentiate.jacobian": lambda points: attributes(
        differentiate.jacobian(field, points), "df", *SOLVED
    ),
    "differentiate.hessian": lambda points: attributes(
        differentiate.hessian(energy, points[:, ::2]), "ddf", *SOLVED
    ),
    "optimize.elementwise.find_root": lambda c, d: attributes(
        elementwise.find_root(parabola, (0 * c, d), args=(c,)), "x", "f_x", *SOLVED
    ),
    "optimize.elementwise.find_minimum": lambda c, d: attributes(
        elementwise.find_minimum(valley, (-d, c, c + d), args=(c,)), "x", "f_x", *SOLVED
    ),
    "optimize.elementwise.bracket_root": lambda c, d: (
        *elementwise.bracket_root(parabola, 0 * c, d / 10, args=(c,)).bracket,
        *attributes(elementwise.bracket_root(parabola, 0 * c, d / 10, args=(c,)), *SOLVED),
    ),
    "optimize.elementwise.bracket_minimum": lambda c, d: (
        *elementwise.bracket_minimum(valley, -d, args=(c,)).bracket,
        *attributes(elementwise.bracket_minimum(valley, -d, args=(c,)), *SOLVED),
    ),
    "optimize.rosen": lambda y: optimize.rosen(y),
    "optimize.rosen_der": lambda c: optimize.rosen_der(c),
    "optimize.rosen_hess": lambda c: optimize.rosen_hess(c[:30]),
    "optimize.rosen_hess_prod": lambda c, d: optimize.rosen_hess_prod(c, d),
}


def limits(like: Any, low: list[float], high: list[float]) -> tuple[Any, Any]:
    space = array_namespace(like)
    return space.asarray(low, dtype=like.dtype), space.asarray(high, dtype=like.dtype)


def split(values: np.ndarray) -> Any:
    """Return an array of NumPy values, split along its long axis."""
    return rows(values) if len(values) > 2 else xp.asarray(values, split=1)


@entries("scipy", CASES)
def test_problems_stay_distributed(case):
    values = samples(case, data(N))
    expected = case(*values)
    arrays = [split(value) for value in values]
    with stays_distributed(N):
        result = case(*arrays)
    compare(result, expected, rtol=1e-8, atol=1e-8)


@entries("scipy", CASES)
def test_values_in_all_layouts(case):
    values = samples(case, data(33))
    expected = case(*values)
    for way in (0, 1):
        arrays = [make(value, layout_of(value.shape, way)) for value in values]
        compare(case(*arrays), expected, rtol=1e-8, atol=1e-8)


def test_every_array_agnostic_function_is_here():
    public = capable(integrate, "integrate") | capable(differentiate, "differentiate")
    public |= capable(elementwise, "optimize.elementwise")
    public |= {f"optimize.{name}" for name in optimize.__all__ if agnostic(name)}
    assert public == set(CASES)


def agnostic(name: str) -> bool:
    facts = xp_capabilities_table.get(getattr(optimize, name))
    return facts is not None and not facts["np_only"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            "tanhsinh", marks=consumer("scipy", "integrate.tanhsinh of infinite intervals")
        ),
        pytest.param("nsum", marks=consumer("scipy", "integrate.nsum to infinity")),
    ],
)
def test_infinite_intervals(name):
    c = data(9)["c"]
    inf = np.full(9, np.inf)
    if name == "tanhsinh":
        expected = integrate.tanhsinh(decay, 0 * c, inf, args=(c,)).integral
        found = integrate.tanhsinh(decay, make(0 * c), make(inf), args=(make(c),)).integral
    else:
        expected = integrate.nsum(terms, 1 + 0 * c, inf, args=(c,)).sum
        found = integrate.nsum(terms, make(1 + 0 * c), make(inf), args=(make(c),)).sum
    compare(found, expected, rtol=1e-8)
