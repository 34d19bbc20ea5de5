"""scikit-learn's estimators with array-API support, on split samples, against NumPy.

X has its samples split, unevenly, and stays so: `stays_distributed` looks at every message. What
is allowed beside it (`labels`) is what scikit-learn itself takes through NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import (
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
)
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    StandardScaler,
)

import heat_array_api as xp
from comparing import comparison
from consumers import ROWS, W, entries, rows, stays_distributed, uneven

RNG = np.random.default_rng(0)
CLUSTERS = 6 * RNG.standard_normal((3, 5))[RNG.integers(0, 3, ROWS)]
X = (RNG.standard_normal((ROWS, 5)) @ RNG.standard_normal((5, 5)) + CLUSTERS) / 5 + 0.5
SIGNAL = X @ RNG.standard_normal(5) + 0.5 * RNG.standard_normal(ROWS)
TARGETS = {
    None: None,
    "real": SIGNAL,
    "two reals": np.stack([SIGNAL, X[:, 0] ** 2], axis=1),
    "counts": np.floor(np.exp(SIGNAL / np.abs(SIGNAL).max())),
    "binary": (np.quantile(SIGNAL, 0.4) < SIGNAL).astype(np.int64),
    "classes": np.searchsorted(np.quantile(SIGNAL, [0.3, 0.6]), SIGNAL),
}


@dataclass
class Case:
    """An estimator, what it is fitted to, and what of it is compared.

    Parameters
    ----------
    estimator : BaseEstimator
    target : str or None
        Of `TARGETS`.
    compared : str
        Methods (of X; their results have the samples' axis) and attributes, which end in "_".
    labels : int
        As for `stays_distributed`, of the fit; no method may gather any.
    tolerance : float
        Relative to the value and to the greatest one.
    """

    estimator: BaseEstimator
    target: str | None
    compared: str
    labels: int = 0
    tolerance: float = 1e-8
    weights: bool = False


CLASSIFIER = "predict predict_proba decision_function coef_ intercept_"
CASES = {
    "PCA(full)": Case(
        PCA(3, svd_solver="full"),
        None,
        "transform score_samples mean_ components_ explained_variance_ noise_variance_",
    ),
    "PCA(full, whiten)": Case(PCA(svd_solver="full", whiten=True), None, "transform components_"),
    "PCA(covariance_eigh)": Case(
        PCA(3, svd_solver="covariance_eigh"),
        None,
        "transform score_samples components_ singular_values_",
    ),
    "PCA(randomized, QR)": Case(
        PCA(3, svd_solver="randomized", power_iteration_normalizer="QR", random_state=0),
        None,
        "transform components_ explained_variance_ratio_",
    ),
    "PCA(auto)": Case(PCA(2, random_state=0), None, "transform components_"),
    "Ridge": Case(Ridge(alpha=0.3, solver="svd"), "real", "predict coef_ intercept_"),
    "Ridge(several targets)": Case(Ridge(solver="svd"), "two reals", "predict coef_ intercept_"),
    "Ridge(sample_weight)": Case(Ridge(solver="svd"), "real", "predict coef_", weights=True),
    "RidgeCV": Case(RidgeCV(alphas=(0.1, 1.0, 10.0)), "real", "predict coef_ alpha_ best_score_"),
    # LabelBinarizer makes a sparse matrix of SciPy's: values, columns and row pointers.
    "RidgeClassifier": Case(
        RidgeClassifier(solver="svd"), "classes", "predict coef_ intercept_", labels=3
    ),
    "RidgeClassifierCV": Case(RidgeClassifierCV(), "classes", "predict coef_ alpha_", labels=3),
    "LogisticRegression(binary)": Case(
        LogisticRegression(tol=1e-8, max_iter=1000), "binary", CLASSIFIER, tolerance=1e-5
    ),
    "LogisticRegression(multinomial)": Case(
        LogisticRegression(tol=1e-8, max_iter=1000, C=0.5), "classes", CLASSIFIER, tolerance=1e-5
    ),
    "LogisticRegression(class_weight, sample_weight)": Case(
        LogisticRegression(tol=1e-8, max_iter=1000, class_weight="balanced"),
        "classes",
        CLASSIFIER,
        tolerance=1e-5,
        weights=True,
    ),
    "PoissonRegressor": Case(
        PoissonRegressor(tol=1e-10, max_iter=1000),
        "counts",
        "predict coef_ intercept_",
        tolerance=1e-5,
    ),
    "LinearDiscriminantAnalysis(svd)": Case(
        LinearDiscriminantAnalysis(),
        "classes",
        "predict predict_proba |transform| means_ priors_ coef_ intercept_",  # signs are free
    ),
    "GaussianNB": Case(GaussianNB(), "classes", "predict predict_proba theta_ var_ class_count_"),
    "GaussianNB(sample_weight)": Case(
        GaussianNB(), "classes", "predict_log_proba theta_ var_", weights=True
    ),
    **{
        f"GaussianMixture({kind})": Case(
            GaussianMixture(
                3, covariance_type=kind, init_params="random_from_data", random_state=0, tol=1e-2
            ),
            None,
            "predict predict_proba score_samples weights_ means_ covariances_",
            tolerance=1e-6,
        )
        for kind in ("full", "tied", "diag", "spherical")
    },
    "GaussianMixture(random responsibilities)": Case(
        GaussianMixture(2, init_params="random", random_state=0, max_iter=5, tol=10.0),
        None,
        "predict means_",
        tolerance=1e-6,
    ),
    "StandardScaler": Case(StandardScaler(), None, "transform inverse_transform mean_ var_ scale_"),
    "StandardScaler(sample_weight)": Case(StandardScaler(), None, "transform var_", weights=True),
    "MinMaxScaler": Case(MinMaxScaler((-1, 1), clip=True), None, "transform data_min_ data_range_"),
    "MaxAbsScaler": Case(MaxAbsScaler(), None, "transform inverse_transform max_abs_"),
    "Normalizer(l2)": Case(Normalizer(), None, "transform"),
    "Normalizer(l1)": Case(Normalizer("l1"), None, "transform"),
    "Normalizer(max)": Case(Normalizer("max"), None, "transform"),
    "Binarizer": Case(Binarizer(threshold=0.2), None, "transform"),
    "PolynomialFeatures": Case(PolynomialFeatures(2), None, "transform"),
    "PolynomialFeatures(interactions)": Case(
        PolynomialFeatures(3, interaction_only=True, include_bias=False), None, "transform"
    ),
    "Nystroem": Case(
        Nystroem(kernel="rbf", n_components=7, random_state=0), None, "transform components_"
    ),
    "CalibratedClassifierCV(temperature)": Case(
        CalibratedClassifierCV(LinearDiscriminantAnalysis(), method="temperature", ensemble=False),
        "classes",
        "predict predict_proba",
        tolerance=1e-5,
        labels=6,  # the folds are made of NumPy's labels
    ),
    "Pipeline": Case(
        make_pipeline(
            StandardScaler(), PCA(3, svd_solver="full"), LogisticRegression(tol=1e-8, max_iter=1000)
        ),
        "binary",
        "predict predict_proba",
        tolerance=1e-5,
    ),
    "FeatureUnion": Case(make_union(PCA(2, svd_solver="full"), MinMaxScaler()), None, "transform"),
}


def compare_values(compare: Any, found: Any, wanted: Any, name: str, tolerance: float) -> None:
    """Compare a result with NumPy's: an array, or the Python number that it is with NumPy too."""
    wanted = np.asarray(wanted)
    if not isinstance(found, xp.Array):
        np.testing.assert_allclose(found, wanted, rtol=tolerance, err_msg=name)
        return
    if wanted.dtype.kind == "f":
        greatest = float(np.abs(wanted).max(initial=0))
        compare(found, wanted, name, rtol=tolerance, atol=tolerance * greatest)
    else:
        compare(found, wanted, name)


def fitted(case: Case, x: Any, y: Any, weights: Any) -> BaseEstimator:
    arguments = {} if y is None else {"y": y}
    if weights is not None:
        arguments["sample_weight"] = weights
    return clone(case.estimator).fit(x, **arguments)


# Whether float32 is right does not depend on the number of ranks: for the time's sake, up to two.
@pytest.mark.parametrize("dtype", ["float64", "float32"] if W.size <= 2 else ["float64"])
@entries("scikit-learn", CASES)
def test_estimator(case, dtype):
    x, y = X.astype(dtype), TARGETS[case.target]
    if y is not None and y.dtype.kind == "f":
        y = y.astype(dtype)
    weights = RNG.random(ROWS).astype(dtype) if case.weights else None
    expected = fitted(case, x, y, weights)
    tolerance = max(case.tolerance, 5e-3) if dtype == "float32" else case.tolerance
    ours = rows(x)
    with config_context(array_api_dispatch=True), comparison() as compare:
        with stays_distributed(labels=case.labels):
            model = fitted(case, ours, *(a if a is None else rows(a) for a in (y, weights)))
        for name in case.compared.split():
            signed = name == name.strip("|")
            name = name.strip("|")
            wanted, found = getattr(expected, name), getattr(model, name)
            if not name.endswith("_"):
                with stays_distributed():
                    found = found(ours)
                wanted = wanted(x)
                assert found.split == 0, name
                if dtype == "float64":  # float32 distances are computed in batches
                    assert found.layout.counts == uneven(ROWS), name
            if not signed:
                wanted, found = np.abs(wanted), xp.abs(found)
            # In float32 a sample between two classes may fall to either; probabilities tell.
            if dtype == "float64" or np.asarray(wanted).dtype.kind == "f":
                compare_values(compare, found, wanted, name, tolerance)
