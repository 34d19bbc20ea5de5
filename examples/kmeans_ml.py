"""k-means on split samples: `heat_array_api.ml.KMeans`, seeded by k-means||.

Eight centres; an iteration sends their sums and counts. The labels lie where the samples are.

    mpirun -n 2 python examples/kmeans_ml.py
"""

from __future__ import annotations

import os

# SciPy looks at it when it is first imported; scikit-learn asks for it.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
from _gallery import COLOURS, as_numpy, present

import heat_array_api as xp
from heat_array_api.ml.cluster._kmeans import KMeans

CENTRES = np.stack([np.cos(np.arange(7) * 0.9), np.sin(np.arange(7) * 0.9)], axis=1) * 4
CENTRES = np.concatenate([CENTRES, np.zeros((1, 2))])


def main(n=60_000):
    rng = xp.random.default_rng(0)
    which = rng.integers(0, 8, (n,), split=0)
    x = xp.asarray(CENTRES)[which] + 0.5 * rng.standard_normal((n, 2), split=0)

    with xp.set_options(on_gather="error", gather_limit=0):
        model = KMeans(8, random_state=0).fit(x)
    centres = as_numpy(model.cluster_centers_)
    distances = np.linalg.norm(centres[:, None] - CENTRES, axis=-1)
    return {
        "iterations": model.n_iter_,
        "inertia of a sample": float(model.inertia_) / n,
        "split of the labels": model.labels_.split,
        "greatest error of a centre": float(distances.min(axis=1).max()),
        "centres": centres,
        "samples": x[:: n // 4000],
        "labels": model.labels_[:: n // 4000],
    }


def draw(figure, found):
    figure.set_size_inches(6, 4.5)
    axes = figure.subplots()
    for i in range(8):
        colour = (*COLOURS, "#d17ba8", "#6bb1b8")[i]
        axes.plot(
            *found["samples"][found["labels"] == i].T, ".", color=colour, markersize=2, alpha=0.6
        )
    axes.plot(*found["centres"].T, "P", color="white", markersize=11, markeredgecolor="black")
    axes.set(xlabel="x", ylabel="y", title="Eight centres, and samples by their nearest one")
    axes.set_aspect("equal")


if __name__ == "__main__":
    with xp.trace() as messages:
        result = main()
    present("kmeans_ml", result, messages, draw)
