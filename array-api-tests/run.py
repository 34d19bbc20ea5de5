#!/usr/bin/env python3
"""Run data-apis/array-api-tests on several numbers of ranks and layouts.

Each cell of the matrix (number of ranks, default split) is one ``mpirun`` of the suite. Results
are kept in ``build/conformance``, one JSON file per cell, so that a long matrix can be made in
several calls; a table of them is written to ``array-api-tests/RESULTS.md``. See the README beside
this file.

Exit status
-----------
0
    Every requested cell passed whole.
1
    A cell has a failure, an error, an xfail, or a skip that is not upstream's; or it died.
2
    The command line is wrong.
77
    NOT RUN: there is no checkout of the suite, and none could be cloned; or no mpirun.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
WORK = REPOSITORY / "build" / "conformance"
RESULTS = HERE / "RESULTS.md"
README = REPOSITORY / "README.md"
MARKERS = ("<!-- conformance: begin -->", "<!-- conformance: end -->")

SUITE_URL = "https://github.com/data-apis/array-api-tests"
SUITE_COMMIT = "55fcc60179efa2680ddd6cd926ddf17b83530e2b"
SPEC_URL = "https://github.com/data-apis/array-api"
SPEC_COMMIT = "5f847a3858875c682ae901aa22b0413bf24be9da"
SPEC_FOLDER = "array-api"
CLONE_SECONDS = 300

NOT_RUN = 77
OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")
BAD_OUTCOMES = ("failed", "error", "xfailed", "xpassed")
# Skips of the suite itself: a test of a later version than asked for, and what the caller
# disabled in the options after "--".
UPSTREAM_SKIPS = (
    "requires ARRAY_API_TESTS_VERSION",
    "disabled in --disable-extensions",
    "disabled via --disable-data-dependent-shapes",
)
# What a launcher tells its ranks; a job started from inside a job must not inherit it.
LAUNCHER_VARIABLES = ("PMI", "MPI_LOCAL", "HYDRA_", "HYDI_", "OMPI_", "PRTE_", "SLURM_", "MPIR_")
RANK_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


# ---------------------------------------------------------------- the suite's checkout


class NoSuite(Exception):
    """There is no checkout to run, and why."""


def git(folder: Path, *arguments: str, seconds: float = 60) -> str | None:
    """Return what a git command prints, or None if it fails."""
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def is_checkout(folder: Path) -> bool:
    """Return whether a folder holds the suite and, inside it, the specification's repository."""
    return (folder / "array_api_tests" / "__init__.py").is_file() and (
        folder / SPEC_FOLDER / "spec"
    ).is_dir()


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return where a cloned suite is kept."""
    base = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "heat_array_api" / "array-api-tests"


def candidates(option: str | None, environment: Mapping[str, str]) -> list[Path]:
    """Return the folders to look in; one that was named is the only one."""
    named = option or environment.get("ARRAY_API_TESTS")
    if named:
        return [Path(named).expanduser().resolve()]
    return [REPOSITORY / "build" / "array-api-tests", cache_folder(environment)]


def fetch_commit(url: str, commit: str, folder: Path) -> bool:
    """Make a checkout of one commit, without history; return whether it worked."""
    folder.mkdir(parents=True, exist_ok=True)
    steps = (
        ("init", "--quiet"),
        ("fetch", "--quiet", "--depth", "1", url, commit),
        ("-c", "advice.detachedHead=false", "checkout", "--quiet", "FETCH_HEAD"),
    )
    return all(git(folder, *step, seconds=CLONE_SECONDS) is not None for step in steps)


def clone(folder: Path) -> bool:
    """Clone the pinned suite and specification to `folder`, whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="cloning-") as temporary:
        new = Path(temporary) / "suite"
        if not fetch_commit(SUITE_URL, SUITE_COMMIT, new):
            return False
        if not fetch_commit(SPEC_URL, SPEC_COMMIT, new / SPEC_FOLDER):
            return False
        if folder.exists():
            return False
        new.rename(folder)
    return True


def find_suite(option: str | None, environment: Mapping[str, str], *, may_clone: bool) -> Path:
    """Return a checkout of the suite, cloned if need be; raise NoSuite if there is none."""
    folders = candidates(option, environment)
    for folder in folders:
        if is_checkout(folder):
            return folder
    looked = f"no checkout with {SPEC_FOLDER}/ inside in: {', '.join(map(str, folders))}"
    if not may_clone or option or environment.get("ARRAY_API_TESTS"):
        raise NoSuite(looked)
    target = folders[-1]
    say(f"cloning {SUITE_URL} at {SUITE_COMMIT[:7]} to {target} ...")
    if not clone(target):
        raise NoSuite(f"{looked}; and cloning it to {target} failed (is there a network?)")
    return target


def commit_of(folder: Path) -> str:
    """Return the commit of a checkout, with "-dirty" if its files were changed."""
    top = git(folder, "rev-parse", "--show-toplevel")
    commit = git(folder, "rev-parse", "HEAD")
    if top is None or commit is None or Path(top).resolve() != folder.resolve():
        return "unknown"
    changed = git(folder, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules")
    return f"{commit}-dirty" if changed else commit


def check_pins(suite: Path) -> dict[str, str]:
    """Return the commits of the suite and the specification; warn of any but the pinned ones."""
    found = {"suite": commit_of(suite), "specification": commit_of(suite / SPEC_FOLDER)}
    for name, pinned in (("suite", SUITE_COMMIT), ("specification", SPEC_COMMIT)):
        if found[name] != pinned:
            say(f"**** WARNING: the {name} is at commit {found[name]}, not {pinned} ****")
    return found


# ---------------------------------------------------------------- cells


@dataclass(frozen=True)
class Cell:
    """One run of the suite and all that its result depends on."""

    ranks: int
    split: str
    examples: int
    version: str
    options: tuple[str, ...]
    suite: str
    specification: str
    sources: str

    def path(self) -> Path:
        """Return the file that keeps the result."""
        facts = repr((self.version, self.options, self.suite, self.specification, self.sources))
        key = hashlib.sha256(facts.encode()).hexdigest()[:10]
        return WORK / f"P{self.ranks}-split-{self.split}-examples-{self.examples}-{key}.json"

    def label(self) -> str:
        """Name the cell in messages."""
        return f"P = {self.ranks}, split = {self.split}, {self.examples} examples"


def source_digest(root: Path) -> str:
    """Return a digest of the library's sources: results hold for these, in whatever commit."""
    digest = hashlib.sha256()
    for path in sorted((root / "heat_array_api").rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def launcher(option: str | None, environment: Mapping[str, str]) -> list[str]:
    """Return the command that starts ranks: the one given, or the one of this environment."""
    given = option or environment.get("MPIRUN")
    if given:
        program, *options = shlex.split(given)
        # A path is relative to here; ranks start inside the checkout.
        return [str(Path(program).absolute()) if os.sep in program else program, *options]
    search = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    found = shutil.which("mpirun", path=search)
    if found is None:
        raise NoSuite("there is no mpirun (name one by --mpirun)")
    return [found]


def cell_environment(
    cell: Cell, journal: Path, test_seconds: float, environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of the ranks."""
    inside_a_job = any(name in environment for name in RANK_VARIABLES)
    own = ("PYTEST", "MPIEXEC_TIMEOUT")
    dropped = (*own, *LAUNCHER_VARIABLES) if inside_a_job else own
    kept = {k: v for k, v in environment.items() if not k.startswith(dropped)}
    paths = [REPOSITORY, REPOSITORY / "tests" / "support", HERE, environment.get("PYTHONPATH", "")]
    return kept | {
        "ARRAY_API_TESTS_MODULE": "heat_array_api",
        "ARRAY_API_TESTS_VERSION": cell.version,
        "HEAT_ARRAY_API_SPLIT": cell.split,
        "HEAT_ARRAY_API_TEST_TIMEOUT": f"{test_seconds:g}",
        "HEAT_ARRAY_API_CONFORMANCE_LOG": str(journal),
        "PYTHONPATH": os.pathsep.join(str(path) for path in paths if str(path)),
        # Nothing is written into the checkout.
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(WORK / "hypothesis"),
        "GIT_OPTIONAL_LOCKS": "0",
        # What else is installed must not change the runs.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        # The arrays are tiny; more threads only get into each other's way.
        "OMP_NUM_THREADS": "1",
    }


def cell_command(cell: Cell, mpirun: Sequence[str]) -> list[str]:
    """Return the command of a cell, to be run inside the checkout."""
    plugins = (
        "no:cacheprovider",
        "pytest_metadata.plugin",
        "pytest_jsonreport.plugin",
        "_hypothesis_pytestplugin",
        "_harness",
        "plugin",
    )
    command = [*mpirun, "-n", str(cell.ranks), sys.executable, "-m", "pytest"]
    for plugin in plugins:
        command += ["-p", plugin]
    # Lists of tests to skip or to fail, should there be any in the checkout, do not count.
    command += ["--skips-file", os.devnull, "--xfails-file", os.devnull]
    return [*command, "--max-examples", str(cell.examples), "array_api_tests", *cell.options]


def run_job(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path, seconds: float
) -> str | int:
    """Run a job, its output into `log`; return the exit status, or say that it took too long."""
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"took more than {seconds:g} s"
        finally:
            end_job(process)


def end_job(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a job: the launcher first, which ends its ranks."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)


# ---------------------------------------------------------------- results


def read_journal(journal: Path) -> list[dict[str, Any]]:
    """Return the events that rank 0 wrote; a last line cut short is dropped."""
    events = []
    if journal.exists():
        for line in journal.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                events.append(json.loads(line))
    return events


def last_test(events: Iterable[Mapping[str, Any]]) -> str:
    """Return the test that was running at the end of the events."""
    running = "start-up or collection"
    for event in events:
        if event["event"] == "start":
            running = event["id"]
        elif event["event"] == "end" and event["id"] == running:
            running = f"after {event['id']}"
    return running


def summarise(events: Sequence[Mapping[str, Any]], status: str | int) -> dict[str, Any]:
    """Return counts, failures and skips of a run, and why it died if it did."""
    ends = [event for event in events if event["event"] == "end"]
    counts = Counter(event["outcome"] for event in ends)
    bad = [event for event in ends if event["outcome"] in BAD_OUTCOMES]
    skips = Counter(e.get("summary", "") for e in ends if e["outcome"] == "skipped")
    finished = any(event["event"] == "finish" for event in events)
    collected = next((e for e in events if e["event"] == "collected"), {})
    died = None
    if not finished or isinstance(status, str):
        reason = status if isinstance(status, str) else f"ended with status {status}"
        died = f"{reason}, in: {last_test(events)}"
    elif not ends:
        died = f"no test ran (status {status})"
    elif status != 0 and not bad:
        died = f"ended with status {status} although no test failed"
    return {
        "counts": {outcome: counts.get(outcome, 0) for outcome in OUTCOMES},
        "collected": collected.get("tests", 0),
        "unskipped": collected.get("unskipped", []),
        "failures": [dict(event) for event in bad],
        "skips": dict(skips),
        "died": died,
        "versions": next((e["versions"] for e in events if e["event"] == "session"), {}),
    }


def unexplained_skips(result: Mapping[str, Any]) -> dict[str, int]:
    """Return the reasons of skips that are not upstream's, and how many tests each has."""
    return {
        reason: count
        for reason, count in result["skips"].items()
        if not any(known in reason for known in UPSTREAM_SKIPS)
    }


def is_clean(result: Mapping[str, Any]) -> bool:
    """Return whether a cell passed whole."""
    bad = sum(result["counts"][outcome] for outcome in BAD_OUTCOMES)
    return not bad and not result["died"] and not unexplained_skips(result)


def run_cell(cell: Cell, suite: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run a cell, keep its result and return it."""
    WORK.mkdir(parents=True, exist_ok=True)
    path = cell.path()
    journal = path.with_suffix(".jsonl")
    log = path.with_suffix(".log")
    journal.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    command = cell_command(cell, launcher(arguments.mpirun, os.environ))
    environment = cell_environment(cell, journal, arguments.test_timeout, os.environ)
    started = time.monotonic()
    status = run_job(command, suite, environment, log, arguments.timeout)
    summary = summarise(read_journal(journal), status)
    for failure in summary["failures"]:  # machine paths have no place in a table
        for folder in (suite, REPOSITORY):
            failure["summary"] = failure.get("summary", "").replace(f"{folder}/", "")
    if source_digest(REPOSITORY) != cell.sources:
        summary["died"] = "the library's sources changed during the run"
    result = {
        **{name: getattr(cell, name) for name in Cell.__dataclass_fields__},
        "seconds": round(time.monotonic() - started, 1),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "commit": library_commit(),
        "command": shlex.join(command),
        "log": str(log.relative_to(REPOSITORY)) if log.is_relative_to(REPOSITORY) else str(log),
        **summary,
    }
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1), encoding="utf-8")
    temporary.replace(path)
    return result


def kept_result(cell: Cell) -> dict[str, Any] | None:
    """Return the result of an earlier run of this cell, if there is one."""
    try:
        result = json.loads(cell.path().read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    return result if isinstance(result, dict) else None


def library_commit() -> str:
    """Return the repository's commit, with "-dirty" if the library's sources differ from it."""
    commit = git(REPOSITORY, "rev-parse", "--short=12", "HEAD")
    if commit is None:
        return "unknown"
    changed = git(REPOSITORY, "status", "--porcelain", "--", "heat_array_api")
    return f"{commit}-dirty" if changed else commit


def library_version(root: Path) -> str:
    """Return the version that pyproject.toml names."""
    import tomllib

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


# ---------------------------------------------------------------- report


def describe(result: Mapping[str, Any]) -> str:
    """Return one line for a cell."""
    counts = ", ".join(f"{n} {outcome}" for outcome, n in result["counts"].items() if n)
    died = f"; DIED: {result['died']}" if result["died"] else ""
    return f"{counts or 'nothing ran'} in {result['seconds']:g} s{died}"


def complaints(result: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a cell, line by line."""
    lines = [
        f"  {f['outcome'].upper()} {f['id']}: {f.get('summary', '')}" for f in result["failures"]
    ]
    lines += [f"  SKIPPED {n}: {reason}" for reason, n in unexplained_skips(result).items()]
    if result["died"]:
        lines.append(f"  DIED {result['died']}")
    return lines


def row(cell: Cell, result: Mapping[str, Any] | None) -> str:
    """Return a cell's row of the table."""
    if result is None:
        return f"| {cell.ranks} | {cell.split} | not run | | | | |"
    counts = result["counts"]
    failed = str(counts["failed"] + counts["error"])
    if result["died"]:
        failed += f"; died: `{result['died']}`"
    xfailed = counts["xfailed"] + counts["xpassed"]
    return (
        f"| {cell.ranks} | {cell.split} | {counts['passed']} | {failed} | {counts['skipped']} "
        f"| {xfailed} | {result['seconds']:.0f} |"
    )


def provenance(results: Sequence[Mapping[str, Any]], cells: Sequence[Cell]) -> list[str]:
    """Return what the results were made with, as list items; differing values are all named."""
    first = cells[0]
    items = [
        ("heat_array_api", [f"{library_version(REPOSITORY)}, sources {first.sources}"]),
        ("commit", [r["commit"] for r in results]),
        ("array-api-tests", [f"{first.suite} (standard {first.version})"]),
        ("array-api", [first.specification]),
        ("examples per test", [str(first.examples)]),
    ]
    if first.options:
        items.append(("pytest options", [f"`{shlex.join(first.options)}`"]))
    names = sorted({name for r in results for name in r["versions"]})
    items += [(n, [r["versions"][n] for r in results if n in r["versions"]]) for n in names]
    items.append(("date", [r["date"] for r in results]))
    return [f"- {name}: {', '.join(dict.fromkeys(values))}" for name, values in items if values]


def table(cells: Sequence[Cell]) -> str:
    """Return the Markdown table of the cells, from the results kept for them."""
    found = [(cell, kept_result(cell)) for cell in cells]
    lines = [
        "| ranks | split | passed | failed | skipped | xfailed | seconds |",
        "|---:|---:|---:|---:|---:|---:|---:|",
        *(row(cell, result) for cell, result in found),
        "",
        *provenance([result for _, result in found if result is not None], cells),
    ]
    for cell, result in found:
        wrong = complaints(result) if result is not None else []
        if wrong:
            lines += ["", f"{cell.label()}:", "", "```text", *wrong, "```"]
    return "\n".join(lines) + "\n"


def write_table(path: Path, text: str) -> None:
    """Write the table as a document of its own."""
    head = (
        "# Results of data-apis/array-api-tests\n\n"
        "Written by `python array-api-tests/run.py`; what the columns mean is in the README "
        "beside it.\n\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + text, encoding="utf-8")


def replace_block(document: str, text: str) -> str:
    """Return `document` with what is between the two markers replaced."""
    begin, end = MARKERS
    if document.count(begin) != 1 or document.count(end) != 1:
        raise ValueError(f"expected one {begin} and one {end}")
    before, _, rest = document.partition(begin)
    if end not in rest:
        raise ValueError(f"expected {begin} before {end}")
    return f"{before}{begin}\n{text.strip()}\n{end}{rest.partition(end)[2]}"


# ---------------------------------------------------------------- command line


def split_name(text: str) -> str:
    """Return a split as the environment variable has it: none, or an axis number."""
    if text.lower() == "none":
        return "none"
    try:
        return str(int(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither none nor an axis") from None


def positive(text: str) -> int:
    """Return a positive number."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    new = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],  # type: ignore[union-attr]
        epilog="What follows -- goes to pytest, for instance: -- -k test_matmul",
    )
    new.add_argument("--suite", metavar="PATH", help="checkout of array-api-tests")
    new.add_argument("--ranks", nargs="+", type=positive, default=[1, 2, 3, 4], metavar="P")
    new.add_argument(
        "--splits", nargs="+", type=split_name, default=["none", "0", "1", "-1"], metavar="SPLIT"
    )
    new.add_argument("--max-examples", type=positive, default=200, metavar="N")
    new.add_argument("--version", default="2025.12", help="of the standard (2025.12)")
    new.add_argument("--table", type=Path, metavar="FILE", help="where the table goes")
    new.add_argument("--readme", action="store_true", help="put the table into README.md as well")
    new.add_argument("--rerun", action="store_true", help="run cells that have a result again")
    new.add_argument("--no-run", action="store_true", help="only write the table of what is there")
    new.add_argument("--find", action="store_true", help="only say where the suite is")
    new.add_argument("--no-clone", action="store_true", help="do not clone the suite")
    new.add_argument(
        "--timeout", type=float, default=7200, metavar="S", help="seconds per cell (7200)"
    )
    new.add_argument(
        "--test-timeout", type=float, default=600, metavar="S", help="seconds per test (600)"
    )
    new.add_argument("--mpirun", metavar="COMMAND", help="how to start ranks (mpirun)")
    return new


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; `options` is what follows ``--``."""
    own, options = list(arguments), []
    if "--" in own:
        cut = own.index("--")
        own, options = own[:cut], own[cut + 1 :]
    parsed = parser().parse_args(own)
    parsed.options = tuple(options)
    return parsed


def make_cells(arguments: argparse.Namespace, commits: Mapping[str, str]) -> list[Cell]:
    """Return the cells of the matrix."""
    sources = source_digest(REPOSITORY)
    return [
        Cell(
            ranks=ranks,
            split=split,
            examples=arguments.max_examples,
            version=arguments.version,
            options=arguments.options,
            suite=commits["suite"],
            specification=commits["specification"],
            sources=sources,
        )
        for ranks in arguments.ranks
        for split in arguments.splits
    ]


def table_path(arguments: argparse.Namespace) -> Path:
    """Return where the table goes: a run with options of its own is not the project's result."""
    if arguments.table is not None:
        return Path(arguments.table)
    return WORK / "RESULTS-with-options.md" if arguments.options else RESULTS


def run_matrix(cells: Sequence[Cell], suite: Path, arguments: argparse.Namespace) -> bool:
    """Run the cells that have no result; return whether all of them are clean."""
    clean = True
    for cell in cells:
        result = None if arguments.rerun else kept_result(cell)
        origin = "kept from " + result["date"] if result else ""
        if result is None and not arguments.no_run:
            say(f"== {cell.label()}")
            result = run_cell(cell, suite, arguments)
        if result is None:
            say(f"== {cell.label()}: not run")
            clean = False
            continue
        say(f"== {cell.label()}: {describe(result)} {origin}".rstrip())
        wrong = complaints(result)
        for line in wrong:
            say(line)
        if wrong:
            say(f"  the whole report is in {result['log']}")
        clean = clean and is_clean(result)
    return clean


def main(arguments: Sequence[str]) -> int:
    """Run what the command line asks for; return the exit status."""
    parsed = parse(arguments)
    try:
        suite = find_suite(parsed.suite, os.environ, may_clone=not parsed.no_clone)
        if not (parsed.find or parsed.no_run):
            launcher(parsed.mpirun, os.environ)
    except NoSuite as error:
        say(f"**** NOT RUN: data-apis/array-api-tests: {error} ****")
        return NOT_RUN
    say(f"data-apis/array-api-tests in {suite}")
    if parsed.find:
        return 0
    cells = make_cells(parsed, check_pins(suite))
    clean = run_matrix(cells, suite, parsed)
    text = table(cells)
    write_table(table_path(parsed), text)
    say(f"table: {table_path(parsed)}")
    if parsed.readme:
        document = README.read_text(encoding="utf-8")
        README.write_text(replace_block(document, text), encoding="utf-8")
    return 0 if clean else 1


def stop(number: int, frame: object) -> None:
    """End like an interrupt does, so that a job is not left behind."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    sys.exit(main(sys.argv[1:]))
