"""k-means in plain array-API code.

Nothing here knows of ranks: the namespace is that of the argument, and the same lines run
on NumPy arrays and on arrays split over any number of ranks. As in the HeAT paper
(Götz et al., 2020), distances come by broadcasting, assignments by argmin, centroids by
masked means, so that only the small reductions over the samples communicate.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple


class Clusters(NamedTuple):
    """What `kmeans` found.

    Attributes
    ----------
    labels : array, shape (n,), default integer dtype
        The cluster of each sample; laid out as the samples.
    centroids : array, shape (k, f)
        The clusters' means.
    inertia : float
        The sum of the squared distances of the samples to their centroids.
    iterations : int
        How many times the centroids were moved.
    converged : bool
        Whether the last iteration moved no sample to another cluster.
    """

    labels: Any
    centroids: Any
    inertia: float
    iterations: int
    converged: bool


def squared_distances(x: Any, centroids: Any) -> Any:
    """Return the squared distances, shape (n, k), of n samples and k centroids."""
    xp = x.__array_namespace__()
    return xp.sum(xp.square(x[:, None, :] - centroids[None, :, :]), axis=-1)


def kmeans_plus_plus(x: Any, k: int, seed: int = 0) -> Any:
    """Choose k samples as first centroids (k-means++, Arthur and Vassilvitskii 2007).

    Parameters
    ----------
    x : array, shape (n, f), real floating-point
        The samples; k <= n.
    k : int
        The number of centroids.
    seed : int
        Of the random numbers. They are drawn on the host, one for each centroid, so that
        every rank draws the same and the choice does not depend on their number.

    Returns
    -------
    array, shape (k, f)
        Samples, each drawn with a probability in proportion to its squared distance to
        the nearest of those before.
    """
    if not 1 <= k <= x.shape[0]:
        raise ValueError(f"kmeans_plus_plus: k is {k}; expected 1 to {x.shape[0]}, the samples")
    xp = x.__array_namespace__()
    draw = random.Random(seed)
    chosen = [x[int(draw.random() * x.shape[0]), :]]
    nearest = squared_distances(x, chosen[0][None, :])[:, 0]
    while len(chosen) < k:
        # The first sample at which the running sum passes a random part of the whole.
        running = xp.cumulative_sum(nearest)
        target = draw.random() * float(running[-1])
        index = int(xp.count_nonzero(running <= target))
        chosen.append(x[min(index, x.shape[0] - 1), :])
        to_last = squared_distances(x, chosen[-1][None, :])[:, 0]
        nearest = xp.minimum(nearest, to_last)
    return xp.stack(chosen)


def lloyd_step(x: Any, labels: Any, centroids: Any) -> tuple[Any, Any, Any, Any]:
    """Move the centroids to the means of their samples, and assign the samples anew.

    Returns
    -------
    labels, centroids, nearest, moved
        The squared distance of each sample to its centroid; how many changed clusters (0-d).
    """
    xp = x.__array_namespace__()
    clusters = xp.arange(centroids.shape[0], device=x.device)
    belongs = xp.astype(labels[:, None] == clusters[None, :], x.dtype)
    counts = xp.sum(belongs, axis=0)[:, None]
    sums = xp.sum(belongs[:, :, None] * x[:, None, :], axis=0)
    centroids = xp.where(counts > 0, sums / xp.maximum(counts, 1.0), centroids)
    distances = squared_distances(x, centroids)
    closest = xp.argmin(distances, axis=1)
    nearest = xp.min(distances, axis=1)
    return closest, centroids, nearest, xp.count_nonzero(closest != labels)


def kmeans(
    x: Any,
    k: int,
    *,
    seed: int = 0,
    max_iterations: int = 300,
    progress: Callable[[int, int, int], None] | None = None,
    compiler: Callable[[Any], Any] | None = None,
) -> Clusters:
    """Cluster samples by Lloyd's iteration, from k-means++ centroids.

    Parameters
    ----------
    x : array, shape (n, f), real floating-point
        The samples.
    k : int
        The number of clusters.
    seed : int
        Of `kmeans_plus_plus`.
    max_iterations : int
        Stop here even if samples still move.
    progress : callable, optional
        Called after each iteration with its number, how many samples stayed in their cluster,
        and how many there are.
    compiler : callable, optional
        What compiles an iteration, such as `heat_array_api.compile`.

    Returns
    -------
    Clusters
        Labels, centroids, inertia, iterations. A cluster that loses all its samples
        keeps its centroid.
    """
    xp = x.__array_namespace__()
    centroids = kmeans_plus_plus(x, k, seed)
    step = lloyd_step if compiler is None else compiler(lloyd_step)
    distances = squared_distances(x, centroids)
    labels = xp.argmin(distances, axis=1)
    nearest = xp.min(distances, axis=1)
    iterations, moved = 0, x.shape[0]
    while moved and iterations < max_iterations:
        labels, centroids, nearest, changed = step(x, labels, centroids)
        moved = int(changed)
        iterations += 1
        if progress is not None:
            progress(iterations, x.shape[0] - moved, x.shape[0])
    return Clusters(labels, centroids, float(xp.sum(nearest)), iterations, moved == 0)
