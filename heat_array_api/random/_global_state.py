"""The global generators of Python, NumPy and torch, made to draw alike on all ranks."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from .._comm.assumptions import assumed
from .._comm.communicator import as_communicator
from .._core.arguments import as_int
from .._core.docstrings import filled_in


@filled_in()
def seed_everything(seed: int | None = None, *, comm: Any = None) -> int:
    """Seed Python's, NumPy's and torch's global generators identically on all ranks.

    Parameters
    ----------
    seed : int, optional
        Not negative, the same on every rank; by default fresh entropy.
    {comm}

    Returns
    -------
    int
        The seed. Sends one small broadcast if `seed` is None.

    Raises
    ------
    ValueError
        If `seed` is negative.

    Examples
    --------
    >>> xp.random.seed_everything(7)
    7
    >>> print(np.random.random())  # the same on all ranks
    0.07630828937395717
    """
    if seed is None:
        communicator = as_communicator("seed_everything", comm)
        seed = communicator.bcast_object(np.random.SeedSequence().generate_state(1)[0])
    seed = as_int("seed_everything", "seed", seed, least=0)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  the global generator is what is to be seeded
    torch.manual_seed(seed % 2**63)
    return seed


@filled_in()
def share_generators(*, comm: Any = None) -> None:
    """Give all ranks the states of rank 0's global generators: Python's, NumPy's and torch's.

    Called when the package is imported: libraries that draw from those generators (scikit-learn
    with ``random_state=None``) then take the same steps on all ranks. Generators that were seeded
    alike on all ranks stay as they are. Give those that are made later from the machine's entropy,
    by ``np.random.default_rng()``, a seed. Sends one broadcast of about 8 kB.

    Parameters
    ----------
    {comm}

    Raises
    ------
    TypeError
        If `comm` is not a communicator.

    Examples
    --------
    >>> xp.random.share_generators()
    >>> everywhere = xp.world().allgather_object(np.random.random())
    >>> len(set(everywhere))
    1
    """
    communicator = as_communicator("share_generators", comm)
    if communicator.size == 1:
        return
    mine = (random.getstate(), np.random.get_state(), torch.get_rng_state().numpy())  # noqa: NPY002
    python_state, numpy_state, torch_state = communicator.bcast_object(mine)
    if assumed():  # of a world in which this process is only one rank
        return
    random.setstate(python_state)
    np.random.set_state(numpy_state)  # noqa: NPY002
    torch.set_rng_state(torch.from_numpy(torch_state.copy()))
