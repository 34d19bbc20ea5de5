"""scikit-learn's model selection, label encoders, kernels and metrics on split samples."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn import config_context, metrics
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KernelCenterer, LabelBinarizer, LabelEncoder, StandardScaler
from sklearn.utils import shuffle

import heat_array_api as xp
from consumers import ROWS, consumer, entries, rows, stays_distributed
from layouts import assert_equal, layouts, make, same_everywhere, to_numpy

RNG = np.random.default_rng(1)
X = RNG.standard_normal((ROWS, 4)) @ RNG.standard_normal((4, 4)) + 1
SCORE = X @ np.asarray([1.0, -0.5, 0.25, 0.0]) + 0.3 * RNG.standard_normal(ROWS)
BINARY = (np.median(SCORE) < SCORE).astype(np.int64)
CLASSES = np.searchsorted(np.quantile(SCORE, [0.3, 0.6]), SCORE)
GUESSES = np.where(RNG.random(ROWS) < 0.2, RNG.permutation(CLASSES), CLASSES)
PROBABILITY = 1 / (1 + np.exp(-SCORE - RNG.standard_normal(ROWS)))
PROBABILITIES = RNG.dirichlet([1.0, 1.0, 1.0], ROWS)
LABELS = (RNG.random((ROWS, 3)) < 0.4).astype(np.int64)
POSITIVE = np.exp(SCORE / 3)
WEIGHTS = RNG.random(ROWS)
NOISY = SCORE + RNG.standard_normal(ROWS)


@pytest.fixture(autouse=True)
def dispatch():
    with config_context(array_api_dispatch=True):
        yield


# ---------------------------------------------------------------------- model selection


@consumer("scikit-learn", "train_test_split")
def test_train_test_split():
    options = {"test_size": 0.25, "random_state": 3}
    expected = train_test_split(X, BINARY, **options)
    x, y = rows(X), rows(BINARY)
    with stays_distributed():
        found = train_test_split(x, y, **options)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.split == 0
        assert_equal(ours, theirs)


@consumer("scikit-learn", "train_test_split(stratify)")
def test_stratified_train_test_split():
    options = {"test_size": 0.25, "random_state": 3}
    expected = train_test_split(X, CLASSES, stratify=CLASSES, **options)
    x, y = rows(X), rows(CLASSES)
    with stays_distributed(labels=1):  # strata are made of NumPy's labels
        found = train_test_split(x, y, stratify=y, **options)
    for ours, theirs in zip(found, expected, strict=True):
        assert_equal(ours, theirs)


@consumer("scikit-learn", "train_test_split(random_state=None)")
def test_unseeded_splits_are_the_same_on_all_ranks():
    x = rows(np.arange(float(ROWS)))
    train, test = train_test_split(x)
    same_everywhere("the test set", str(to_numpy(test).sum()))
    assert to_numpy(train).sum() + to_numpy(test).sum() == np.arange(float(ROWS)).sum()
    assert_equal(xp.sort(shuffle(x)), np.arange(float(ROWS)))


@consumer("scikit-learn", "cross_val_predict")
def test_cross_val_predict():
    model = Ridge(solver="svd")
    expected = cross_val_predict(model, X, SCORE, cv=KFold(4))
    x, y = rows(X), rows(SCORE)
    with stays_distributed():
        found = cross_val_predict(model, x, y, cv=KFold(4))
    assert found.split == 0
    assert_equal(found, expected, rtol=1e-8)


@consumer("scikit-learn", "cross_val_predict(predict_proba)")
def test_cross_val_predict_proba():
    model = LogisticRegression(tol=1e-8)
    expected = cross_val_predict(model, X, BINARY, cv=3, method="predict_proba")
    x, y = rows(X), rows(BINARY)
    with stays_distributed(labels=4):  # the folds are made of NumPy's labels
        found = cross_val_predict(model, x, y, cv=3, method="predict_proba")
    assert_equal(found, expected, rtol=1e-4)


@consumer("scikit-learn", "cross_val_score, cross_validate")
def test_cross_validation():
    model = make_pipeline(StandardScaler(), PCA(3, svd_solver="full"), Ridge(solver="svd"))
    expected = cross_val_score(model, X, SCORE, cv=3)
    x, y = rows(X), rows(SCORE)
    with stays_distributed():
        found = cross_val_score(model, x, y, cv=3)
    np.testing.assert_allclose(found, expected)
    same_everywhere("the scores", str(found.tolist()))
    scoring = ["r2", "neg_mean_squared_error", "neg_median_absolute_error"]
    expected = cross_validate(model, X, SCORE, cv=3, scoring=scoring)
    found = cross_validate(model, x, y, cv=3, scoring=scoring)
    for name in scoring:
        np.testing.assert_allclose(found[f"test_{name}"], expected[f"test_{name}"])


@consumer("scikit-learn", "GridSearchCV")
def test_grid_search():
    search = GridSearchCV(Ridge(solver="svd"), {"alpha": [0.1, 10.0, 1000.0]}, cv=3)
    expected = clone(search).fit(X, NOISY)
    x, y = rows(X), rows(NOISY)
    with stays_distributed():
        found = clone(search).fit(x, y)
    assert found.best_params_ == expected.best_params_
    for name in ("mean_test_score", "std_test_score", "rank_test_score"):
        np.testing.assert_allclose(found.cv_results_[name], expected.cv_results_[name])
    assert_equal(found.predict(x), expected.predict(X), rtol=1e-8)
    assert_equal(found.best_estimator_.coef_, expected.best_estimator_.coef_, rtol=1e-8)


# ---------------------------------------------------------------------- labels and kernels


@consumer("scikit-learn", "LabelEncoder")
def test_label_encoder():
    y = rows(CLASSES * 10 - 7)
    with stays_distributed():
        encoder = LabelEncoder().fit(y)
        codes = encoder.transform(y)
        back = encoder.inverse_transform(codes)
    assert_equal(codes, CLASSES)
    assert_equal(back, CLASSES * 10 - 7)


@consumer("scikit-learn", "LabelBinarizer")
def test_label_binarizer():
    binarizer = LabelBinarizer()
    expected = binarizer.fit_transform(CLASSES)
    y = rows(CLASSES)
    with stays_distributed(labels=3):  # a sparse matrix of SciPy's
        found = LabelBinarizer().fit_transform(y)
    assert_equal(found, expected)


@consumer("scikit-learn", "KernelCenterer")
def test_kernel_centerer():
    kernel = X[:500] @ X[:500].T
    expected = KernelCenterer().fit(kernel).transform(kernel)
    ours = rows(kernel)
    with xp.trace() as t:
        centerer = KernelCenterer().fit(ours)
        found = centerer.transform(ours)
    assert t.gathers == []
    assert max((e.result for e in t.events), default=0) <= 500 * 8
    assert_equal(found, expected)


# ---------------------------------------------------------------------- metrics

METRICS: dict[str, tuple[Any, ...]] = {
    "accuracy_score": (metrics.accuracy_score, CLASSES, GUESSES),
    "average_precision_score": (metrics.average_precision_score, BINARY, PROBABILITY),
    "balanced_accuracy_score": (metrics.balanced_accuracy_score, CLASSES, GUESSES),
    "brier_score_loss": (metrics.brier_score_loss, BINARY, PROBABILITY),
    "cohen_kappa_score": (metrics.cohen_kappa_score, CLASSES, GUESSES),
    "confusion_matrix": (metrics.confusion_matrix, CLASSES, GUESSES),
    "d2_brier_score": (metrics.d2_brier_score, BINARY, PROBABILITY),
    "d2_log_loss_score": (metrics.d2_log_loss_score, BINARY, PROBABILITY),
    "det_curve": (metrics.det_curve, BINARY, np.round(PROBABILITY, 2)),
    "f1_score": (partial(metrics.f1_score, average="macro"), CLASSES, GUESSES),
    "fbeta_score": (partial(metrics.fbeta_score, beta=0.5, average="micro"), CLASSES, GUESSES),
    "hamming_loss": (metrics.hamming_loss, LABELS, LABELS[::-1]),
    "jaccard_score": (partial(metrics.jaccard_score, average="weighted"), CLASSES, GUESSES),
    "log_loss": (metrics.log_loss, CLASSES, PROBABILITIES),
    "multilabel_confusion_matrix": (metrics.multilabel_confusion_matrix, CLASSES, GUESSES),
    "precision_recall_curve": (metrics.precision_recall_curve, BINARY, np.round(PROBABILITY, 2)),
    "precision_score": (partial(metrics.precision_score, average="macro"), CLASSES, GUESSES),
    "recall_score": (partial(metrics.recall_score, average=None), CLASSES, GUESSES),
    "roc_auc_score": (metrics.roc_auc_score, BINARY, PROBABILITY),
    "roc_curve": (metrics.roc_curve, BINARY, PROBABILITY),
    "zero_one_loss": (metrics.zero_one_loss, CLASSES, GUESSES),
    "d2_absolute_error_score": (metrics.d2_absolute_error_score, SCORE, NOISY),
    "d2_pinball_score": (partial(metrics.d2_pinball_score, alpha=0.3), SCORE, NOISY),
    "d2_tweedie_score": (partial(metrics.d2_tweedie_score, power=1.5), POSITIVE, POSITIVE[::-1]),
    "explained_variance_score": (metrics.explained_variance_score, SCORE, NOISY),
    "max_error": (metrics.max_error, SCORE, NOISY),
    "mean_absolute_error": (metrics.mean_absolute_error, SCORE, NOISY),
    "mean_absolute_percentage_error": (
        metrics.mean_absolute_percentage_error,
        POSITIVE,
        POSITIVE[::-1],
    ),
    "mean_gamma_deviance": (metrics.mean_gamma_deviance, POSITIVE, POSITIVE[::-1]),
    "mean_pinball_loss": (metrics.mean_pinball_loss, SCORE, NOISY),
    "mean_poisson_deviance": (metrics.mean_poisson_deviance, POSITIVE, POSITIVE[::-1]),
    "mean_squared_error": (metrics.mean_squared_error, X, X[::-1]),
    "mean_squared_log_error": (metrics.mean_squared_log_error, POSITIVE, POSITIVE[::-1]),
    "mean_tweedie_deviance": (
        partial(metrics.mean_tweedie_deviance, power=1.5),
        POSITIVE,
        POSITIVE[::-1],
    ),
    "median_absolute_error": (metrics.median_absolute_error, SCORE, NOISY),
    "r2_score": (partial(metrics.r2_score, multioutput="raw_values"), X, X + X[::-1]),
    "root_mean_squared_error": (metrics.root_mean_squared_error, SCORE, NOISY),
    "root_mean_squared_log_error": (
        metrics.root_mean_squared_log_error,
        POSITIVE,
        POSITIVE[::-1],
    ),
    "paired_cosine_distances": (metrics.pairwise.paired_cosine_distances, X, X[::-1]),
    "paired_euclidean_distances": (metrics.pairwise.paired_euclidean_distances, X, X[::-1]),
    "paired_manhattan_distances": (metrics.pairwise.paired_manhattan_distances, X, X[::-1]),
}
LABELS_GATHERED = {
    "balanced_accuracy_score": 3,  # by confusion_matrix
    "cohen_kappa_score": 2,  # by confusion_matrix
    "confusion_matrix": 3,  # by a sparse matrix of SciPy's: both labels, and weights
    "d2_log_loss_score": 3,  # by LabelBinarizer: a sparse matrix of SciPy's
    "log_loss": 3,  # by LabelBinarizer
    "roc_auc_score": 5,  # by LabelBinarizer, and NumPy for the curve: no array-API path
}
"""Metrics in which scikit-learn takes labels through NumPy, and how often."""


@entries("scikit-learn", {f"metrics.{name}": name for name in METRICS})
def test_metric(case):
    metric, a, b = METRICS[case]
    weighted = case not in ("max_error", "cohen_kappa_score") and not case.startswith("paired")
    x, y, w = rows(a), rows(b), rows(WEIGHTS)
    for options, ours in (({}, {}), ({"sample_weight": WEIGHTS}, {"sample_weight": w})):
        if options and not weighted:
            continue
        expected = metric(a, b, **options)
        with stays_distributed(labels=LABELS_GATHERED.get(case, 0)):
            found = metric(x, y, **ours)
        pairs = (
            zip(found, expected, strict=True)
            if isinstance(expected, tuple)
            else [(found, expected)]
        )
        for one, other in pairs:
            if isinstance(one, xp.Array):
                assert_equal(one, other, rtol=1e-9, atol=1e-12)
            else:
                np.testing.assert_allclose(one, other, rtol=1e-9)
                same_everywhere(case, repr(one))


KERNELS = {
    name: getattr(metrics.pairwise, name)
    for name in (
        "additive_chi2_kernel",
        "chi2_kernel",
        "cosine_distances",
        "cosine_similarity",
        "euclidean_distances",
        "laplacian_kernel",
        "linear_kernel",
        "manhattan_distances",
        "pairwise_distances",
        "pairwise_distances_argmin",
        "pairwise_kernels",
        "polynomial_kernel",
        "rbf_kernel",
        "sigmoid_kernel",
    )
}


@entries("scikit-learn", {f"metrics.pairwise.{name}": name for name in KERNELS})
def test_kernel_of_split_samples_with_a_few_replicated(case):
    kernel = KERNELS[case]
    n = 2000
    samples, few = np.abs(X[:n]), np.abs(X[-7:])
    expected = kernel(samples, few)
    ours = rows(samples)
    with stays_distributed(n):
        found = kernel(ours, xp.asarray(few, split=None))
    assert found.split == 0
    assert_equal(found, expected, rtol=1e-8)


@consumer("scikit-learn", "metrics.calinski_harabasz_score, davies_bouldin_score")
def test_clusters_of_samples():
    for metric in (metrics.calinski_harabasz_score, metrics.davies_bouldin_score):
        x, y = rows(X), rows(CLASSES)
        with stays_distributed():
            found = metric(x, y)
        np.testing.assert_allclose(found, metric(X, CLASSES))


@consumer("scikit-learn", "metrics of mixed namespaces")
def test_labels_as_numpy():
    """Labels that every rank has as NumPy's, predictions that are split."""
    for layout in layouts(PROBABILITY[:100].shape, few=True):
        predictions = make(PROBABILITY[:100], layout)
        expected = metrics.log_loss(BINARY[:100], PROBABILITY[:100])
        found = metrics.log_loss(BINARY[:100], predictions)
        np.testing.assert_allclose(found, expected)
