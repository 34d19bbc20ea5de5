"""SciPy's special functions on distributed arrays: each rank its shard, and nothing sent.

SciPy looks for them in `heat_array_api.special` before it would convert arrays to NumPy.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import scipy.special as sc
from scipy.special._support_alternative_backends import _special_funcs

import heat_array_api as xp
from agnostic import capable, compare, layout_of
from consumers import ROWS, consumer, entries, rows, stays_distributed
from layouts import make

FACTS = {facts.name: facts for facts in _special_funcs}
AXIS = ("logsumexp", "softmax", "log_softmax")
INTEGERS = {"bdtr": (1,), "bdtrc": (1,), "bdtri": (1,), "lpmv": (0, 1)}
"""Arguments that must be integers, beyond those that SciPy's tables name."""

CASES = {f"special.{name}": name for name in (*FACTS, *AXIS)}


def arguments(name: str, dtype: Any, n: int = 200) -> list[Any]:
    """Return arguments that the function is defined for, with a few special values."""
    facts = FACTS[name]
    rng = np.random.default_rng(len(name))
    if name == "multigammaln":
        return [rng.uniform(0.6, 9, n).astype(dtype), 2]
    found: list[Any] = []
    for i in range(facts.n_args):
        if i in INTEGERS.get(name, ()) or (facts.int_only and facts.int_only[i]):
            found.append(rng.integers(1, 4, n))
            continue
        values = rng.uniform(0.02, 0.98, n)
        if i == facts.n_args - 1:
            values[:3] = 0.0, 1.0, np.nan
        found.append((values + (name == "zeta")).astype(dtype))
    return found


def quiet(function: Any, *args: Any) -> Any:
    with np.errstate(all="ignore"):
        return function(*args)


@entries("scipy", {f"special.{name}": name for name in FACTS})
def test_elementwise(case):
    function = getattr(sc, case)
    for dtype, tolerances in ((np.float64, {"rtol": 1e-11}), (np.float32, {"rtol": 1e-4})):
        values = arguments(case, dtype)
        expected = quiet(function, *values)
        assert np.isfinite(expected).sum() > 100
        wanted = expected.dtype if dtype == np.float64 else ...
        for way in (0, 2):
            given = [v if isinstance(v, int) else make(v, layout_of(v.shape, way)) for v in values]
            with xp.trace() as t:
                result = quiet(function, *given)
            assert t.events == []
            assert wanted in (result.dtype, ...)
            compare(result, expected.astype(result.dtype), **tolerances)


@entries("scipy", {f"special.{name}": name for name in AXIS})
def test_along_an_axis(case):
    rng = np.random.default_rng(1)
    values = rng.normal(scale=30, size=(ROWS, 3))
    cases = [
        partial(getattr(sc, case), axis=0),
        partial(getattr(sc, case), axis=1),
        partial(getattr(sc, case), axis=None),
    ]
    for function in cases:
        expected = function(values)
        with stays_distributed():
            result = function(rows(values))
        compare(result, expected)
        for way in range(3):
            compare(function(make(values[:31], layout_of((31, 3), way))), function(values[:31]))


@consumer("scipy", "special.logsumexp")
def test_logsumexp_with_weights_and_signs():
    rng = np.random.default_rng(2)
    a, b = rng.normal(scale=20, size=(2, ROWS))
    expected = sc.logsumexp(a, b=b, return_sign=True)
    with stays_distributed():
        result = sc.logsumexp(rows(a), b=rows(b), return_sign=True)
    compare(result, expected)


def test_every_array_agnostic_function_is_here():
    assert capable(sc, "special") == set(CASES)
