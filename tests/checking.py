"""Comparison of many arrays with NumPy, shard by shard: the ranks meet once for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

import heat_array_api as xp
from _harness import checksum
from heat_array_api._layout import Layout
from layouts import agree, difference, same_everywhere, to_numpy
from shards import rows_of


class Check:
    """Compares shards with their part of NumPy's values; the ranks meet once, in `done`.

    Call it with an array, NumPy's values, and what the array is. Tolerances are those of
    `layouts.difference`.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        self.seen: list[Any] = []

    def __call__(self, x: Any, expected: Any, what: object, **tolerances: Any) -> None:
        layout = x.layout
        self.seen.append((str(what), layout.shape, layout.split, layout.counts, str(x.dtype)))
        if layout.split is None:  # the copies must be bitwise equal
            self.seen.append(checksum(to_numpy(x).tobytes().decode("latin-1")))
        if self.problem is None:
            found = self._compare(x, np.asarray(expected), **tolerances)
            self.problem = None if found is None else f"{what}: {found}"

    def _compare(self, x: Any, expected: np.ndarray, **tolerances: Any) -> str | None:
        layout = x.layout
        if x.shape != expected.shape or x.dtype != expected.dtype:
            return f"{x.shape} {x.dtype}, expected {expected.shape} {expected.dtype}"
        if tuple(x.local.shape) != layout.local_shape:
            return f"shard {tuple(x.local.shape)}, layout {layout}"
        own = xp.Array(x.local, Layout.replicated(layout.local_shape, x.comm))
        return difference(to_numpy(own), expected[rows_of(layout)], **tolerances)

    def done(self) -> None:
        """Raise on every rank if a shard was wrong or layouts differ from rank to rank."""
        same_everywhere("layouts", str(self.seen))
        agree(self.problem)
