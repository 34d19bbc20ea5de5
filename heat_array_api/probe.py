"""``python -m heat_array_api.probe``: measure this machine for the model of `dry_run`.

Under ``mpirun`` with two ranks or more it measures messages too. Takes less than ten seconds; rank
0 writes the numbers to a file of the user's cache (or to ``HEAT_ARRAY_API_MACHINE``), which
`dry_run` reads.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from ._comm.communicator import Communicator, world
from ._core.collectives import preduce, ring_shift
from ._dry_run.machine import Machine, save

__all__ = ["main", "measure"]

_SECONDS = 1.0  # for each number
_LONG = 1 << 22  # elements of a long message: 32 MiB
_WIDTH = 1024  # of the matrices


def _best(step: Callable[[], object], comm: Communicator) -> float:
    """Return the seconds of the fastest call, of those that a second has room for, on any rank.

    All ranks make as many calls as the slowest one has time for.
    """
    times = [_timed(step) for _ in range(3)]
    slowest = preduce(torch.tensor([max(times)], dtype=torch.float64), "max", comm)
    calls = min(max(int(_SECONDS / float(slowest)), 3), 10_000)
    fastest = torch.tensor([min(_timed(step) for _ in range(calls))], dtype=torch.float64)
    return float(preduce(fastest, "max", comm))


def _timed(step: Callable[[], object]) -> float:
    begin = time.perf_counter()
    step()
    return max(time.perf_counter() - begin, 1e-9)


def measure(comm: Communicator) -> Machine:
    """Measure what ranks do in a second, all at the same time.

    Parameters
    ----------
    comm : Communicator
        The ranks. Alone, a rank sends nothing: messages are then as the defaults have them.

    Returns
    -------
    Machine
        The same on all ranks.
    """
    machine = Machine(origin="measured")
    a = torch.rand(_WIDTH, _WIDTH, dtype=torch.float64)
    flops = 2 * _WIDTH**3 / _best(lambda: a @ a, comm)
    source, target = (
        torch.zeros(_LONG, dtype=torch.float64),
        torch.zeros(_LONG, dtype=torch.float64),
    )
    copied = 2 * source.nbytes / _best(lambda: target.copy_(source), comm)
    machine = replace(machine, flop_rate=flops, memory_bandwidth=copied)
    if comm.size == 1:
        return machine
    short = torch.zeros(1, dtype=torch.float64)
    latency = _best(lambda: ring_shift(short, (1,), comm), comm)
    seconds = _best(lambda: ring_shift(source, (_LONG,), comm), comm)
    return replace(machine, latency=latency, bandwidth=source.nbytes / max(seconds - latency, 1e-9))


def main() -> None:
    """Measure, and write the file; rank 0 says what it found."""
    comm = world()
    machine = measure(comm)
    if comm.rank:
        return
    file = save(machine)
    messages = "measured" if comm.size > 1 else "assumed: start two ranks or more to measure them"
    lines = [
        f"a product of matrices  {machine.flop_rate / 1e9:.3g} Gflop/s a rank",
        f"a copy in memory       {machine.memory_bandwidth / 1e9:.3g} GB/s a rank",
        f"a short message        {machine.latency * 1e6:.3g} us ({messages})",
        f"a long message         {machine.bandwidth / 1e9:.3g} GB/s a rank ({messages})",
        f"written to {file}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def __dir__() -> list[str]:
    return sorted(__all__)


if __name__ == "__main__":
    main()
