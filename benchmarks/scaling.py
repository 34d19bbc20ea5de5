"""Python's own cost of an operation on one rank of many, in microseconds of CPU time.

    python benchmarks/scaling.py
    python benchmarks/scaling.py 2 64 1024

For each number of ranks (2, 64, 1024 and 4096 by default) the middle one is run alone, without
messages (`heat_array_api._comm.dry`), and holds some 64 rows. Printed are the first call, which
plans, and the least of repeated calls. Operations whose results are as long as there are ranks, or
that copy one element per rank, grow with the number of ranks for that reason.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from scaling import one_of, operations

REPEATS = 30


def microseconds(function: Callable[[], object]) -> float:
    start = time.process_time_ns()
    function()
    return (time.process_time_ns() - start) / 1000


def main(sizes: list[int]) -> None:
    torch.set_num_threads(1)
    rows: dict[str, list[str]] = {}
    for size in sizes:
        for name, function in operations(one_of(size)).items():
            first = microseconds(function)
            again = min(microseconds(function) for _ in range(REPEATS))
            rows.setdefault(name, []).append(f"{first:8.0f} {again:7.0f}")
    print(f"{'us, first and again; ranks:':30}" + "".join(f"{size:>17,}" for size in sizes))
    for name, cells in rows.items():
        print(f"{name:30} {' '.join(cells)}")


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [2, 64, 1024, 4096])
