"""pytest under mpirun: every rank runs the same tests, and rank 0 reports for all.

Run ``mpirun -n P python -m pytest``. With one rank everything but the time limit is idle.

- Rank 0 prints pytest's report; the others write theirs to ``build/test-logs/``.
- After the phases of each test its outcomes are compared over the ranks: a failure on one
  rank fails the test on all of them, with the traceback and the rank's number. The same
  holds after each Hypothesis example and after collection.
- All ranks draw the same random numbers and the same Hypothesis examples.
- A test that does not end (a rank that failed while the others wait inside a collective,
  or a plain deadlock) ends the whole job, with the test's name, what is known to have
  failed, and the stacks of the ranks on this machine.

Environment
-----------
HEAT_ARRAY_API_TEST_TIMEOUT
    Seconds that one test may take (120).
HEAT_ARRAY_API_TEST_GRACE
    Seconds that a rank whose test failed waits for the others to end theirs (30).
HEAT_ARRAY_API_TEST_EXAMPLES
    Hypothesis examples per test (30).
HEAT_ARRAY_API_TEST_STEPS
    Steps of each state machine, whose number of examples follows from it (300).
"""

from __future__ import annotations

import contextlib
import copy
import faulthandler
import functools
import os
import random
import signal
import socket
import threading
import time
import traceback
import zlib
from array import array
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from _pytest._code.code import ReprFileLocation, TerminalRepr
from _pytest._io import TerminalWriter
from _pytest.config import create_terminal_writer
from _pytest.runner import runtestprotocol
from hypothesis.control import _current_build_context
from hypothesis.errors import StopTest, UnsatisfiedAssumption
from hypothesis.internal.conjecture import providers
from mpi4py import MPI

TIMEOUT = float(os.environ.get("HEAT_ARRAY_API_TEST_TIMEOUT", "120"))
GRACE = float(os.environ.get("HEAT_ARRAY_API_TEST_GRACE", "30"))
EXAMPLES = int(os.environ.get("HEAT_ARRAY_API_TEST_EXAMPLES", "30"))
STACK_SIGNAL = signal.SIGUSR1
PHASES = ("setup", "call", "teardown")

# Outcomes of a Hypothesis example.
OK, FAILED, REJECTED = range(3)


def checksum(text: str) -> int:
    """Return a number that is the same for the same text on every rank."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


# ---------------------------------------------------------------- ranks


class Ranks:
    """The ranks of the job, over a private duplicate of COMM_WORLD, and their watchdog."""

    def __init__(self) -> None:
        self.comm = MPI.COMM_WORLD.Dup()
        self.rank = self.comm.rank
        self.size = self.comm.size
        self.stderr = os.dup(2)
        self.enabled = True
        self.label = "start-up"
        self.state = ""
        self.failure = ""
        self.shown = False
        self.deadline = float("inf")
        self.changed = threading.Condition()
        self.peers = self.comm.allgather((socket.gethostname(), os.getpid()))
        # A handler in C: it shows the stack of a rank that is stuck inside MPI.
        faulthandler.register(STACK_SIGNAL, file=self.stderr, all_threads=True)
        threading.Thread(target=self._watch, name="test-watchdog", daemon=True).start()

    def arm(self, label: str) -> None:
        """Start the clock of a test (or of another stage)."""
        if not self.enabled:
            return
        self.forget_failure()
        self.state = "is still running it"
        with self.changed:
            self.label = label
            # Rank 0 first, so that one rank speaks for all.
            self.deadline = time.monotonic() + TIMEOUT + 3 * self.rank
            self.changed.notify()
        # Should the watchdog's thread never get Python's lock.
        faulthandler.dump_traceback_later(TIMEOUT + 3 * self.size + 10, exit=True, file=self.stderr)

    def disarm(self) -> None:
        """Stop the clock."""
        faulthandler.cancel_dump_traceback_later()
        with self.changed:
            self.deadline = float("inf")

    def _watch(self) -> None:
        while True:
            with self.changed:
                left = self.deadline - time.monotonic()
                if left > 0:
                    self.changed.wait(min(left, 3600))
                    continue
            self.abort(f"{self.label}: took more than {TIMEOUT:g} s; rank {self.rank} {self.state}")

    def abort(self, reason: str) -> None:
        """End all ranks: say why, show this rank's failure and every rank's stack."""
        self.say("TIME LIMIT OR DEADLOCK", f"{reason}\nThe whole job is ended.")
        self.say_failure()
        host = self.peers[self.rank][0]
        for rank, (peer_host, pid) in enumerate(self.peers):
            if peer_host == host:
                self.write(f"\n--- stack of rank {rank} ---\n")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, STACK_SIGNAL)
                time.sleep(0.2)
        time.sleep(0.3)  # the launcher drops what has not reached it
        threading.Timer(5, os._exit, (1,)).start()
        MPI.COMM_WORLD.Abort(1)
        threading.Event().wait()  # Abort may return on this thread while MPI ends the others

    def write(self, text: str) -> None:
        """Write past pytest's capture."""
        os.write(self.stderr, text.encode("utf-8", "replace"))

    def say(self, title: str, text: str) -> None:
        """Write a titled paragraph past pytest's capture."""
        self.write(f"\n!!! [rank {self.rank} of {self.size}] {title}\n{text}\n")

    def say_failure(self) -> None:
        """Show the failure of the test in hand, once."""
        if self.failure and not self.shown:
            self.shown = True
            self.say(f"FAILED {self.label}", self.failure)

    def forget_failure(self) -> None:
        """Drop the failure: it is another test's, or has been shared with all ranks."""
        self.failure = ""
        self.shown = False

    def exchange(self, label: str, code: int) -> list[int]:
        """Return every rank's `code`; end the job if the ranks are not all at `label`.

        A rank that brings a failure waits for the others only as long as the grace allows;
        the time limit of the test in hand bounds the rest.
        """
        if self.size == 1:
            return [code]
        mine = array("q", [checksum(label), code])
        everyone = array("q", bytes(16 * self.size))
        request = self.comm.Iallgather([mine, MPI.INT64_T], [everyone, MPI.INT64_T])
        self.state = f"has reached '{label}' and waits there for the other ranks"
        started = time.monotonic()
        while not request.Test():
            waited = time.monotonic() - started
            if self.failure and waited > 1:
                self.say_failure()
            if self.failure and waited > GRACE:
                self.abort(
                    f"{self.label}: failed on rank {self.rank} (above); the other ranks did not "
                    f"end it within {GRACE:g} s more.\nMost likely they wait inside a collective "
                    f"that rank {self.rank} left."
                )
            time.sleep(0 if waited < 0.01 else 0.001)
        self.state = "is still running it"
        if len(set(everyone[0::2])) > 1:
            places = self.comm.allgather(label)
            if self.rank == 0:
                lines = (f"  rank {rank}: {place}" for rank, place in enumerate(places))
                self.abort("the ranks run different tests:\n" + "\n".join(lines))
            time.sleep(60)
        return list(everyone[1::2])


RANKS: Ranks | None = None


def ranks() -> Ranks:
    """Return the ranks of this session."""
    assert RANKS is not None
    return RANKS


# ---------------------------------------------------------------- session


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Join the ranks, silence all but rank 0, and make every source of chance equal."""
    global RANKS
    RANKS = Ranks()
    RANKS.enabled = not config.getoption("usepdb")
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if RANKS.rank and reporter is not None:
        folder = config.rootpath / "build" / "test-logs"
        folder.mkdir(parents=True, exist_ok=True)
        log = (folder / f"rank{RANKS.rank}-of-{RANKS.size}.log").open("w", encoding="utf-8")
        config.add_cleanup(log.close)
        reporter._tw = create_terminal_writer(config, log)
    hypothesis.settings.register_profile(
        "spmd",
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=EXAMPLES,
        # No shrinking: it would go on from what each rank saw fail.
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("spmd")
    # Constants found in loaded modules go into the draws; which are loaded is the rank's own.
    providers._get_local_constants = functools.cache(providers.Constants)
    RANKS.arm("collection")


def pytest_report_header() -> str:
    """Name the MPI library and the number of ranks."""
    library = MPI.Get_library_version().split("\n")[0].strip("\0 ").expandtabs(1)
    return f"MPI: {ranks().size} ranks, {library}"


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Make the exit status of all ranks the greatest."""
    if RANKS is None:
        return
    RANKS.arm("the end of the session")
    session.exitstatus = max(RANKS.exchange("the end of the session", int(exitstatus)))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Stop the clock."""
    if RANKS is not None:
        RANKS.disarm()


# ---------------------------------------------------------------- collection

_collection_errors: list[str] = []


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remember what failed to import."""
    if report.failed:
        _collection_errors.append(f"{report.nodeid}\n{report.longreprtext}")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to run where the ranks collected different tests."""
    selection = checksum("\n".join(item.nodeid for item in session.items))
    findings = ranks().exchange("collection", selection + (len(_collection_errors) << 32))
    if len(set(findings)) > 1:
        texts = ranks().comm.allgather((len(session.items), _collection_errors))
        lines = ["the ranks collected different tests:"]
        for rank, (count, errors) in enumerate(texts):
            lines += [f"  rank {rank}: {count} tests, {len(errors)} errors", *errors]
        raise pytest.UsageError("\n".join(lines))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Compare the ranks after each example of the Hypothesis tests."""
    for item in items:
        handle = getattr(getattr(item, "obj", None), "hypothesis", None)
        if handle is not None and not hasattr(handle.inner_test, "compares_ranks"):
            handle.inner_test = compared_over_ranks(handle.inner_test)


# ---------------------------------------------------------------- one test


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run the phases of a test, compare them over the ranks, then report them."""
    ranks().arm(item.nodeid)
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = agreed(item.nodeid, runtestprotocol(item, log=False, nextitem=nextitem))
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seed every generator from the test's name."""
    seed = checksum(item.nodeid)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Keep a failure at hand, to be shown at once if another rank never gets here."""
    report = yield
    if report.failed and ranks().size > 1:
        ranks().failure += f"({report.when})\n{report.longreprtext}\n"
    return report


@dataclass
class Finding:
    """What one rank saw in one phase of a test."""

    outcome: str
    key: str = ""
    text: str = ""
    sections: list[tuple[str, str]] = field(default_factory=list)


def finding(report: pytest.TestReport) -> Finding:
    """Reduce a report to what the other ranks need."""
    outcome = "xfailed/xpassed" if hasattr(report, "wasxfail") else report.outcome
    if not report.failed:
        return Finding(outcome)
    crash = getattr(report.longrepr, "reprcrash", None)
    text = report.longreprtext
    key = f"{crash.message} ({crash.path}:{crash.lineno})" if crash else text
    return Finding(outcome, key, text, report.sections)


def agreed(nodeid: str, reports: list[pytest.TestReport]) -> list[pytest.TestReport]:
    """Return this rank's reports, with the failures of every rank put into them."""
    plain = all(report.passed and not hasattr(report, "wasxfail") for report in reports)
    codes = ranks().exchange(nodeid, 0 if plain else 1)
    if not any(codes) or len(codes) == 1:
        return reports
    ranks().forget_failure()
    everyone = ranks().comm.allgather({report.when: finding(report) for report in reports})
    texts = {when: failures(when, everyone) for when in PHASES}
    if not any(texts.values()):
        outcomes = [{when: f.outcome for when, f in found.items()} for found in everyone]
        if all(outcome == outcomes[0] for outcome in outcomes):
            return reports
        lines = (f"  rank {rank}: {outcome}" for rank, outcome in enumerate(outcomes))
        when = next(w for w in PHASES if len({outcome.get(w) for outcome in outcomes}) > 1)
        texts[when] = "the ranks disagree on the outcome:\n" + "\n".join(lines)
    if texts["setup"]:  # no rank's own call counts then
        reports = [report for report in reports if report.when != "call" or report.failed]
    for when, text in texts.items():
        if text:
            put_failure(reports, when, text)
    return sorted(reports, key=lambda report: PHASES.index(report.when))


def failures(when: str, everyone: list[dict[str, Finding]]) -> str:
    """Return the tracebacks of a phase on all ranks; equal ones once."""
    same: dict[str, list[int]] = {}
    for rank, found in enumerate(everyone):
        if when in found and found[when].outcome == "failed":
            same.setdefault(found[when].key, []).append(rank)
    if len(same) > 1:
        same = {key: members for key, members in same.items() if "FailedElsewhere" not in key}
    size = len(everyone)
    summary, parts = [], []
    for key, members in same.items():
        first = everyone[members[0]][when]
        title = f"rank{'s' * (len(members) > 1)} {', '.join(map(str, members))} of {size}"
        summary.append(f"{title}: {key}".partition("\n")[0])
        parts.append(f"{f' {title} ':=^80}\n{first.text}")
        if members[0] != 0:  # rank 0's own output is in its report
            parts += [f"--- {name} (rank {members[0]}) ---\n{out}" for name, out in first.sections]
    return "\n".join(summary + parts)


def put_failure(reports: list[pytest.TestReport], when: str, text: str) -> None:
    """Make the report of phase `when` a failure with this text; add one if there is none."""
    report = next((r for r in reports if r.when == when), None)
    if report is None:
        report = copy.copy(reports[0])
        report.when = when
        reports.append(report)
    if hasattr(report, "wasxfail"):
        del report.wasxfail
    report.outcome = "failed"
    report.longrepr = Failures(text)


class Failures(TerminalRepr):
    """The failures of a phase on all ranks; pytest's summary shows the first line alone."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.reprcrash = ReprFileLocation("", 0, text.partition("\n")[0])

    def toterminal(self, tw: TerminalWriter) -> None:
        """Write the whole text."""
        tw.line(self.text)


# ---------------------------------------------------------------- Hypothesis


class FailedElsewhere(AssertionError):
    """This rank's example passed, another rank's failed."""


def compared_over_ranks(test: Any) -> Any:
    """Wrap a Hypothesis test: an example that fails on one rank fails on all of them.

    Without it the failing rank would replay its example while the others go on to the
    next, and their collectives would no longer match.
    """

    @functools.wraps(test)
    def example(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        error: BaseException | None = None
        outcome = OK
        try:
            test(*args, **kwargs)
        except (UnsatisfiedAssumption, StopTest) as caught:
            error, outcome = caught, REJECTED
        except Exception as caught:
            error, outcome = caught, FAILED
            ranks().failure = "".join(traceback.format_exception(caught))
        agree_on_example(outcome)
        ranks().forget_failure()
        if error is not None:
            raise error

    example.compares_ranks = True
    return example


def agree_on_example(outcome: int) -> None:
    """Raise on every rank if this example failed, or was drawn differently, on any."""
    __tracebackhide__ = True
    if ranks().size == 1:
        return
    context = _current_build_context.value
    drawn = checksum(repr(context.data.choices)) if context is not None else 0
    results = ranks().exchange(ranks().label + " (an example)", outcome + (drawn << 8))
    if len({result >> 8 for result in results}) > 1:
        raise FailedElsewhere("the ranks drew different Hypothesis examples")
    outcomes = [result & 0xFF for result in results]
    if FAILED in outcomes and outcome != FAILED:
        failed = [rank for rank, other in enumerate(outcomes) if other == FAILED]
        raise FailedElsewhere(f"this example failed on ranks {failed}")
    if len(set(outcomes)) > 1 and FAILED not in outcomes:
        raise FailedElsewhere(f"this example was rejected on some ranks only: {outcomes}")
