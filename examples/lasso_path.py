"""The path of the lasso on split rows: `heat_array_api.ml.lasso_path`.

scikit-learn's Lasso has no array-API path; this one has its interface. Sums of products of the
features are formed once, in one message, however many penalties there are.

    mpirun -n 2 python examples/lasso_path.py
"""

from __future__ import annotations

import os

# SciPy looks at it when it is first imported; scikit-learn asks for it.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
from _gallery import present

import heat_array_api as xp
from heat_array_api.ml.linear_model._lasso import lasso_path

TRUTH = {3: 3.0, 11: -2.0, 17: 1.0, 24: 0.5}


def main(n=20_000, d=30):
    rng = xp.random.default_rng(0)
    x = rng.standard_normal((n, d), split=0)
    weights = np.zeros(d)
    weights[list(TRUTH)] = list(TRUTH.values())
    y = x @ xp.asarray(weights) + 2.0 * rng.standard_normal((n,), split=0)

    with xp.set_options(on_gather="error", gather_limit=0):
        penalties, coefficients, _ = lasso_path(x, y, alphas=60)
    coefficients = np.asarray(coefficients)
    first = [int(np.argmax(row != 0)) if np.any(row != 0) else 60 for row in coefficients]
    entered = np.argsort(first)[: len(TRUTH)]
    return {
        "the first features to enter": entered,
        "their coefficients at the end": coefficients[entered, -1],
        "penalties": np.asarray(penalties),
        "coefficients": coefficients,
    }


def draw(figure, found):
    axes = figure.subplots()
    for i, path in enumerate(found["coefficients"]):
        if i not in TRUTH:
            axes.semilogx(found["penalties"], path, color="0.75", linewidth=0.8)
    for i, value in TRUTH.items():
        path = found["coefficients"][i]
        axes.semilogx(found["penalties"], path, linewidth=2, label=f"feature {i} ({value:+})")
        axes.axhline(value, color="0.6", linewidth=0.8, linestyle=":")
    axes.invert_xaxis()
    axes.set(
        xlabel="penalty, descending",
        ylabel="coefficient",
        title="Four features of thirty matter (dotted: the truth; grey: the others)",
    )
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


if __name__ == "__main__":
    with xp.trace() as messages:
        result = main()
    present("lasso_path", result, messages, draw)
