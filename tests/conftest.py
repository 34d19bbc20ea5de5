"""Fixtures of all tests; the MPI machinery is the plugin in ``_harness.py``."""

from __future__ import annotations

import pytest

pytest_plugins = ("_harness",)


@pytest.fixture(scope="session")
def comm():
    """Return the communicator of all ranks."""
    from heat_array_api._comm import world

    return world()
