"""Weighted samples and their nearest centres: the arithmetic of all of k-means.

Distances come as ||x||² - 2 x·c + ||c||², the last two terms from one product of the
samples, with a column of ones, and the centres. No array here has more columns than
`column_width` allows: many centres are taken in groups.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from .._validation import column_width, from_host, host, namespace


class Points:
    """Samples, their weights, and sums over them.

    Parameters
    ----------
    x : array, shape (n, d)
        Best with a mean near zero, for the differences to keep their digits.
    weight : array, shape (n,), optional
        Laid out as the rows of `x`.
    """

    def __init__(self, x: Any, weight: Any = None) -> None:
        self.xp = namespace(x)
        self.x = x
        self.weight = weight
        self.n, self.d = x.shape
        self.width = column_width(self.n, self.d, self.xp.finfo(x.dtype).bits // 8)

    @cached_property
    def _with_ones(self) -> Any:
        return self.xp.concat([self.x, self.xp.ones_like(self.x[:, :1])], axis=1)

    @cached_property
    def _weighted(self) -> Any:
        return self._with_ones if self.weight is None else self._with_ones * self.weight[:, None]

    @cached_property
    def squares(self) -> Any:
        """The squared norms of the samples, shape (n,)."""
        return self.xp.sum(self.x * self.x, axis=1)

    def _scores(self, centers: Any) -> Any:
        """Return ||c||² - 2 x·c, shape (n, k): the squared distances, less ||x||²."""
        xp = self.xp
        norms = xp.sum(centers * centers, axis=1)
        both = xp.concat([-2 * centers, norms[:, None]], axis=1)
        return self._with_ones @ both.T

    def squared_distances(self, centers: Any) -> Any:
        """Return the squared distances to a few centres, shape (n, k)."""
        found = self._scores(centers) + self.squares[:, None]
        return self.xp.maximum(found, self.xp.zeros_like(found))

    def groups(self, k: int) -> list[tuple[int, int]]:
        """Return the bounds of the groups in which k centres are taken."""
        return [(start, min(start + self.width, k)) for start in range(0, k, self.width)]

    def nearest(self, centers: Any) -> tuple[Any, Any]:
        """Return the nearest centre of each sample and the squared distance to it."""
        xp = self.xp
        labels = best = None
        for start, stop in self.groups(centers.shape[0]):
            scores = self._scores(centers[start:stop, :])
            label, score = xp.argmin(scores, axis=1), xp.min(scores, axis=1)
            if labels is None:
                labels, best = label, score
            else:
                closer = score < best
                labels = xp.where(closer, label + start, labels)
                best = xp.where(closer, score, best)
        found = best + self.squares
        return labels, xp.maximum(found, xp.zeros_like(found))

    def labels(self, centers: Any) -> Any:
        """Return the nearest centre of each sample."""
        if centers.shape[0] <= self.width:
            return self.xp.argmin(self._scores(centers), axis=1)
        return self.nearest(centers)[0]

    def sums(self, labels: Any, k: int) -> tuple[Any, Any]:
        """Return the weighted sums of the samples of k clusters, (k, d), and the weights, (k,)."""
        xp, parts = self.xp, []
        for start, stop in self.groups(k):
            belongs = self._belongs(labels, start, stop)
            parts.append(belongs.T @ self._weighted)
        both = parts[0] if len(parts) == 1 else xp.concat(parts, axis=0)
        return both[:, :-1], both[:, -1]

    def _belongs(self, labels: Any, start: int, stop: int) -> Any:
        clusters = from_host(range(start, stop), labels, labels.dtype)
        return self.xp.astype(labels[:, None] == clusters[None, :], self.x.dtype)

    def counts(self, labels: Any, k: int) -> list[int]:
        """Return how many samples each of k clusters has."""
        found: list[int] = []
        for start, stop in self.groups(k):
            belongs = self._belongs(labels, start, stop)
            found += [int(count) for count in host(self.xp.count_nonzero(belongs, axis=0))]
        return found

    def distances_within(self, labels: Any, centers: Any) -> Any:
        """Return each sample's squared distance to its centre, from the differences."""
        off = self.x - self.xp.take(centers, labels, axis=0)
        return self.xp.sum(off * off, axis=1)

    def inertia(self, labels: Any, centers: Any) -> float:
        """Return the weighted sum of the squared distances of samples to their centres."""
        return self.total(self.distances_within(labels, centers))

    def total(self, values: Any) -> float:
        """Return the weighted sum of a value for each sample."""
        return float(self.xp.sum(values if self.weight is None else values * self.weight))

    def take(self, rows: Any) -> Points:
        """Return the samples of a few rows (host integers), with their weights."""
        index = from_host(rows, self.x)
        weight = None if self.weight is None else self.xp.take(self.weight, index, axis=0)
        return Points(self.xp.take(self.x, index, axis=0), weight)
