"""What the tests of estimators share: samples, fits on every layout, and what was sent."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import sklearn
import torch

import heat_array_api as xp
from layouts import agree, make, to_numpy

MANY = 20_000
"""Rows of a sample set that may not cross the ranks."""


def blobs(n=90, d=3, k=3, seed=3, dtype=np.float64):
    """Return samples round `k` centres, and which centre each belongs to."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    centers = 6.0 * rng.standard_normal((k, d)) + 4.0
    return (centers[labels] + rng.standard_normal((n, d))).astype(dtype), labels


def regression(n=60, d=5, targets=None, seed=4, dtype=np.float64):
    """Return samples and targets that a few of the features decide."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) * np.arange(1, d + 1) + 2.0
    w = rng.standard_normal((d,) if targets is None else (d, targets))
    w[::2] = 0.0
    noise = rng.standard_normal((n,) if targets is None else (n, targets))
    return x.astype(dtype), (x @ w + 0.3 * noise + 5.0).astype(dtype)


def rows_like(values: Any, layout: Any) -> Any:
    """Make an array of as many rows as those of a matrix in `layout`, laid out as they are."""
    values = np.asarray(values)
    if layout.split == 0:
        return make(values, layout.with_shape(values.shape, 0))
    return make(values)


def other_arrays(*arrays: np.ndarray) -> list[list[Any]]:
    """Return the same values as arrays of NumPy and of torch."""
    return [list(arrays), [torch.from_numpy(np.array(a)) for a in arrays]]


def close(found: Any, expected: Any, *, rtol: float = 1e-7, atol: float = 1e-9) -> None:
    """Check values on every rank; an `Array` by all its elements."""
    __tracebackhide__ = True
    values = to_numpy(found) if isinstance(found, xp.Array) else np.asarray(found)
    problem = None
    try:
        np.testing.assert_allclose(values, np.asarray(expected), rtol=rtol, atol=atol)
    except AssertionError as error:
        problem = str(error)
    agree(problem)


@contextlib.contextmanager
def rows_stay(n: int):
    """Check that no message of the block carries n bytes (of n rows, less than one each)."""
    __tracebackhide__ = True
    with xp.trace() as t:
        yield t
    large = [
        (e.operation, e.collective, e.bytes)
        for e in t.events
        if e.collective in ("allgather", "bcast", "allreduce") and e.bytes >= n
    ]
    agree(f"messages of {n} bytes or more: {large}" if large else None)
    assert t.count("alltoall") == t.count("exchange") == 0, t.summary()


@pytest.fixture
def dispatch(monkeypatch):
    """Let scikit-learn's own tools take arrays of any namespace."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    with sklearn.config_context(array_api_dispatch=True):
        yield
