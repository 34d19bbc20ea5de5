"""The examples run, on any number of ranks, and find what they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from _gallery import as_numpy, picture

import heat_array_api as xp

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, folder=None, **options):
    """Call ``main`` of an example on all ranks, and draw its picture if it is to go to a folder."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.main(**options)
    if folder is None:
        return found
    found = {key: as_numpy(value) for key, value in found.items()}
    if xp.world().rank == 0:
        path = picture(name, found, module.draw, folder)
        height, width, _ = read(path).shape
        assert height > 400
        assert width > 600
    return found


def read(path):
    from matplotlib.image import imread

    return imread(path)


def test_every_example_has_a_test():
    names = {path.stem for path in EXAMPLES.glob("*.py")} - {"_gallery"}
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


def test_will_it_fit():
    found = run("will_it_fit", ranks=64, memory="6 TB")
    (plan, verdict), (better, fits) = found.values()
    assert "a node of 64 ranks holds" in verdict
    assert fits == "it fits"
    assert better.peak_bytes < 0.6 * plan.peak_bytes


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


# ---------------------------------------------------------------------- with pictures


def test_pca_large_matrix(tmp_path):
    found = run("pca_large_matrix", tmp_path, n=6_000)
    assert found["split of the scores"] == 0
    np.testing.assert_allclose(found["explained by three"], 0.76, atol=0.02)
    assert found["explained"][3] < 0.006


def test_ridge_path(tmp_path):
    found = run("ridge_path", tmp_path, n=8_000, steps=7)
    assert 1.0 <= found["best penalty"] <= 1000.0
    assert found["best score"] == max(found["scores"]) > 0.2


def test_gaussian_mixture(tmp_path):
    found = run("gaussian_mixture", tmp_path, n=6_000)
    np.testing.assert_allclose(found["weights"], [0.5, 0.25, 0.25], atol=0.03)
    np.testing.assert_allclose(found["means"][0], [0.0, 0.0], atol=0.1)
    assert {tuple(mean) for mean in np.round(found["means"][1:])} == {(4.0, 1.0), (1.0, 4.0)}


def test_logistic_regression_sklearn(tmp_path):
    found = run("logistic_regression_sklearn", tmp_path, n=6_000)
    assert found["accuracy"] > 0.83
    assert found["greatest error of the probability"] < 0.3


def test_roc_curve(tmp_path):
    found = run("roc_curve", tmp_path, n=6_000)
    areas = [found[f"area of {name}"] for name in ("LogisticRegression", "GaussianNB")]
    assert 0.95 > areas[0] > areas[1] > 0.8


def test_climatology_xarray(tmp_path):
    pytest.importorskip("iris_sample_data")
    found = run("climatology_xarray", tmp_path)
    assert found["split of the warming"] == 0
    np.testing.assert_allclose(found["mean warming [K]"], 2.374, atol=0.001)
    assert (found["coldest decade"], found["warmest decade"]) == (1870, 2070)


def test_lasso_path(tmp_path):
    found = run("lasso_path", tmp_path, n=4_000)
    np.testing.assert_array_equal(found["the first features to enter"], [3, 11, 17, 24])
    ends = found["their coefficients at the end"]
    np.testing.assert_allclose(ends, [3.0, -2.0, 1.0, 0.5], atol=0.15)


def test_kmeans_ml(tmp_path):
    found = run("kmeans_ml", tmp_path, n=8_000)
    assert found["split of the labels"] == 0
    assert found["greatest error of a centre"] < 0.06
