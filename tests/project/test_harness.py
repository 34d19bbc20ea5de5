"""The test harness itself, in real jobs of two ranks that it starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest
from mpi4py import MPI

SEARCH_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
LAUNCHER = shutil.which("mpirun", path=SEARCH_PATH)

pytestmark = [
    pytest.mark.skipif(MPI.COMM_WORLD.size > 1, reason="starts jobs of its own: on one rank only"),
    pytest.mark.skipif(LAUNCHER is None, reason="there is no mpirun"),
]

# What a launcher tells its ranks; a job inside a job must not inherit it.
LAUNCHER_VARIABLES = ("PMI", "PMIX_", "MPI_LOCAL", "HYDRA_", "OMPI_", "SLURM_", "MPIR_")

HEADER = """
import random
import time
import numpy as np
import pytest
import torch
from hypothesis import assume, given, strategies as st
from mpi4py import MPI
comm = MPI.COMM_WORLD
"""


def run(
    folder: Path,
    tests: str,
    *,
    ranks: int = 2,
    timeout: int = 60,
    grace: int = 2,
    options: Sequence[str] = (),
) -> tuple[int, str, str]:
    """Run tests on some ranks; return the exit status and what was printed."""
    (folder / "test_generated.py").write_text(HEADER + textwrap.dedent(tests))
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider -p _harness\n")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(LAUNCHER_VARIABLES) and not name.startswith("PYTEST")
    }
    environment |= {
        "PYTHONPATH": str(Path(__file__).parents[1] / "support"),
        "OMP_NUM_THREADS": "1",
        "HEAT_ARRAY_API_TEST_TIMEOUT": str(timeout),
        "HEAT_ARRAY_API_TEST_GRACE": str(grace),
    }
    command = [str(LAUNCHER), "-n", str(ranks), sys.executable, "-m", "pytest", "-rA", *options]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    print(done.stdout, done.stderr, sep="\n--- stderr ---\n")
    return done.returncode, done.stdout, done.stderr


def test_passing_tests_pass_and_only_rank_0_reports(tmp_path):
    status, out, _ = run(
        tmp_path,
        """
        def test_sum():
            assert comm.allreduce(1) == 2

        @pytest.mark.xfail
        def test_known():
            assert 0

        def test_skipped():
            pytest.skip("on all ranks")
        """,
    )
    assert status == 0
    assert out.count("1 passed, 1 skipped, 1 xfailed") == 1
    assert "MPI: 2 ranks" in out
    log = tmp_path / "build" / "test-logs" / "rank1-of-2.log"
    assert "1 passed, 1 skipped, 1 xfailed" in log.read_text()


def test_a_failure_on_one_rank_fails_the_test_on_all(tmp_path):
    status, out, _ = run(
        tmp_path,
        """
        def test_one():
            print("words of rank", comm.rank)
            assert comm.rank == 0, "wrong here"

        def test_error():
            if comm.rank == 1:
                raise KeyError("lost")

        @pytest.fixture
        def fixture():
            if comm.rank == 1:
                raise OSError("no setup")

        def test_setup(fixture):
            pass

        def test_skip():
            if comm.rank == 1:
                pytest.skip("only here")

        def test_after():
            comm.barrier()
        """,
    )
    assert status == 1
    assert "3 failed, 1 passed, 1 error" in out
    assert "rank 1 of 2: AssertionError: wrong here" in out
    assert "words of rank 1" in out
    assert "rank 1 of 2: KeyError: 'lost'" in out
    assert "rank 1 of 2: OSError: no setup" in out
    assert "the ranks disagree on the outcome" in out
    assert "PASSED test_generated.py::test_after" in out


def test_maxfail_stops_all_ranks(tmp_path):
    status, out, _ = run(
        tmp_path,
        """
        def test_one():
            assert comm.rank == 0

        def test_never():
            comm.barrier()
        """,
        options=["-x"],
    )
    assert status == 1
    assert "1 failed in" in out


def test_tracebacks_that_are_equal_are_shown_once(tmp_path):
    status, out, _ = run(tmp_path, "def test_all():\n    assert 1 == 2\n")
    assert status == 1
    assert "ranks 0, 1 of 2: assert 1 == 2" in out
    assert out.count("E       assert 1 == 2") + out.count("E   assert 1 == 2") == 1


def test_a_rank_that_failed_ends_the_wait_of_the_others(tmp_path):
    status, _, err = run(
        tmp_path,
        """
        def test_left_alone():
            if comm.rank == 1:
                raise ValueError("left")
            comm.barrier()
        """,
    )
    assert status != 0
    assert "[rank 1 of 2] FAILED test_generated.py::test_left_alone" in err
    assert "ValueError: left" in err
    assert "Most likely they wait inside a collective that rank 1 left" in err
    assert "--- stack of rank 0 ---" in err
    assert err.index("ValueError: left") < err.index("--- stack of rank 0 ---")


def test_the_watchdog_ends_a_deadlock(tmp_path):
    status, _, err = run(
        tmp_path,
        """
        def test_deadlock():
            comm.recv(source=1 - comm.rank)
        """,
        timeout=4,
    )
    assert status != 0
    assert "test_generated.py::test_deadlock: took more than 4 s" in err
    assert err.count("in test_deadlock") >= 2


def test_the_watchdog_also_guards_one_rank(tmp_path):
    status, _, err = run(tmp_path, "def test_slow():\n    time.sleep(60)\n", ranks=1, timeout=2)
    assert status != 0
    assert "test_generated.py::test_slow: took more than 2 s" in err


def test_all_ranks_draw_the_same(tmp_path):
    status, out, _ = run(
        tmp_path,
        """
        THRESHOLD = 123456789 + comm.rank  # a local constant, Hypothesis would draw near it

        def equal(value):
            return len(set(comm.allgather(repr(value)))) == 1

        @given(st.lists(st.integers()), st.floats(), st.data())
        def test_hypothesis(numbers, value, data):
            assert equal((numbers, value))
            assume(len(numbers) != 3)
            assert equal(data.draw(st.text()))

        def test_generators():
            assert equal((random.random(), np.random.rand(3), torch.rand(3)))
        """,
    )
    assert status == 0
    assert "2 passed" in out


def test_an_example_that_fails_on_one_rank_fails_on_all(tmp_path):
    status, out, _ = run(
        tmp_path,
        """
        @given(st.integers(0, 1000))
        def test_example(n):
            comm.barrier()
            assert n < 20 or comm.rank == 0

        @given(st.integers(0, 1000))
        def test_assumption(n):
            comm.barrier()
            assume(n < 20 or comm.rank == 0)

        def test_after():
            comm.barrier()
        """,
    )
    assert status == 1
    assert "2 failed, 1 passed" in out
    assert "Failing test case: test_example(" in out
    assert "this example was rejected on some ranks only: [0, 2]" in out


@pytest.mark.parametrize("difference", ["def test_more(): pass", "raise ImportError('here only')"])
def test_ranks_must_collect_the_same_tests(tmp_path, difference):
    status, _, err = run(
        tmp_path,
        f"""
        def test_common(): pass

        if comm.rank == 1:
            {difference}
        """,
    )
    assert status != 0
    assert "the ranks collected different tests" in err
    assert ("here only" in err) == ("ImportError" in difference)
