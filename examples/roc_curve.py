"""ROC curves of two classifiers, by scikit-learn, of scores that lie on all ranks.

`roc_curve` sorts the scores: one exchange of the data between the ranks, after which each holds a
part of the curve. (`auc` and `roc_auc_score` take the curve, or labels, through NumPy; here the
area is a sum.)

    mpirun -n 2 python examples/roc_curve.py
"""

from __future__ import annotations

import os

# SciPy looks at it when it is first imported; scikit-learn asks for it.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
import sklearn
from _gallery import present
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB

import heat_array_api as xp


def main(n=40_000):
    rng = xp.random.default_rng(0)
    x = rng.standard_normal((n, 4), split=0)
    # Of features that depend on each other, which naive Bayes takes for independent.
    x = xp.concat([x, x[:, :2] + 0.3 * rng.standard_normal((n, 2), split=0)], axis=1)
    odds = 1.5 * x[:, 0] - x[:, 1] + x[:, 2] + 0.7 * x[:, 3] - 1.0
    y = xp.astype(rng.random((n,), split=0) < 1 / (1 + xp.exp(-odds)), xp.int64)

    found = {}
    with (
        sklearn.config_context(array_api_dispatch=True),
        xp.set_options(on_gather="error", gather_limit=0),
    ):
        train, test, y_train, y_test = train_test_split(x, y, test_size=0.5, random_state=0)
        for model in (LogisticRegression(), GaussianNB()):
            name = type(model).__name__
            scores = model.fit(train, y_train).predict_proba(test)[:, 1]
            false, true, _ = roc_curve(y_test, scores)
            area = xp.sum(xp.diff(false) * (true[1:] + true[:-1])) / 2
            found[f"area of {name}"] = float(area)
            found[f"points of {name}"] = false.shape[0]
            every = max(1, false.shape[0] // 400)
            found[name] = xp.stack([false[::every], true[::every]])
    return found


def draw(figure, found):
    axes = figure.subplots()
    for name in ("LogisticRegression", "GaussianNB"):
        curve = np.append(found[name], [[1.0], [1.0]], axis=1)
        axes.plot(*curve, label=f"{name}, area {found[f'area of {name}']:.3f}")
    axes.plot([0, 1], [0, 1], ":", color="0.5", label="a guess")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC curves")
    axes.set_aspect("equal")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


if __name__ == "__main__":
    with xp.trace() as messages:
        result = main()
    present("roc_curve", result, messages, draw)
