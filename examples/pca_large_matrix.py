"""PCA of a matrix whose rows lie on all ranks, by scikit-learn, unmodified.

64 measured quantities follow 3 hidden ones. What crosses the ranks is the mean row and one 64 x 64
matrix, however many rows there are. ``on_gather="error"`` shows it: to bring the rows together
would be an error.

    mpirun -n 2 python examples/pca_large_matrix.py
"""

from __future__ import annotations

import os

# SciPy looks at it when it is first imported; scikit-learn asks for it.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import numpy as np
import sklearn
from _gallery import present
from sklearn.decomposition import PCA

import heat_array_api as xp


def main(n=200_000, d=64):
    rng = xp.random.default_rng(0)
    hidden = rng.standard_normal((n, 3), split=0) * xp.asarray([3.0, 2.0, 1.0])
    hidden = hidden + xp.asarray([0.0, 4.0, 0.0]) * (hidden[:, :1] > 2)  # two groups
    directions = xp.linalg.qr(rng.standard_normal((d, 3)))[0]
    x = hidden @ directions.T + 0.3 * rng.standard_normal((n, d), split=0)

    model = PCA(8, svd_solver="covariance_eigh")
    with (
        sklearn.config_context(array_api_dispatch=True),
        xp.set_options(on_gather="error", gather_limit=0),
    ):
        scores = model.fit_transform(x)
    return {
        "split of the scores": scores.split,
        "explained": model.explained_variance_ratio_,
        "explained by three": float(xp.sum(model.explained_variance_ratio_[:3])),
        "scores": scores[:: n // 3000, :2],
    }


def draw(figure, found):
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    left.bar(np.arange(1, 9), 100 * found["explained"])
    left.set(xlabel="component", ylabel="variance explained [%]", title="Three stand out")
    right.plot(*found["scores"].T, ".", markersize=2, alpha=0.5)
    right.set(xlabel="first component", ylabel="second component", title="3000 of the rows")
    right.set_aspect("equal", "datalim")


if __name__ == "__main__":
    with xp.trace() as messages:
        result = main()
    present("pca_large_matrix", result, messages, draw)
