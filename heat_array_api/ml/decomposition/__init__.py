"""Decompositions: `TruncatedSVD` and `IncrementalPCA`, as in `sklearn.decomposition`."""

from __future__ import annotations

from ._incremental_pca import IncrementalPCA
from ._truncated_svd import TruncatedSVD

__all__ = ["IncrementalPCA", "TruncatedSVD"]


def __dir__() -> list[str]:
    return sorted(__all__)
