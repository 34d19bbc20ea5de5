"""Python's own work does not grow with the number of ranks: counted in lines, never in seconds."""

from __future__ import annotations

import sys

import pytest

import heat_array_api as xp
from scaling import one_of, operations

FEW, MANY = 64, 4096

pytestmark = pytest.mark.skipif(xp.world().size > 1, reason="one rank of many, alone")


def steps(function) -> int:
    """Return how many lines of Python a call runs; a loop on one line counts at each turn."""
    count = 0

    def traced(frame, event, argument):
        nonlocal count
        count += event in ("line", "call")
        return traced

    before = sys.gettrace()
    sys.settrace(traced)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


@pytest.fixture(scope="module")
def pairs():
    return operations(one_of(FEW)), operations(one_of(MANY))


@pytest.mark.parametrize("name", operations(one_of(2)))
def test_a_repeated_call_costs_the_same(name, pairs):
    counts = []
    for table in pairs:
        table[name]()
        counts.append(steps(table[name]))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("name", operations(one_of(2)))
def test_a_first_call_costs_no_loop_over_the_ranks(name):
    counts = [steps(operations(one_of(size))[name]) for size in (FEW, MANY)]
    # A loop over the ranks would add at least as many lines as there are ranks more.
    assert abs(counts[1] - counts[0]) < (MANY - FEW) / 4
