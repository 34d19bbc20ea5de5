"""A torch optimiser on replicated parameters: a line through points that lie on all ranks.

``x.local`` of a replicated array is an ordinary torch tensor. After ``loss.backward()`` its
gradient is that of the global loss, the same bits on every rank, so that any optimiser keeps the
parameters equal.

    mpirun -n 2 python examples/adam.py
"""

from __future__ import annotations

import torch

import heat_array_api as xp


def main(n=100_000, steps=300):
    rng = xp.random.default_rng(0)
    x = rng.standard_normal((n,), split=0)
    y = 2.0 * x - 1.0 + 0.1 * rng.standard_normal((n,), split=0)

    slope = xp.asarray(0.0).requires_grad_()
    offset = xp.asarray(0.0).requires_grad_()
    optimizer = torch.optim.Adam([slope.local, offset.local], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = xp.mean((slope * x + offset - y) ** 2)
        loss.backward()
        optimizer.step()
    return {
        "slope": float(slope.detach()),
        "offset": float(offset.detach()),
        "loss": float(loss.detach()),
    }


if __name__ == "__main__":
    result = main()
    if xp.world().rank == 0:
        print(result)
