"""What a dry run assumes in place of values: arrays then have shapes and dtypes, and no values.

Where the library's own code decides by values (is there a NaN? how many rows come from each rank?),
it asks here. Outside a dry run the values answer, at the cost of a truth test of a list; inside
one, what is usual does, and the report of the dry run lists the rule by which it was assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from .division import Division


class _DryRun(Protocol):
    selectivity: float

    def assume(self, rule: str) -> None:
        """Note a rule for the report."""


dry_runs: list[_DryRun] = []
"""The dry runs in force, outermost first. Never rebound."""


REGULAR = "matrices are regular"

NAN = "a number that is read (at {}) is NaN, so that comparisons with it are false"
"""What floats are that a program reads."""


def assumed(rule: str = "") -> bool:
    """Return whether arrays have no values, so that the caller must assume some.

    Parameters
    ----------
    rule : str
        What it assumes, for the report; nothing where the result does not depend on it.
    """
    if not dry_runs:
        return False
    if rule:
        dry_runs[-1].assume(rule)
    return True


def truth(t: Any, usual: bool, rule: str) -> bool:
    """Return the only element of a tensor or array as a bool; in a dry run what is usual."""
    return usual if assumed(rule) else bool(t)


def numbers(t: Tensor, usual: Sequence[int], rule: str) -> list[int]:
    """Return a vector of integers as a list; in a dry run what is usual, by a rule."""
    if assumed(rule):
        return list(usual)
    found: list[int] = t.tolist()
    return found


def division_of(lengths: Tensor, usual: Division, rule: str) -> Division:
    """Return the division into the ranks' lengths; in a dry run what is usual, by a rule."""
    return usual if assumed(rule) else Division.of(lengths.cpu().numpy())


def kept_of(n: int) -> int:
    """Return how many of `n` elements a mask selects, or `unique` keeps, in a dry run."""
    share = dry_runs[-1].selectivity
    dry_runs[-1].assume(f"a mask selects {share:.0%} of its elements (selectivity={share:g})")
    return round(share * n)


def by_numpy(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return a tensor in place of what NumPy would compute of values, in a dry run."""
    return torch.empty(tuple(shape), dtype=dtype)
