"""array-api-extra on distributed arrays: its whole public API."""

# ruff: noqa: PLW0108 - the parameters of a case name its samples

from __future__ import annotations

from typing import Any

import array_api_extra as xpx
import numpy as np
import pytest
from array_api_compat import array_namespace

import heat_array_api as xp
from agnostic import compare, layout_of, samples
from consumers import ROWS, consumer, entries, rows, stays_distributed
from layouts import make

pytestmark = [
    # They are for arrays of older standards.
    pytest.mark.filterwarnings(f"ignore:.xpx.{name}. is deprecated:DeprecationWarning")
    for name in ("broadcast_shapes", "expand_dims")
]


def data(n: int, dtype: Any = np.float64) -> dict[str, np.ndarray]:
    """Return samples by the names that the cases call them."""
    rng = np.random.default_rng(8)
    values = {
        "x": rng.normal(size=(n, 3)),
        "wide": rng.normal(size=(3, n)),
        "v": rng.normal(size=n),
        "small": np.linspace(-2, 2, 5),
        "weights": rng.uniform(0.5, 1, size=n),
        "holes": np.where(rng.uniform(size=(n, 3)) < 0.1, np.nan, rng.normal(size=(n, 3))),
    }
    values = {name: value.astype(dtype) for name, value in values.items()}
    k = rng.integers(0, 40, size=n)
    times = rng.integers(1, 5, size=n)
    return values | {"k": k, "k2": rng.integers(20, 60, size=n), "times": times, "mask": k > 20}


def written(x: Any, v: Any, mask: Any) -> tuple[Any, ...]:
    """Return what every method of `at` makes of an array."""
    at, kept = xpx.at, {"copy": True}
    return (
        at(x)[2:].set(-1.0, **kept),
        at(x)[:, 1].add(v, **kept),
        at(x)[mask].multiply(3.0, **kept),
        at(x, mask).subtract(0.5, **kept),
        at(x)[::2, 0].divide(4.0, **kept),
        at(x)[...].power(2, **kept),
        at(x)[:, :2].min(0.3, **kept),
        at(x)[1:].max(0.1, **kept),
        at(x, (slice(None), 0)).set(v, **kept),
        x,
    )


def doubled(v: Any) -> Any:
    """Return the double of an array by a function that knows NumPy alone."""

    def double(values: np.ndarray) -> np.ndarray:
        assert isinstance(values, np.ndarray)
        return values * 2

    return xpx.lazy_apply(double, v, as_numpy=True)


# Where a function takes an order or a place from the values, not the values alone.
CASES = {
    "angle": lambda x: (xpx.angle(x + 1j * x), xpx.angle(x, deg=True)),
    "apply_where": lambda x, v: (
        xpx.apply_where(v > 0, (v,), lambda a: a**0.5, lambda a: -a),
        xpx.apply_where(x[:, 0] > 0, (x[:, 0], v), lambda a, b: a * b, fill_value=7.0),
    ),
    "at": written,
    "atleast_nd": lambda v: (xpx.atleast_nd(v, ndim=3), xpx.atleast_nd(v, ndim=1)),
    "broadcast_shapes": lambda: xpx.broadcast_shapes((2, 1), (3,)),
    "cov": lambda wide, v, weights, times: (
        xpx.cov(wide),
        xpx.cov(v, correction=0),
        xpx.cov(wide, aweights=weights),
        xpx.cov(wide, fweights=times, correction=0),
    ),
    "deg2rad": lambda x: xpx.deg2rad(x),
    "expand_dims": lambda x: (xpx.expand_dims(x, axis=(0, 2)), xpx.expand_dims(x, axis=-1)),
    "isclose": lambda x, holes: (
        xpx.isclose(x, x + 1e-9),
        xpx.isclose(holes, holes, equal_nan=True),
        xpx.isclose(x, 0.5, rtol=0.5),
    ),
    "isin": lambda k, k2: (xpx.isin(k, k2), xpx.isin(k, k2, invert=True)),
    "kron": lambda v, small: (xpx.kron(v, small), xpx.kron(small, v)),
    "lazy_apply": lambda v: xpx.lazy_apply(lambda a: a * 2 + 1, v),
    "nan_to_num": lambda holes: xpx.nan_to_num(holes, fill_value=-1.0),
    "nanmax": lambda holes: (xpx.nanmax(holes), xpx.nanmax(holes, axis=0)),
    "nanmean": lambda holes: (xpx.nanmean(holes), xpx.nanmean(holes, axis=0)),
    "nanmin": lambda holes: (xpx.nanmin(holes, axis=(0, 1)), xpx.nanmin(holes, axis=0)),
    "nansum": lambda holes: (xpx.nansum(holes), xpx.nansum(holes, axis=1)),
    "nunique": lambda k: xpx.nunique(k),
    "one_hot": lambda k: (xpx.one_hot(k, 40), xpx.one_hot(k, 40, axis=0)),
    "pad": lambda x, v: (xpx.pad(x, ((2, 1), (0, 3)), constant_values=5.0), xpx.pad(v, 2)),
    "rad2deg": lambda x: xpx.rad2deg(x),
    "searchsorted": lambda small, x, v: (
        xpx.searchsorted(small, v, side="right"),
        xpx.searchsorted(array_namespace(v).sort(v), small),
        xpx.searchsorted(array_namespace(x).sort(x, axis=1), x),
    ),
    "setdiff1d": lambda k, k2: xpx.setdiff1d(k, k2),
    "sinc": lambda x: xpx.sinc(x),
    "union1d": lambda k, v: (xpx.union1d(k, k + 7), xpx.union1d(v, v + 1)),
    "unravel_index": lambda k: xpx.unravel_index(k, (4, 2, 5)),
}


@entries("array-api-extra", CASES)
def test_samples_stay_distributed(case):
    values = samples(case, data(ROWS))
    expected = case(*values)
    given = [rows(value) if len(value) > 5 else make(value) for value in values]
    given = [xp.asarray(v, split=1) if v.shape[0] == 3 else v for v in given]
    with stays_distributed(4 * ROWS):
        result = case(*given)
    compare(result, expected)


@entries("array-api-extra", CASES)
def test_values_in_all_layouts(case):
    for dtype in (np.float64, np.float32):
        values = samples(case, data(29, dtype))
        expected = case(*values)
        for way in range(3):
            compare(case(*(make(value, layout_of(value.shape, way)) for value in values)), expected)


@consumer("array-api-extra", "partition")
def test_partition():
    """Sorted, for want of a partial sort: any order on either side of the k-th is right."""
    values = data(ROWS)["x"]
    for axis, k in ((0, 123), (0, ROWS - 1), (1, 1)):
        with stays_distributed(8 * ROWS):
            found = xpx.partition(rows(values), k, axis=axis)
        assert found.split == 0
        compare(found, np.sort(values, axis=axis))


@consumer("array-api-extra", "argpartition")
def test_argpartition():
    values = data(ROWS)["x"]
    for axis, k in ((0, 123), (1, 1)):
        with stays_distributed(8 * ROWS):
            found = xpx.argpartition(rows(values), k, axis=axis)
        compare(found, np.argsort(values, axis=axis, stable=True))


@consumer("array-api-extra", "create_diagonal")
def test_create_diagonal():
    values = np.arange(1.0, 301.0)
    for offset in (0, 2, -1):
        with stays_distributed(8 * len(values)):
            found = xpx.create_diagonal(rows(values), offset=offset)
        compare(found, np.diag(values, offset))


@consumer("array-api-extra", "default_dtype")
def test_default_dtype():
    kinds = {
        "real floating": xp.float64,
        "complex floating": xp.complex128,
        "integral": xp.int64,
        "indexing": xp.int64,
    }
    assert {kind: xpx.default_dtype(xp, kind) for kind in kinds} == kinds


@consumer("array-api-extra", "diag_indices")
@consumer("array-api-extra", "tril_indices")
@consumer("array-api-extra", "triu_indices")
def test_indices():
    compare(xpx.diag_indices(4, ndim=3, xp=xp), np.diag_indices(4, 3))
    compare(xpx.tril_indices(4, offset=1, m=5, xp=xp), np.tril_indices(4, 1, 5))
    compare(xpx.triu_indices(4, offset=-1, xp=xp), np.triu_indices(4, -1))
    values = np.arange(40.0 * 40).reshape(40, 40)
    x = rows(values)
    compare(x[xpx.tril_indices(40, xp=xp)], values[np.tril_indices(40)])
    compare(x[xpx.diag_indices(40, xp=xp)], np.diag(values))


@consumer("array-api-extra", "lazy_apply")
def test_functions_of_numpy_get_the_whole_array():
    """With ``as_numpy=True`` the library itself converts: one gather, in the trace."""
    values = data(ROWS)["v"]
    with stays_distributed(labels=1) as t:
        result = doubled(rows(values))
    assert [g.operation for g in t.gathers] == ["__array__"] * (xp.world().size > 1)
    compare(result, values * 2)


@consumer("array-api-extra", "testing")
def test_namespaces_are_patched_for_tests():
    """`patch_lazy_xp_functions` leaves an eager namespace as it is."""
    with xpx.testing.patch_lazy_xp_functions(
        type("request", (), {"module": __import__(__name__), "node": None}), xp=xp
    ):
        compare(xpx.sinc(xp.asarray([0.5])), np.sinc([0.5]))


def test_the_whole_public_api_is_here():
    here = {mark.args[1] for mark in marks()} | set(CASES)
    assert set(xpx.__all__) - {"__version__"} == here


def marks() -> list[Any]:
    tests = [test for name, test in globals().items() if name.startswith("test_")]
    found = [mark for test in tests for mark in getattr(test, "pytestmark", ())]
    return [mark for mark in found if mark.name == "consumer"]


@pytest.mark.parametrize("copy", [True, False, None])
def test_at_writes_in_place_if_asked(copy):
    values = data(50)["v"]
    x = rows(values)
    y = xpx.at(x)[3].set(9.0, copy=copy)
    expected = values.copy()
    expected[3] = 9.0
    compare(y, expected)
    compare(x, values if copy else expected)
