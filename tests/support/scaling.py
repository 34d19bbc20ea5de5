"""Operations whose cost in Python must not grow with the number of ranks, on one rank of many.

Each takes a communicator and returns a function of no arguments. A rank holds about as many
elements whatever the number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import heat_array_api as xp
from heat_array_api._comm.communicator import Communicator
from heat_array_api._comm.dry import DryTransport
from heat_array_api._core.array import Array
from heat_array_api._core.layout import Layout

Operation = Callable[[], Any]


def one_of(size: int) -> Communicator:
    """Return the communicator of the middle one of so many ranks, which do not exist."""
    return Communicator(DryTransport(size // 2, size))


def new(comm: Communicator, shape: tuple[int, ...], split: int, counts: Any = None) -> Array:
    """Return an array of random numbers, with even counts by default."""
    division = Layout.balanced(shape, split, comm).division if counts is None else counts
    layout = Layout.of(shape, split, division, comm)
    torch.manual_seed(3)
    return Array(torch.rand(layout.local_shape, dtype=torch.float64), layout)


def operations(comm: Communicator) -> dict[str, Operation]:
    """Return the operations by name."""
    p = comm.size
    n = 64 * p
    x, y = new(comm, (n,), 0), new(comm, (n,), 0)
    tall = new(comm, (n, 16), 0)
    # Of these, each rank has a part of every other rank's block.
    square, across = new(comm, (p, p), 0), new(comm, (p, p), 1)
    blocks = new(comm, (4, p, p), 1)
    skewed = np.full(p, 64)
    skewed[0] -= 1
    skewed[-1] += 1
    uneven = new(comm, (n,), 0, skewed)
    few = xp.asarray([1, 5, 9], comm=comm)
    weights = xp.ones(16, dtype=xp.float64, comm=comm)

    def write() -> None:
        x[3:-3] = 1.0

    def write_shifted() -> None:
        y[2:] = x[:-2]

    return {
        "x + y": lambda: x + y,
        "x[:-2] + x[2:]": lambda: x[:-2] + x[2:],
        "x + uneven": lambda: x + uneven,
        "square + across": lambda: square + across,
        "where(x > 0.5, x, y)": lambda: xp.where(x > 0.5, x, y),
        "sum(x)": lambda: xp.sum(x),
        "mean(tall, axis=0)": lambda: xp.mean(tall, axis=0),
        "var(x)": lambda: xp.var(x),
        "argmax(x)": lambda: xp.argmax(x),
        "cumulative_sum(x)": lambda: xp.cumulative_sum(x),
        "diff(x)": lambda: xp.diff(x),
        "gradient(x)": lambda: xp.gradient(x),
        "roll(x, 1)": lambda: xp.roll(x, 1),
        "flip(x)": lambda: xp.flip(x),
        "concat([x, y])": lambda: xp.concat([x, y]),
        "stack([x, y])": lambda: xp.stack([x, y]),
        "tile(x, (2,))": lambda: xp.tile(x, (2,)),
        "repeat(x, 2)": lambda: xp.repeat(x, 2),
        "pad(x, 3)": lambda: xp.pad(x, 3),
        "pad(x, 3, mode='wrap')": lambda: xp.pad(x, 3, mode="wrap"),
        "sliding_window_view(x, 8)": lambda: xp.lib.stride_tricks.sliding_window_view(x, 8),
        "meshgrid(x, weights)": lambda: xp.meshgrid(x, weights),
        "x[5]": lambda: x[5],
        "x[::3]": lambda: x[::3],
        "x[::-1]": lambda: x[::-1],
        "x[x > 0.5]": lambda: x[x > 0.5],
        "x[few]": lambda: x[few],
        "x[3:-3] = 1": write,
        "y[2:] = x[:-2]": write_shifted,
        "rebalance(uneven)": lambda: xp.rebalance(uneven),
        "resplit(square, 1)": lambda: xp.resplit(square, 1),
        "resplit(across, 0)": lambda: xp.resplit(across, 0),
        "resplit(blocks, 2)": lambda: xp.resplit(blocks, 2),
        "reshape(tall, (-1,))": lambda: xp.reshape(tall, (-1,)),
        "reshape(tall, (16, n))": lambda: xp.reshape(tall, (16, n)),
        "reshape(across, (-1,))": lambda: xp.reshape(across, (-1,)),
        "tall.T @ tall": lambda: tall.T @ tall,
        "tall @ weights": lambda: tall @ weights,
        "linalg.diagonal(square)": lambda: xp.linalg.diagonal(square),
        "tril(square)": lambda: xp.tril(square),
        "fft(blocks, axis=1)": lambda: xp.fft.fft(blocks, axis=1),
    }
