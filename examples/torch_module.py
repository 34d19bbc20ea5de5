"""An unmodified torch module, trained on a batch whose rows lie on all ranks, unevenly.

`module_apply` calls the module with each rank's rows; the gradients of its parameters are those of
the global loss, whatever the shards.

    mpirun -n 2 python examples/torch_module.py
"""

from __future__ import annotations

import torch
from torch import nn

import heat_array_api as xp


def main(n=10_000, steps=200):
    rng = xp.random.default_rng(0)
    points = rng.standard_normal((n, 2), split=0)
    x = points[xp.sum(points**2, axis=1) < 4.0]  # as many on each rank as there happen to be
    y = xp.sin(2.0 * x[:, 0]) * x[:, 1]

    torch.manual_seed(0)  # the same parameters on every rank
    module = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1)).to(torch.float64)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = xp.mean((xp.autograd.module_apply(module, x)[:, 0] - y) ** 2)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return {"rows": x.shape[0], "first loss": losses[0], "last loss": losses[-1]}


if __name__ == "__main__":
    result = main()
    if xp.world().rank == 0:
        print(result)
