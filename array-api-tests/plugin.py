"""pytest plugin that runs data-apis/array-api-tests under mpirun.

``run.py`` loads it after ``tests/support/_harness.py`` (``-p _harness -p plugin``), so that each
rank draws the same examples, compares the ranks after each of them, and ends a job that hangs.
This plugin adds what is particular to the suite:

- ``--max-examples`` gives the number of examples, also of the tests that run a tenth of it;
- no settings of a test may leave what the ranks need (equal examples, no database, no
  shrinking);
- tests that upstream skips as flaky run;
- only rank 0 reports; it writes what happens to a file of JSON lines, as it happens, so that
  the last test of a job that dies is known.

Environment
-----------
HEAT_ARRAY_API_CONFORMANCE_LOG
    The file of JSON lines, written by rank 0. Without it nothing is written.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import time
from pathlib import Path
from typing import Any, TextIO

import hypothesis
import numpy as np
import pytest
import torch
from mpi4py import MPI

LOG_VARIABLE = "HEAT_ARRAY_API_CONFORMANCE_LOG"
PROFILE = "spmd-conformance"
FLAKY = "flaky"
REPORT_LENGTH = 20_000

# What all ranks need, whatever the settings of a test say; all but the number of examples.
SPMD_SETTINGS = ("derandomize", "database", "deadline", "phases", "report_multiple_bugs")


class Journal:
    """The events of a session as JSON lines; each is on disk before the next test starts."""

    def __init__(self, path: str | None) -> None:
        self.file: TextIO | None = None
        if path and MPI.COMM_WORLD.rank == 0:
            # Open as long as the session.
            self.file = Path(path).open("w", encoding="utf-8", buffering=1)  # noqa: SIM115

    def write(self, event: str, **values: Any) -> None:
        """Append an event."""
        if self.file is not None:
            self.file.write(json.dumps({"event": event, **values}) + "\n")

    def close(self) -> None:
        """End the journal."""
        if self.file is not None:
            self.file.close()
            self.file = None


JOURNAL = Journal(os.environ.get(LOG_VARIABLE))


# ---------------------------------------------------------------- session


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    library = MPI.Get_library_version().split("\n")[0].strip("\0 ").expandtabs(1)
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "hypothesis": importlib.metadata.version("hypothesis"),
        "mpi4py": importlib.metadata.version("mpi4py"),
        "mpi": " ".join(library.replace("Version:", "").split()),
        "machine": platform.machine(),
    }


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Let rank 0 alone report; the failures of the others are in its report."""
    if MPI.COMM_WORLD.rank:
        config.pluginmanager.set_blocked("terminalreporter")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give the harness's profile the suite's number of examples.

    Of two hooks that are to run last, the one of the later plugin does: this one.
    """
    hypothesis.settings.register_profile(
        PROFILE,
        parent=hypothesis.settings.get_profile("spmd"),
        max_examples=config.getoption("--hypothesis-max-examples"),
    )
    hypothesis.settings.load_profile(PROFILE)
    JOURNAL.write("session", ranks=MPI.COMM_WORLD.size, versions=versions())


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note what failed to import."""
    if report.failed:
        text = report.longreprtext[-REPORT_LENGTH:]
        JOURNAL.write("end", id=report.nodeid or "collection", outcome="error", text=text)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    """Note that the session came to its end."""
    JOURNAL.write("finish", status=int(exitstatus))
    JOURNAL.close()


# ---------------------------------------------------------------- collection


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what upstream skips as flaky, and keep every test to the settings of the ranks."""
    unskipped = [item.nodeid for item in items if unskip(item)]
    for item in items:
        keep_to_profile(item)
    JOURNAL.write("collected", tests=len(items), unskipped=unskipped)


def unskip(item: pytest.Item) -> bool:
    """Remove upstream's ``@pytest.mark.skip(reason="flaky")``; return whether it was there."""
    kept = [
        mark
        for mark in item.own_markers
        if not (mark.name == "skip" and mark.kwargs.get("reason") == FLAKY)
    ]
    found = len(kept) < len(item.own_markers)
    item.own_markers[:] = kept
    return found


def keep_to_profile(item: pytest.Item) -> None:
    """Give the test the profile's settings, but for its own number of examples."""
    test = getattr(item, "obj", None)
    test = getattr(test, "__func__", test)
    own = getattr(test, "_hypothesis_internal_use_settings", None)
    profile = hypothesis.settings.get_profile(PROFILE)
    if own is None or all(getattr(own, n) == getattr(profile, n) for n in SPMD_SETTINGS):
        return
    test._hypothesis_internal_use_settings = hypothesis.settings(
        parent=profile, max_examples=own.max_examples
    )


# ---------------------------------------------------------------- tests


class Current:
    """The reports of the test in hand."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.outcomes: dict[str, str] = {}
        self.texts: list[str] = []
        self.summary = ""

    def add(self, report: pytest.TestReport) -> None:
        """Add the report of a phase."""
        outcome = report.outcome
        if hasattr(report, "wasxfail"):
            outcome = "xfailed" if report.skipped else "xpassed"
            self.summary = str(report.wasxfail)
        elif report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self.summary = self.summary or str(crash.message if crash else report.longrepr)
            self.texts.append(report.longreprtext)
        elif report.skipped:
            self.summary = skip_reason(report)
        self.outcomes[report.when or ""] = outcome

    def outcome(self) -> str:
        """Return one word for all phases."""
        found = set(self.outcomes.values())
        if "failed" in found:
            return "failed" if self.outcomes.get("call") == "failed" else "error"
        return next((o for o in ("xfailed", "xpassed", "skipped") if o in found), "passed")


CURRENT = Current()


def skip_reason(report: pytest.TestReport) -> str:
    """Return why a test was skipped."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)


def pytest_runtest_logstart(nodeid: str) -> None:
    """Note which test starts."""
    global CURRENT
    CURRENT = Current()
    JOURNAL.write("start", id=nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect the phases; the harness has compared them over the ranks."""
    CURRENT.add(report)


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Note how the test ended."""
    values: dict[str, Any] = {"outcome": CURRENT.outcome()}
    values["seconds"] = round(time.monotonic() - CURRENT.started, 3)
    if CURRENT.summary:
        values["summary"] = CURRENT.summary.partition("\n")[0][:500]
    if CURRENT.texts:
        values["text"] = "\n".join(CURRENT.texts)[-REPORT_LENGTH:]
    JOURNAL.write("end", id=nodeid, **values)
