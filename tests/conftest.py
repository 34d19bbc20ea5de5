"""Fixtures of all tests; the MPI machinery is the plugin in ``_harness.py``."""

from __future__ import annotations

import os

import pytest

# SciPy reads it once, when it is first imported; it turns its array-agnostic code on.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

pytest_plugins = ("_harness", "_outcomes")


@pytest.fixture(scope="session")
def comm():
    """Return the communicator of all ranks."""
    from heat_array_api._comm import world

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
