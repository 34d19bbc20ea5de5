"""Clustering: `KMeans` and `MiniBatchKMeans`, as in `sklearn.cluster`."""

from __future__ import annotations

from ._kmeans import KMeans
from ._minibatch import MiniBatchKMeans

__all__ = ["KMeans", "MiniBatchKMeans"]


def __dir__() -> list[str]:
    return sorted(__all__)
