"""The path of ridge regression: coefficients against the penalty, by scikit-learn.

Ten features, the last five noisy copies of the first five; each fit sends what an SVD of a
tall matrix does (TSQR: a few 10 x 10 matrices).

    mpirun -n 2 python examples/ridge_path.py
"""

from __future__ import annotations

import os

# SciPy looks at it when it is first imported; scikit-learn asks for it.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
import sklearn
from _gallery import present
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

import heat_array_api as xp

TRUTH = (2.0, -1.5, 1.0, 0.5, -0.5)


def main(n=20_000, steps=13):
    rng = xp.random.default_rng(0)
    first = rng.standard_normal((n, 5), split=0)
    copies = first + 0.1 * rng.standard_normal((n, 5), split=0)
    x = xp.concat([first, copies], axis=1)
    y = first @ xp.asarray(TRUTH) + 4.0 * rng.standard_normal((n,), split=0)
    train, test = slice(0, n // 100), slice(n // 100, None)  # a small sample to learn from

    penalties = np.logspace(-1, 5, steps)
    coefficients, scores = [], []
    with (
        sklearn.config_context(array_api_dispatch=True),
        xp.set_options(on_gather="error", gather_limit=0),
    ):
        for penalty in penalties:
            model = Ridge(penalty, solver="svd").fit(x[train], y[train])
            coefficients.append(np.asarray(model.coef_))
            scores.append(float(r2_score(y[test], model.predict(x[test]))))
    best = int(np.argmax(scores))
    return {
        "best penalty": penalties[best],
        "its coefficients": coefficients[best],
        "best score": scores[best],
        "penalties": penalties,
        "scores": np.asarray(scores),
        "coefficients": np.asarray(coefficients),
    }


def draw(figure, found):
    left, right = figure.subplots(1, 2, width_ratios=(3, 2), sharex=True)
    left.axhline(0, color="0.8", linewidth=1)
    for i in range(5):
        label = f"feature {i + 1} ({TRUTH[i]:+})"
        (line,) = left.semilogx(found["penalties"], found["coefficients"][:, i], label=label)
        left.semilogx(
            found["penalties"], found["coefficients"][:, i + 5], "--", color=line.get_color()
        )
    left.set(xlabel="penalty", ylabel="coefficient", title="Copies (dashed) come to share")
    left.legend(title="in brackets: the truth", fontsize=9, title_fontsize=9)
    right.semilogx(found["penalties"], found["scores"], "o-", markersize=4)
    right.axvline(found["best penalty"], color="0.8", linewidth=1)
    right.set(xlabel="penalty", ylabel="R² on the other rows", title="The best penalty")


if __name__ == "__main__":
    with xp.trace() as messages:
        result = main()
    present("ridge_path", result, messages, draw)
