"""The global generators of Python, NumPy and torch, made to draw alike on all ranks."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from .._comm.communicator import as_communicator

__all__ = ["seed_everything", "share_generators"]


def seed_everything(seed: int | None = None, *, comm: Any = None) -> int:
    """Seed Python's, NumPy's and torch's global generators identically on all ranks.

    Parameters
    ----------
    seed : int, optional
        Not negative, the same on every rank. None: drawn by one rank, given to all by one
        broadcast.
    comm : Communicator or mpi4py communicator, optional
        The ranks among which the seed is shared; the world by default.

    Returns
    -------
    int
        The seed.
    """
    if seed is None:
        drawn = as_communicator(comm).bcast_object(np.random.SeedSequence().generate_state(1)[0])
        seed = int(drawn)
    if seed < 0:
        raise ValueError(f"seed_everything: seed is {seed}; expected an int that is not negative")
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  the global generator is what is to be seeded
    torch.manual_seed(seed % 2**63)
    return seed


def share_generators(*, comm: Any = None) -> None:
    """Give all ranks the states of rank 0's global generators: Python's, NumPy's and torch's.

    Called when the package is imported: programs and libraries that draw from those generators
    (scikit-learn with ``random_state=None``) then take the same steps on all ranks. Generators
    that were seeded before, alike on all ranks, stay as they are.

    Parameters
    ----------
    comm : Communicator or mpi4py communicator, optional
        The ranks; the world by default.

    Notes
    -----
    Messages: one broadcast of about 8 kB; none on one rank. It cannot reach generators that are
    made later from the machine's entropy, ``np.random.default_rng()``: give those a seed.
    """
    communicator = as_communicator(comm)
    if communicator.size == 1:
        return
    mine = (random.getstate(), np.random.get_state(), torch.get_rng_state().numpy())  # noqa: NPY002
    python_state, numpy_state, torch_state = communicator.bcast_object(mine)
    random.setstate(python_state)
    np.random.set_state(numpy_state)  # noqa: NPY002
    torch.set_rng_state(torch.from_numpy(torch_state.copy()))
