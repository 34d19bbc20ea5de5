"""Coordinate descent for the lasso, in blocks of columns.

A sweep over a block of b columns needs the b x b matrix of their products and their b
products with the residual only, so one small sum over the samples replaces b sums. The
iterates are those of coordinate descent, one column after the other.
With one block of all columns this is the covariance (Gram) form.

The sweep itself runs on the host, on every rank alike, in float64: by elementwise operations
and `math.fsum`, whose bits depend on no library's choice of instructions, because what is
found there decides when all ranks stop.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._validation import from_host, host, namespace

Host = np.ndarray[Any, Any]


class Fit(NamedTuple):
    """Coefficients and how good they are."""

    coef: Host
    gap: float
    iterations: int
    converged: bool


def _dot(a: Host, b: Host) -> float:
    return math.fsum(a * b)


def _times(matrix: Host, vector: Host) -> Host:
    total: Host = np.sum(matrix * vector, axis=1)
    return total


class Problem:
    """Least squares of one target, with what is summed over the samples once.

    Parameters
    ----------
    x : array, shape (n, d)
    y : array, shape (n,)
    block : int
        How many columns make a block.
    grams : dict
        Products of the columns of blocks, kept for other targets too.
    """

    def __init__(self, x: Any, y: Any, block: int, grams: dict[int, Host]) -> None:
        self.x, self.y, self.grams = x, y, grams
        self.n, self.d = x.shape
        self.bounds = [(a, min(a + block, self.d)) for a in range(0, self.d, block)]
        self.whole = len(self.bounds) == 1
        self.norm = self._sum(y * y)
        self.correlation = host(x.T @ y).astype(np.float64)
        self._products = np.zeros(0)  # with the residual; one block only
        self._residual = y

    @staticmethod
    def _sum(values: Any) -> float:
        return float(namespace(values).sum(values))

    def _gram(self, start: int, stop: int) -> Host:
        if start not in self.grams:
            columns = self.x[:, start:stop]
            self.grams[start] = host(columns.T @ columns).astype(np.float64)
        return self.grams[start]

    # ------------------------------------------------------------------ the residual

    def _begin(self, coef: Host) -> None:
        """Make the residual that of these coefficients."""
        if self.whole:
            self._products = self.correlation - _times(self._gram(*self.bounds[0]), coef)
        elif coef.any():
            self._residual = self.y - self.x @ from_host(coef, self.x, self.x.dtype)
        else:
            self._residual = self.y

    def _enter(self, start: int, stop: int) -> Host:
        """Return the products of a block's columns and the residual."""
        if self.whole:
            return self._products
        return host(self.x[:, start:stop].T @ self._residual).astype(np.float64)

    def _leave(self, start: int, stop: int, moved: Host) -> None:
        """Move the residual by the change of a block's coefficients."""
        if not self.whole and moved.any():
            columns = self.x[:, start:stop]
            self._residual = self._residual - columns @ from_host(moved, self.x, self.x.dtype)

    def gap(self, coef: Host, alpha: float, positive: bool) -> float:
        """Return the dual gap (of the objective times n): how far from the best it may be."""
        if self.whole:
            products = self._products
            squares = self.norm - _dot(coef, self.correlation) - _dot(coef, products)
            with_y = self.norm - _dot(coef, self.correlation)
        else:
            products = host(self.x.T @ self._residual).astype(np.float64)
            squares = self._sum(self._residual * self._residual)
            with_y = self._sum(self._residual * self.y)
        squares = max(squares, 0.0)
        steepest = float(np.max(products if positive else np.abs(products)))
        scale = alpha / steepest if steepest > alpha else 1.0
        fit = 0.5 * squares * (1 + scale * scale)
        return fit + alpha * math.fsum(np.abs(coef)) - scale * with_y

    # ------------------------------------------------------------------ descent

    def solve(
        self,
        alpha: float,
        coef: Host,
        *,
        tol: float,
        max_iter: int,
        positive: bool = False,
        random: np.random.RandomState | None = None,
    ) -> Fit:
        """Minimise ``||y - x w||² / 2 n + alpha ||w||_1`` from some coefficients on.

        Parameters
        ----------
        alpha : float
        coef : numpy.ndarray, shape (d,)
        tol : float
            Of the dual gap, relative to ``||y||² / n``.
        max_iter : int
            Sweeps.
        positive : bool
            Whether coefficients may not be negative.
        random : RandomState, optional
            Take blocks, and columns in a block, at random.
        """
        coef, alpha = coef.astype(np.float64), alpha * self.n
        limit, gap, sweep = tol * self.norm, math.inf, 0
        self._begin(coef)
        gap = self.gap(coef, alpha, positive)
        while gap > limit and sweep < max_iter:
            sweep += 1
            moved = self._sweep(coef, alpha, positive, random)
            largest = float(np.max(np.abs(coef)))
            if largest == 0 or moved <= tol * largest or sweep == max_iter:
                gap = self.gap(coef, alpha, positive)
        return Fit(coef, gap / self.n, sweep, gap <= limit)

    def _sweep(
        self, coef: Host, alpha: float, positive: bool, random: np.random.RandomState | None
    ) -> float:
        """Go over all columns once; return the largest change of a coefficient."""
        bounds = self.bounds
        if random is not None:
            bounds = [bounds[i] for i in random.permutation(len(bounds))]
        largest = 0.0
        for start, stop in bounds:
            order = range(stop - start)
            if random is not None:
                order = random.randint(0, stop - start, stop - start)
            gram, products = self._gram(start, stop), self._enter(start, stop)
            before = coef[start:stop].copy()
            moved = _descend(coef[start:stop], gram, products, alpha, positive, order)
            self._leave(start, stop, coef[start:stop] - before)
            largest = max(largest, moved)
        return largest


def _descend(
    coef: Host, gram: Host, products: Host, alpha: float, positive: bool, order: Any
) -> float:
    """Minimise over one coefficient after the other, in place; return the largest change."""
    largest, diagonal = 0.0, gram.diagonal()
    for j in order:
        square = float(diagonal[j])
        if square == 0.0:
            continue
        old = float(coef[j])
        pull = float(products[j]) + old * square
        if pull > alpha:
            new = (pull - alpha) / square
        elif pull < -alpha and not positive:
            new = (pull + alpha) / square
        else:
            new = 0.0
        if new != old:
            coef[j] = new
            products -= gram[:, j] * (new - old)
            largest = max(largest, abs(new - old))
    return largest
