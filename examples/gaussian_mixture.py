"""A Gaussian mixture of samples that lie on all ranks, by scikit-learn's expectation-maximisation.

An iteration sends the sums of the three components: weights, means, covariances.

    mpirun -n 2 python examples/gaussian_mixture.py
"""

from __future__ import annotations

import os

# SciPy looks at it when it is first imported; scikit-learn asks for it.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
import sklearn
from _gallery import COLOURS, as_numpy, present
from sklearn.mixture import GaussianMixture

import heat_array_api as xp

MEANS = ((0.0, 0.0), (4.0, 1.0), (1.0, 4.0))
SHAPES = (((1.0, 0.0), (0.6, 0.5)), ((0.5, 0.0), (-0.4, 1.0)), ((1.2, 0.0), (0.0, 0.4)))


def main(n=50_000):
    rng = xp.random.default_rng(0)
    component = rng.integers(0, 4, (n,), split=0) % 3  # half of the samples are of the first
    noise = rng.standard_normal((n, 2), split=0)
    x = xp.zeros((n, 2), split=0)
    for i, (mean, shape) in enumerate(zip(MEANS, SHAPES, strict=True)):
        of_it = xp.asarray(mean) + noise @ xp.asarray(shape).T
        x = xp.where((component == i)[:, None], of_it, x)

    model = GaussianMixture(3, init_params="random_from_data", tol=1e-4, random_state=0)
    with (
        sklearn.config_context(array_api_dispatch=True),
        xp.set_options(on_gather="error", gather_limit=0),
    ):
        labels = model.fit(x).predict(x)
        likelihood = model.score(x)
    order = np.argsort(-as_numpy(model.weights_))
    return {
        "iterations": model.n_iter_,
        "mean log-likelihood": float(likelihood),
        "weights": model.weights_[order],
        "means": model.means_[order],
        "covariances": model.covariances_[order],
        "samples": x[:: n // 3000],
        "labels": xp.asarray(np.argsort(order))[labels[:: n // 3000]],
    }


def draw(figure, found):
    axes = figure.subplots()
    circle = np.linspace(0, 2 * np.pi, 100)
    circle = np.stack([np.cos(circle), np.sin(circle)])
    for i in range(3):
        axes.plot(*found["samples"][found["labels"] == i].T, ".", markersize=2, alpha=0.4)
        root = np.linalg.cholesky(found["covariances"][i])
        for radius in (1, 2):
            ring = found["means"][i][:, None] + radius * root @ circle
            axes.plot(*ring, color="black", linewidth=2.4)
            axes.plot(*ring, color=COLOURS[i], linewidth=1.2)
        axes.plot([], [], "o", color=COLOURS[i], label=f"weight {found['weights'][i]:.2f}")
    axes.set(xlabel="x", ylabel="y", title="Three components, one and two standard deviations")
    axes.set_aspect("equal")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


if __name__ == "__main__":
    with xp.trace() as messages:
        result = main()
    present("gaussian_mixture", result, messages, draw)
