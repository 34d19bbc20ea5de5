"""TruncatedSVD and IncrementalPCA against scikit-learn's, on every layout."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.decomposition
from sklearn.exceptions import NotFittedError

from estimating import MANY, close, other_arrays, rows_stay
from heat_array_api.ml.decomposition._incremental_pca import IncrementalPCA
from heat_array_api.ml.decomposition._truncated_svd import TruncatedSVD
from layouts import describe, layouts, make


def low_rank(n=60, d=8, seed=5, dtype=np.float64):
    """Return samples with a falling spectrum and a mean."""
    rng = np.random.default_rng(seed)
    scales = 2.0 ** -np.arange(d)
    mixed = rng.standard_normal((n, d)) * scales
    return (mixed @ np.linalg.qr(rng.standard_normal((d, d)))[0] + 0.5).astype(dtype)


X = low_rank()
WIDE = low_rank(9, 30, seed=6)
LAYOUTS = list(layouts(X.shape))
FEW = list(layouts(X.shape, few=True))
ALGORITHMS = ("randomized", "full", "covariance_eigh")


def attributes(found, expected, names, rtol=1e-7, atol=1e-8):
    for name in names:
        close(getattr(found, name), getattr(expected, name), rtol=rtol, atol=atol)


SVD = ("components_", "singular_values_", "explained_variance_", "explained_variance_ratio_")
PCA = (*SVD, "mean_", "var_", "noise_variance_")


# ---------------------------------------------------------------- TruncatedSVD


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("layout", LAYOUTS, ids=describe)
def test_truncated_svd(layout, algorithm):
    x = make(X, layout)
    expected = sklearn.decomposition.TruncatedSVD(3, random_state=0)
    theirs = expected.fit_transform(X)
    found = TruncatedSVD(3, algorithm=algorithm, random_state=0)
    ours = found.fit_transform(x)
    attributes(found, expected, SVD)
    close(ours, theirs, atol=1e-8)
    close(found.transform(x), theirs, atol=1e-8)
    close(found.inverse_transform(ours), expected.inverse_transform(theirs), atol=1e-8)
    assert found.get_feature_names_out().tolist() == [f"truncatedsvd{i}" for i in range(3)]
    if layout.split == 0:
        assert ours.layout.counts == layout.counts
        assert found.components_.split is None


@pytest.mark.parametrize("layout", list(layouts(WIDE.shape, few=True)), ids=describe)
def test_wide_samples(layout):
    x = make(WIDE, layout)
    expected = sklearn.decomposition.TruncatedSVD(4, random_state=1).fit(WIDE)
    attributes(TruncatedSVD(4, random_state=1).fit(x), expected, SVD)
    attributes(TruncatedSVD(4, algorithm="full").fit(x), expected, SVD)


@pytest.mark.parametrize("normalizer", ["auto", "QR", "none"])
@pytest.mark.parametrize("n_iter", [0, 2, 4])
def test_power_iterations_as_in_scikit_learn(normalizer, n_iter):
    options = {"n_iter": n_iter, "n_oversamples": 1, "random_state": 3}
    options["power_iteration_normalizer"] = normalizer
    expected = sklearn.decomposition.TruncatedSVD(2, **options).fit(X)
    attributes(TruncatedSVD(2, **options).fit(make(X, LAYOUTS[1])), expected, SVD, rtol=1e-6)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_float32(algorithm):
    x32 = low_rank(dtype=np.float32)
    expected = sklearn.decomposition.TruncatedSVD(3, random_state=0).fit(x32.astype(float))
    found = TruncatedSVD(3, algorithm=algorithm, random_state=0).fit(make(x32, LAYOUTS[1]))
    assert found.components_.dtype == np.float32
    attributes(found, expected, SVD, rtol=1e-3, atol=1e-4)


# ---------------------------------------------------------------- IncrementalPCA


@pytest.mark.parametrize("layout", LAYOUTS, ids=describe)
@pytest.mark.parametrize("options", [{"n_components": 3}, {"batch_size": 13, "whiten": True}])
def test_incremental_pca(layout, options):
    x = make(X, layout)
    expected = sklearn.decomposition.IncrementalPCA(**options)
    theirs = expected.fit_transform(X)
    found = IncrementalPCA(**options)
    ours = found.fit_transform(x)
    attributes(found, expected, PCA)
    assert (found.n_samples_seen_, found.n_components_) == (60, expected.n_components_)
    close(ours, theirs, rtol=1e-6, atol=1e-7)
    close(found.inverse_transform(ours), expected.inverse_transform(theirs), atol=1e-7)
    if layout.split == 0:
        assert ours.layout.counts == layout.counts


@pytest.mark.parametrize("layout", FEW, ids=describe)
def test_batches_of_any_size(layout):
    x = make(X, layout)
    expected = sklearn.decomposition.IncrementalPCA(3)
    found = IncrementalPCA(3)
    for rows in (slice(0, 4), slice(4, 5), slice(5, 50), slice(50, 60)):
        expected.partial_fit(X[rows])
        found.partial_fit(x[rows, :])
        attributes(found, expected, PCA)
    again = IncrementalPCA(batch_size=7)
    attributes(again.fit(x), sklearn.decomposition.IncrementalPCA(batch_size=7).fit(X), PCA)


@pytest.mark.parametrize("layout", list(layouts(WIDE.shape, few=True)), ids=describe)
def test_incremental_pca_of_wide_samples(layout):
    expected = sklearn.decomposition.IncrementalPCA(2, batch_size=5).fit(WIDE)
    attributes(IncrementalPCA(2, batch_size=5).fit(make(WIDE, layout)), expected, PCA)


def test_numpy_and_torch_and_split_agree():
    for model in (TruncatedSVD(2, random_state=0), IncrementalPCA(2)):
        found = [
            model.fit(x).components_ for x in (*(a[0] for a in other_arrays(X)), make(X, FEW[1]))
        ]
        for other in found[1:]:
            close(other, found[0])
            assert not isinstance(other, np.ndarray)


def test_what_is_sent():
    values = low_rank(MANY, 6)
    x = make(values, list(layouts(values.shape))[1])
    for algorithm in ALGORITHMS:
        model = TruncatedSVD(2, algorithm=algorithm, random_state=0)
        with rows_stay(MANY):
            model.fit(x)
    with rows_stay(MANY):
        IncrementalPCA(2, batch_size=MANY // 2).fit(x)
    with rows_stay(MANY) as t:
        model.transform(x)
    assert t.bytes() <= 16


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (TruncatedSVD(0), ValueError, "TruncatedSVD: n_components is 0; expected an integer of"),
        (TruncatedSVD(9), ValueError, r"n_components\(9\) must be <= 8"),
        (TruncatedSVD(algorithm="arpack"), ValueError, "algorithm is 'arpack'; expected one of"),
        (TruncatedSVD(n_iter=-1), ValueError, "n_iter is -1"),
        (TruncatedSVD(n_oversamples=1.0), TypeError, "n_oversamples is 1.0"),
        (TruncatedSVD(power_iteration_normalizer="LU"), ValueError, "is 'LU'"),
        (IncrementalPCA(9), ValueError, "n_components=9 invalid for n_features=8"),
        (IncrementalPCA(5, batch_size=2), ValueError, "must be less or equal to the batch number"),
        (IncrementalPCA(batch_size=0), ValueError, "IncrementalPCA: batch_size is 0"),
        (IncrementalPCA(whiten=2), TypeError, "whiten is 2; expected True or False"),
    ],
    ids=str,
)
def test_errors_name_the_parameter(model, error, message):
    if "batch_size=2" in str(model):
        with pytest.raises(error, match=message):
            model.partial_fit(make(X[:2]))
        return
    with pytest.raises(error, match=message):
        model.fit(make(X, LAYOUTS[1]))


def test_errors():
    x = make(X, LAYOUTS[1])
    for model in (TruncatedSVD(2), IncrementalPCA(2)):
        with pytest.raises(NotFittedError):
            model.transform(x)
    model = IncrementalPCA(2).fit(x)
    with pytest.raises(ValueError, match="n_components was 2 for the batches before, and is 3"):
        model.set_params(n_components=3).partial_fit(x)
    with pytest.raises(ValueError, match=r"IncrementalPCA.transform\(\) must use the same"):
        model.transform(X)


def test_progress(capsys):
    x = make(X, LAYOUTS[1])
    IncrementalPCA(2, verbose=2).fit(x)
    assert ("60 of 60 samples" in capsys.readouterr().out) == (x.comm.rank == 0)
