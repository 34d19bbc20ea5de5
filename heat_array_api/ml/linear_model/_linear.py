"""Ordinary least squares."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from .._base import ArrayApiMixin, R2Mixin, flag, real
from .._validation import as_samples, namespace, sample_weights, samples_and_targets


def centered(X: Any, y: Any, weight: Any, fit_intercept: bool) -> tuple[Any, Any, Any, Any]:
    """Return samples and targets, weighted and without their means, and the means.

    Rows are multiplied with the square roots of the weights, so that plain least squares of
    the result is weighted least squares.
    """
    xp = namespace(X)
    root = None if weight is None else xp.sqrt(weight)
    if not fit_intercept:
        x_mean, y_mean = xp.zeros_like(X[0, :]), xp.zeros_like(y[0, ...])
    elif weight is None:
        x_mean, y_mean = xp.mean(X, axis=0), xp.mean(y, axis=0)
    else:
        share = weight / xp.sum(weight)
        x_mean, y_mean = share @ X, share @ y
    if fit_intercept:
        X, y = X - x_mean, y - y_mean
    if root is not None:
        X, y = X * root[:, None], y * (root if y.ndim == 1 else root[:, None])
    return X, y, x_mean, y_mean


class LinearModel(ArrayApiMixin, R2Mixin, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Prediction by coefficients and intercept."""

    coef_: Any
    intercept_: Any
    fit_intercept: bool

    def predict(self, X: Any) -> Any:
        """Return the predicted targets.

        Parameters
        ----------
        X : array, shape (n, d)

        Returns
        -------
        array, shape (n,) or (n, targets)
            Laid out as the rows of X. Sends nothing for samples split along axis 0.
        """
        check_is_fitted(self)
        coef = self.coef_
        X = as_samples(self, X, fitted=("predict", coef))
        if coef.dtype != X.dtype:
            coef = namespace(X).astype(coef, X.dtype)
        intercept = self.intercept_
        if self.fit_intercept and intercept.dtype != X.dtype:
            intercept = namespace(X).astype(namespace(X).asarray(intercept), X.dtype)
        return X @ coef.T + intercept if coef.ndim == 2 else X @ coef + intercept

    def _set_intercept(self, x_mean: Any, y_mean: Any) -> None:
        if not self.fit_intercept:
            self.intercept_ = 0.0
        elif self.coef_.ndim == 1:
            self.intercept_ = y_mean - namespace(x_mean).sum(self.coef_ * x_mean)
        else:
            self.intercept_ = y_mean - self.coef_ @ x_mean


class LinearRegression(LinearModel):
    """Ordinary least squares by QR: of minimal norm where features depend on each other.

    Parameters
    ----------
    fit_intercept : bool
    tol : float
        Singular values of no more than this part of the greatest count as zero.

    Attributes
    ----------
    coef_ : array, shape (d,) or (targets, d)
        Replicated.
    intercept_ : 0-d array, or of shape (targets,); 0.0 without one
    rank_ : int
        Of the samples (without their mean).
    singular_ : array, shape (min(n, d),)
        Their singular values.
    n_features_in_ : int

    Notes
    -----
    For samples split along axis 0, at least d a rank: two allreduces for the means, the tree
    of TSQR (log2 P messages of d x d), one allreduce of d x targets.

    Examples
    --------
    >>> X = xp.asarray([[0.0], [1.0], [2.0], [3.0]], split=0)
    >>> y = xp.asarray([1.0, 3.0, 5.0, 7.0], split=0)
    >>> model = xp.ml.LinearRegression().fit(X, y)
    >>> print(xp.round(model.predict(xp.asarray([[4.0]]))))
    [9.]
    """

    def __init__(self, *, fit_intercept: bool = True, tol: float = 1e-6) -> None:
        self.fit_intercept = fit_intercept
        self.tol = tol

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LinearRegression:
        """Fit the coefficients.

        Parameters
        ----------
        X : array, shape (n, d)
        y : array, shape (n,) or (n, targets)
        sample_weight : array, shape (n,), optional

        Returns
        -------
        LinearRegression
            Itself.
        """
        flag(self, "fit_intercept")
        tol = real(self, "tol")
        X, y = samples_and_targets(self, X, y)
        weight = sample_weights(self, sample_weight, X)
        X, y, x_mean, y_mean = centered(X, y, weight, self.fit_intercept)
        xp = namespace(X)
        targets = y if y.ndim == 2 else y[:, None]
        if X.shape[0] >= X.shape[1]:
            q, r = xp.linalg.qr(X, mode="reduced")
            targets = q.T @ targets
            u, s, vh = xp.linalg.svd(r, full_matrices=False)
        else:
            u, s, vh = xp.linalg.svd(X, full_matrices=False)
        kept = s > tol * s[0]
        inverse = xp.where(kept, 1 / xp.where(kept, s, 1.0), 0.0)
        coef = (vh.T * inverse) @ (u.T @ targets)
        self.rank_ = int(xp.count_nonzero(kept))
        self.singular_ = s
        self.coef_ = coef[:, 0] if y.ndim == 1 else coef.T
        self._set_intercept(x_mean, y_mean)
        return self
