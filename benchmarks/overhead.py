"""Overhead per operation against plain torch, in the same process: small arrays, microseconds.

    mpirun -n 1 python benchmarks/overhead.py
    mpirun -n 2 python benchmarks/overhead.py

Each rank times the same operation on its own shard of 1000 elements, on our arrays and on plain
tensors, in turn, and rank 0 prints the medians. Without messages the difference is ours alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

import heat_array_api as xp

N = 1000
REPEATS = 15
LOOPS = 2000


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(LOOPS):
        function()
    return (time.perf_counter() - start) / LOOPS


def compare(ours: Callable[[], object], torchs: Callable[[], object]) -> tuple[float, float]:
    """Return the medians of both, timed alternately, in microseconds."""
    times = [(seconds(ours), seconds(torchs)) for _ in range(REPEATS)]
    return tuple(1e6 * statistics.median(column) for column in zip(*times, strict=True))  # type: ignore[return-value]


def products() -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a product of 10 elements, with its backward pass: ours, torch's."""
    u, v, g = (torch.linspace(0.0, 1.0, 10, dtype=torch.float64) for _ in range(3))
    x, y, h = (xp.from_local(t.clone(), split=0) for t in (u, v, g))
    x.requires_grad_()
    u.requires_grad_()

    def ours() -> None:
        (x * y).backward(h)
        x.grad = None

    def torchs() -> None:
        (u * v).backward(g)
        u.grad = None

    return ours, torchs


def main() -> None:
    torch.set_num_threads(1)
    comm = xp.world()
    forward_and_backward = products()
    x = xp.from_local(torch.linspace(0.0, 1.0, N, dtype=torch.float64), split=0)
    y = xp.from_local(torch.linspace(1.0, 2.0, N, dtype=torch.float64), split=0)
    matrix = xp.from_local(torch.ones((N // 10, 10), dtype=torch.float64), split=0)
    replicated = xp.asarray(torch.linspace(0.0, 1.0, N, dtype=torch.float64), split=None)
    a, b, m, r = x.local, y.local, matrix.local, replicated.local
    cases: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
        ("x + y", lambda: x + y, lambda: a + b),
        ("add(x, y)", lambda: xp.add(x, y), lambda: torch.add(a, b)),
        ("x * 2.0", lambda: x * 2.0, lambda: a * 2.0),
        ("x < y", lambda: x < y, lambda: a < b),
        ("exp(x)", lambda: xp.exp(x), lambda: torch.exp(a)),
        ("sum(m, axis=1)", lambda: xp.sum(matrix, axis=1), lambda: torch.sum(m, dim=1)),
        ("sum(r)", lambda: xp.sum(replicated), lambda: torch.sum(r)),
        ("r[10:20]", lambda: replicated[10:20], lambda: r[10:20]),
        ("m[:, 3]", lambda: matrix[:, 3], lambda: m[:, 3]),
        ("r[5]", lambda: replicated[5], lambda: r[5]),
        ("sum(x), one allreduce", lambda: xp.sum(x), lambda: torch.sum(a)),
        ("x[10:20], split axis", lambda: x[10:20], lambda: a[10:20]),
        ("x[5], one broadcast", lambda: x[5], lambda: a[5]),
        ("u * v, and back", *forward_and_backward),
    ]
    if comm.rank == 0:
        print(f"{comm.size} ranks, {N} float64 elements a rank; microseconds, medians")
        print(f"{'operation':24}{'ours':>9}{'torch':>9}{'more':>9}")
    for name, ours, torchs in cases:
        mine, theirs = compare(ours, torchs)
        if comm.rank == 0:
            print(f"{name:24}{mine:9.2f}{theirs:9.2f}{mine - theirs:9.2f}", flush=True)


if __name__ == "__main__":
    main()
