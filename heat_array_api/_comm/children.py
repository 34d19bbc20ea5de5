"""Child processes of a rank: jobs of one rank, which never call MPI.

A child inherits the launcher's variables, but not the rank's connection to the launcher: MPI_Init
would hang, or answer in the parent's name. So a rank leaves a mark in its environment, with the
launcher's variables. Who finds the mark of another process, and the same variables, is that one's
child; a program that a launcher started within a rank finds others, and is a rank itself.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import asdict, dataclass, field

MARK = "HEAT_ARRAY_API_RANK"
"""The environment's variable in which a rank tells its child processes of itself."""

# What tells one rank of one launch from all others, as far as each launcher says so.
_LAUNCH = (
    "PMI_RANK", "PMI_SIZE", "PMI_FD", "PMI_PORT", "PMI_ID", "PMI_JOBID",
    "PMIX_NAMESPACE", "PMIX_RANK",
    "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", "MPIRUN_ID",
    "PALS_APID", "PALS_RANKID", "FLUX_JOB_ID", "FLUX_TASK_RANK",
    "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_STEPID", "SLURM_PROCID",
)  # fmt: skip


@dataclass(frozen=True)
class Parent:
    """The rank that a child process belongs to.

    Parameters
    ----------
    pid : int
        Its process.
    rank, size, node_rank, node_size : int
        Its place in its job.
    threads : int
        How many threads it computes with.
    launch : mapping of str to str
        Its launcher's variables.
    socket : int
        The inode of its socket to the launcher; 0 if there is none.
    """

    pid: int
    rank: int
    size: int
    node_rank: int
    node_size: int
    threads: int
    launch: Mapping[str, str] = field(default_factory=dict)
    socket: int = 0


def _launch(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in _LAUNCH if name in environ}


def _socket(environ: Mapping[str, str]) -> int:
    """Return the inode of the socket to the launcher, 0 if this process does not hold it.

    Launches one inside the other may have equal variables, the number of this descriptor included.
    """
    text = environ.get("PMI_FD", "")
    try:
        status = os.fstat(int(text))
    except (ValueError, OSError, OverflowError):
        return 0
    return status.st_ino if stat.S_ISSOCK(status.st_mode) else 0


def leave_mark(
    environ: MutableMapping[str, str],
    *,
    rank: int,
    size: int,
    node_rank: int,
    node_size: int,
    threads: int,
) -> None:
    """Tell the processes that this rank will start whose children they are."""
    mine = Parent(
        os.getpid(), rank, size, node_rank, node_size, threads, _launch(environ), _socket(environ)
    )
    environ[MARK] = json.dumps(asdict(mine))


def marked_parent(environ: Mapping[str, str]) -> Parent | None:
    """Return the rank whose child this process is, if it has left its mark."""
    try:
        parent = Parent(**json.loads(environ[MARK]))
    except (KeyError, ValueError, TypeError):
        return None
    here = _launch(environ)
    same = parent.pid != os.getpid() and parent.launch == here
    return parent if same and _socket(environ) in (0, parent.socket) else None


def made_by_multiprocessing() -> bool:
    """Return whether multiprocessing or joblib started this process, by whatever method."""
    # A spawned process imports the main module before it knows its parent.
    inherits = getattr(multiprocessing.current_process(), "_inheriting", False)
    return inherits or multiprocessing.parent_process() is not None


def keep_mpi_off() -> None:
    """Let mpi4py not start MPI in this process, should another library import it (h5py may)."""
    try:
        import mpi4py
    except ImportError:
        return
    if "mpi4py.MPI" not in sys.modules:
        mpi4py.rc.initialize = False
