"""Nearest neighbours by tiles against scikit-learn's, on every layout."""

from __future__ import annotations

import contextlib
import itertools

import numpy as np
import pytest
import sklearn
import sklearn.neighbors
from sklearn.exceptions import NotFittedError

import heat_array_api as xp
from estimating import MANY, blobs, close, other_arrays, rows_like
from heat_array_api.ml._validation import namespace
from heat_array_api.ml.neighbors._nearest import METRICS, _candidates, tiles
from heat_array_api.ml.neighbors._neighbors import KNeighborsClassifier, KNeighborsRegressor
from layouts import agree, assert_equal, describe, layouts, make

X = np.random.default_rng(2).standard_normal((70, 3)) + 1.0
CLASSES = 10 * (X[:, 0] > 1) + (X[:, 1] > 1.5)
TARGETS = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2])], axis=1)
QUERIES = np.random.default_rng(3).standard_normal((37, 3)) + 1.0
LAYOUTS = list(layouts(X.shape, few=True))
PAIRS = [
    (training, queries)
    for training in layouts(X.shape, few=True)
    for queries in layouts(QUERIES.shape, few=True)
    if training.split in (None, 0) and queries.split in (None, 0)
]
PAIRS += [(LAYOUTS[-1], list(layouts(QUERIES.shape))[-1])]  # split 1


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Take several tiles, of 23 rows, for so few samples."""
    bounds = [(0, 23), (23, 46), (46, 69), (69, 70)]
    monkeypatch.setattr(
        "heat_array_api.ml.neighbors._nearest.tiles",
        lambda queries, rows, d, itemsize: bounds if rows == 70 else tiles(queries, rows, d, 8),
    )


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(map(describe, pair)))
@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_classes(pair, weights):
    training, queries = pair
    x, labels, q = make(X, training), rows_like(CLASSES, training), make(QUERIES, queries)
    expected = sklearn.neighbors.KNeighborsClassifier(4, weights=weights).fit(X, CLASSES)
    found = KNeighborsClassifier(4, weights=weights).fit(x, labels)
    close(found.classes_, expected.classes_)
    distances, indices = expected.kneighbors(QUERIES)
    ours = found.kneighbors(q)
    close(ours[0], distances, rtol=1e-9)
    close(ours[1], indices)
    close(found.predict_proba(q), expected.predict_proba(QUERIES))
    answer = found.predict(q)
    assert answer.dtype == CLASSES.dtype
    close(answer, expected.predict(QUERIES))
    truth = expected.predict(QUERIES)
    truth[:5] += 1
    assert found.score(q, rows_like(truth, queries)) == pytest.approx(32 / 37)
    weight = np.arange(37.0)
    assert found.score(q, truth, weight) == pytest.approx(weight[5:].sum() / weight.sum())
    if queries.split == 0:
        assert_equal(answer, expected.predict(QUERIES), split=0)
        assert answer.layout.counts == ours[1].layout.counts == queries.counts


@pytest.mark.parametrize("layout", LAYOUTS, ids=describe)
def test_regression(layout):
    x, q = make(X, layout), make(QUERIES, list(layouts(QUERIES.shape))[1])
    for y, weights in ((TARGETS, "distance"), (TARGETS[:, 0], lambda d: 1 / (1 + d))):
        expected = sklearn.neighbors.KNeighborsRegressor(5, weights=weights).fit(X, y)
        found = KNeighborsRegressor(5, weights=weights).fit(x, rows_like(y, layout))
        close(found.predict(q), expected.predict(QUERIES))
        score = found.score(q, expected.predict(QUERIES) + 1)
        assert score == pytest.approx(expected.score(QUERIES, expected.predict(QUERIES) + 1))


@pytest.mark.parametrize("layout", LAYOUTS, ids=describe)
def test_training_samples_are_not_their_own_neighbors(layout):
    x, labels = make(X, layout), rows_like(CLASSES, layout)
    expected = sklearn.neighbors.KNeighborsClassifier().fit(X, CLASSES)
    found = KNeighborsClassifier().fit(x, labels)
    for mine, theirs in zip(found.kneighbors(), expected.kneighbors(), strict=True):
        close(mine, theirs)
    close(found.kneighbors(n_neighbors=2, return_distance=False), expected.kneighbors()[1][:, :2])


@pytest.mark.parametrize(
    ("metric", "p"), [*((metric, 2) for metric in METRICS), ("minkowski", 1), ("minkowski", 3)]
)
def test_metrics(metric, p):
    x, q = make(X, LAYOUTS[1]), make(QUERIES, list(layouts(QUERIES.shape))[1])
    options = {"metric": metric, "p": p}
    expected = sklearn.neighbors.KNeighborsClassifier(3, **options).fit(X, CLASSES)
    found = KNeighborsClassifier(3, **options).fit(x, rows_like(CLASSES, LAYOUTS[1]))
    for mine, theirs in zip(found.kneighbors(q), expected.kneighbors(QUERIES), strict=True):
        close(mine, theirs, rtol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ties_go_to_the_first_row(dtype):
    grid = np.stack(np.meshgrid(np.arange(9), np.arange(9)), axis=-1).reshape(-1, 2)
    grid = np.concatenate([grid, grid]).astype(dtype)
    for layout in layouts(grid.shape, few=True):
        found = KNeighborsClassifier(7).fit(make(grid, layout), np.arange(162) % 2)
        distances = np.linalg.norm(grid[:, None, :] - grid[None, :, :], axis=2)
        order = np.argsort(distances, axis=1, kind="stable")[:, :7]
        mine = found.kneighbors(make(grid, layout))
        close(mine[1], order)
        close(mine[0], np.take_along_axis(distances, order, axis=1), rtol=1e-6)


def test_equal_samples_alone_count_by_distance():
    x = make(X, LAYOUTS[1])
    found = KNeighborsRegressor(5, weights="distance").fit(x, rows_like(TARGETS, LAYOUTS[1]))
    close(found.predict(x), TARGETS)


def test_float32_is_as_exact_as_float64():
    x32 = (X + 100).astype(np.float32)
    x = make(x32, LAYOUTS[1])
    expected = sklearn.neighbors.KNeighborsClassifier().fit(x32.astype(float), CLASSES)
    found = KNeighborsClassifier().fit(x, rows_like(CLASSES, LAYOUTS[1]))
    close(found.kneighbors()[1], expected.kneighbors()[1])


@pytest.mark.parametrize("width", [1, 15, 16, 40, 200])
def test_candidates_hold_the_least_in_order(width):
    rng = np.random.default_rng(width)
    for values in (rng.standard_normal((5, width)), rng.integers(0, 3, (5, width)) * 1.0):
        for k in (1, 3, 9):
            found, columns = _candidates(namespace(values), values, k)
            first = np.argsort(found, axis=1, kind="stable")[:, :k]
            order = np.argsort(values, axis=1, kind="stable")[:, :k]
            np.testing.assert_array_equal(np.take_along_axis(columns, first, axis=1), order)
            real = columns < width  # the rest fills the last group up
            picked = np.take_along_axis(values, np.where(real, columns, 0), axis=1)
            np.testing.assert_array_equal(found, np.where(real, picked, np.inf))


def test_tiles_cover_all_rows_and_are_small():
    for queries, rows in ((10, 5), (100, 1000), (10**7, 10**6)):
        found = list(tiles(queries, rows, 8, 8))
        assert found[0][0] == 0
        assert found[-1][1] == rows
        assert all(a[1] == b[0] for a, b in itertools.pairwise(found))
        assert max(stop - start for start, stop in found) <= max(16, rows // 64)


def test_numpy_and_torch_and_split_agree():
    expected = None
    for x, y, q in (
        *other_arrays(X, CLASSES, QUERIES),
        (make(X, LAYOUTS[1]), rows_like(CLASSES, LAYOUTS[1]), make(QUERIES)),
    ):
        found = KNeighborsClassifier().fit(x, y).predict(q)
        expected = found if expected is None else expected
        close(found, expected)


def test_labels_of_any_kind():
    x = make(X, LAYOUTS[1])
    for y in (CLASSES > 5, CLASSES.astype(float), CLASSES - 4):
        expected = sklearn.neighbors.KNeighborsClassifier().fit(X, y)
        for given in (y, rows_like(y, LAYOUTS[1])):
            found = KNeighborsClassifier().fit(x, given)
            close(found.predict(x), expected.predict(X))
    named = np.asarray(["low", "mid", "high"])[CLASSES % 3]
    assert KNeighborsClassifier(1).fit(X, named).predict(X).tolist() == named.tolist()
    with pytest.raises(TypeError, match="KNeighborsClassifier: y: expected numbers beside"):
        KNeighborsClassifier().fit(x, named)


@contextlib.contextmanager
def rows_come_by_tiles(n):
    """Check that no message carries n bytes; all-to-alls ask for the neighbours' labels."""
    with xp.trace() as t:
        yield t
    agree(None if all(e.bytes < n for e in t.events) else t.summary())


def test_what_is_sent():
    values, labels = blobs(MANY, 4)
    layout = list(layouts(values.shape))[1]
    x = make(values, layout)
    with sklearn.config_context(working_memory=64):
        model = KNeighborsClassifier(3).fit(x, rows_like(labels, layout))
        queries = make(values[:64], list(layouts((64, 4)))[1])
        with rows_come_by_tiles(MANY) as t:
            answer = model.predict(queries)
    close(
        answer, sklearn.neighbors.KNeighborsClassifier(3).fit(values, labels).predict(values[:64])
    )
    if x.comm.size > 1:
        # Every training row comes by once.
        assert t.bytes("allgather") <= 1.1 * values.nbytes


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_neighbors": 0}, ValueError, "KNeighbors[A-Za-z]*: n_neighbors is 0; expected"),
        ({"n_neighbors": 1.5}, TypeError, "n_neighbors is 1.5"),
        ({"weights": "near"}, ValueError, "weights is 'near'; expected one of 'uniform'"),
        ({"metric": "hamming"}, ValueError, "metric is 'hamming'"),
        ({"p": 0.5}, ValueError, "p is 0.5; expected a number of at least 1"),
    ],
)
@pytest.mark.parametrize("kind", [KNeighborsClassifier, KNeighborsRegressor])
def test_errors_name_the_parameter(kind, options, error, message):
    with pytest.raises(error, match=message):
        kind(**options).fit(make(X, LAYOUTS[1]), make(CLASSES))


def test_errors_of_arrays():
    x = make(X, LAYOUTS[1])
    with pytest.raises(NotFittedError):
        KNeighborsClassifier().predict(x)
    for y, message in (
        (make(CLASSES[:5]), "X has 70 samples but y has 5"),
        (make(X), "y has 2 axes; expected 1"),
        (make(X[:, 0]), "Unknown label type: y is continuous"),
    ):
        with pytest.raises(ValueError, match=message):
            KNeighborsClassifier().fit(x, y)
    found = KNeighborsClassifier(71).fit(x, make(CLASSES))
    with pytest.raises(ValueError, match="expected 1 <= n_neighbors <= n_samples_fit, but"):
        found.predict(x)
    with pytest.raises(ValueError, match="n_samples_fit - 1, but n_neighbors = 70"):
        found.kneighbors(n_neighbors=70)
    with pytest.raises(TypeError, match=r"n_neighbors is 2\.0"):
        found.kneighbors(n_neighbors=2.0)
    with pytest.raises(ValueError, match=r"score: y has shape"):
        found.set_params(n_neighbors=1).score(x, make(CLASSES[:5]))
