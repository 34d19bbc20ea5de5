"""From temperatures to climate zones: plain array-API code around `kmeans`.

Each grid cell has two features, its mean temperature and how much it varies from year to
year. Together they tell the oceans from the continents, and not only south from north.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ._kmeans import Clusters, kmeans


class Zones(NamedTuple):
    """The climate zones of a grid.

    Attributes
    ----------
    labels : array of int64, shape (cells,)
        The zone of each cell, 0 the coldest; -1 where temperatures are missing.
    series : array, shape (time, zones)
        The mean temperature of each zone at each time.
    means : list of float
        The mean temperature of each zone.
    shares : list of float
        Each zone's part of the area.
    clusters : Clusters
        What k-means found, in its own order.
    """

    labels: Any
    series: Any
    means: list[float]
    shares: list[float]
    clusters: Clusters


def features(series: Any, lag: int) -> Any:
    """Return mean and variability of each cell.

    Parameters
    ----------
    series : array, shape (cells, time)
        Temperatures.
    lag : int
        How many time steps a year has. The variability is that of the differences from one
        year to the next, which the annual cycle and slow warming hardly touch.

    Returns
    -------
    array, shape (cells, 2)
        NaN where a value is missing.
    """
    xp = series.__array_namespace__()
    if not 1 <= lag < series.shape[1]:
        raise ValueError(
            f"features: lag is {lag}; expected 1 to {series.shape[1] - 1}, less than the time steps"
        )
    change = series[:, lag:] - series[:, :-lag]
    # The difference of two independent years has twice the variance of one.
    variability = xp.std(change, axis=1) / math.sqrt(2)
    return xp.stack([xp.mean(series, axis=1), variability], axis=1)


def standardise(x: Any) -> Any:
    """Return the columns of `x` less their means, over their standard deviations (z-scores)."""
    xp = x.__array_namespace__()
    deviation = xp.std(x, axis=0)
    return (x - xp.mean(x, axis=0)) / xp.where(deviation > 0, deviation, 1.0)


def find_zones(
    series: Any,
    weights: Any,
    k: int,
    *,
    lag: int = 1,
    seed: int = 0,
    progress: Callable[[int, int, int], None] | None = None,
    compiler: Callable[[Any], Any] | None = None,
) -> Zones:
    """Cluster the cells of a grid into `k` climate zones.

    Parameters
    ----------
    series : array, shape (cells, time)
        Temperatures of each cell. Cells that miss a value belong to no zone.
    weights : array, shape (cells,)
        The area of each cell.
    k : int
        The number of zones.
    lag : int
        How many time steps a year has.
    seed : int
        Of k-means++.
    progress, compiler : callable, optional
        See `kmeans`.

    Returns
    -------
    Zones
        Ordered by temperature.
    """
    xp = series.__array_namespace__()
    values = features(series, lag)
    valid = xp.all(xp.isfinite(values), axis=1)
    samples = standardise(values[valid, :])
    clusters = kmeans(samples, k, seed=seed, progress=progress, compiler=compiler)
    by_cluster, area = zone_series(series[valid, :], clusters.labels, weights[valid], k)
    means = [float(value) for value in xp.mean(by_cluster, axis=0)]
    order = sorted(range(k), key=means.__getitem__)
    device = series.device
    zone_of = xp.asarray([order.index(cluster) for cluster in range(k)], device=device)
    labels = xp.full_like(valid, -1, dtype=zone_of.dtype)
    labels[valid] = xp.take(zone_of, clusters.labels, axis=0)
    whole = float(xp.sum(area))
    return Zones(
        labels,
        xp.take(by_cluster, xp.asarray(order, device=device), axis=1),
        [means[cluster] for cluster in order],
        [float(area[cluster]) / whole for cluster in order],
        clusters,
    )


def zone_series(series: Any, labels: Any, weights: Any, k: int) -> tuple[Any, Any]:
    """Return each zone's weighted mean at each time, shape (time, k), and its weight, shape (k,).

    One product of matrices over the cells: the only thing that crosses ranks is its result.
    """
    xp = series.__array_namespace__()
    zones = xp.arange(k, device=series.device)
    belongs = xp.astype(labels[:, None] == zones[None, :], series.dtype) * weights[:, None]
    area = xp.sum(belongs, axis=0)
    means = xp.matrix_transpose(series) @ belongs / xp.where(area > 0, area, 1.0)
    return means, area
