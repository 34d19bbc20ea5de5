"""Gradients through Fourier transforms: the gains of a filter, found from what it did to a signal.

The signal is split along time, so each transform redistributes it; so does each adjoint.

    mpirun -n 2 python examples/fft_filter.py
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

import heat_array_api as xp

GAINS = (1.0, 0.2, 0.7, 0.0, 1.5)


def filtered(gains, signal):
    """Multiply the bands of a real signal's spectrum by their gains."""
    spectrum = xp.fft.rfft(signal)
    bands = xp.linspace(0.0, gains.shape[0], spectrum.shape[0], endpoint=False)
    return xp.fft.irfft(spectrum * xp.take(gains, xp.astype(bands, xp.int64)), n=signal.shape[0])


def main(n=50_000):
    signal = xp.random.default_rng(0).standard_normal((n,), split=0)
    heard = filtered(xp.asarray(GAINS), signal)

    def loss(gains):
        return xp.mean((filtered(gains, signal) - heard) ** 2)

    problem = xp.autograd.to_scipy(loss, xp.ones(len(GAINS)))
    found = minimize(problem.fun, problem.x0, jac=True, method="L-BFGS-B", options={"gtol": 1e-9})
    return {"gains": np.asarray(found.x), "loss": float(found.fun), "iterations": found.nit}


if __name__ == "__main__":
    result = main()
    if xp.world().rank == 0:
        print(result)
