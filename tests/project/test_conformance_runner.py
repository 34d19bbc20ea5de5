"""The runner and the plugin of data-apis/array-api-tests, on a suite of a few made-up tests."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest
from mpi4py import MPI

pytestmark = pytest.mark.skipif(
    MPI.COMM_WORLD.size > 1, reason="starts jobs of its own: on one rank only"
)

FOLDER = Path(__file__).resolve().parents[2] / "array-api-tests"

CONFTEST = """
from hypothesis import settings

def pytest_addoption(parser):
    parser.addoption("--hypothesis-max-examples", "--max-examples", default=100, type=int)
    parser.addoption("--skips-file")
    parser.addoption("--xfails-file")

def pytest_configure(config):
    config.addinivalue_line("markers", "unvectorized: fewer examples")
    settings.register_profile("suite", max_examples=config.getoption("--max-examples"))
    settings.load_profile("suite")

def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("unvectorized"):
            item.obj._hypothesis_internal_use_settings = settings(max_examples=3)
"""

HEADER = """
import os
import time
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from mpi4py import MPI
comm = MPI.COMM_WORLD
"""


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("conformance_run", FOLDER / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def work(runner, tmp_path, monkeypatch) -> Path:
    """Keep results away from the project's own."""
    monkeypatch.setattr(runner, "WORK", tmp_path / "work")
    monkeypatch.delenv("ARRAY_API_TESTS", raising=False)
    return tmp_path / "work"


def make_suite(folder: Path, tests: str) -> Path:
    package = folder / "array_api_tests"
    package.mkdir(parents=True)
    (folder / "array-api" / "spec").mkdir(parents=True)
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (package / "__init__.py").write_text("")
    (package / "test_generated.py").write_text(HEADER + textwrap.dedent(tests))
    return folder


def run_suite(runner, tmp_path: Path, tests: str, *arguments: str) -> tuple[int, dict]:
    """Run made-up tests on 2 ranks; return the exit status and the cell's result."""
    suite = make_suite(tmp_path / "suite", tests)
    before = {path for path in suite.rglob("*") if path.name != ".git"}
    command = ["--suite", str(suite), "--ranks", "2", "--splits", "0", "--max-examples", "7"]
    status = runner.main([*command, "--table", str(tmp_path / "table.md"), *arguments])
    assert {path for path in suite.rglob("*") if path.name != ".git"} == before
    (path,) = runner.WORK.glob("P2-split-0-*.json")
    return status, json.loads(path.read_text())


def outcomes(result: dict) -> dict[str, str]:
    return {f["id"].partition("::")[2]: f["outcome"] for f in result["failures"]}


# ---------------------------------------------------------------- jobs


def test_clean_suite(runner, work, tmp_path):
    status, result = run_suite(
        runner,
        tmp_path,
        """
        seen = {"plain": 0, "tenth": 0}

        @given(st.integers())
        def test_plain(x):
            seen["plain"] += 1

        @pytest.mark.unvectorized
        @given(st.integers())
        def test_tenth(x):
            seen["tenth"] += 1

        def test_max_examples_wins():
            assert seen == {"plain": 7, "tenth": 3}

        @settings(derandomize=False, max_examples=50, deadline=1)
        @given(st.lists(st.integers()))
        def test_settings_of_its_own_do_not_part_the_ranks(x):
            time.sleep(0.002)

        @pytest.mark.skip(reason="flaky")
        def test_upstream_skips_it():
            pass

        def test_random_numbers_are_equal():
            assert len(set(comm.allgather(float(np.random.random())))) == 1

        def test_split_comes_from_the_environment():
            assert os.environ["HEAT_ARRAY_API_SPLIT"] == "0"
        """,
    )
    assert status == 0
    assert result["counts"]["passed"] == result["collected"] == 7
    assert result["unskipped"] == ["array_api_tests/test_generated.py::test_upstream_skips_it"]
    assert result["versions"]["numpy"]
    table = (tmp_path / "table.md").read_text()
    assert "| 2 | 0 | 7 | 0 | 0 | 0 |" in table


def test_failures_of_any_rank_and_foreign_skips(runner, work, tmp_path, capsys):
    status, result = run_suite(
        runner,
        tmp_path,
        """
        def test_fails_on_rank_1():
            assert comm.rank == 0, "only there"

        @given(st.integers())
        def test_example_fails_on_rank_1(x):
            assert comm.rank == 0

        @pytest.mark.xfail
        def test_xfails():
            raise ValueError

        @pytest.fixture
        def broken():
            raise ValueError

        def test_error(broken):
            pass

        def test_skips():
            pytest.skip("not found in array module")

        def test_passes():
            pass
        """,
    )
    assert status == 1
    assert outcomes(result) == {
        "test_fails_on_rank_1": "failed",
        "test_example_fails_on_rank_1": "failed",
        "test_xfails": "xfailed",
        "test_error": "error",
    }
    assert result["counts"]["passed"] == 1
    assert "rank 1 of 2" in result["failures"][0]["summary"]
    out = capsys.readouterr().out
    assert "SKIPPED 1: not found in array module" in out
    assert "FAILED array_api_tests/test_generated.py::test_fails_on_rank_1" in out


def test_crash_names_the_last_test(runner, work, tmp_path):
    status, result = run_suite(
        runner,
        tmp_path,
        """
        def test_passes():
            pass

        def test_crashes():
            comm.Barrier()  # rank 0 keeps the journal, and has come to this test
            if comm.rank == 1:
                os._exit(3)
            comm.Barrier()
        """,
    )
    assert status == 1
    assert result["counts"]["passed"] == 1
    assert result["died"].endswith("test_generated.py::test_crashes")


def test_hang_names_the_last_test(runner, work, tmp_path):
    hang = """
        def test_hangs():
            if comm.rank == 1:
                comm.Barrier()
        """
    status, result = run_suite(runner, tmp_path, hang, "--test-timeout", "3")
    assert status == 1
    assert result["died"].endswith("test_generated.py::test_hangs")


def test_cell_that_takes_too_long_is_ended(runner, work, tmp_path):
    hang = """
        def test_sleeps():
            time.sleep(60)
        """
    status, result = run_suite(runner, tmp_path, hang, "--timeout", "8")
    assert status == 1
    assert result["died"].startswith("took more than 8 s, in: ")
    assert result["seconds"] < 40


def test_import_error_is_a_failure(runner, work, tmp_path):
    status, result = run_suite(runner, tmp_path, "import no_such_module")
    assert status == 1
    assert result["counts"]["error"] == 1


def test_results_are_kept(runner, work, tmp_path, monkeypatch):
    status, first = run_suite(runner, tmp_path, "def test_passes(): pass")
    assert status == 0
    monkeypatch.setattr(runner, "run_job", lambda *_: pytest.fail("ran again"))
    command = ["--suite", str(tmp_path / "suite"), "--splits", "0", "--max-examples", "7"]
    command += ["--table", str(tmp_path / "table.md")]
    assert runner.main([*command, "--ranks", "2"]) == 0
    assert runner.main([*command, "--ranks", "2", "3", "--no-run"]) == 1
    assert "| 3 | 0 | not run |" in (tmp_path / "table.md").read_text()
    monkeypatch.setattr(runner, "source_digest", lambda _: "other sources")
    assert runner.main([*command, "--ranks", "2", "--no-run"]) == 1
    assert first["commit"]


# ---------------------------------------------------------------- the checkout


def test_without_a_suite_it_says_so(runner, work, tmp_path, capsys):
    assert runner.main(["--suite", str(tmp_path / "nowhere")]) == runner.NOT_RUN == 77
    assert "**** NOT RUN" in capsys.readouterr().out
    assert not work.exists()


def test_where_the_suite_is_looked_for(runner, tmp_path):
    environment = {"ARRAY_API_TESTS": str(tmp_path / "b"), "XDG_CACHE_HOME": str(tmp_path)}
    assert runner.candidates(str(tmp_path / "a"), environment) == [tmp_path / "a"]
    assert runner.candidates(None, environment) == [tmp_path / "b"]
    del environment["ARRAY_API_TESTS"]
    cache = tmp_path / "heat_array_api" / "array-api-tests"
    assert runner.candidates(None, environment)[-1] == cache


def make_repository(folder: Path, file: str) -> str:
    path = folder / file
    path.parent.mkdir(parents=True)
    path.write_text("")
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for step in (["init"], ["add", "."], [*identity, "commit", "-m", "first"]):
        subprocess.run(["git", "-C", folder, *step], check=True, capture_output=True)
    done = subprocess.run(
        ["git", "-C", folder, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_clone_and_pins(runner, work, tmp_path, monkeypatch, capsys):
    suite, spec = tmp_path / "upstream", tmp_path / "upstream-spec"
    monkeypatch.setattr(runner, "SUITE_URL", suite.as_uri())
    monkeypatch.setattr(
        runner, "SUITE_COMMIT", make_repository(suite, "array_api_tests/__init__.py")
    )
    monkeypatch.setattr(runner, "SPEC_URL", spec.as_uri())
    monkeypatch.setattr(runner, "SPEC_COMMIT", make_repository(spec, "spec/index.rst"))
    target = tmp_path / "cache" / "suite"
    assert runner.clone(target)
    assert runner.is_checkout(target)
    runner.check_pins(target)
    assert "WARNING" not in capsys.readouterr().out
    (target / "array_api_tests" / "__init__.py").write_text("changed")
    commits = runner.check_pins(target)
    assert commits["suite"] == f"{runner.SUITE_COMMIT}-dirty"
    assert "**** WARNING: the suite is at commit" in capsys.readouterr().out
    shutil.rmtree(target)
    monkeypatch.setattr(runner, "SPEC_URL", (tmp_path / "nowhere").as_uri())
    assert not runner.clone(target)
    assert list(target.parent.iterdir()) == []


# ---------------------------------------------------------------- pure parts


def test_command_line(runner):
    parsed = runner.parse(["--ranks", "1", "3", "--splits", "none", "-1", "--", "-k", "test_eye"])
    assert (parsed.ranks, parsed.splits) == ([1, 3], ["none", "-1"])
    assert parsed.options == ("-k", "test_eye")
    assert runner.table_path(parsed) != runner.RESULTS
    assert runner.table_path(runner.parse([])) == runner.RESULTS
    for wrong in (["--ranks", "0"], ["--splits", "first"]):
        with pytest.raises(SystemExit):
            runner.parse(wrong)


def test_launcher(runner):
    assert runner.launcher("mpirun --oversubscribe", {}) == ["mpirun", "--oversubscribe"]
    assert runner.launcher(None, {"MPIRUN": "bin/mpirun"}) == [str(Path("bin/mpirun").absolute())]


@pytest.mark.parametrize(
    ("events", "last"),
    [
        ([], "start-up or collection"),
        ([{"event": "start", "id": "a"}], "a"),
        ([{"event": "start", "id": "a"}, {"event": "end", "id": "a"}], "after a"),
    ],
)
def test_last_test(runner, events, last):
    assert runner.last_test(events) == last


def test_skips_of_upstream_are_clean(runner):
    session = {"event": "session", "versions": {}}
    skip = {"event": "end", "id": "a", "outcome": "skipped"}
    finish = {"event": "finish", "status": 0}
    for reason, clean in (
        ("requires ARRAY_API_TESTS_VERSION >= 2025.12", True),
        ("linalg disabled in --disable-extensions", True),
        ("linalg not found in array module", False),
    ):
        events = [session, {**skip, "summary": reason}, finish]
        assert runner.is_clean(runner.summarise(events, 0)) is clean


@pytest.mark.parametrize("status", [0, 1, "took more than 9 s"])
def test_a_journal_without_end_is_a_death(runner, status):
    events = [{"event": "end", "id": "a", "outcome": "passed"}]
    assert not runner.is_clean(runner.summarise(events, status))


def test_nothing_run_and_odd_status_are_no_success(runner):
    finish = {"event": "finish", "status": 5}
    assert "no test ran" in runner.summarise([finish], 5)["died"]
    passed = {"event": "end", "id": "a", "outcome": "passed"}
    assert "although no test failed" in runner.summarise([passed, finish], 9)["died"]


def test_replace_block(runner):
    begin, end = runner.MARKERS
    document = f"a\n{begin}\nold\n{end}\nb\n"
    assert runner.replace_block(document, "new\n") == f"a\n{begin}\nnew\n{end}\nb\n"
    for broken in ("a\nb\n", f"{end}{begin}", f"{begin}{begin}{end}"):
        with pytest.raises(ValueError, match="expected"):
            runner.replace_block(broken, "new")


def test_journal_cut_short(runner, tmp_path):
    journal = tmp_path / "journal.jsonl"
    assert runner.read_journal(journal) == []
    journal.write_text('{"event": "start", "id": "a"}\n{"event": "en')
    assert runner.read_journal(journal) == [{"event": "start", "id": "a"}]
