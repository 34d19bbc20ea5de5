"""The lasso, and its path."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from .._base import flag, one_of, real, report, whole
from .._validation import from_host, host, namespace, sample_weights, samples_and_targets
from ._coordinate_descent import Fit, Problem
from ._linear import LinearModel, centered

BLOCK = 128
"""Columns of a block, where there are too many for one Gram matrix."""


FEW = 1024
"""Columns up to which one Gram matrix is made: 8 MiB on every rank."""


def _block(who: Any, X: Any) -> int:
    """Return how many columns make a block, by the parameter ``precompute``."""
    d = X.shape[1]
    if who.precompute == "auto":
        return int(d if d <= min(FEW, max(X.shape[0], BLOCK)) else BLOCK)
    return int(d) if flag(who, "precompute") else BLOCK


def _warn(fits: list[Fit], tol: float, norms: list[float], n: int) -> None:
    for fit, norm in zip(fits, norms, strict=True):
        if not fit.converged:
            warnings.warn(
                "Objective did not converge. You might want to increase the number of "
                "iterations, check the scale of the features or consider increasing "
                f"regularisation. Duality gap: {fit.gap:.3e}, tolerance: {tol * norm / n:.3e}",
                ConvergenceWarning,
                stacklevel=3,
            )


class Lasso(LinearModel):
    """Least squares with an L1 penalty, by coordinate descent.

    Minimises ``||y - X w||² / (2 n) + alpha ||w||_1``.

    Parameters
    ----------
    alpha : float
    fit_intercept : bool
    precompute : "auto" or bool
        Whether the d x d products of the features are summed once, after which nothing is sent
        (True), or coordinate descent goes by blocks of 128 features, with one small sum for
        each (False). "auto": the first, up to 1024 features. The result is the same.
    max_iter : int
        Sweeps over all features.
    tol : float
        Of the dual gap, relative to ``||y||² / n``.
    warm_start : bool
        Whether to start from the coefficients of the fit before.
    positive : bool
        Whether coefficients may not be negative.
    random_state : int, RandomState or None
        For ``selection="random"``.
    selection : {"cyclic", "random"}
        The order in which coefficients are updated.
    verbose : int
        1: a progress bar over targets; 2: lines. On rank 0.

    Attributes
    ----------
    coef_ : array, shape (d,) or (targets, d)
        Replicated.
    sparse_coef_ : scipy.sparse.csr_matrix
        The same, without its zeros.
    intercept_ : 0-d array, or of shape (targets,); 0.0 without one
    n_iter_ : int or list of int
        Sweeps.
    dual_gap_ : float or array of shape (targets,)
        At the end: the objective is no further than this from its minimum.
    n_features_in_ : int

    Examples
    --------
    >>> X = xp.asarray([[0.0], [1.0], [2.0], [3.0]], split=0)
    >>> y = xp.asarray([1.0, 3.0, 5.0, 7.0], split=0)
    >>> print(xp.ml.Lasso(alpha=0.5).fit(X, y).coef_)
    [1.6]
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        precompute: Any = "auto",
        max_iter: int = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
        positive: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
        verbose: int = 0,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.precompute = precompute
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.positive = positive
        self.random_state = random_state
        self.selection = selection
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Lasso:
        """Fit the coefficients.

        Parameters
        ----------
        X : array, shape (n, d)
        y : array, shape (n,) or (n, targets)
        sample_weight : array, shape (n,), optional
            Scaled so that its mean is 1.

        Returns
        -------
        Lasso
            Itself.
        """
        options = self._options()
        X, y = samples_and_targets(self, X, y)
        weight = sample_weights(self, sample_weight, X)
        xp, n, block = namespace(X), X.shape[0], _block(self, X)
        if weight is not None:
            weight = weight * (n / xp.sum(weight))
        X, y, x_mean, y_mean = centered(X, y, weight, self.fit_intercept)
        targets = y if y.ndim == 2 else y[:, None]
        start = self._start(targets.shape[1], X.shape[1])
        grams: dict[int, Any] = {}
        fits, norms = [], []
        with report(self, X, targets.shape[1], self.verbose) as says:
            for t, coef in enumerate(start):
                problem = Problem(X, targets[:, t], block, grams)
                fits.append(problem.solve(self.alpha, coef, **options))
                norms.append(problem.norm)
                says.step(f"target {t}: dual gap {fits[-1].gap:.3g}, {fits[-1].iterations} sweeps")
        _warn(fits, self.tol, norms, n)
        coef = np.stack([fit.coef for fit in fits])
        self.coef_ = from_host(coef if y.ndim == 2 else coef[0], X, X.dtype)
        self.n_iter_: Any = [fit.iterations for fit in fits]
        self.dual_gap_: Any = from_host([fit.gap for fit in fits], X, X.dtype)
        if y.ndim == 1:
            self.n_iter_, self.dual_gap_ = fits[0].iterations, fits[0].gap
        self._set_intercept(x_mean, y_mean)
        return self

    def _options(self) -> dict[str, Any]:
        real(self, "alpha")
        for name in ("fit_intercept", "warm_start"):
            flag(self, name)
        if self.precompute != "auto":
            flag(self, "precompute")
        chosen = one_of(self, "selection", ("cyclic", "random"))
        return {
            "tol": real(self, "tol"),
            "max_iter": whole(self, "max_iter", 1),
            "positive": flag(self, "positive"),
            "random": check_random_state(self.random_state) if chosen == "random" else None,
        }

    def _start(self, targets: int, d: int) -> Any:
        if self.warm_start and hasattr(self, "coef_"):
            coef = np.atleast_2d(host(self.coef_))
            if coef.shape == (targets, d):
                return coef
        return np.zeros((targets, d))

    @property
    def sparse_coef_(self) -> Any:
        """The coefficients as a sparse matrix."""
        return sparse.csr_matrix(np.atleast_2d(host(self.coef_)))


def lasso_path(
    X: Any,
    y: Any,
    *,
    eps: float = 1e-3,
    alphas: Any = 100,
    tol: float = 1e-4,
    max_iter: int = 1000,
    positive: bool = False,
) -> tuple[Any, Any, Any]:
    """Fit the lasso for a row of penalties, each from the coefficients of the one before.

    Parameters
    ----------
    X : array, shape (n, d)
        Its mean is not subtracted: there is no intercept.
    y : array, shape (n,)
    eps : float
        The least penalty over the greatest.
    alphas : int or array
        How many penalties, from the least one that makes all coefficients zero downwards, or
        the penalties.
    tol, max_iter, positive
        As in `Lasso`.

    Returns
    -------
    alphas : numpy.ndarray, shape (m,)
        The penalties, descending.
    coefs : array, shape (d, m)
        Replicated.
    dual_gaps : numpy.ndarray, shape (m,)

    Raises
    ------
    ValueError
        If X and y have different numbers of rows, or hold NaN or infinity.

    Notes
    -----
    The sums over the samples are made once for the whole path (up to 1024 features).

    Examples
    --------
    >>> X = xp.asarray([[-1.0], [1.0]], split=0)
    >>> _, coefs, _ = xp.ml.lasso_path(X, xp.asarray([-2.0, 2.0], split=0), alphas=[1.0])
    >>> print(coefs)
    [[1.]]
    """
    model = Lasso(tol=tol, max_iter=max_iter, positive=positive)
    options = model._options()
    X, y = samples_and_targets(model, X, y, multi_output=False)
    problem = Problem(X, y, _block(model, X), {})
    if np.ndim(alphas) == 0:
        pull = problem.correlation if positive else np.abs(problem.correlation)
        greatest = max(float(np.max(pull)) / X.shape[0], np.finfo(np.float64).tiny)
        penalties = np.geomspace(greatest, greatest * eps, int(alphas))
    else:
        penalties = np.sort(np.asarray(alphas, dtype=np.float64))[::-1]
    fits: list[Fit] = []
    coef = np.zeros(X.shape[1])
    for alpha in penalties:
        fits.append(problem.solve(float(alpha), coef, **options))
        coef = fits[-1].coef
    _warn(fits, tol, [problem.norm] * len(fits), X.shape[0])
    coefs = from_host(np.stack([fit.coef for fit in fits], axis=1), X, X.dtype)
    return penalties, coefs, np.asarray([fit.gap for fit in fits])
