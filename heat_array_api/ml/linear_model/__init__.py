"""Linear models: `LinearRegression`, `Lasso`, `lasso_path`, as in `sklearn.linear_model`."""

from __future__ import annotations

from ._lasso import Lasso, lasso_path
from ._linear import LinearRegression

__all__ = ["Lasso", "LinearRegression", "lasso_path"]


def __dir__() -> list[str]:
    return sorted(__all__)
