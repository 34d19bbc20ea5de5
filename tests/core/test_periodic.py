"""Exchanges between intervals and columns, against slices of the whole array."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heat_array_api._comm.division import Division
from heat_array_api._core.periodic import Periodic, exchange_periodic
from heat_array_api._core.tape import tracked
from layouts import agree


def division(n, size, rng):
    """Return a division of n: balanced, or random with empty parts."""
    if rng.random() < 0.3:
        return Division.balanced(n, size)
    return Division(np.array([0, *np.sort(rng.integers(0, n + 1, size - 1)), n]))


@pytest.mark.parametrize("seed", range(40))
def test_both_ways(seed, comm):
    rng = np.random.default_rng(seed)
    rows, length = (int(n) for n in rng.integers(1, 8, 2))
    n = rows * length
    given = n if rng.random() < 0.7 else int(rng.integers(1, n + 1))
    shape = (int(rng.integers(1, 3)), n, int(rng.integers(1, 3)))
    columns = division(length, comm.size, rng)
    whole, cut = Periodic(1, division(given, comm.size, rng)), Periodic(rows, columns)
    full = torch.arange(shape[0] * n * shape[2], dtype=torch.float64).view(shape) + 1
    full[:, given:] = 0  # what is not given comes as zeros
    begin, end = whole.columns.interval(comm.rank)
    low, high = columns.interval(comm.rank)
    mine = full[:, begin:end].contiguous()
    theirs = full.view(shape[0], rows, length, shape[2])[:, :, low:high].flatten(1, 2)
    there = exchange_periodic(mine, whole, cut, comm)
    back = exchange_periodic(theirs.contiguous(), cut, whole, comm)
    agree(None if torch.equal(there, theirs) and torch.equal(back, mine) else "values differ")


@pytest.mark.parametrize("rows", [1, 3])
def test_the_adjoint(rows, comm):
    """The sum of u * A(v) over all ranks is that of A'(u) * v."""
    whole = Periodic(1, Division.balanced(4 * rows + 1 - 2 * (rows > 1), comm.size))
    cut = Periodic(rows, Division.balanced(4 if rows > 1 else 5, comm.size))
    torch.manual_seed(comm.rank)
    v = torch.rand(2, whole.count(comm.rank), 3, dtype=torch.float64, requires_grad=True)
    there = exchange_periodic(v, whole, cut, comm)
    assert tracked(there)
    u = torch.rand_like(there).detach()
    (back,) = torch.autograd.grad(there, v, u)
    sides = torch.stack([(u * there.detach()).sum(), (back * v.detach()).sum()])
    left, right = comm.allreduce(sides).tolist()
    assert left == pytest.approx(right, rel=1e-12)
