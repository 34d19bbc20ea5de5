"""Bit-for-bit comparison for functions that only move elements, with few messages.

`layouts.make` and `layouts.assert_equal` talk to the other ranks several times for each
array; here each rank looks at its own shard, and a whole test costs two small allgathers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

import heat_array_api as xp
from heat_array_api._layout import Layout
from layouts import agree, describe, same_everywhere, tensor_of


def rows_of(layout: Layout) -> tuple[slice, ...]:
    """Return the index of this rank's shard in the whole array."""
    rows = [slice(None)] * layout.ndim
    if layout.split is not None:
        rows[layout.split] = slice(layout.start, layout.start + layout.count)
    return tuple(rows)


def make(values: Any, layout: Layout | None = None) -> Any:
    """Make the array of the global `values` in a layout; None: replicated. Sends nothing."""
    values = np.asarray(values)
    if layout is None:
        layout = Layout.replicated(values.shape, xp.world())
    return xp.Array(tensor_of(values[rows_of(layout)]), layout)


class Exact:
    """Compare arrays with NumPy's values: ``same(x, expected, split)``.

    A difference in metadata raises at once (metadata is the same on every rank), one in the
    values when `done` is called.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        self.seen: list[Any] = []

    def __call__(self, x: Any, expected: Any, split: Any = ...) -> None:
        """Compare an array, or a tuple of them; `split`: where the result must be split."""
        if isinstance(x, tuple):
            assert len(x) == len(expected)
            for one, other in zip(x, expected, strict=True):
                self(one, other, split)
            return
        expected = np.asarray(expected)
        assert isinstance(x, xp.Array), f"expected an Array, not {x!r}"
        assert (x.shape, x.dtype) == (expected.shape, expected.dtype)
        assert split in (..., x.split), f"split {x.split}, expected {split}"
        name = describe(x.layout)
        self.seen.append((x.shape, name, str(x.dtype)))
        problem = difference(x, expected)
        if self.problem is None and problem is not None:
            self.problem = f"{name}: {problem}"

    def done(self) -> None:
        """Raise on every rank if a shard was wrong or layouts differ from rank to rank."""
        __tracebackhide__ = True
        same_everywhere("(shape, layout, dtype) of the results", str(self.seen))
        agree(self.problem)


@contextmanager
def exact() -> Iterator[Exact]:
    """Yield an `Exact` and call its `done` if the block did not raise."""
    same = Exact()
    yield same
    same.done()


def difference(x: Any, expected: np.ndarray) -> str | None:
    """Describe how this rank's shard differs from its part of the expected values."""
    if tuple(x.local.shape) != x.layout.local_shape:
        return f"x.local has shape {tuple(x.local.shape)}, the layout says {x.layout.local_shape}"
    t = x.local.resolve_conj()
    values = t.view(torch.int16).numpy().view(x.dtype) if t.dtype is torch.bfloat16 else t.numpy()
    part = expected[rows_of(x.layout)]
    if values.tobytes() != part.tobytes():
        return f"this rank holds\n{values}\nexpected\n{part}"
    return None
