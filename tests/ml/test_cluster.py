"""KMeans and MiniBatchKMeans against scikit-learn's, on every layout."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.cluster
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import heat_array_api as xp
from estimating import MANY, blobs, close, other_arrays, rows_like, rows_stay
from heat_array_api.ml.cluster._kmeans import KMeans
from heat_array_api.ml.cluster._minibatch import MiniBatchKMeans
from heat_array_api.ml.cluster._points import Points
from heat_array_api.ml.cluster._seeding import seed_centers
from layouts import assert_equal, describe, layouts, make, same_everywhere

X, TRUE = blobs()
FIRST = X[[0, 3, 6]]  # all of one blob: a few iterations are needed
WEIGHT = np.random.default_rng(8).integers(0, 4, len(X)).astype(float)
LAYOUTS = list(layouts(X.shape))


def theirs(x=X, weight=None, **options):
    options = {"n_clusters": 3, "random_state": 0, "n_init": 1} | options
    return sklearn.cluster.KMeans(**options).fit(x, sample_weight=weight)


def ours(x, weight=None, **options):
    options = {"n_clusters": 3, "random_state": 0, "n_init": 1} | options
    return KMeans(**options).fit(x, sample_weight=weight)


def compare(found, expected, x, rtol=1e-9):
    close(found.cluster_centers_, expected.cluster_centers_, rtol=rtol)
    assert found.inertia_ == pytest.approx(expected.inertia_, rel=max(rtol, 1e-9))
    assert found.n_iter_ == expected.n_iter_
    close(found.labels_, expected.labels_)
    close(found.predict(x), expected.labels_)


@pytest.mark.parametrize("layout", LAYOUTS, ids=describe)
def test_same_first_centers_same_clusters(layout):
    x, expected = make(X, layout), theirs(init=FIRST)
    found = ours(x, init=FIRST)
    compare(found, expected, x)
    close(found.transform(x), expected.transform(X), atol=1e-6)
    assert found.score(x) == pytest.approx(expected.score(X))
    if layout.split == 0:
        assert_equal(found.labels_, expected.labels_, dtype=np.int64, split=0)
        assert found.transform(x).split == 0
        assert found.labels_.layout.counts == layout.counts


@pytest.mark.parametrize("layout", list(layouts(X.shape, few=True)), ids=describe)
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_same_draws_as_scikit_learn(layout, init):
    x = make(X, layout)
    compare(ours(x, init=init, n_init=3), theirs(init=init, n_init=3), x)
    weight = rows_like(WEIGHT, layout)
    compare(ours(x, weight, init=init), theirs(X, WEIGHT, init=init), x)


@pytest.mark.parametrize("layout", list(layouts(X.shape, few=True)), ids=describe)
def test_sample_weights(layout):
    x, weight = make(X, layout), rows_like(WEIGHT, layout)
    expected = theirs(X, WEIGHT, init=FIRST)
    found = ours(x, weight, init=FIRST)
    compare(found, expected, x)
    score = found.score(x, sample_weight=weight)
    assert score == pytest.approx(expected.score(X, sample_weight=WEIGHT))
    assert ours(x, 2.0, init=FIRST).inertia_ == pytest.approx(2 * theirs(init=FIRST).inertia_)


@pytest.mark.parametrize("layout", list(layouts(X.shape, few=True)), ids=describe)
def test_float32(layout):
    x32 = X.astype(np.float32)
    x = make(x32, layout)
    found = ours(x, init=FIRST)
    assert found.cluster_centers_.dtype == np.float32
    compare(found, theirs(x32, init=FIRST), x, rtol=1e-5)


@pytest.mark.parametrize("method", ["k-means||", "k-means++", "random"])
def test_numpy_and_torch_and_split_agree(method):
    found = [ours(x, init=method) for x in (*[a[0] for a in other_arrays(X)], make(X, LAYOUTS[1]))]
    for other in found[1:]:
        close(other.cluster_centers_, found[0].cluster_centers_, rtol=1e-9)
        assert type(other.cluster_centers_) is not np.ndarray
        assert other.inertia_ == pytest.approx(found[0].inertia_)


def test_many_centers_are_taken_in_groups(monkeypatch):
    monkeypatch.setattr("heat_array_api.ml.cluster._points.column_width", lambda n, d, itemsize: 4)
    x = make(X, LAYOUTS[1])
    first = X[:11]
    options = {"n_clusters": 11, "init": first}
    assert Points(x).groups(11) == [(0, 4), (4, 8), (8, 11)]
    compare(ours(x, **options), theirs(**options), x)


def test_no_intermediate_is_wider_than_the_working_memory_allows():
    import sklearn

    with sklearn.config_context(working_memory=1):
        assert Points(np.zeros((10**6, 3))).width == 16
        assert Points(np.zeros((10**5, 64))).width == 64
    assert Points(np.zeros((1000, 3))).width > 1000


@pytest.mark.parametrize("layout", list(layouts((200, 2), few=True)), ids=describe)
def test_empty_clusters_are_filled(layout):
    values = blobs(200, 2, 5, seed=1)[0]
    first = np.concatenate([values[:4], [[1e3, 1e3]]])  # nobody's nearest
    x = make(values, layout)
    options = {"n_clusters": 5, "init": first}
    compare(ours(x, **options), theirs(values, **options), x)
    weight = np.linspace(0.5, 2, 200)
    compare(ours(x, rows_like(weight, layout), **options), theirs(values, weight, **options), x)


@pytest.mark.parametrize("layout", list(layouts((6, 2), few=True)), ids=describe)
def test_fewer_different_samples_than_clusters(layout):
    values = np.repeat([[0.0, 1.0], [4.0, 1.0]], 3, axis=0)
    x = make(values, layout)
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\) found smaller"):
        found = ours(x, n_clusters=3)
    assert found.inertia_ == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("layout", list(layouts((3, 2))), ids=describe)
def test_fewer_rows_than_ranks(layout):
    values = np.asarray([[0.0, 1.0], [0.5, 1.0], [9.0, 9.0]])
    x = make(values, layout)
    expected = theirs(values, n_clusters=2, init=values[:2])
    compare(ours(x, n_clusters=2, init=values[:2]), expected, x)
    for init in ("k-means||", "k-means++", "random"):
        same_everywhere(init, repr(ours(x, n_clusters=2, init=init).inertia_))


def test_parallel_seeding_is_near_the_best():
    values = blobs(600, 4, 6, seed=6)[0]
    for layout in layouts(values.shape, few=True):
        x = make(values, layout)
        found = ours(x, n_clusters=6, init="k-means||", random_state=1)
        best = theirs(values, n_clusters=6, n_init=10).inertia_
        assert found.inertia_ < 1.5 * best
        centers = seed_centers(Points(x), 6, "k-means||", np.random.RandomState(1))
        assert centers.shape == (6, 4)


def test_seeds_of_weighted_samples_have_weights():
    weight = np.where(TRUE == 0, 1.0, 0.0)
    allowed = set(map(tuple, X[TRUE == 0]))
    for method in ("k-means++", "random"):
        points = Points(make(X, LAYOUTS[1]), rows_like(weight, LAYOUTS[1]))
        found = np.asarray(seed_centers(points, 5, method, np.random.RandomState(0)))
        assert set(map(tuple, found)) <= allowed
    with pytest.raises(ValueError, match="only 30 samples have a weight"):
        seed_centers(points, 31, "random", np.random.RandomState(0))


def test_callable_init_and_array_of_the_namespace():
    x = make(X, LAYOUTS[1])
    expected = theirs(init=FIRST)
    mean = X.mean(axis=0)
    compare(ours(x, init=lambda a, k, random_state: FIRST - mean), expected, x)
    compare(clone(KMeans(3, init=make(FIRST))).fit(x), expected, x)
    with pytest.raises(ValueError, match=r"init returned shape \(1, 3\)"):
        ours(x, init=lambda a, k, random_state: FIRST[:1])


def test_random_state_none_is_the_same_on_all_ranks():
    x = make(X, LAYOUTS[1])
    np.random.seed(3)  # as on all ranks of a job
    found = KMeans(3, init="random").fit(x)
    same_everywhere("inertia", repr(found.inertia_))


def test_messages_of_an_iteration():
    values = blobs(MANY, 4, 3, seed=5)[0]
    x = make(values, next(iter(list(layouts(values.shape))[1:])))
    with rows_stay(MANY) as t:
        found = ours(x, init=values[:3])
    if x.comm.size > 1:
        # Two messages an iteration, and few beside.
        assert t.count("allreduce") <= 2 * found.n_iter_ + 8
    with rows_stay(MANY):
        ours(x)
    with xp.trace() as t:
        found.predict(x)
    assert t.bytes() <= 16  # whether X is finite
    with rows_stay(MANY):
        MiniBatchKMeans(3, batch_size=64, random_state=0).fit(x)


# ---------------------------------------------------------------- mini-batches


MINI = {"n_clusters": 3, "random_state": 0, "batch_size": 20}


@pytest.mark.parametrize("layout", list(layouts(X.shape, few=True)), ids=describe)
@pytest.mark.parametrize(
    "options",
    [
        {"init": FIRST, "n_init": 1},
        {"init": "k-means++", "n_init": 2},
        {"init": "random", "n_init": 1, "tol": 0.1},
        {
            "init": FIRST,
            "n_init": 1,
            "compute_labels": False,
            "max_no_improvement": None,
            "max_iter": 10,
        },
        {"init": X[:25], "n_init": 1, "n_clusters": 25, "max_iter": 5},  # reassigns
    ],
    ids=["given", "k-means++", "random", "no labels", "many clusters"],
)
def test_minibatch_draws_as_scikit_learn(layout, options):
    x, options = make(X, layout), MINI | options
    expected = sklearn.cluster.MiniBatchKMeans(**options).fit(X)
    found = MiniBatchKMeans(**options).fit(x)
    close(found.cluster_centers_, expected.cluster_centers_, rtol=1e-7)
    assert (found.n_steps_, found.n_iter_) == (expected.n_steps_, expected.n_iter_)
    assert found.inertia_ == pytest.approx(expected.inertia_)
    assert hasattr(found, "labels_") == options.get("compute_labels", True)
    close(found.predict(x), expected.predict(X))


@pytest.mark.parametrize("layout", list(layouts(X.shape, few=True)), ids=describe)
def test_minibatch_weights_and_partial_fit(layout):
    x, weight = make(X, layout), rows_like(WEIGHT, layout)
    options = MINI | {"init": FIRST, "n_init": 1}
    expected = sklearn.cluster.MiniBatchKMeans(**options).fit(X, sample_weight=WEIGHT)
    found = MiniBatchKMeans(**options).fit(x, sample_weight=weight)
    close(found.cluster_centers_, expected.cluster_centers_, rtol=1e-7)
    expected = sklearn.cluster.MiniBatchKMeans(**options)
    found = MiniBatchKMeans(**options)
    for rows in (slice(0, 40), slice(40, 90)):
        expected.partial_fit(X[rows], sample_weight=WEIGHT[rows])
        found.partial_fit(x[rows, :], sample_weight=weight[rows])
        close(found.cluster_centers_, expected.cluster_centers_, rtol=1e-7)
    assert found.n_steps_ == 2
    close(found.labels_, expected.labels_)


def test_minibatch_warns_of_a_small_init_size():
    with pytest.warns(RuntimeWarning, match="init_size=2 should be larger than n_clusters=3"):
        MiniBatchKMeans(3, init_size=2, random_state=0).fit(make(X, LAYOUTS[1]))


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_clusters": 0}, ValueError, "KMeans: n_clusters is 0; expected an integer of at least"),
        ({"n_clusters": 2.5}, TypeError, "n_clusters is 2.5"),
        ({"n_clusters": 99}, ValueError, "n_samples=90 should be >= n_clusters=99"),
        ({"init": "best"}, ValueError, "init is 'best'; expected an array, a callable, or one"),
        ({"init": X[:2]}, ValueError, r"init has shape \(2, 3\); expected"),
        ({"n_init": "ten"}, ValueError, "n_init is 'ten'"),
        ({"n_init": 0}, ValueError, "n_init is 0"),
        ({"max_iter": 0}, ValueError, "max_iter is 0"),
        ({"tol": -1.0}, ValueError, "tol is -1.0"),
    ],
)
@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans])
def test_errors_name_the_parameter(kind, options, error, message):
    message = message.replace("KMeans:", f"{kind.__name__}:")
    for x in (X, make(X, LAYOUTS[1])):
        with pytest.raises(error, match=message):
            kind(**({"n_clusters": 3} | options)).fit(x)


def test_errors_of_minibatch_parameters():
    for name in ("batch_size", "init_size", "reassignment_ratio", "max_no_improvement"):
        with pytest.raises(ValueError, match=f"MiniBatchKMeans: {name} is -1"):
            MiniBatchKMeans(3).set_params(**{name: -1}).fit(X)


def test_errors_of_arrays():
    x = make(X, LAYOUTS[1])
    with pytest.raises(NotFittedError):
        KMeans(3).predict(x)
    for bad, message in (
        (make(X[:, 0]), "X has 1 axes; expected 2D"),
        (make(X * 1j), "complex data are not supported"),
        (make(np.where(X[7, 1] == X, np.nan, X), LAYOUTS[1]), "X contains NaN or infinity"),
    ):
        with pytest.raises(ValueError, match=message):
            KMeans(3).fit(bad)
    for weight, message in (
        (make(np.ones(5)), "sample_weight.shape == "),
        (make(-np.ones(90)), "Negative values in data passed to `sample_weight`"),
        (make(np.zeros(90)), "sample_weight is zero for every sample"),
        (make(np.full(90, np.inf)), "sample_weight contains NaN or infinity"),
        (make(np.ones((90, 2))), "sample_weight has 2 axes"),
    ):
        with pytest.raises(ValueError, match=message):
            KMeans(3).fit(x, sample_weight=weight)
    found = KMeans(3, random_state=0).fit(x)
    with pytest.raises(ValueError, match="X has 2 features, but KMeans is expecting 3"):
        found.predict(x[:, :2])
    with pytest.raises(ValueError, match=r"KMeans.predict\(\) must use the same namespace"):
        found.predict(X)


def test_integers_become_floats():
    x = make(np.round(X).astype(np.int64), LAYOUTS[1])
    compare(ours(x, init=FIRST), theirs(np.round(X), init=FIRST), x)


def test_progress(capsys):
    x = make(X, LAYOUTS[1])
    ours(x, init=FIRST, verbose=2)
    lines = capsys.readouterr().out
    assert ("KMeans: iteration 1, center shift" in lines) == (x.comm.rank == 0)
    assert ("run 1 of 1: inertia" in lines) == (x.comm.rank == 0)
    ours(x, init=FIRST, verbose=1)
    assert ("KMeans" in capsys.readouterr().err) == (x.comm.rank == 0)
