"""What happens once, at import: the check of the launcher, and the threads of each rank.

This module does not use MPI: `mpi` passes what it needs.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence

import torch

from .._errors import LauncherMismatchError

NO_MPI = """under a launcher heat_array_api needs MPI, which cannot be loaded: {error}
  on a laptop or workstation:  pip install 'heat_array_api[mpich]'
  on a cluster:                load the site's MPI module, then
                               pip install --no-binary=mpi4py mpi4py"""

# Slurm's own steps (batch script, interactive shell) have these numbers; srun made the others.
_SLURM_SPECIAL_STEPS = 0xFFFFFFF0


# How launchers number their ranks.
_RANK_NUMBERS = (
    "PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "PALS_RANKID",
    "FLUX_TASK_RANK",
)  # fmt: skip


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else 0


def launched_ranks(environ: Mapping[str, str]) -> tuple[str, int]:
    """Return the variable that tells how many ranks the launcher started, and how many; or "", 0.

    ``SLURM_NTASKS`` alone proves nothing: a plain ``python`` in a batch script or in an
    interactive allocation sees it too. It counts this program's ranks only inside a job step that
    srun made, and then an mpirun inside that step takes precedence.
    """
    found = [(name, _number(environ, name)) for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")]
    if any(size for _, size in found):
        return max(found, key=lambda entry: entry[1])
    step = environ.get("SLURM_STEP_ID") or environ.get("SLURM_STEPID") or ""
    if step.isdecimal() and int(step) < _SLURM_SPECIAL_STEPS and "SLURM_PROCID" in environ:
        for name in ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"):
            if size := _number(environ, name):
                return name, size
    return "", 0


def launcher(environ: Mapping[str, str]) -> str:
    """Return the variable that shows that a launcher of MPI programs started this one, or "".

    A Slurm step of one task may be an interactive shell.
    """
    name, ranks = launched_ranks(environ)
    if ranks > 1 or (ranks and not name.startswith("SLURM")):
        return name
    return next((name for name in _RANK_NUMBERS if name in environ), "")


def check_launcher(size: int, library: str, environ: Mapping[str, str]) -> None:
    """Raise if the launcher started several ranks and MPI sees only one.

    Parameters
    ----------
    size : int
        The size of MPI's world.
    library : str
        The MPI library's name and version.
    environ : mapping
        The environment; ``HEAT_ARRAY_API_LAUNCHER_CHECK=0`` turns the check off.
    """
    name, ranks = launched_ranks(environ)
    if size > 1 or ranks <= 1 or environ.get("HEAT_ARRAY_API_LAUNCHER_CHECK") == "0":
        return
    first = library.strip("\0").splitlines()[0] if library else "unknown"
    remedy = "mpi4py must use the launcher's MPI (pip install --no-binary=mpi4py mpi4py)"
    if name.startswith("SLURM"):
        remedy += ", or srun needs the library's interface (srun --mpi=list, srun --mpi=pmix)"
    raise LauncherMismatchError(
        f"the launcher started {ranks} ranks ({name}={ranks}), but MPI sees only one: launcher "
        f"and library are of different MPIs, and every rank would do the whole job alone.\n"
        f"  library: {first}\n"
        f"  remedy:  start with the library's own mpirun (with heat_array_api[mpich]: the mpirun "
        f"in this Python's bin directory), or {remedy}.\n"
        f"  If one rank is what you want, set HEAT_ARRAY_API_LAUNCHER_CHECK=0."
    )


def cores(topology: str = "/sys/devices/system/cpu") -> frozenset[int]:
    """Return the cores that this process may run on, each by the first of its hardware threads.

    Parameters
    ----------
    topology : str
        Where Linux lists the hardware threads of a core; without it each counts as a core.
    """
    if not hasattr(os, "sched_getaffinity"):
        return frozenset(range(os.cpu_count() or 1))
    return frozenset(_first_of_core(topology, cpu) for cpu in os.sched_getaffinity(0))


def _first_of_core(topology: str, cpu: int) -> int:
    try:
        with open(f"{topology}/cpu{cpu}/topology/thread_siblings_list", encoding="ascii") as file:
            # "0,64" or "0-1": in ascending order
            return int(re.split("[,-]", file.read())[0])
    except (OSError, ValueError):
        return cpu


def threads_per_rank(mine: Collection[int], node: Sequence[Collection[int]]) -> int:
    """Return how many threads this rank should compute with.

    torch's own choice does not help: it is 1 under launchers that set ``MPI_LOCALNRANKS`` (because
    of MKL), and all cores under the others.

    Parameters
    ----------
    mine : collection of int
        The cores that this rank may run on.
    node : sequence of collections of int
        The same of every rank on this node, this one included.

    Returns
    -------
    int
        This rank's cores, divided by the number of ranks that may run on any of them: all
        of its own where ranks are bound to disjoint cores.
    """
    sharing = sum(not set(mine).isdisjoint(other) for other in node)
    return max(1, len(mine) // max(1, sharing))


def set_threads(
    size: int,
    environ: Mapping[str, str],
    gather: Callable[[frozenset[int]], Sequence[Collection[int]]],
) -> None:
    """Let torch compute with this rank's threads, unless the user says how many.

    Without a launcher torch keeps its own choice, or the program's.

    Parameters
    ----------
    size : int
        The size of MPI's world.
    environ : mapping
        The environment.
    gather : callable
        Collective over the ranks of this node: returns what each of them gives.
    """
    if size == 1 and not launched_ranks(environ)[1]:
        return
    mine = cores()
    node = gather(mine)
    if "OMP_NUM_THREADS" not in environ:
        torch.set_num_threads(threads_per_rank(mine, node))


def sleep_until(done: Callable[[], bool]) -> None:
    """Wait for something that may take seconds, and leave the cores to others."""
    pause = 1e-5
    while not done():
        time.sleep(pause)
        pause = min(2 * pause, 1e-3)
