"""A bar of the bytes that go in or out, on rank 0."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .._comm import Communicator

__all__ = ["progress"]

LARGE = 256 << 20
"""Bytes from which on a bar is shown of itself."""


@contextmanager
def progress(
    func: str, total: int, comm: Communicator, show: bool | None
) -> Iterator[Callable[[int], object]]:
    """Yield a function that is told of the bytes this rank has read or written.

    Rank 0 shows its own part of `total` as that of all. `show` None: where there is much, and
    a terminal, and tqdm is installed.
    """
    wanted = show if show is not None else total >= LARGE and sys.stderr.isatty()
    if not wanted or comm.rank != 0:
        yield lambda nbytes: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda nbytes: None
        return
    share = max(total // comm.size, 1)
    with tqdm(total=share, desc=func, unit="B", unit_scale=True) as bar:
        yield bar.update
        bar.update(max(share - bar.n, 0))  # ranks' parts differ by some rows
