"""Estimators with scikit-learn's interface, for algorithms it has on NumPy arrays alone.

Ordinary array-API code: it runs on arrays split over ranks, and unchanged on NumPy's and
torch's. Everything of n rows stays where the rows are; ``docs/ml.md`` says what is sent.
Needs scikit-learn: ``pip install heat_array_api[ml]``.
"""

from __future__ import annotations

try:
    import sklearn as _sklearn
except ImportError as error:
    raise ImportError(
        "heat_array_api.ml: scikit-learn is not installed; pip install heat_array_api[ml]"
    ) from error

from .cluster import KMeans, MiniBatchKMeans
from .decomposition import IncrementalPCA, TruncatedSVD
from .linear_model import Lasso, LinearRegression, lasso_path
from .neighbors import KNeighborsClassifier, KNeighborsRegressor

if tuple(map(int, _sklearn.__version__.split(".")[:2])) < (1, 6):
    raise ImportError(
        f"heat_array_api.ml: scikit-learn is {_sklearn.__version__}; expected 1.6 or newer"
    )

__all__ = [
    "IncrementalPCA",
    "KMeans",
    "KNeighborsClassifier",
    "KNeighborsRegressor",
    "Lasso",
    "LinearRegression",
    "MiniBatchKMeans",
    "TruncatedSVD",
    "lasso_path",
]


def __dir__() -> list[str]:
    return sorted(__all__)
