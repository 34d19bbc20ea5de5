"""Fixtures of all tests; the MPI machinery is the plugin in ``_harness.py``."""

from __future__ import annotations

import os
from typing import Any

import pytest

# SciPy reads it once, when it is first imported; it turns its array-agnostic code on.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

pytest_plugins = ("_harness", "_outcomes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect cases of tests that are marked ``some_cases``: others on each number of ranks."""
    from mpi4py import MPI

    phase = MPI.COMM_WORLD.size % 4 / 4
    cases: dict[Any, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("some_cases"):
            cases.setdefault((item.path, item.originalname), []).append(item)
    dropped = set()
    for group in cases.values():
        most = group[0].get_closest_marker("some_cases").args[0]
        places = (int(len(group) * (k + phase) / most) for k in range(most))
        kept = set(places) if len(group) > most else None
        dropped |= {item for i, item in enumerate(group) if kept is not None and i not in kept}
    if dropped:
        config.hook.pytest_deselected(items=[item for item in items if item in dropped])
        items[:] = [item for item in items if item not in dropped]


@pytest.fixture(scope="session")
def comm():
    """Return the communicator of all ranks."""
    from heat_array_api._comm.communicator import world

    return world()


@pytest.fixture
def check():
    """Return a `comparing.Comparison` with tolerances; it is `done` when the test has passed."""
    yield from _comparison(bitwise=False)


@pytest.fixture
def same():
    """Return a `comparing.Comparison` of bytes, for functions that only move elements."""
    yield from _comparison(bitwise=True)


def _comparison(bitwise):
    from comparing import comparison

    with comparison(bitwise=bitwise) as compare:
        yield compare
