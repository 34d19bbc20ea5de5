"""Divisions of an axis over the ranks, against plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from heat_array_api._caching import cache_info, cached
from heat_array_api._comm.division import Division

COUNTS = [(0,), (5,), (3, 0, 0, 4), (0, 0, 2, 0), (1, 1, 1, 1), (4, 4, 3, 3), (0, 0, 0)]


@pytest.mark.parametrize("counts", COUNTS)
def test_facts(counts):
    division = Division.of(counts)
    bounds = [0, *itertools.accumulate(counts)]
    assert division.counts == counts
    assert division.lengths.tolist() == list(counts)
    assert (len(division), division.total) == (len(counts), sum(counts))
    assert [division[r] for r in range(len(counts))] == list(counts)
    assert [division.interval(r) for r in range(len(counts))] == list(itertools.pairwise(bounds))
    assert division.is_even == (len(set(counts)) == 1)
    assert [n for n, times in division.runs() for _ in range(times)] == list(counts)
    runs = [n for n, _ in division.runs()]
    assert all(a != b for a, b in itertools.pairwise(runs))


@pytest.mark.parametrize("counts", COUNTS)
def test_owners(counts):
    division = Division.of(counts)
    owners = [rank for rank, n in enumerate(counts) for _ in range(n)]
    assert [division.owner(row) for row in range(sum(counts))] == owners


@pytest.mark.parametrize("counts", COUNTS)
def test_overlapping(counts):
    division = Division.of(counts)
    bounds = [0, *itertools.accumulate(counts)]
    for begin, end in itertools.product(range(sum(counts) + 2), repeat=2):
        expected = []
        for rank, (a, b) in enumerate(itertools.pairwise(bounds)):
            low, high = max(a, begin), min(b, end)
            if low < high:
                expected.append((rank, low, high))
        assert list(division.overlapping(begin, end)) == expected


def test_equal_divisions_are_equal_keys():
    balanced = Division.balanced(10, 4)
    assert balanced.counts == (3, 3, 2, 2)
    for same in (Division.of((3, 3, 2, 2)), Division.of(np.array([3, 3, 2, 2]))):
        assert same == balanced
        assert hash(same) == hash(balanced)
    assert Division.of(balanced) is balanced
    assert balanced != Division.of((3, 2, 3, 2))
    assert balanced != (3, 3, 2, 2)
    assert Division.balanced(2, 4).counts == (1, 1, 0, 0)
    assert Division.balanced(0, 3).counts == (0, 0, 0)


def test_a_division_does_not_change():
    division = Division.of((1, 2))
    with pytest.raises(ValueError, match="read-only"):
        division.offsets[0] = 1


def test_counts_beyond_32_bits():
    division = Division.balanced(2**62 + 1, 4)
    assert division[0] == 2**60 + 1
    assert division.total == 2**62 + 1


def test_caches_weigh_the_array():
    @cached
    def divided(n):
        return Division.of(np.full(n, 2))

    before = cache_info()
    divided(10_000)
    after = cache_info()
    if after.entries > before.entries:  # else the limit was reached, and all were emptied
        assert after.nbytes - before.nbytes > 80_000
