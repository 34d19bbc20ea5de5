"""The one door to MPI: communicators, transports, traces, and how a job starts and ends."""

from __future__ import annotations

# First: torch decides on huge pages when it makes its first tensor.
from . import memory as _memory  # noqa: F401

__all__: list[str] = []
