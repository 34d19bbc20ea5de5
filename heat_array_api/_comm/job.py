"""The job that this process is a rank of: MPI's, or a job of one rank without MPI."""

from __future__ import annotations

import os
from types import ModuleType

import torch

from .._errors import MPIUnavailableError
from .children import keep_mpi_off, leave_mark, made_by_multiprocessing, marked_parent
from .launch import launcher
from .transport import SerialTransport, Transport

_mpi: list[ModuleType] = []


def start() -> Transport:
    """Set up this process, and return the transport among all ranks of its job.

    MPI decides how many ranks there are. One rank without MPI is a child process of a rank, a
    process that found no MPI library (an error under a launcher), or one that is told to be
    (``HEAT_ARRAY_API_SERIAL=1``).
    """
    environ = os.environ
    if environ.get("HEAT_ARRAY_API_SERIAL", "") not in ("", "0"):
        return SerialTransport("HEAT_ARRAY_API_SERIAL is set")
    parent = marked_parent(environ)
    if parent is not None or made_by_multiprocessing():
        if launcher(environ):
            keep_mpi_off()
        if parent is None:
            return SerialTransport("a child process")
        if "OMP_NUM_THREADS" not in environ:
            torch.set_num_threads(parent.threads)  # torch would take the other ranks' cores
        why = f"a child process of rank {parent.rank} of {parent.size}"
        return SerialTransport(why, parent.node_rank, parent.node_size)
    try:
        from . import mpi
    except MPIUnavailableError:
        if launcher(environ):
            raise
        return SerialTransport("no MPI library was found")
    world = mpi.start()
    _mpi.append(mpi)
    if world.size > 1 or launcher(environ):
        leave_mark(
            environ,
            rank=world.rank,
            size=world.size,
            node_rank=world.node_rank,
            node_size=world.node_size,
            threads=torch.get_num_threads(),
        )
    return world


def loaded_mpi() -> ModuleType | None:
    """Return the module `mpi`; None in a process without MPI."""
    return _mpi[-1] if _mpi else None


def forked(world: Transport) -> SerialTransport:
    """Return the transport of a process that was forked from a rank of the job `world`.

    From now on this process has no MPI: what it inherited in memory is its parent's. Nor does it
    have the parent's threads, for which OpenMP would wait forever.
    """
    _mpi.clear()
    torch.set_num_threads(1)
    why = f"a child process of rank {world.rank} of {world.size}"
    return SerialTransport(why, world.node_rank, world.node_size)
