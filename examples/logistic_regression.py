"""Logistic regression on rows that lie on all ranks, by SciPy's L-BFGS-B.

The loss is plain array code; `to_scipy` gives SciPy its value and gradient. Every rank runs
SciPy, and all take the same steps.

    mpirun -n 2 python examples/logistic_regression.py
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

import heat_array_api as xp


def loss(parameters, x, y, penalty=1e-4):
    """Return the mean of ``log(1 + exp(z)) - y z``, with a penalty for large weights."""
    z = x @ parameters["weights"] + parameters["intercept"]
    fit = xp.mean(xp.logaddexp(z, 0.0) - y * z)
    return fit + penalty * xp.sum(parameters["weights"] ** 2)


def main(n=100_000):
    rng = xp.random.default_rng(0)
    truth = xp.asarray([1.0, -2.0, 0.5, 0.0])
    x = rng.standard_normal((n, 4), split=0)  # each rank draws its rows
    y = xp.astype(rng.random((n,), split=0) < 1 / (1 + xp.exp(-(x @ truth + 0.3))), xp.float64)

    start = {"weights": xp.zeros(4), "intercept": xp.asarray(0.0)}
    problem = xp.autograd.to_scipy(lambda parameters: loss(parameters, x, y), start)
    found = minimize(problem.fun, problem.x0, jac=True, method="L-BFGS-B")
    best = problem.unflatten(found.x)
    return {
        "iterations": found.nit,
        "loss": float(found.fun),
        "weights": np.asarray(best["weights"]),
        "intercept": float(best["intercept"]),
    }


if __name__ == "__main__":
    result = main()
    if xp.world().rank == 0:
        print(result)
