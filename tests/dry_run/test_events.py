"""The messages of a dry run are those of the real run."""

from __future__ import annotations

import pytest

import heat_array_api as xp
from arguments import calls

W = xp.world()


def _events(t):
    return [(e.operation, e.collective, e.bytes) for e in t.events]


CALLS = [c for c in calls() if not c.name.startswith("io.")]


@pytest.mark.parametrize("call", CALLS, ids=lambda c: c.name)
def test_calls(call):
    def f():
        positional, named = call.arguments()
        call.function(*positional, **named)

    with xp.trace() as real:
        f()
    plan = xp.dry_run(f, ranks=W.size, rank=W.rank)
    assert _events(plan) == _events(real)
