"""The gradient of the demo's k-means: a step of Newton's method on the inertia is one of Lloyd's.

`squared_distances` is the function with which ``python -m heat_array_api.demo`` finds climate
zones; it knows nothing of derivatives, nor of ranks. The inertia is quadratic between changes of
assignment: its gradient by a centroid, over twice the number of its samples, leads to their mean.

    mpirun -n 2 python examples/kmeans_gradient.py
"""

from __future__ import annotations

import numpy as np

import heat_array_api as xp
from heat_array_api.demo._kmeans import kmeans_plus_plus, squared_distances


def inertia(centroids, x):
    """Return the sum of the squared distances to the nearest centroids."""
    return xp.sum(xp.min(squared_distances(x, centroids), axis=1))


def main(n=30_000, k=5, steps=20):
    rng = xp.random.default_rng(0)
    centres = 4.0 * rng.standard_normal((k, 3))
    x = rng.standard_normal((n, 3), split=0) + centres[rng.integers(0, k, (n,), split=0)]
    centroids = kmeans_plus_plus(x, k)
    values = []
    for _ in range(steps):
        value, gradient = xp.autograd.value_and_grad(inertia)(centroids, x)
        labels = xp.argmin(squared_distances(x, centroids), axis=1)
        counts = xp.bincount(labels, minlength=k)
        centroids = centroids - gradient / (2.0 * xp.maximum(counts, 1))[:, None]
        values.append(float(value))
    belongs = xp.astype(labels[:, None] == xp.arange(k), x.dtype)
    means = belongs.T @ x / counts[:, None]
    difference = float(xp.max(xp.abs(means - centroids)))
    return {"inertia": np.asarray(values), "from Lloyd's step": difference}


if __name__ == "__main__":
    result = main()
    if xp.world().rank == 0:
        print(result)
