"""How the rows of an axis are divided over the ranks, as one array of integers.

At thousands of ranks a tuple of counts weighs ten times an array of them, and a loop over it costs
more than most operations. So layouts and messages carry a `Division`: what concerns all ranks is
computed by NumPy at once, and what concerns a few of them is found by bisection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._caching import cached

Integers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Division:
    """The lengths of the ranks' intervals of an axis, in the order of the ranks. Never changes.

    Attributes
    ----------
    offsets : numpy.ndarray of int64, shape (size + 1,)
        The sums of the lengths before each rank, and the length of the whole axis. Read only.

    Examples
    --------
    >>> division = Division.balanced(10, 4)
    >>> division.counts, division.owner(6), list(division.overlapping(2, 4))
    ((3, 3, 2, 2), 2, [(0, 2, 3), (1, 3, 4)])
    """

    offsets: Integers
    _hash: int = field(init=False)

    def __post_init__(self) -> None:
        self.offsets.flags.writeable = False
        object.__setattr__(self, "_hash", hash(self.offsets.tobytes()))

    @staticmethod
    def of(counts: Sequence[int] | Integers | Division) -> Division:
        """Return the division into these lengths."""
        if isinstance(counts, Division):
            return counts
        offsets = np.zeros(len(counts) + 1, dtype=np.int64)
        np.cumsum(np.asarray(counts, dtype=np.int64), out=offsets[1:])
        return Division(offsets)

    @staticmethod
    @cached
    def balanced(n: int, size: int) -> Division:
        """Divide `n` rows over `size` ranks: the first ``n % size`` ranks hold one more."""
        quotient, remainder = divmod(n, size)
        ranks = np.arange(size + 1, dtype=np.int64)
        return Division(quotient * ranks + np.minimum(ranks, remainder))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Division) or self._hash != other._hash:
            return False
        return np.array_equal(self.offsets, other.offsets)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return str(self.counts)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rank: int) -> int:
        """Return one rank's length."""
        return int(self.offsets[rank + 1] - self.offsets[rank])

    @property
    def total(self) -> int:
        """The length of the whole axis."""
        return int(self.offsets[-1])

    @property
    def lengths(self) -> Integers:
        """The ranks' lengths, as a new array."""
        return np.diff(self.offsets)

    @property
    def counts(self) -> tuple[int, ...]:
        """The ranks' lengths as a tuple: a loop over all ranks."""
        return tuple(self.lengths.tolist())

    def interval(self, rank: int) -> tuple[int, int]:
        """Return where the rows of a rank begin and end."""
        return int(self.offsets[rank]), int(self.offsets[rank + 1])

    def owner(self, row: int) -> int:
        """Return the rank that holds a row of the axis."""
        return int(np.searchsorted(self.offsets, row, side="right")) - 1

    def overlapping(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield the ranks that hold rows of ``[begin, end)``, each with the rows that it holds."""
        if begin >= end:
            return
        first = max(self.owner(begin), 0)
        last = int(np.searchsorted(self.offsets[:-1], end, side="left"))
        for rank in range(first, last):
            low, high = self.interval(rank)
            low, high = max(low, begin), min(high, end)
            if low < high:
                yield rank, low, high

    def runs(self) -> list[tuple[int, int]]:
        """Return the lengths of neighbours that are equal, with how many they are."""
        lengths = self.lengths
        begins = np.concatenate([[0], np.flatnonzero(np.diff(lengths)) + 1, [len(lengths)]])
        return list(zip(lengths[begins[:-1]].tolist(), np.diff(begins).tolist(), strict=True))

    @property
    def is_even(self) -> bool:
        """Whether all ranks hold equally many rows."""
        return int(np.ptp(self.lengths)) == 0

    def map(self, function: Any) -> Division:
        """Return the division whose bounds are a non-decreasing function of these."""
        bounds = np.asarray(function(self.offsets), dtype=np.int64)
        return Division(bounds - bounds[0])
