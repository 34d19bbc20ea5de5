"""The examples run, on any number of ranks, and find what they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name, **options):
    """Call ``main`` of an example on all ranks."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(**options)


def test_every_example_has_a_test():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {name.removeprefix("test_") for name in globals() if name[5:] in names}


def test_logistic_regression():
    found = run("logistic_regression", n=20_000)
    np.testing.assert_allclose(found["weights"], [1.0, -2.0, 0.5, 0.0], atol=0.08)
    assert found["intercept"] == pytest.approx(0.3, abs=0.05)


def test_adam():
    found = run("adam", n=2_000)
    assert found["slope"] == pytest.approx(2.0, abs=0.02)
    assert found["offset"] == pytest.approx(-1.0, abs=0.02)
    assert found["loss"] == pytest.approx(0.01, rel=0.1)


def test_torch_module():
    found = run("torch_module", n=1_000, steps=100)
    assert 800 < found["rows"] < 920
    assert found["last loss"] < found["first loss"] / 20


def test_gauss_newton():
    found = run("gauss_newton", n=5_000)
    np.testing.assert_allclose(found["Newton"], [2.0, 1.5, 0.5], atol=0.01)
    np.testing.assert_allclose(found["Gauss-Newton"], found["Newton"], atol=1e-6)
    assert found["norm of the gradient"] < 1e-9


def test_kmeans_gradient():
    found = run("kmeans_gradient", n=3_000, steps=10)
    assert np.all(np.diff(found["inertia"]) <= 1e-6)
    assert found["from Lloyd's step"] < 1e-12


def test_fft_filter():
    found = run("fft_filter", n=4_000)
    np.testing.assert_allclose(found["gains"], [1.0, 0.2, 0.7, 0.0, 1.5], atol=1e-4)
