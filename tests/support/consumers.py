"""Tests of array-agnostic libraries: what they are given, and that samples stay distributed.

Each test of a library's entry carries ``@consumer(library, entry)``; `docs/ecosystem.py` makes
the compatibility table of the outcomes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import heat_array_api as xp
from heat_array_api._comm.communicator import world
from heat_array_api._core.layout import Layout
from layouts import divide, make

W = world()
ROWS = 20_000
"""Samples in most tests."""
SORTING = 8 * 1024 * W.size
"""Bytes of the greatest other message: candidates that a sort compares (`_samplesort`)."""

REPLICATING = ("allgather", "bcast", "allreduce")


def consumer(library: str, entry: str) -> pytest.MarkDecorator:
    """Mark a test as that of an entry of a library, a row of the compatibility table."""
    return pytest.mark.consumer(library, entry)


def entries(library: str, cases: dict[str, Any]) -> Any:
    """Parametrise a test over the entries of a library: name of the entry to argument."""
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(case, id=name, marks=consumer(library, name))
            for name, case in cases.items()
        ],
    )


def uneven(n: int) -> tuple[int, ...]:
    """Return counts of `n` rows that differ from rank to rank; with three or more, one is empty."""
    return divide(n, [(rank + 2) * (rank != 1 or W.size < 3) for rank in range(W.size)])


def rows(values: Any, counts: Sequence[int] | None = None) -> Any:
    """Return an array of NumPy values split along axis 0, by default unevenly."""
    values = np.asarray(values)
    counts = uneven(len(values)) if counts is None else tuple(counts)
    return make(values, Layout.of(values.shape, 0, counts, W))


@contextmanager
def stays_distributed(n: int = ROWS, *, labels: int = 0, replicas: int = 0) -> Iterator[xp.trace]:
    """Fail if anything with the axis of `n` samples comes to be whole on a rank.

    Parameters
    ----------
    n : int
        The number of samples: no message may leave on all ranks that many bytes of the same
        values, or as many as a sort may send (booleans may pass unseen then, at many ranks).
    labels : int
        How many implicit gathers (`Trace.gathers`) are allowed, of 8 bytes a sample (and 8 more:
        row pointers): one-dimensional arrays that the library itself takes through NumPy.
    replicas : int
        How many other messages that replicate are allowed.
    """
    __tracebackhide__ = True
    with xp.trace() as t:
        yield t
    if W.size == 1:
        return
    gathers = [g for g in t.gathers if g.bytes >= n]
    limit = max(n, SORTING + 1)
    whole = [e for e in t.events if e.collective in REPLICATING and e.result >= limit]
    described = Counter(
        f"{e.operation}: {e.collective} of {e.result or e.bytes} bytes at {e.line}"
        for e in [*gathers, *whole]
    )
    listed = "\n".join(f"  {count} x {text}" for text, count in described.items())
    assert all(g.bytes <= 8 * (n + 1) for g in gathers), (
        f"arrays of samples were gathered:\n{listed}"
    )
    assert len(gathers) <= labels, f"{len(gathers)} label arrays were gathered:\n{listed}"
    assert len(whole) - len(gathers) <= replicas, f"arrays of samples were replicated:\n{listed}"
