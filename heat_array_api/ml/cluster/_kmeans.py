"""k-means by Lloyd's iteration, and what it shares with the mini-batch variant."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._base import ArrayApiMixin, real, report, whole
from .._validation import as_matrix, as_samples, name_of, namespace, sample_weights
from ._lloyd import Clustering, lloyd
from ._points import Points
from ._seeding import METHODS, seed_centers


class BaseKMeans(
    ArrayApiMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator
):
    """Prediction with fitted centres, and first centres."""

    cluster_centers_: Any
    labels_: Any
    n_clusters: int
    init: Any
    n_init: Any

    def _runs(self, random_runs: int) -> int:
        """Return how many first centres are tried; ``random_runs`` for init="random"."""
        given = not isinstance(self.init, str) and not callable(self.init)
        if isinstance(self.n_init, str):
            if self.n_init != "auto":
                raise ValueError(
                    f"{name_of(self)}: n_init is {self.n_init!r}; expected 'auto' or an integer"
                )
            drawn = callable(self.init) or (not given and self.init == "random")
            return random_runs if drawn else 1
        runs = int(whole(self, "n_init", 1))
        return 1 if given else runs

    def _check_centers(self, X: Any) -> None:
        """Check the parameters that concern centres, and an array of first centres."""
        k = whole(self, "n_clusters", 1)
        if X.shape[0] < k:
            raise ValueError(f"n_samples={X.shape[0]} should be >= n_clusters={k}.")
        whole(self, "max_iter", 1)
        real(self, "tol")
        if isinstance(self.init, str):
            if self.init not in METHODS:
                raise ValueError(
                    f"{name_of(self)}: init is {self.init!r}; expected an array, a callable, or "
                    f"one of {', '.join(map(repr, METHODS))}"
                )
        elif not callable(self.init) and tuple(np.shape(self.init)) != (k, X.shape[1]):
            raise ValueError(
                f"{name_of(self)}: init has shape {tuple(np.shape(self.init))}; expected "
                f"(n_clusters, features), {(k, X.shape[1])}"
            )

    def _first_centers(self, points: Points, random: np.random.RandomState, offset: Any) -> Any:
        """Return first centres for samples from which `offset` has been subtracted."""
        if isinstance(self.init, str):
            return seed_centers(points, self.n_clusters, self.init, random)
        if callable(self.init):
            found = self.init(points.x, self.n_clusters, random_state=random)
            found = as_matrix(self, "init", found, points.x)
            if tuple(found.shape) != (self.n_clusters, points.d):
                raise ValueError(
                    f"{name_of(self)}: init returned shape {tuple(found.shape)}; expected "
                    f"{(self.n_clusters, points.d)}"
                )
            return found
        return as_matrix(self, "init", self.init, points.x) - offset

    def _shifted(self, method: str, X: Any) -> tuple[Points, Any]:
        """Return samples and centres, moved to where their differences keep their digits."""
        check_is_fitted(self)
        centers = self.cluster_centers_
        X = as_samples(self, X, fitted=(method, centers))
        xp = namespace(X)
        if centers.dtype != X.dtype:
            centers = xp.astype(centers, X.dtype)
        middle = xp.mean(centers, axis=0)
        return Points(X - middle), centers - middle

    def predict(self, X: Any) -> Any:
        """Return the nearest centre of each sample.

        Parameters
        ----------
        X : array, shape (n, d)

        Returns
        -------
        array, shape (n,), the default index dtype
            Laid out as the rows of X. Sends nothing for samples split along axis 0.
        """
        points, centers = self._shifted("predict", X)
        return points.labels(centers)

    def transform(self, X: Any) -> Any:
        """Return the distances of the samples to the centres.

        Parameters
        ----------
        X : array, shape (n, d)

        Returns
        -------
        array, shape (n, k)
            Laid out as the rows of X.
        """
        points, centers = self._shifted("transform", X)
        return points.xp.sqrt(points.squared_distances(centers))

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit, and return the labels of the samples.

        Parameters
        ----------
        X : array, shape (n, d)
        y : ignored
        sample_weight : array, shape (n,), optional

        Returns
        -------
        array, shape (n,)
            ``labels_``.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit, and return the distances of the samples to the centres.

        Parameters
        ----------
        X : array, shape (n, d)
        y : ignored
        sample_weight : array, shape (n,), optional

        Returns
        -------
        array, shape (n, k)
        """
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return minus the inertia of the samples.

        Parameters
        ----------
        X : array, shape (n, d)
        y : ignored
        sample_weight : array, shape (n,), optional

        Returns
        -------
        float
            Equal on all ranks.
        """
        points, centers = self._shifted("score", X)
        points = Points(points.x, sample_weights(self, sample_weight, points.x))
        return -points.inertia(points.labels(centers), centers)

    @property
    def _n_features_out(self) -> int:
        return int(self.cluster_centers_.shape[0])


class KMeans(BaseKMeans):
    """k-means clustering by Lloyd's iteration.

    Parameters
    ----------
    n_clusters : int
    init : {"k-means||", "k-means++", "random"}, callable or array of shape (k, d)
        First centres: by Bahmani et al. 2012 (few rounds of messages, whatever k is); by Arthur
        and Vassilvitskii 2007 (k rounds; scikit-learn's draws); samples at random; or given.
    n_init : "auto" or int
        Number of runs; the one with the least inertia counts. "auto": 10 for "random" and
        callables, else 1.
    max_iter : int
    tol : float
        Relative to the mean variance of the features: a run ends when the squares of the
        centres' moves sum up to no more. It always ends when no label changes.
    verbose : int
        1: a progress bar; 2: lines as scikit-learn prints them. On rank 0.
    random_state : int, RandomState or None
        The same on every rank.

    Attributes
    ----------
    cluster_centers_ : array, shape (k, d)
        Replicated.
    labels_ : array, shape (n,)
        Laid out as the samples.
    inertia_ : float
        The weighted sum of the squared distances of the samples to their centres.
    n_iter_ : int
    n_features_in_ : int

    Examples
    --------
    >>> X = xp.asarray([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]], split=0)
    >>> model = xp.ml.KMeans(n_clusters=2, random_state=0).fit(X)
    >>> print(xp.sort(model.cluster_centers_[:, 0]))
    [0. 9.]
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means||",
        n_init: Any = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> KMeans:
        """Cluster samples.

        Parameters
        ----------
        X : array, shape (n, d)
        y : ignored
        sample_weight : array, shape (n,), optional
            A sample of weight 2 counts as two samples.

        Returns
        -------
        KMeans
            Itself.
        """
        X = as_samples(self, X)
        self._check_centers(X)
        runs, random = self._runs(random_runs=10), check_random_state(self.random_state)
        weight = sample_weights(self, sample_weight, X)
        xp = namespace(X)
        mean = xp.mean(X, axis=0)
        points = Points(X - mean, weight)
        tol = self.tol * float(xp.mean(xp.var(points.x, axis=0))) if self.tol else 0.0
        best = self._best(points, runs, random, mean, tol)
        found = sum(count > 0 for count in points.counts(best.labels, self.n_clusters))
        if found < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({found}) found smaller than n_clusters "
                f"({self.n_clusters}). Possibly due to duplicate points in X.",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.cluster_centers_ = best.centers + mean
        self.labels_ = best.labels
        self.inertia_ = best.inertia
        self.n_iter_ = best.iterations
        return self

    def _best(
        self, points: Points, runs: int, random: np.random.RandomState, mean: Any, tol: float
    ) -> Clustering:
        best: Clustering | None = None
        # A run that ends in the same clusters may be off by rounding: the first one stands.
        margin = 1 - 8 * float(points.xp.finfo(points.x.dtype).eps)
        with report(self, points.x, runs * self.max_iter, self.verbose) as says:
            for run in range(runs):
                centers = self._first_centers(points, random, mean)
                found = lloyd(points, centers, self.max_iter, tol, says)
                says.line(
                    f"run {run + 1} of {runs}: inertia {found.inertia:.6g} "
                    f"after {found.iterations} iterations"
                )
                if best is None or found.inertia < best.inertia * margin:
                    best = found
        assert best is not None
        return best
