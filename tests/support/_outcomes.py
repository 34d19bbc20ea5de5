"""Outcomes of the tests marked ``consumer``, kept for the compatibility table.

At the end of a session rank 0 writes ``build/ecosystem/P.json``, P the number of ranks: for each
library and entry "passed", "failed" or "skipped". Entries that were not run keep what an earlier
session found, so that single test files can be run again. `docs/ecosystem.py` makes the table.
"""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

import pytest
from mpi4py import MPI

# An entry passes where some of its tests passed and none failed.
FIRST = ("failed", "passed", "skipped")

_found: dict[str, dict[str, str]] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Carry the marks to the report, which alone knows the outcome over all ranks."""
    report = yield
    report.consumers = [mark.args for mark in item.iter_markers("consumer")]
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the outcome of all phases and tests of an entry."""
    if report.when != "call" and report.passed:
        return
    for library, entry in getattr(report, "consumers", ()):
        known = _found.setdefault(library, {})
        outcome = "failed" if hasattr(report, "wasxfail") else report.outcome
        outcomes = {known.get(entry, outcome), outcome}
        known[entry] = next(outcome for outcome in FIRST if outcome in outcomes)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write them, on rank 0."""
    if MPI.COMM_WORLD.rank or not _found:
        return
    path = session.config.rootpath / "build" / "ecosystem" / f"{MPI.COMM_WORLD.size}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = json.loads(path.read_text("utf-8"))["entries"] if path.exists() else {}
    for library, found in _found.items():
        entries[library] = entries.get(library, {}) | found
    versions = {library: version(library) for library in entries}
    document = {"ranks": MPI.COMM_WORLD.size, "versions": versions, "entries": entries}
    path.write_text(json.dumps(document, indent=1, sort_keys=True), "utf-8")


def version(library: str) -> str:
    """Return the version of a library that is installed; "" where there is none."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return ""
