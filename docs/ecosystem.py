"""Make the compatibility table of `docs/ecosystem.md` from the outcomes of the tests.

    make test                          # at 1, 2, 3 and 4 ranks: writes build/ecosystem/*.json
    python docs/ecosystem.py           # writes the table
    python docs/ecosystem.py --check   # fails if the table is not that of the outcomes

Every row is a part of a library: how many of its entries pass at each number of ranks, and which
they are. An entry passes where all its tests do; they run at 1, at 2, and at 3 or 4 ranks.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
OUTCOMES = ROOT / "build" / "ecosystem"
PAGE = ROOT / "docs" / "ecosystem.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
RANKS = (1, 2, 3, 4)
COLUMNS = {"1": (1,), "2": (2,), "3 or 4 ranks": (3, 4)}
ORDER = ("scikit-learn", "scipy", "array-api-extra", "einops", "opt_einsum", "xarray")
OWN = "its own tests: "


def load(folder: Path) -> dict[int, dict[str, Any]]:
    """Return what the tests found at each number of ranks."""
    found = {}
    for ranks in RANKS:
        path = folder / f"{ranks}.json"
        if not path.exists():
            raise SystemExit(f"{path} is missing: run the tests at {ranks} ranks (make test)")
        found[ranks] = json.loads(path.read_text("utf-8"))
    return found


def part_of(entry: str) -> str:
    """Return the part of a library that an entry belongs to: a submodule, or its own tests."""
    if entry.startswith(OWN):
        return OWN.strip(": ")
    head, dot, _ = entry.partition(".")
    return head if dot and head.isidentifier() and head.islower() else ""


def cell(entries: list[str], outcomes: dict[str, str]) -> str:
    """Return how many entries pass."""
    passed = sum(outcomes.get(entry) == "passed" for entry in entries)
    return f"{passed}/{len(entries)}" if passed < len(entries) else "all"


def name_in(part: str, entry: str) -> str:
    short = entry.removeprefix(OWN).removeprefix(f"{part}." if part else "")
    return short if entry.startswith(OWN) else f"`{short}`"


def outcome(entry: str, of_ranks: list[dict[str, str]]) -> str:
    """Return what an entry's tests found on any of several numbers of ranks, the worst first."""
    found = {outcomes[entry] for outcomes in of_ranks if entry in outcomes}
    return next((name for name in ("failed", "passed") if name in found), "skipped")


def table(found: dict[int, dict[str, Any]]) -> str:
    """Return the table, and a list of what does not pass."""
    lines = [
        f"| library | part | {' | '.join(COLUMNS)} | entries |",
        f"|---|---|{'---|' * len(COLUMNS)}---|",
    ]
    failing = []
    libraries = {library for d in found.values() for library in d["entries"]}
    for library in sorted(libraries, key=lambda name: (*ORDER, name).index(name)):
        of_ranks = {ranks: d["entries"].get(library, {}) for ranks, d in found.items()}
        entries = sorted({entry for outcomes in of_ranks.values() for entry in outcomes})
        columns = {
            title: {entry: outcome(entry, [of_ranks[r] for r in ranks]) for entry in entries}
            for title, ranks in COLUMNS.items()
        }
        version = found[RANKS[0]]["versions"].get(library, "")
        for part in sorted({part_of(entry) for entry in entries}):
            members = [entry for entry in entries if part_of(entry) == part]
            cells = [cell(members, column) for column in columns.values()]
            listed = ", ".join(name_in(part, entry) for entry in members)
            row = (f"{library} {version}".strip(), part, *cells, f"{len(members)}: {listed}")
            lines.append(f"| {' | '.join(row)} |")
        for entry in entries:
            bad = [title for title, column in columns.items() if column[entry] != "passed"]
            if bad:
                failing.append(f"- {library}: `{entry}` at {', '.join(bad)}")
    lines += ["", "What does not pass:" if failing else "Everything passes.", "", *failing]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Write the table, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--outcomes", type=Path, default=OUTCOMES)
    options = parser.parse_args()
    page = PAGE.read_text("utf-8")
    head, _, rest = page.partition(BEGIN)
    old, _, tail = rest.partition(END)
    new = table(load(options.outcomes))
    if not options.check:
        PAGE.write_text(head + BEGIN + new + END + tail, "utf-8")
    elif new != old:
        sys.stderr.write(f"{PAGE.name}: the table is not that of the outcomes; it should be\n{new}")
        sys.exit(1)


if __name__ == "__main__":
    main()
