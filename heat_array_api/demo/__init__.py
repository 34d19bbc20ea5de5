"""The main job: climate zones of North America, from a NetCDF file to a map.

``mpirun -n 4 python -m heat_array_api.demo`` reads temperatures in parallel, clusters the
grid cells by k-means and writes the zones to NetCDF and PNG. `kmeans` and the rest
of the computation are plain array-API code: they run on any namespace's arrays, NumPy's too.
"""

from __future__ import annotations

from .._comm.attribution import register_program
from ._kmeans import Clusters, kmeans, kmeans_plus_plus

__all__ = ["Clusters", "kmeans", "kmeans_plus_plus"]


register_program(__name__)


def __dir__() -> list[str]:
    return sorted(__all__)
