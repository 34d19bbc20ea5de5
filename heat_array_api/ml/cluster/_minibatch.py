"""k-means by mini-batches (Sculley 2010), with scikit-learn's rules for when to stop."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from .._base import Report, flag, real, report, whole
from .._validation import as_samples, from_host, host, namespace, sample_weights
from ._kmeans import BaseKMeans
from ._points import Points
from ._seeding import draw_rows


class _State:
    """Centres, and how many samples each is the mean of: small, and on the host of each rank."""

    def __init__(
        self,
        means: np.ndarray[Any, Any],
        counts: np.ndarray[Any, Any] | None = None,
        idle: int = 0,
    ) -> None:
        self.means = means
        self.counts = np.zeros(len(means), dtype=means.dtype) if counts is None else counts
        self.idle = idle  # samples since centres of few samples were last looked for


class _Progress:
    """Whether the centres have come to rest: a smoothed inertia of the batches."""

    def __init__(self, share: float, tol: float, patience: int | None) -> None:
        self.share = min(share, 1.0)  # of a batch in the running mean
        self.tol = tol
        self.patience = patience
        self.smoothed: float | None = None
        self._least: float | None = None
        self._idle = 0

    def ended(self, step: int, moved: float, inertia: float) -> bool:
        """Take in a batch's mean inertia; say whether to stop after it."""
        if step == 1:  # of the first centres
            return False
        old = self.smoothed
        self.smoothed = inertia if old is None else old * (1 - self.share) + inertia * self.share
        if self.tol > 0 and moved <= self.tol:
            return True
        if self._least is None or self.smoothed < self._least:
            self._least, self._idle = self.smoothed, 0
        else:
            self._idle += 1
        return self.patience is not None and self._idle >= self.patience


class MiniBatchKMeans(BaseKMeans):
    """k-means by small random batches of samples.

    Parameters
    ----------
    n_clusters : int
    init : {"k-means||", "k-means++", "random"}, callable or array of shape (k, d)
        As in `KMeans`, of ``init_size`` random samples.
    max_iter : int
        How often, on average, each sample is seen at most.
    batch_size : int
        A batch is gathered from all ranks; it is small.
    verbose : int
        1: a progress bar; 2: lines. On rank 0.
    compute_labels : bool
        Whether to label all samples in the end.
    random_state : int, RandomState or None
        The same on every rank.
    tol : float
        Relative to the mean variance of the features; 0: do not stop on small moves.
    max_no_improvement : int or None
        Stop after so many batches that did not lower the smoothed inertia.
    init_size : int or None
        Samples that the first centres are found with; None: ``3 * batch_size``.
    n_init : "auto" or int
        First centres tried. "auto": 3 for "random" and callables, else 1.
    reassignment_ratio : float
        A centre with less than this part of the greatest centre's count begins anew.

    Attributes
    ----------
    cluster_centers_ : array, shape (k, d)
        Replicated.
    labels_ : array, shape (n,)
        Laid out as the samples; with ``compute_labels``.
    inertia_ : float
    n_iter_ : int
        How often, on average, each sample was seen.
    n_steps_ : int
        Batches.
    n_features_in_ : int

    Examples
    --------
    >>> X = xp.asarray([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]], split=0)
    >>> model = xp.ml.MiniBatchKMeans(n_clusters=2, random_state=0).fit(X)
    >>> bool(model.labels_[0] == model.labels_[1])
    True
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means||",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: Any = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: Any = "auto",
        reassignment_ratio: float = 0.01,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio

    def _check(self, X: Any) -> None:
        self._check_centers(X)
        self._batch_size = min(whole(self, "batch_size", 1), X.shape[0])
        flag(self, "compute_labels")
        whole(self, "max_no_improvement", 0, none=True)
        real(self, "reassignment_ratio")
        size = whole(self, "init_size", 1, none=True)
        if size is not None and size < self.n_clusters:
            warnings.warn(
                f"init_size={size} should be larger than n_clusters={self.n_clusters}. "
                "Setting it to min(3*n_clusters, n_samples)",
                RuntimeWarning,
                stacklevel=3,
            )
        if size is None:
            size = 3 * self._batch_size
        if size < self.n_clusters:
            size = 3 * self.n_clusters
        self._init_size = min(size, X.shape[0])

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MiniBatchKMeans:
        """Cluster samples.

        Parameters
        ----------
        X : array, shape (n, d)
        y : ignored
        sample_weight : array, shape (n,), optional
            A batch takes samples with probabilities in proportion to their weights.

        Returns
        -------
        MiniBatchKMeans
            Itself.
        """
        X = as_samples(self, X)
        self._check(X)
        runs, random = self._runs(random_runs=3), check_random_state(self.random_state)
        weight = sample_weights(self, sample_weight, X)
        points, n, xp = Points(X, weight), X.shape[0], namespace(X)
        valid = points.take(random.randint(0, n, self._init_size))
        best = math.inf
        for _ in range(runs):
            centers = self._some_centers(points, random)
            inertia = valid.inertia(valid.labels(centers), centers)
            if inertia < best:
                best, first = inertia, centers
        state = _State(host(first))
        tol = self.tol * float(xp.mean(xp.var(X, axis=0))) if self.tol else 0.0
        share = self._batch_size * 2.0 / (n + 1)
        progress = _Progress(share, tol, self.max_no_improvement)
        steps = max(1, self.max_iter * n // self._batch_size)
        with report(self, X, steps, self.verbose) as says:
            step = self._batches(points, state, random, progress, steps, says)
        self._end(points, state, step)
        if not self.compute_labels:
            total = float(n) if weight is None else float(xp.sum(weight))
            self.inertia_ = (progress.smoothed or 0.0) * total
        self.n_iter_ = math.ceil(step * self._batch_size / n)
        return self

    def _batches(
        self,
        points: Points,
        state: _State,
        random: np.random.RandomState,
        progress: _Progress,
        steps: int,
        says: Report,
    ) -> int:
        """Take batches until the centres rest; return how many."""
        step = 0
        for step in range(1, steps + 1):
            rows = draw_rows(points, points.weight, random.random_sample(self._batch_size))
            # The draw has seen to the weights.
            batch, before = Points(points.take(rows).x), state.means
            inertia = self._update(state, batch, random) / self._batch_size
            moved = math.fsum(((state.means - before) ** 2).ravel())
            says.step(f"batch {step} of {steps}, mean inertia {inertia:.6g}")
            if progress.ended(step, moved, inertia):
                break
        return step

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MiniBatchKMeans:
        """Take in one batch of samples.

        Parameters
        ----------
        X : array, shape (n, d)
        y : ignored
        sample_weight : array, shape (n,), optional

        Returns
        -------
        MiniBatchKMeans
            Itself.
        """
        first = not hasattr(self, "cluster_centers_")
        X = as_samples(self, X, reset=first)
        if first:
            self._check(X)
            self._random_state = check_random_state(self.random_state)
        points = Points(X, sample_weights(self, sample_weight, X))
        if first:
            state = _State(host(self._some_centers(points, self._random_state)))
        else:
            state = _State(host(self.cluster_centers_), host(self._counts), self._idle)
            self._random_state = getattr(
                self, "_random_state", check_random_state(self.random_state)
            )
        self._update(state, points, self._random_state)
        self._end(points, state, getattr(self, "n_steps_", 0) + 1)
        return self

    def _some_centers(self, points: Points, random: np.random.RandomState) -> Any:
        """Return first centres, found with a few of the samples."""
        if self._init_size < points.n:
            points = points.take(random.randint(0, points.n, self._init_size))
        return self._first_centers(points, random, 0.0)

    def _end(self, points: Points, state: _State, steps: int) -> None:
        centers = from_host(state.means, points.x)
        self.cluster_centers_ = centers
        self._counts = from_host(state.counts, points.x)
        self._idle = state.idle
        self.n_steps_ = steps
        if self.compute_labels:
            self.labels_ = points.labels(centers)
            self.inertia_ = points.inertia(self.labels_, centers)

    def _update(self, state: _State, batch: Points, random: np.random.RandomState) -> float:
        """Move the centres to the running means of their samples; return the batch's inertia."""
        centers = from_host(state.means, batch.x)
        labels = batch.labels(centers)
        inertia = batch.inertia(labels, centers)
        sums, weights = (host(part) for part in batch.sums(labels, self.n_clusters))
        counts, held = state.counts + weights, weights > 0
        means = state.means.copy()
        means[held] = means[held] * state.counts[held, None] + sums[held]
        means[held] /= counts[held, None]
        state.idle += self._batch_size
        # As in scikit-learn, by the counts from before: always at the first batch.
        due = bool((state.counts == 0).any()) or state.idle >= 10 * self.n_clusters
        state.means, state.counts = means, counts
        if due:
            state.idle = 0
            self._reassign(state, batch, random)
        return inertia

    def _reassign(self, state: _State, batch: Points, random: np.random.RandomState) -> None:
        """Let centres of few samples begin anew, at samples of the batch."""
        if not self.reassignment_ratio:
            return
        counts = state.counts
        chosen = counts < self.reassignment_ratio * counts.max()
        most = int(0.5 * batch.n)
        if chosen.sum() > 0.5 * batch.n:
            chosen[np.argsort(counts)[most:]] = False
        if not chosen.any():
            return
        rows = random.choice(batch.n, replace=False, size=int(chosen.sum()))
        state.means[chosen] = host(batch.take(rows).x)
        counts[chosen] = counts[~chosen].min()
