"""LinearRegression, Lasso and its path against scikit-learn's, on every layout."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.linear_model
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import heat_array_api as xp
from estimating import MANY, close, other_arrays, regression, rows_like, rows_stay
from heat_array_api.ml.linear_model._lasso import Lasso, lasso_path
from heat_array_api.ml.linear_model._linear import LinearRegression
from layouts import assert_equal, describe, layouts, make

X, Y = regression()
TARGETS = regression(targets=3)[1]
WEIGHT = np.random.default_rng(8).integers(0, 4, len(X)).astype(float)
LAYOUTS = list(layouts(X.shape))
FEW = list(layouts(X.shape, few=True))
TIGHT = {"tol": 1e-10, "max_iter": 10_000}


def compare(found, expected, x, values=X, rtol=1e-8):
    close(found.coef_, expected.coef_, rtol=rtol, atol=rtol)
    close(found.intercept_, expected.intercept_, rtol=rtol, atol=rtol)
    close(found.predict(x), expected.predict(values), rtol=rtol, atol=rtol)


# ---------------------------------------------------------------- LinearRegression


@pytest.mark.parametrize("layout", LAYOUTS, ids=describe)
def test_least_squares(layout):
    x = make(X, layout)
    for y in (Y, TARGETS):
        expected = sklearn.linear_model.LinearRegression().fit(X, y)
        found = LinearRegression().fit(x, rows_like(y, layout))
        compare(found, expected, x)
        assert found.rank_ == 5
        close(found.singular_, expected.singular_)
        assert found.score(x, rows_like(y, layout)) == pytest.approx(expected.score(X, y))
    if layout.split == 0:
        assert found.predict(x).layout.counts == layout.counts


@pytest.mark.parametrize("layout", FEW, ids=describe)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_weighted_least_squares(layout, fit_intercept):
    x, weight = make(X, layout), rows_like(WEIGHT, layout)
    for y in (Y, TARGETS):
        model = sklearn.linear_model.LinearRegression(fit_intercept=fit_intercept)
        expected = model.fit(X, y, WEIGHT)
        found = LinearRegression(fit_intercept=fit_intercept)
        compare(found.fit(x, rows_like(y, layout), weight), expected, x)
        score = found.score(x, rows_like(y, layout), weight)
        assert score == pytest.approx(expected.score(X, y, WEIGHT))


@pytest.mark.parametrize("layout", FEW, ids=describe)
def test_dependent_features_get_the_least_coefficients(layout):
    values = X.copy()
    values[:, 4] = values[:, 0] - 2 * values[:, 1]
    x = make(values, layout)
    expected = sklearn.linear_model.LinearRegression().fit(values, Y)
    found = LinearRegression().fit(x, rows_like(Y, layout))
    compare(found, expected, x, values)
    assert found.rank_ == expected.rank_ == 4


@pytest.mark.parametrize("layout", list(layouts((4, 7), few=True)), ids=describe)
def test_more_features_than_samples(layout):
    values, y = regression(4, 7)
    x = make(values, layout)
    expected = sklearn.linear_model.LinearRegression().fit(values, y)
    compare(LinearRegression().fit(x, rows_like(y, layout)), expected, x, values)


@pytest.mark.parametrize("kind", [LinearRegression, lambda: Lasso(0.1, tol=1e-6)])
def test_float32(kind):
    x32, y32 = regression(dtype=np.float32)
    x = make(x32, LAYOUTS[1])
    found, expected = kind().fit(x, rows_like(y32, LAYOUTS[1])), kind().fit(x32, y32)
    assert found.coef_.dtype == found.predict(x).dtype == np.float32
    compare(found, expected, x, x32, rtol=1e-4)


def test_constant_targets_score_as_in_scikit_learn():
    constant = np.ones(len(X))
    for y in (constant, np.stack([constant, Y], axis=1)):
        for model in (LinearRegression(), Lasso(0.1)):
            model.fit(make(X, LAYOUTS[1]), rows_like(Y if y.ndim == 1 else y, LAYOUTS[1]))
            found = model.score(make(X, LAYOUTS[1]), rows_like(y, LAYOUTS[1]))
            predicted = np.asarray(model.predict(make(X, LAYOUTS[1])))
            assert found == pytest.approx(sklearn.metrics.r2_score(y, predicted))


# ---------------------------------------------------------------- Lasso


@pytest.mark.parametrize("layout", LAYOUTS, ids=describe)
def test_lasso(layout):
    x, y = make(X, layout), rows_like(Y, layout)
    expected = sklearn.linear_model.Lasso(0.5, **TIGHT).fit(X, Y)
    found = Lasso(0.5, **TIGHT).fit(x, y)
    compare(found, expected, x)
    assert found.n_iter_ == expected.n_iter_
    assert found.dual_gap_ <= 1e-10 * np.sum((Y - Y.mean()) ** 2) / len(Y)
    zeros = np.asarray(found.coef_) == 0
    np.testing.assert_array_equal(zeros, expected.coef_ == 0)
    assert zeros.any()
    assert found.sparse_coef_.nnz == int((~zeros).sum())


@pytest.mark.parametrize("layout", FEW, ids=describe)
@pytest.mark.parametrize(
    "options",
    [{"fit_intercept": False}, {"positive": True}, {"selection": "random", "random_state": 0}],
    ids=lambda options: next(iter(options)),
)
def test_lasso_options_and_weights(layout, options):
    x, y, weight = make(X, layout), rows_like(TARGETS, layout), rows_like(WEIGHT, layout)
    options = {**TIGHT, **options}
    target = TARGETS[:, 0] if "positive" in options else TARGETS
    target_of_ours = y[:, 0] if "positive" in options else y
    expected = sklearn.linear_model.Lasso(0.2, **options).fit(X, target, WEIGHT)
    for precompute in (True, False):
        found = Lasso(0.2, precompute=precompute, **options).fit(x, target_of_ours, weight)
        compare(found, expected, x, rtol=1e-5)


@pytest.mark.parametrize("layout", list(layouts((40, 11), few=True)), ids=describe)
def test_blocks_make_the_steps_of_coordinate_descent(layout, monkeypatch):
    values, y = regression(40, 11)
    x, targets = make(values, layout), rows_like(y, layout)
    whole = Lasso(0.3, precompute=True, **TIGHT).fit(x, targets)
    monkeypatch.setattr("heat_array_api.ml.linear_model._lasso.BLOCK", 4)
    blocks = Lasso(0.3, precompute=False, **TIGHT).fit(x, targets)
    assert blocks.n_iter_ == whole.n_iter_
    close(blocks.coef_, whole.coef_, rtol=1e-9)
    assert blocks.dual_gap_ == pytest.approx(whole.dual_gap_, rel=0.5, abs=1e-9)


@pytest.mark.parametrize("layout", list(layouts((12, 30), few=True)), ids=describe)
def test_lasso_with_more_features_than_samples(layout, monkeypatch):
    values, y = regression(12, 30)
    monkeypatch.setattr("heat_array_api.ml.linear_model._lasso.BLOCK", 8)
    x = make(values, layout)
    expected = sklearn.linear_model.Lasso(30.0, tol=1e-3).fit(values, y)
    for precompute in (True, False):
        model = Lasso(30.0, tol=1e-3, precompute=precompute)
        # The same steps, and so the same result long before it is exact.
        compare(model.fit(x, rows_like(y, layout)), expected, x, values, rtol=1e-6)
        assert model.n_iter_ == expected.n_iter_


def test_warm_start():
    x, y = make(X, LAYOUTS[1]), rows_like(Y, LAYOUTS[1])
    model = Lasso(0.5, warm_start=True, **TIGHT).fit(x, y)
    assert model.n_iter_ > 1
    first = np.asarray(model.coef_)
    assert model.fit(x, y).n_iter_ == 0
    close(model.coef_, first, rtol=1e-6)


def test_a_great_penalty_leaves_nothing():
    x, y = make(X, LAYOUTS[1]), rows_like(Y, LAYOUTS[1])
    found = Lasso(1e6).fit(x, y)
    close(found.coef_, np.zeros(5))
    close(found.intercept_, Y.mean())


@pytest.mark.parametrize("precompute", [True, False])
def test_lasso_warns_on_every_rank(precompute):
    x, y = make(X, LAYOUTS[1]), rows_like(Y, LAYOUTS[1])
    with pytest.warns(ConvergenceWarning, match="Objective did not converge"):
        Lasso(0.01, max_iter=1, tol=1e-12, precompute=precompute).fit(x, y)


@pytest.mark.parametrize("layout", FEW, ids=describe)
def test_path(layout):
    x, y = make(X, layout), rows_like(Y, layout)
    for options in ({}, {"positive": True}, {"alphas": [0.1, 3.0, 1.0]}):
        options = {"alphas": 12, "tol": 1e-9, "max_iter": 10_000} | options
        alphas, coefs, gaps = sklearn.linear_model.lasso_path(X, Y, **options)
        found = lasso_path(x, y, **options)
        np.testing.assert_allclose(found[0], alphas)
        close(found[1], coefs, rtol=1e-4, atol=1e-6)
        assert found[2].shape == gaps.shape


def test_numpy_and_torch_and_split_agree():
    inputs = [*other_arrays(X, Y), (make(X, LAYOUTS[1]), rows_like(Y, LAYOUTS[1]))]
    for kind in (LinearRegression(), Lasso(0.5, **TIGHT)):
        found = [kind.fit(x, y).coef_ for x, y in inputs]
        for coef in found[1:]:
            close(coef, found[0], rtol=1e-9)
            assert type(coef).__module__.split(".")[0] in ("torch", "heat_array_api")


def test_targets_of_numpy_or_in_another_layout():
    x = make(X, LAYOUTS[1])
    expected = sklearn.linear_model.LinearRegression().fit(X, Y)
    for y in (Y, list(Y), make(Y), make(Y, next(iter(list(layouts(Y.shape))[2:]), None))):
        compare(LinearRegression().fit(x, y), expected, x)


def test_what_is_sent():
    values, y = regression(MANY, 6)
    layout = list(layouts(values.shape))[1]
    x, targets = make(values, layout), rows_like(y, layout)
    with rows_stay(MANY):
        LinearRegression().fit(x, targets)
    with rows_stay(MANY) as t:
        found = Lasso(0.1, tol=1e-12).fit(x, targets)
    assert found.n_iter_ > 3
    assert t.count() <= 12  # whatever the sweeps: the sums are made once
    with rows_stay(MANY) as t:
        found.predict(x)
    assert t.bytes() <= 16
    with rows_stay(MANY):
        Lasso(0.1, precompute=False).fit(x, targets)
        lasso_path(x, targets, alphas=5)


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"alpha": -1.0}, ValueError, "Lasso: alpha is -1.0; expected a number of at least 0"),
        ({"alpha": "1"}, TypeError, "alpha is '1'"),
        ({"max_iter": 0}, ValueError, "max_iter is 0"),
        ({"tol": None}, TypeError, "tol is None"),
        ({"positive": 3}, TypeError, "positive is 3; expected True or False"),
        ({"precompute": "yes"}, TypeError, "precompute is 'yes'"),
        ({"selection": "best"}, ValueError, "selection is 'best'; expected one of 'cyclic'"),
    ],
)
def test_errors_name_the_parameter(options, error, message):
    with pytest.raises(error, match=message):
        Lasso(**options).fit(make(X, LAYOUTS[1]), make(Y))


def test_errors_of_arrays():
    x = make(X, LAYOUTS[1])
    for y, message in (
        (make(Y[:5]), "X has 60 samples but y has 5"),
        (make(np.full(60, np.nan)), "y contains NaN or infinity"),
        (make(Y[:, None, None]), "y has 3 axes; expected 1 or 2"),
    ):
        for model in (LinearRegression(), Lasso()):
            with pytest.raises(ValueError, match=message):
                model.fit(x, y)
    with pytest.raises(TypeError, match="expected numbers beside an array"):
        LinearRegression().fit(x, ["a"] * 60)
    with pytest.raises(NotFittedError):
        LinearRegression().predict(x)
    with pytest.raises(ValueError, match="y has 2 axes; expected 1"):
        lasso_path(x, make(TARGETS))
    with pytest.raises(ValueError, match=r"score: y has shape"):
        LinearRegression().fit(x, make(Y)).score(x, make(TARGETS))


def test_coefficients_are_replicated():
    x = make(X, LAYOUTS[1])
    for model in (LinearRegression(), Lasso(0.5, **TIGHT)):
        coef = model.fit(x, make(Y)).coef_
        assert_equal(coef, np.asarray(coef), split=None)
        assert isinstance(model.intercept_, xp.Array)


def test_progress(capsys):
    x = make(X, LAYOUTS[1])
    Lasso(0.5, verbose=2).fit(x, make(Y))
    assert ("Lasso: target 0: dual gap" in capsys.readouterr().out) == (x.comm.rank == 0)
