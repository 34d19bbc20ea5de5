"""scikit-learn's own checks of the estimators, its tools over them, and the extra's import."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import sklearn.neighbors
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import heat_array_api as xp
from estimating import blobs, close, dispatch, regression, rows_like
from heat_array_api import ml
from heat_array_api._comm.communicator import world
from jobs import alone, run
from layouts import describe, layouts, make

__all__ = ["dispatch"]

ESTIMATORS = [
    ml.IncrementalPCA(),
    ml.KMeans(n_clusters=2, max_iter=5, n_init=2),
    ml.KMeans(n_clusters=2, max_iter=5, init="k-means++"),
    ml.KNeighborsClassifier(),
    ml.KNeighborsRegressor(weights="distance"),
    ml.Lasso(0.01),
    ml.Lasso(0.01, precompute=False),
    ml.LinearRegression(),
    ml.MiniBatchKMeans(n_clusters=2, max_iter=5, batch_size=10),
    ml.TruncatedSVD(n_components=1),
]


def expected_failures(estimator):
    """Return the checks that scikit-learn's own estimators of these names fail too."""
    if isinstance(estimator, (ml.KMeans, ml.MiniBatchKMeans)):
        reason = "sample_weight is not equivalent to removing/repeating samples."
        return {"check_sample_weight_equivalence_on_dense_data": reason}
    return {}


# Of NumPy arrays, and so the same on every rank: one process runs them.
@parametrize_with_checks(
    ESTIMATORS if world().size == 1 else [], expected_failed_checks=expected_failures
)
def test_scikit_learn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # for its array API checks
    check(estimator)


# ---------------------------------------------------------------- scikit-learn's tools

X, Y = regression(60, 4)
POINTS, LABELS = blobs(60)
SPLIT = list(layouts(X.shape, few=True))


@pytest.mark.parametrize("layout", SPLIT, ids=describe)
def test_grid_search_in_a_pipeline(layout, dispatch):
    grid = {"lasso__alpha": [0.01, 1.0, 30.0]}
    search = GridSearchCV(make_pipeline(StandardScaler(), ml.Lasso()), grid, cv=KFold(3))
    expected = clone(search).fit(X, Y)
    found = search.fit(make(X, layout), rows_like(Y, layout))
    assert found.best_params_ == expected.best_params_
    scores = [model.cv_results_["mean_test_score"] for model in (found, expected)]
    np.testing.assert_allclose(*scores)
    close(found.predict(make(X, layout)), expected.predict(X))


@pytest.mark.parametrize("layout", list(layouts(POINTS.shape, few=True)), ids=describe)
def test_pipelines(layout, dispatch):
    x, labels = make(POINTS, layout), rows_like(LABELS, layout)
    for first, last in (
        (ml.TruncatedSVD(2, random_state=0), ml.KMeans(3, random_state=0)),
        (ml.IncrementalPCA(2, whiten=True), ml.KNeighborsClassifier(3)),
    ):
        model = make_pipeline(StandardScaler(), first, last)
        expected = clone(model).fit(POINTS, LABELS).predict(POINTS)
        found = model.fit(x, labels).predict(x)
        close(found, expected)
        if layout.split == 0:
            assert found.layout.counts == layout.counts


def test_cross_validation(dispatch):
    layout = list(layouts(POINTS.shape))[1]
    found = cross_val_score(
        ml.KNeighborsClassifier(), make(POINTS, layout), rows_like(LABELS, layout), cv=KFold(3)
    )
    expected = cross_val_score(
        sklearn.neighbors.KNeighborsClassifier(), POINTS, LABELS, cv=KFold(3)
    )
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_clone_and_parameters(estimator):
    x = make(POINTS, list(layouts(POINTS.shape))[1])
    assert clone(estimator).get_params() == estimator.get_params()
    fitted = clone(estimator).fit(x, make(LABELS))
    assert not [name for name in vars(clone(fitted)) if name.endswith("_")]
    with pytest.raises(ValueError, match="Invalid parameter"):
        clone(estimator).set_params(nothing=1)


def test_pickles():
    model = ml.KMeans(3, random_state=0).fit(POINTS)
    again = pickle.loads(pickle.dumps(model))
    close(again.predict(POINTS), model.labels_)


@pytest.mark.parametrize("split", [0, -1])
def test_default_split(split):
    """Arrays that estimators make from host values may be split from the start: same results."""
    x, y = make(X, SPLIT[1]), rows_like(Y, SPLIT[1])
    with xp.set_options(default_split=split):
        found = [
            ml.KMeans(3, random_state=0).fit(x).cluster_centers_,
            ml.Lasso(0.1).fit(x, y).coef_,
            ml.KNeighborsRegressor().fit(x, y).predict(x),
            ml.TruncatedSVD(2, random_state=0).fit(x).components_,
        ]
    expected = [
        ml.KMeans(3, random_state=0).fit(X).cluster_centers_,
        ml.Lasso(0.1).fit(X, Y).coef_,
        ml.KNeighborsRegressor().fit(X, Y).predict(X),
        ml.TruncatedSVD(2, random_state=0).fit(X).components_,
    ]
    for mine, theirs in zip(found, expected, strict=True):
        close(mine, theirs)


# ---------------------------------------------------------------- import


@alone
def test_scikit_learn_is_optional():
    found = run(
        """
        import sys, heat_array_api
        assert "sklearn" not in sys.modules
        sys.modules["sklearn"] = None
        try:
            import heat_array_api.ml
        except ImportError as error:
            print(error)
        """
    )
    assert "pip install heat_array_api[ml]" in found.stdout, found.stderr
