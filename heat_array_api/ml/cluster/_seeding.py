"""First centres for k-means: k-means||, k-means++, random samples.

Random numbers are drawn on the host, a few for each step and the same on every rank. The
probabilities of the n samples stay where the samples are: a running sum of them, in which the
draws are looked up.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._validation import from_host, host
from ._lloyd import lloyd
from ._points import Points

METHODS = ("k-means||", "k-means++", "random")
ROUNDS = 5
"""Of k-means||: enough by the paper's experiments (section 5.3)."""


REFINEMENTS = 10
"""At most so many Lloyd iterations on the candidates of k-means||."""


def draw_rows(points: Points, mass: Any, uniforms: Any, side: str = "right") -> Any:
    """Return a row for each number of [0, 1): row i in proportion to its share of the mass.

    Parameters
    ----------
    points : Points
    mass : array, shape (n,), optional
        Not negative; None: all rows alike.
    uniforms : numpy.ndarray
    side : {"left", "right"}
        Which row gets a number that meets its bound.
    """
    if mass is None:
        return np.minimum((uniforms * points.n).astype(np.int64), points.n - 1)
    xp = points.xp
    running = xp.cumulative_sum(mass, dtype=xp.float64)
    wanted = from_host(uniforms, mass, xp.float64) * running[-1]
    return np.minimum(host(xp.searchsorted(running, wanted, side=side)), points.n - 1)


def seed_centers(points: Points, k: int, method: str, random: np.random.RandomState) -> Any:
    """Return k first centres, shape (k, d), by one of `METHODS`."""
    if method == "random":
        return points.take(_distinct_rows(points, k, random)).x
    if method == "k-means++" or points.n <= 2 * k * ROUNDS:
        return _plus_plus(points, k, random)
    return _parallel(points, k, random)


def _distinct_rows(points: Points, k: int, random: np.random.RandomState) -> list[int]:
    """Return k different rows, drawn as NumPy's ``choice(replace=False, p=weight)`` does."""
    weight = points.weight
    mass = points.xp.ones_like(points.x[:, 0]) if weight is None else points.xp.asarray(weight)
    rows: list[int] = []
    while len(rows) < k:
        if rows:
            mass = points.xp.asarray(mass, copy=True)
            for row in rows:
                mass[row] = 0.0
        if float(points.xp.max(mass)) <= 0:
            raise ValueError(
                f"KMeans: init is 'random' and n_clusters is {k}, "
                f"but only {len(rows)} samples have a weight"
            )
        found = draw_rows(points, mass, random.random_sample(k - len(rows)))
        rows += list(dict.fromkeys(int(row) for row in found))
    return rows


def _plus_plus(points: Points, k: int, random: np.random.RandomState) -> Any:
    """Choose centres by k-means++ (Arthur and Vassilvitskii 2007), the best of a few trials each.

    The same draws as scikit-learn's ``kmeans_plusplus``.
    """
    xp, trials = points.xp, 2 + int(math.log(k))
    first = points.take(draw_rows(points, points.weight, random.random_sample(1)))
    chosen = [first.x]
    closest = points.squared_distances(first.x)[:, 0]
    while len(chosen) < k:
        mass = closest if points.weight is None else closest * points.weight
        tried = points.take(draw_rows(points, mass, random.uniform(size=trials), "left")).x
        distances = xp.minimum(closest[:, None], points.squared_distances(tried))
        weighted = distances if points.weight is None else distances * points.weight[:, None]
        best = int(xp.argmin(xp.sum(weighted, axis=0)))
        chosen.append(tried[best : best + 1, :])
        closest = distances[:, best]
    return xp.concat(chosen, axis=0)


def _parallel(points: Points, k: int, random: np.random.RandomState) -> Any:
    """Choose centres by k-means|| (Bahmani et al. 2012).

    In each round 2 k samples are drawn at once, with probabilities in proportion to their
    squared distances to what is chosen already (the paper's variant with exactly l samples a
    round). The candidates, weighted by the samples that are nearest to them, are clustered by
    k-means++ and Lloyd's iteration: they are few, and on every rank.
    """
    xp = points.xp
    candidates = points.take(draw_rows(points, points.weight, random.random_sample(1))).x
    closest = points.squared_distances(candidates)[:, 0]
    for _ in range(ROUNDS):
        mass = closest if points.weight is None else closest * points.weight
        drawn = points.take(np.unique(draw_rows(points, mass, random.random_sample(2 * k)))).x
        closest = xp.minimum(closest, points.nearest(drawn)[1])
        candidates = xp.concat([candidates, drawn], axis=0)
    labels = points.labels(candidates)
    weight = points.sums(labels, candidates.shape[0])[1]
    if int(xp.count_nonzero(weight > 0)) <= k:
        return _plus_plus(points, k, random)
    few = Points(candidates, weight)
    return lloyd(few, _plus_plus(few, k, random), REFINEMENTS, 0.0).centers
