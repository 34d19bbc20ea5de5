"""Classification and regression by the k nearest neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from .._base import AccuracyMixin, ArrayApiMixin, R2Mixin, one_of, real, report, whole
from .._validation import (
    align,
    as_samples,
    beside,
    foreign,
    from_host,
    name_of,
    namespace,
)
from .._validation import (
    samples_and_targets as _samples_and_targets,
)
from ._nearest import METRICS, nearest_rows


class NeighborsBase(ArrayApiMixin, BaseEstimator):
    """The search."""

    n_neighbors: int
    weights: Any

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        weights: Any = "uniform",
        p: float = 2,
        metric: str = "minkowski",
        verbose: int = 0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.p = p
        self.metric = metric
        self.verbose = verbose

    def _check(self) -> None:
        whole(self, "n_neighbors", 1)
        real(self, "p", 1)
        one_of(self, "metric", METRICS)
        if not callable(self.weights):
            one_of(self, "weights", ("uniform", "distance"))

    def _found(self, method: str, X: Any) -> tuple[Any, Any]:
        """Return distances and indices for a method of this name."""
        check_is_fitted(self)
        X = as_samples(self, X, fitted=(method, self._fit_X))
        return self._search(X, self.n_neighbors, alone=False)

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any:
        """Return the nearest training samples.

        Parameters
        ----------
        X : array, shape (n, d), optional
            The queries; without them, the training samples, none its own neighbour.
        n_neighbors : int, optional
            Those of the estimator by default.
        return_distance : bool

        Returns
        -------
        distances : array, shape (n, k)
            Ascending; with `return_distance`.
        indices : array, shape (n, k)
            Of the training samples; of equal distances the first. Both are laid out as the
            queries.
        """
        check_is_fitted(self)
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
            raise TypeError(f"{name_of(self)}: n_neighbors is {k!r}; expected an integer")
        alone = X is None
        X = self._fit_X if alone else as_samples(self, X, fitted=("kneighbors", self._fit_X))
        distances, indices = self._search(X, int(k), alone)
        return (distances, indices) if return_distance else indices

    def _search(self, X: Any, k: int, alone: bool) -> tuple[Any, Any]:
        most = self.n_samples_fit_ - alone
        if not 1 <= k <= most:
            raise ValueError(
                f"{name_of(self)}: expected 1 <= n_neighbors <= n_samples_fit{' - 1' * alone}, "
                f"but n_neighbors = {k}, n_samples_fit = {self.n_samples_fit_}"
            )
        with report(self, X, self.n_samples_fit_, self.verbose) as says:
            return nearest_rows(
                X,
                self._fit_X,
                k,
                metric=self.metric,
                p=self.p,
                exclude_self=alone,
                step=lambda n: says.step("training rows", n),
            )

    def _weights(self, distances: Any) -> Any:
        """Return the neighbours' weights, which sum to 1 for each query."""
        xp = namespace(distances)
        if callable(self.weights):
            weights = self.weights(distances)
        elif self.weights == "distance":
            # Where some neighbours are the query itself, they alone count.
            same = distances == 0
            any_same = xp.any(same, axis=1)[:, None]
            inverse = 1 / xp.where(same, 1.0, distances)
            weights = xp.where(any_same, xp.astype(same, distances.dtype), inverse)
        else:
            weights = xp.ones_like(distances)
        return weights / xp.sum(weights, axis=1)[:, None]

    def _of_neighbors(self, values: Any, indices: Any) -> Any:
        """Return values of the training rows, (m, ...), at indices (n, k): (n, k, ...)."""
        xp = namespace(values)
        flat = xp.take(values, xp.reshape(indices, (-1,)), axis=0)
        return xp.reshape(flat, (*indices.shape, *values.shape[1:]))


class KNeighborsClassifier(AccuracyMixin, ClassifierMixin, NeighborsBase):
    """Classification by a vote of the k nearest training samples.

    Parameters
    ----------
    n_neighbors : int
    weights : {"uniform", "distance"} or callable
        Of the votes; a callable makes an array of weights of one of distances.
    p : float
        Of the Minkowski metric, at least 1.
    metric : {"minkowski", "euclidean", "manhattan", "chebyshev", "cosine"}
    verbose : int
        1: a progress bar over the training samples; 2: lines. On rank 0.

    Attributes
    ----------
    classes_ : array, shape (classes,)
    n_samples_fit_ : int
    n_features_in_ : int

    Notes
    -----
    Fitting keeps the training samples where they are. A prediction brings each of them to
    each rank once, a tile at a time.

    Examples
    --------
    >>> X = xp.asarray([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]], split=0)
    >>> model = xp.ml.KNeighborsClassifier(n_neighbors=1).fit(X, xp.asarray([0, 0, 1, 1]))
    >>> print(model.predict(xp.asarray([[8.0, 8.0]])))
    [1]
    """

    def fit(self, X: Any, y: Any) -> KNeighborsClassifier:
        """Keep the training samples.

        Parameters
        ----------
        X : array, shape (m, d)
        y : array, shape (m,)
            Class labels: numbers; also strings, for X of NumPy.

        Returns
        -------
        KNeighborsClassifier
            Itself.
        """
        self._check()
        if foreign(X):
            X, y = self._foreign(X, y)
            xp = namespace(X)
            self.classes_ = xp.unique_values(y)
            self._codes = xp.searchsorted(self.classes_, y)
        else:
            y = beside(y, X) if foreign(y) else y
            X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], multi_output=True)
            y = column_or_1d(y, warn=True)
            check_classification_targets(y)
            self.classes_, self._codes = np.unique(y, return_inverse=True)
        self._fit_X, self.n_samples_fit_ = X, X.shape[0]
        return self

    def _foreign(self, X: Any, y: Any) -> tuple[Any, Any]:
        who = name_of(self)
        X = as_samples(self, X)
        try:
            y = beside(y, X)
        except TypeError as error:
            raise TypeError(f"{who}: y: {error}") from None
        if y.ndim != 1:
            raise ValueError(f"{who}: y has {y.ndim} axes; expected 1")
        if y.shape[0] != X.shape[0]:
            raise ValueError(f"{who}: X has {X.shape[0]} samples but y has {y.shape[0]}")
        xp = namespace(X)
        if xp.isdtype(y.dtype, "bool"):
            y = xp.astype(y, xp.int64)
        if xp.isdtype(y.dtype, "real floating") and not bool(xp.all(xp.round(y) == y)):
            raise ValueError(f"{who}: Unknown label type: y is continuous; expected classes")
        return X, align(y, X)

    def predict_proba(self, X: Any) -> Any:
        """Return each class's part of the votes.

        Parameters
        ----------
        X : array, shape (n, d)

        Returns
        -------
        array, shape (n, classes)
            Laid out as the rows of X.
        """
        return self._votes("predict_proba", X)

    def _votes(self, method: str, X: Any) -> Any:
        distances, indices = self._found(method, X)
        xp = namespace(distances)
        weights, codes = self._weights(distances), self._of_neighbors(self._codes, indices)
        classes = from_host(range(self.classes_.shape[0]), distances, codes.dtype)
        votes = None
        for j in range(indices.shape[1]):
            chosen = codes[:, j][:, None] == classes[None, :]
            vote = xp.where(chosen, weights[:, j][:, None], 0.0)
            votes = vote if votes is None else votes + vote
        return votes

    def predict(self, X: Any) -> Any:
        """Return the class of most votes; of several, the first.

        Parameters
        ----------
        X : array, shape (n, d)

        Returns
        -------
        array, shape (n,)
            Laid out as the rows of X.
        """
        votes = self._votes("predict", X)
        xp = namespace(votes)
        winner = xp.argmax(votes, axis=1)
        if isinstance(self.classes_, np.ndarray):
            return self.classes_[winner]
        return xp.take(self.classes_, winner, axis=0)


class KNeighborsRegressor(R2Mixin, MultiOutputMixin, RegressorMixin, NeighborsBase):
    """Regression by the mean of the k nearest training samples.

    Parameters
    ----------
    n_neighbors : int
    weights : {"uniform", "distance"} or callable
        Of the mean; a callable makes an array of weights of one of distances.
    p : float
        Of the Minkowski metric, at least 1.
    metric : {"minkowski", "euclidean", "manhattan", "chebyshev", "cosine"}
    verbose : int
        1: a progress bar over the training samples; 2: lines. On rank 0.

    Attributes
    ----------
    n_samples_fit_ : int
    n_features_in_ : int

    Examples
    --------
    >>> X = xp.asarray([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]], split=0)
    >>> model = xp.ml.KNeighborsRegressor(n_neighbors=2).fit(X, xp.asarray([0.0, 2.0, 4.0, 6.0]))
    >>> print(model.predict(xp.asarray([[8.0, 8.0]])))
    [5.]
    """

    def fit(self, X: Any, y: Any) -> KNeighborsRegressor:
        """Keep the training samples.

        Parameters
        ----------
        X : array, shape (m, d)
        y : array, shape (m,) or (m, targets)

        Returns
        -------
        KNeighborsRegressor
            Itself.
        """
        self._check()
        self._fit_X, self._y = _samples_and_targets(self, X, y)
        self.n_samples_fit_ = self._fit_X.shape[0]
        return self

    def predict(self, X: Any) -> Any:
        """Return the weighted mean of the neighbours' targets.

        Parameters
        ----------
        X : array, shape (n, d)

        Returns
        -------
        array, shape (n,) or (n, targets)
            Laid out as the rows of X.
        """
        distances, indices = self._found("predict", X)
        xp = namespace(distances)
        weights, values = self._weights(distances), self._of_neighbors(self._y, indices)
        if values.ndim == 3:
            weights = weights[:, :, None]
        return xp.astype(xp.sum(weights * values, axis=1), self._y.dtype)
