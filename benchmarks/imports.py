"""What `import heat_array_api` adds to importing torch and mpi4py: seconds, fresh processes.

python benchmarks/imports.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys

PROGRAM = """
import time
import torch
from mpi4py import MPI
start = time.perf_counter()
import heat_array_api
print(time.perf_counter() - start)
"""


def main() -> None:
    seconds = []
    for _ in range(7):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
        )
        seconds.append(float(done.stdout.split()[-1]))
    print(f"importing adds {statistics.median(seconds):.3f} s (of {len(seconds)} processes)")


if __name__ == "__main__":
    main()
