"""Nonlinear least squares by Gauss-Newton, and by Newton, without forming a matrix.

Products with the Jacobian J of the residuals are `jvp`, with its transpose `vjp`, and with the
Hessian of the loss `hvp`. Conjugate gradients need no more.

    mpirun -n 2 python examples/gauss_newton.py
"""

from __future__ import annotations

import numpy as np

import heat_array_api as xp

TRUTH = (2.0, 1.5, 0.5)


def conjugate_gradients(product, b, steps):
    """Solve ``A p = b``, where `product` multiplies by A, symmetric positive definite."""
    p = xp.zeros_like(b)
    residual = direction = b
    for _ in range(steps):
        squares = xp.vecdot(residual, residual)
        if float(squares) < 1e-30:
            break
        image = product(direction)
        length = squares / xp.vecdot(direction, image)
        p = p + length * direction
        residual = residual - length * image
        direction = residual + xp.vecdot(residual, residual) / squares * direction
    return p


def main(n=100_000):
    t = xp.linspace(0.0, 3.0, n, split=0)
    noise = xp.random.default_rng(0).standard_normal((n,), split=0)
    measured = TRUTH[0] * xp.exp(-TRUTH[1] * t) + TRUTH[2] + 0.01 * noise

    def residuals(p):
        return p[0] * xp.exp(-p[1] * t) + p[2] - measured

    def loss(p):
        return xp.sum(residuals(p) ** 2) / 2

    p = xp.asarray([1.5, 1.2, 0.4])
    for _ in range(6):  # Gauss-Newton: J^T J p = -J^T r
        r, pullback = xp.autograd.vjp(residuals, p)

        def gauss_newton(v, p=p, pullback=pullback):
            return pullback(xp.autograd.jvp(residuals, (p,), (v,))[1])[0]

        p = p + conjugate_gradients(gauss_newton, -pullback(r)[0], 3)
    fitted = np.asarray(p)
    for _ in range(2):  # Newton, from there: the whole Hessian
        gradient = xp.autograd.grad(loss)(p)

        def newton(v, p=p):
            return xp.autograd.hvp(loss, (p,), (v,))[0]

        p = p + conjugate_gradients(newton, -gradient, 3)
    slope = float(xp.linalg.vector_norm(xp.autograd.grad(loss)(p)))
    return {"Gauss-Newton": fitted, "Newton": np.asarray(p), "norm of the gradient": slope}


if __name__ == "__main__":
    result = main()
    if xp.world().rank == 0:
        print(result)
