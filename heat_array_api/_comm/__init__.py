"""The one door to MPI: communicators, transports, traces, and how a job starts and ends."""

from __future__ import annotations

__all__: list[str] = []
