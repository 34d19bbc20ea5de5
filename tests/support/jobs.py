"""Tests that start jobs of their own: a program under mpirun."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from heat_array_api._comm.communicator import world

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MPIRUN = shutil.which("mpirun", path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")
LAUNCHERS = ("PMI", "HYDRA", "MPI_LOCAL", "MPIR", "OMPI", "PRTE", "PRRTE", "SLURM", "HEAT_ARRAY")

# A launcher inside a rank of another would be confused.
alone = pytest.mark.skipif(world().size > 1 or MPIRUN is None, reason="starts jobs of its own")

LIMIT = 100


def environment(**variables: str) -> dict[str, str]:
    """Return the variables that a job is started with: none of this test's own launcher."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(LAUNCHERS)}
    env.pop("OMP_NUM_THREADS", None)
    return env | {"PYTHONPATH": str(ROOT)} | variables


def run(program: str, *, ranks: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program, under mpirun if `ranks` are given, for a limited time."""
    env = environment(MPIEXEC_TIMEOUT=str(LIMIT), **variables)
    launcher = [MPIRUN, "-n", str(ranks)] if ranks else []
    return subprocess.run(
        [*launcher, sys.executable, "-c", textwrap.dedent(program)],
        check=False,
        env=env,
        capture_output=True,
        text=True,
        timeout=LIMIT + 10,
    )
