"""The k nearest rows by tiles: queries stay where they are, tiles of training rows visit them.

Each tile of training rows meets all queries at once; the k least distances so far are kept. A
rank holds at most one tile of other ranks' rows, and at most as many distances of a query as a
tile has rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .._validation import column_width, from_host, namespace

METRICS = ("minkowski", "euclidean", "manhattan", "chebyshev", "cosine")
GROUP = 16
"""Number of distances in a group whose least is compared first."""


def tiles(queries: int, rows: int, d: int, itemsize: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of the tiles of training rows.

    A tile's distances to all queries have about the size of the queries, or fit into an eighth
    of scikit-learn's ``working_memory`` (they are copied a few times); and it has no more
    than a 64th of the rows, so that it is small beside one rank's share.
    """
    width = min(column_width(8 * queries, d, itemsize), max(GROUP, rows // 64))
    width = max(width // GROUP, 1) * GROUP
    for start in range(0, rows, width):
        yield start, min(start + width, rows)


def nearest_rows(
    x: Any,
    training: Any,
    k: int,
    *,
    metric: str,
    p: float,
    exclude_self: bool = False,
    step: Callable[[int], object] = lambda n: None,
) -> tuple[Any, Any]:
    """Return distances and indices of the k nearest training rows, both of shape (n, k).

    Parameters
    ----------
    x : array, shape (n, d)
        The queries.
    training : array, shape (m, d)
    k : int
    metric : str
        One of `METRICS`.
    p : float
        Of the Minkowski metric.
    exclude_self : bool
        Whether query i is training row i, and is not its own neighbour.
    step : callable
        Told how many training rows each tile had.

    Notes
    -----
    Ascending; of equal distances the row that comes first is taken first. Float32 is computed
    in float64, as scikit-learn does: the differences of large squares are too coarse else.
    """
    xp = namespace(x)
    measure = _Measure(x, training, metric, p)
    rows = None
    if exclude_self:  # a running count, for it to lie where the queries do
        rows = xp.cumulative_sum(xp.ones_like(x[:, 0], dtype=xp.int64)) - 1
    best = index = None
    for start, stop in tiles(x.shape[0], training.shape[0], x.shape[1], 8):
        numbers = from_host(range(start, stop), x, xp.int64)
        found = measure.to_rows(numbers)
        if rows is not None:
            found = xp.where(rows[:, None] == numbers[None, :], xp.inf, found)
        found, where = _candidates(xp, found, k)
        where = where + start
        if best is not None:
            found = xp.concat([best, found], axis=1)
            where = xp.concat([index, where], axis=1)
        order = xp.argsort(found, axis=1, stable=True)[:, :k]
        best = xp.take_along_axis(found, order, axis=1)
        index = xp.take_along_axis(where, order, axis=1)
        step(stop - start)
    return measure.finish(best), index


class _Measure:
    """Distances of all queries to a tile, in an order-preserving form that is cheap."""

    def __init__(self, x: Any, training: Any, metric: str, p: float) -> None:
        self.xp = xp = namespace(x)
        self.training, self.metric = training, metric
        self.power = {"euclidean": 2.0, "manhattan": 1.0}.get(metric, p)
        self.squared = metric in ("euclidean", "cosine") or (metric, p) == ("minkowski", 2)
        if metric == "chebyshev":
            self.power = float("inf")
        self.dtype = xp.float64
        x = xp.astype(x, self.dtype)
        # Differences of points near the origin keep their digits.
        self.middle = 0.0
        if self.squared and metric != "cosine":
            self.middle = xp.mean(xp.astype(training, self.dtype), axis=0)
        self.x = self._prepared(x)
        self.squares: Any = None
        if self.squared:
            self.squares = xp.sum(self.x * self.x, axis=1)
            self.x = xp.concat([self.x, xp.ones_like(self.x[:, :1])], axis=1)

    def _prepared(self, x: Any) -> Any:
        if self.metric == "cosine":
            xp = self.xp
            norm = xp.sqrt(xp.sum(x * x, axis=1))[:, None]
            return x / xp.where(norm > 0, norm, 1.0)
        return x - self.middle if self.squared else x

    def to_rows(self, numbers: Any) -> Any:
        """Return the measure of the distances to a tile of training rows, (n, tile)."""
        xp = self.xp
        # A few rows by number are replicated; a slice would lie on one rank or two.
        tile = self._prepared(xp.astype(xp.take(self.training, numbers, axis=0), self.dtype))
        if self.squared:
            norms = xp.sum(tile * tile, axis=1)
            return self.x @ xp.concat([-2 * tile, norms[:, None]], axis=1).T
        total = None
        for j in range(self.x.shape[1]):
            off = xp.abs(self.x[:, j][:, None] - tile[:, j][None, :])
            if self.power == float("inf"):
                total = off if total is None else xp.maximum(total, off)
            else:
                off = off if self.power == 1 else off**self.power
                total = off if total is None else total + off
        return total

    def finish(self, found: Any) -> Any:
        """Return the distances that belong to measures."""
        xp = self.xp
        if self.squared:
            whole = found + self.squares[:, None]
            # What is left of equal rows is rounding.
            noise = 4 * xp.finfo(self.dtype).eps * self.squares[:, None]
            whole = xp.where(whole <= noise, 0.0, whole)
            return whole / 2 if self.metric == "cosine" else xp.sqrt(whole)
        if self.power in (1.0, float("inf")):
            return found
        return found ** (1 / self.power)


def _candidates(xp: Any, x: Any, k: int) -> tuple[Any, Any]:
    """Return some elements of each row, the k least among them, and their columns, in order.

    Sorting is dear: the columns are taken in groups, and only those k groups are kept whose
    minima are the least. They hold the k least: each of them has an element that is no greater than
    any of the other groups', and that precedes it where both are equal.
    """
    n, width = x.shape
    groups = -(-width // GROUP)
    if k >= groups or n == 0:
        order = xp.argsort(x, axis=1, stable=True)[:, :k]
        return xp.take_along_axis(x, order, axis=1), order
    if groups * GROUP > width:
        x = xp.concat([x, xp.full_like(x[:, : groups * GROUP - width], xp.inf)], axis=1)
    grouped = xp.reshape(x, (n, groups, GROUP))
    chosen = xp.argsort(xp.min(grouped, axis=2), axis=1, stable=True)[:, :k]
    chosen = xp.sort(chosen, axis=1)
    kept = xp.take_along_axis(grouped, chosen[:, :, None], axis=1)
    columns = chosen[:, :, None] * GROUP + from_host(range(GROUP), chosen, chosen.dtype)
    return xp.reshape(kept, (n, k * GROUP)), xp.reshape(columns, (n, k * GROUP))
