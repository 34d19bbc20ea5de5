"""scikit-learn's LogisticRegression on rows that lie on all ranks: classes that curve.

A pipeline makes polynomials of two features, standardises them, and fits by L-BFGS: every rank
runs SciPy, with the same loss and gradient to the last bit; the labels stay where they are, too.

    mpirun -n 2 python examples/logistic_regression_sklearn.py
"""

from __future__ import annotations

import os

# SciPy looks at it when it is first imported; scikit-learn asks for it.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
import sklearn
from _gallery import as_numpy, present
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

import heat_array_api as xp

GRID = np.linspace(-3.0, 3.0, 61)


def moon(x):
    """Return the logarithm of the odds that the labels are drawn with."""
    return 3.0 - 1.5 * (x[:, 0] ** 2 + x[:, 1] ** 2) + 3.0 * x[:, 0] * x[:, 1]


def main(n=20_000):
    rng = xp.random.default_rng(0)
    x = rng.standard_normal((n, 2), split=0)
    y = xp.astype(rng.random((n,), split=0) < 1 / (1 + xp.exp(-moon(x))), xp.int64)

    model = make_pipeline(
        PolynomialFeatures(3, include_bias=False), StandardScaler(), LogisticRegression(C=10.0)
    )
    points = np.stack(np.meshgrid(GRID, GRID), axis=-1).reshape(-1, 2)
    with (
        sklearn.config_context(array_api_dispatch=True),
        xp.set_options(on_gather="error", gather_limit=0),
    ):
        model.fit(x, y)
        accuracy = model.score(x, y)
        probability = as_numpy(model.predict_proba(xp.asarray(points, split=None))[:, 1])
    truth = 1 / (1 + np.exp(-moon(points)))
    return {
        "iterations": int(model[-1].n_iter_[0]),
        "accuracy": float(accuracy),
        "greatest error of the probability": float(np.max(np.abs(probability - truth))),
        "probability": probability.reshape(len(GRID), -1),
        "samples": x[:: n // 1500],
        "labels": y[:: n // 1500],
    }


def draw(figure, found):
    figure.set_size_inches(6.5, 5)
    axes = figure.subplots()
    filled = axes.contourf(
        GRID, GRID, found["probability"], np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.8
    )
    axes.contour(GRID, GRID, found["probability"], [0.5], colors="black")
    style = {"markersize": 4, "markeredgecolor": "white", "markeredgewidth": 0.4}
    for label, colour in ((0, "#123c69"), (1, "#8c1119")):
        points = found["samples"][found["labels"] == label]
        axes.plot(*points.T, "o", color=colour, label=f"class {label}", **style)
    axes.set(xlabel="first feature", ylabel="second feature", title="Probability of class 1")
    axes.set(xlim=(-3, 3), ylim=(-3, 3))
    axes.set_aspect("equal")
    axes.legend(loc="lower left", frameon=True)
    figure.colorbar(filled, label="probability of class 1")


if __name__ == "__main__":
    with xp.trace() as messages:
        result = main()
    present("logistic_regression_sklearn", result, messages, draw)
