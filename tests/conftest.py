"""Fixtures of all tests; the MPI machinery is the plugin in ``_harness.py``."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from typing import Any

import pytest

# SciPy reads it once, when it is first imported; it turns its array-agnostic code on.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

pytest_plugins = ("_harness", "_outcomes")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give every rank temporary folders of its own.

    Ranks that number and clean up the folders of earlier runs in one place disturb each other: a
    rank may then leave a directory scan open, which is an error at the end of the session.
    """
    if config.option.basetemp is None:
        config.option.basetemp = tempfile.mkdtemp(prefix="heat_array_api-tests-")
        config.add_cleanup(partial(shutil.rmtree, config.option.basetemp, ignore_errors=True))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Spread long lists of cases over the numbers of ranks: each number runs others of them."""
    from mpi4py import MPI

    size = MPI.COMM_WORLD.size
    dropped = _beyond_some_cases(items, size % 4 / 4) | _of_another_turn(items, size)
    if dropped:
        config.hook.pytest_deselected(items=[item for item in items if item in dropped])
        items[:] = [item for item in items if item not in dropped]


def _beyond_some_cases(items: list[pytest.Item], phase: float) -> set[pytest.Item]:
    """Return the cases of tests marked ``some_cases(n)`` that are not among this number's n."""
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
    return dropped


SPREAD = {"compile", "ecosystem", "io", "ml"}
"""Folders whose tests take long and depend little on whether 3 or 4 ranks run them."""


def _of_another_turn(items: list[pytest.Item], size: int) -> set[pytest.Item]:
    """Return the tests of these folders that 3 ranks leave to 4 ranks, or 4 to 3.

    So each of them runs at 1, 2, and 3 or 4 ranks; all of them run at every number of ranks with
    ``HEAT_ARRAY_API_TEST_SPREAD=0`` (`make nightly`). The tests of an entry of docs/ecosystem.md
    stay together.
    """
    from _harness import checksum

    if size not in (3, 4) or os.environ.get("HEAT_ARRAY_API_TEST_SPREAD") == "0":
        return set()
    return {
        item
        for item in items
        if SPREAD.intersection(item.nodeid.partition("::")[0].split("/"))
        and checksum(_entry_of(item)) % 2 != size % 2
    }


def _entry_of(item: pytest.Item) -> str:
    marks = [str(mark.args) for mark in item.iter_markers("consumer")]
    return min(marks, default=item.nodeid)


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
