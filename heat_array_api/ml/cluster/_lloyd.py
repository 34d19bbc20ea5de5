"""Lloyd's iteration."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._base import Report
from .._validation import from_host, host, namespace
from ._points import Points


class Clustering(NamedTuple):
    """What Lloyd's iteration found."""

    labels: Any
    centers: Any
    inertia: float
    iterations: int


def lloyd(
    points: Points, centers: Any, max_iter: int, tol: float, report: Report | None = None
) -> Clustering:
    """Move centres to the means of their samples until they stay.

    Parameters
    ----------
    points : Points
    centers : array, shape (k, d)
    max_iter : int
    tol : float
        It is enough that the squares of all centres' moves sum up to this.
    report : Report, optional
        Told of every iteration.

    Returns
    -------
    Clustering
        The labels are those of the centres returned.

    Notes
    -----
    Two messages an iteration on split samples: sums and weights of the clusters, (k, d + 1),
    and whether any label changed.
    """
    xp, strict = points.xp, False
    labels: Any = None
    iteration = 0
    for iteration in range(1, max_iter + 1):
        before, labels = labels, points.labels(centers)
        sums, weights = points.sums(labels, centers.shape[0])
        if bool(xp.any(weights == 0)):
            sums, weights = _relocate(points, labels, centers, sums, weights)
        moved = means(sums, weights, centers)
        shift = float(xp.sum((moved - centers) ** 2))
        centers = moved
        if report is not None:
            report.step(f"iteration {iteration}, center shift {shift:.6g}")
        if before is not None and bool(xp.all(before == labels)):
            strict = True
            break
        if shift <= tol:
            break
    if not strict:
        labels = points.labels(centers)
    return Clustering(labels, centers, points.inertia(labels, centers), iteration)


def means(sums: Any, weights: Any, otherwise: Any) -> Any:
    """Return the clusters' means; a cluster of no weight keeps its centre."""
    xp = namespace(sums)
    held = weights > 0
    return xp.where(held[:, None], sums / xp.where(held, weights, 1.0)[:, None], otherwise)


def _relocate(
    points: Points, labels: Any, centers: Any, sums: Any, weights: Any
) -> tuple[Any, Any]:
    """Give every empty cluster one of the samples that are farthest from their centres."""
    xp = points.xp
    far = points.distances_within(labels, centers)
    new_sums, new_weights = host(sums), host(weights)
    for cluster in np.flatnonzero(new_weights == 0):
        row = int(xp.argmax(far))
        if float(far[row]) <= 0:
            break  # more clusters than different samples
        far[row] = -1.0
        weight = 1.0 if points.weight is None else float(points.weight[row])
        sample = host(points.x[row, :]) * weight
        old = int(labels[row])
        new_sums[old] -= sample
        new_weights[old] -= weight
        new_sums[cluster], new_weights[cluster] = sample, weight
    return from_host(new_sums, sums), from_host(new_weights, weights)
