"""Comparison of many arrays with NumPy, shard by shard: the ranks meet once for all of them.

`layouts.assert_equal` sends one message for each array. Here every rank looks at its own
shards, and two small messages at the end tell whether all are content.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

import heat_array_api as xp
from _harness import checksum
from layouts import agree, difference, rows_of, same_everywhere, shard_of


class Comparison:
    """Compares shards with their part of NumPy's values; the ranks meet in `done`.

    Parameters
    ----------
    bitwise : bool
        Compare bytes, for functions that only move elements; else values, with the tolerances
        of `layouts.difference`.
    """

    def __init__(self, *, bitwise: bool = False) -> None:
        self.bitwise = bitwise
        self.problem: str | None = None
        self.seen: list[Any] = []

    def __call__(
        self, x: Any, expected: Any, what: object = "", *, split: Any = ..., **tolerances: Any
    ) -> None:
        """Compare an array, or a tuple of them.

        Parameters
        ----------
        x : Array or tuple of Array
            The result; a tuple is compared item by item.
        expected : array_like or tuple
            NumPy's values.
        what : object
            What the array is, for the message.
        split : int or None, optional
            Where the result must be split, where the test wants a certain axis.
        **tolerances
            ``rtol`` and ``atol`` of `layouts.difference`.
        """
        if isinstance(x, tuple):
            assert len(x) == len(expected), f"{len(x)} results, expected {len(expected)}"
            for one, other in zip(x, expected, strict=True):
                self(one, other, what, split=split, **tolerances)
            return
        assert isinstance(x, xp.Array), f"expected an Array, not {x!r}"
        layout = x.layout
        self.seen.append((str(what), layout.shape, layout.split, layout.counts, str(x.dtype)))
        if layout.split is None:  # the copies must be bitwise equal
            self.seen.append(checksum(shard_of(x).tobytes().decode("latin-1")))
        if self.problem is None:
            found = self._compare(x, np.asarray(expected), split, tolerances)
            where = f"{what}, split {layout.split}, counts {layout.counts}"
            self.problem = None if found is None else f"{where}: {found}"

    def _compare(
        self, x: Any, expected: np.ndarray, split: Any, tolerances: dict[str, Any]
    ) -> str | None:
        layout = x.layout
        if x.shape != expected.shape or x.dtype != expected.dtype:
            return f"{x.shape} {x.dtype}, expected {expected.shape} {expected.dtype}"
        if split not in (..., x.split):
            return f"expected split {split}"
        if tuple(x.local.shape) != layout.local_shape:
            return f"shard {tuple(x.local.shape)}, layout {layout}"
        part = expected[rows_of(layout)]
        if not self.bitwise:
            return difference(shard_of(x), part, **tolerances)
        values = bits_of(x.local, x.dtype)
        if values.tobytes() == part.tobytes():
            return None
        return f"this rank holds\n{values}\nexpected\n{part}"

    def done(self) -> None:
        """Raise on every rank if a shard was wrong or layouts differ from rank to rank."""
        __tracebackhide__ = True
        same_everywhere("(what, layout, dtype) of the results", str(self.seen))
        agree(self.problem)


@contextmanager
def comparison(*, bitwise: bool = False) -> Iterator[Comparison]:
    """Yield a `Comparison` and call its `done` if the block did not raise."""
    compare = Comparison(bitwise=bitwise)
    yield compare
    compare.done()


def bits_of(t: torch.Tensor, dtype: np.dtype) -> np.ndarray:
    """Return a tensor's values in a NumPy dtype, without a conversion (bfloat16 too)."""
    t = t.resolve_conj()
    return t.view(torch.int16).numpy().view(dtype) if t.dtype is torch.bfloat16 else t.numpy()
