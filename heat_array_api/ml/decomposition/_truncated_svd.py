"""Truncated singular value decomposition."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._base import ArrayApiMixin, one_of, whole
from .._validation import as_matrix, as_samples, from_host, name_of, namespace


def signed(vh: Any) -> Any:
    """Return right singular vectors whose greatest element, by its absolute value, is positive.

    The convention of scikit-learn's ``svd_flip(u_based_decision=False)``.
    """
    xp = namespace(vh)
    greatest = xp.argmax(xp.abs(vh), axis=1)[:, None]
    return vh * xp.sign(xp.take_along_axis(vh, greatest, axis=1))


class TruncatedSVD(ArrayApiMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The greatest singular values of the samples, not centred, and their vectors.

    Parameters
    ----------
    n_components : int
    algorithm : {"randomized", "full", "covariance_eigh"}
        "randomized": Halko et al. 2009, scikit-learn's with the same random vectors. "full": the
        whole decomposition (TSQR). "covariance_eigh": by the eigenvalues of ``X.T @ X``, the
        fastest for few features, with half the digits for the small singular values.
    n_iter : int
        Power iterations of "randomized".
    n_oversamples : int
        Vectors of "randomized" beyond ``n_components``.
    power_iteration_normalizer : {"auto", "QR", "none"}
        Between power iterations. "auto": QR for more than two.
    random_state : int, RandomState or None
        The same on every rank.

    Attributes
    ----------
    components_ : array, shape (k, d)
        Right singular vectors. Replicated.
    singular_values_ : array, shape (k,)
    explained_variance_ : array, shape (k,)
    explained_variance_ratio_ : array, shape (k,)
    n_features_in_ : int

    Examples
    --------
    >>> X = xp.random.default_rng(0).random((100, 5), split=0)
    >>> xp.ml.TruncatedSVD(n_components=2).fit_transform(X).shape
    (100, 2)
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        algorithm: str = "randomized",
        n_iter: int = 5,
        n_oversamples: int = 10,
        power_iteration_normalizer: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.algorithm = algorithm
        self.n_iter = n_iter
        self.n_oversamples = n_oversamples
        self.power_iteration_normalizer = power_iteration_normalizer
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> TruncatedSVD:
        """Fit the components.

        Parameters
        ----------
        X : array, shape (n, d)
        y : ignored

        Returns
        -------
        TruncatedSVD
            Itself.
        """
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit the components, and return the samples' coordinates in them.

        Parameters
        ----------
        X : array, shape (n, d)
        y : ignored

        Returns
        -------
        array, shape (n, k)
            Laid out as the rows of X.
        """
        algorithm = one_of(self, "algorithm", ("randomized", "full", "covariance_eigh"))
        k = whole(self, "n_components", 1)
        whole(self, "n_iter", 0)
        whole(self, "n_oversamples", 0)
        one_of(self, "power_iteration_normalizer", ("auto", "QR", "none"))
        X = as_samples(self, X, min_features=2)
        most = X.shape[1] if algorithm == "randomized" else min(X.shape)
        if k > most:
            raise ValueError(
                f"{name_of(self)}: n_components({k}) must be <= {most}, for X of shape "
                f"{tuple(X.shape)} and algorithm {algorithm!r}"
            )
        xp = namespace(X)
        values, vh = getattr(self, f"_{algorithm}")(X)
        self.components_ = signed(vh[:k, :])
        self.singular_values_ = values[:k]
        found = X @ self.components_.T
        self.explained_variance_ = xp.var(found, axis=0)
        self.explained_variance_ratio_ = self.explained_variance_ / xp.sum(xp.var(X, axis=0))
        return found

    @staticmethod
    def _full(X: Any) -> tuple[Any, Any]:
        _, values, vh = namespace(X).linalg.svd(X, full_matrices=False)
        return values, vh

    @staticmethod
    def _covariance_eigh(X: Any) -> tuple[Any, Any]:
        xp = namespace(X)
        squares, vectors = xp.linalg.eigh(X.T @ X)
        squares = xp.maximum(squares, xp.zeros_like(squares))
        return xp.flip(xp.sqrt(squares)), xp.flip(vectors, axis=1).T

    def _randomized(self, X: Any) -> tuple[Any, Any]:
        """Halko et al. 2009, algorithms 4.4 and 5.1; a wide matrix is transposed, as is usual."""
        xp = namespace(X)
        wide = X.shape[0] < X.shape[1]
        a = X.T if wide else X
        basis = _range(a, self.n_components + self.n_oversamples, self)
        u, values, vh = xp.linalg.svd(basis.T @ a, full_matrices=False)
        return values, (basis @ u).T if wide else vh

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
        return X @ namespace(X).astype(self.components_, X.dtype).T

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
        like = self.components_
        X = as_matrix(self, "X", X, like)
        return X @ like

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])


def _range(a: Any, size: int, options: TruncatedSVD) -> Any:
    """Return an orthonormal basis, (m, size), of nearly the range of a matrix (m, d)."""
    xp = namespace(a)
    random = check_random_state(options.random_state)
    q = from_host(random.normal(size=(a.shape[1], size)), a, a.dtype)
    normalize = options.power_iteration_normalizer == "QR" or (
        options.power_iteration_normalizer == "auto" and options.n_iter > 2
    )

    def normal(matrix: Any) -> Any:
        return xp.linalg.qr(matrix, mode="reduced")[0] if normalize else matrix

    for _ in range(options.n_iter):
        q = normal(a @ q)
        q = normal(a.T @ q)
    return xp.linalg.qr(a @ q, mode="reduced")[0]
