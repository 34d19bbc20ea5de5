"""Nearest neighbours: classifier and regressor, as in `sklearn.neighbors`."""

from __future__ import annotations

from ._neighbors import KNeighborsClassifier, KNeighborsRegressor

__all__ = ["KNeighborsClassifier", "KNeighborsRegressor"]


def __dir__() -> list[str]:
    return sorted(__all__)
