"""Principal components of batches that come one after the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted

from .._base import ArrayApiMixin, flag, report, whole
from .._validation import as_matrix, as_samples, name_of, namespace
from ._truncated_svd import signed


class IncrementalPCA(
    ArrayApiMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Principal components by batches (Ross et al. 2008).

    Parameters
    ----------
    n_components : int or None
        None: as many as features, or samples of the first batch.
    whiten : bool
        Whether `transform` scales the components to variance 1.
    batch_size : int or None
        Samples that `fit` takes at a time; None: five times the features. Batches go by the order
        of the samples: of split samples each lies on few ranks. What is read from a file is best
        given to `partial_fit` as batches that are split over all ranks.
    verbose : int
        1: a progress bar over the samples; 2: lines. On rank 0.

    Attributes
    ----------
    components_ : array, shape (k, d)
        Replicated.
    explained_variance_ : array, shape (k,)
    explained_variance_ratio_ : array, shape (k,)
    singular_values_ : array, shape (k,)
    mean_ : array, shape (d,)
    var_ : array, shape (d,)
    noise_variance_ : float
    n_components_ : int
    n_samples_seen_ : int
    batch_size_ : int
    n_features_in_ : int

    Notes
    -----
    Of a batch with more rows than features, QR leaves a d x d matrix (TSQR: log2 P messages);
    that, what was known before and a row for the mean's move are decomposed on every rank. No
    row of the batch moves.

    Examples
    --------
    >>> X = xp.random.default_rng(0).random((100, 5), split=0)
    >>> xp.ml.IncrementalPCA(n_components=2).fit(X).transform(X).shape
    (100, 2)
    """

    components_: Any
    singular_values_: Any
    mean_: Any
    var_: Any

    def __init__(
        self,
        n_components: int | None = None,
        *,
        whiten: bool = False,
        batch_size: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.whiten = whiten
        self.batch_size = batch_size
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> IncrementalPCA:
        """Fit the components to all samples, a batch at a time.

        Parameters
        ----------
        X : array, shape (n, d)
        y : ignored

        Returns
        -------
        IncrementalPCA
            Itself.
        """
        self._check()
        size = whole(self, "batch_size", 1, none=True)
        X = as_samples(self, X)
        self.batch_size_ = 5 * X.shape[1] if size is None else size
        self._forget()
        n, least = X.shape[0], self.n_components or 0
        with report(self, X, n, self.verbose) as says:
            for batch in gen_batches(n, self.batch_size_, min_batch_size=least):
                self._take_in(X[batch, :])
                says.step(f"{self.n_samples_seen_} of {n} samples", batch.stop - batch.start)
        return self

    def partial_fit(self, X: Any, y: Any = None) -> IncrementalPCA:
        """Take in one batch of samples.

        Parameters
        ----------
        X : array, shape (n, d)
        y : ignored

        Returns
        -------
        IncrementalPCA
            Itself.
        """
        self._check()
        first = not hasattr(self, "components_")
        X = as_samples(self, X, reset=first)
        if first:
            self._forget()
        self._take_in(X)
        return self

    def _check(self) -> None:
        whole(self, "n_components", 1, none=True)
        flag(self, "whiten")

    def _forget(self) -> None:
        self.n_samples_seen_ = 0
        self.components_ = None

    def _count(self, n: int, d: int) -> int:
        """Return how many components there shall be after a batch of n samples."""
        k = self.n_components
        if k is None:
            return min(n, d) if self.n_samples_seen_ == 0 else int(self.components_.shape[0])
        if k > d:
            raise ValueError(
                f"{name_of(self)}: n_components={k} invalid for n_features={d}, need more rows "
                "than columns for IncrementalPCA processing"
            )
        if k > n and self.n_samples_seen_ == 0:
            raise ValueError(
                f"{name_of(self)}: n_components={k} must be less or equal to the batch number of "
                f"samples {n} for the first partial_fit call."
            )
        if self.n_samples_seen_ and self.components_.shape[0] != k:
            raise ValueError(
                f"{name_of(self)}: n_components was {self.components_.shape[0]} for the batches "
                f"before, and is {k} now; expected the same"
            )
        return k

    def _take_in(self, X: Any) -> None:
        """Join a batch to what is known."""
        xp, (n, d) = namespace(X), X.shape
        seen, k = self.n_samples_seen_, self._count(n, d)
        total = seen + n
        mean = batch_mean = xp.mean(X, axis=0)
        squares = n * xp.var(X, axis=0)
        X = X - batch_mean
        rows = xp.linalg.qr(X, mode="reduced")[1] if n > d else X
        if seen:
            move = self.mean_ - batch_mean
            mean = (seen * self.mean_ + n * batch_mean) / total
            squares = squares + seen * self.var_ + (seen * n / total) * move**2
            known = self.singular_values_[:, None] * self.components_
            correction = math.sqrt(seen * n / total) * move
            rows = xp.concat([known, rows, correction[None, :]], axis=0)
        _, values, vh = xp.linalg.svd(rows, full_matrices=False)
        variance = values**2 / (total - 1) if total > 1 else values * xp.nan
        self.components_ = signed(vh)[:k, :]
        self.singular_values_ = values[:k]
        self.explained_variance_ = variance[:k]
        self.explained_variance_ratio_ = values[:k] ** 2 / xp.sum(squares)
        self.mean_, self.var_ = mean, squares / total
        self.n_samples_seen_, self.n_components_ = total, k
        rest = variance[k:]
        self.noise_variance_ = float(xp.mean(rest)) if k not in (n, d) and rest.shape[0] else 0.0

    def transform(self, X: Any) -> Any:
        """Return the coordinates of samples in the components.

        Parameters
        ----------
        X : array, shape (n, d)

        Returns
        -------
        array, shape (n, k)
            Laid out as the rows of X. Sends nothing for samples split along axis 0.
        """
        check_is_fitted(self)
        X = as_samples(self, X, fitted=("transform", self.components_))
        xp = namespace(X)
        components, mean = xp.astype(self.components_, X.dtype), xp.astype(self.mean_, X.dtype)
        found = (X - mean) @ components.T
        return found / xp.astype(self._scale(), X.dtype) if self.whiten else found

    def inverse_transform(self, X: Any) -> Any:
        """Return the samples of given coordinates.

        Parameters
        ----------
        X : array, shape (n, k)

        Returns
        -------
        array, shape (n, d)
        """
        check_is_fitted(self)
        X = as_matrix(self, "X", X, self.components_)
        if self.whiten:
            X = X * self._scale()
        return X @ self.components_ + self.mean_

    def _scale(self) -> Any:
        """Return the standard deviations of the components; not quite zero."""
        xp, variance = namespace(self.components_), self.explained_variance_
        return xp.sqrt(xp.clip(variance, min=float(np.finfo(np.float32).tiny) ** 0.5))

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])
