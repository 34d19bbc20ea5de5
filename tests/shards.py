"""Making and checking arrays shard by shard: for tests that go through very many layouts.

`layouts.make` and `layouts.assert_equal` compare metadata and whole arrays over the ranks,
some six messages for each array. Here every rank looks at its own shard, and one message
tells whether all are content.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import heat_array_api as xp
from heat_array_api._layout import Layout
from layouts import agree, tensor_of


def rows_of(layout: Layout) -> tuple[slice, ...]:
    """Return the index of this rank's shard in the whole array."""
    part = [slice(None)] * layout.ndim
    if layout.split is not None:
        part[layout.split] = slice(layout.start, layout.start + layout.count)
    return tuple(part)


def make(values: Any, layout: Layout | None = None) -> Any:
    """Make the array of the global `values` in a layout; None: replicated. Sends nothing."""
    values = np.asarray(values)
    if layout is None:
        layout = Layout.replicated(values.shape, xp.world())
    return xp.Array(tensor_of(values[rows_of(layout)]), layout)


def assert_shards(
    x: Any, expected: Any, *, rtol: float = 0, dtype: Any = None, signed_zeros: bool = False
) -> None:
    """Check type, shape, dtype and this rank's shard against NumPy's values; fail on all ranks.

    Parameters
    ----------
    x : Array or tuple of Array
        The result; a tuple is compared item by item.
    expected : array_like or tuple
        NumPy's values.
    rtol : float
        Relative tolerance; 0: equal (and NaN where NaN is).
    dtype : dtype, optional
        The expected dtype where it is not that of `expected`.
    signed_zeros : bool
        Also tell 0.0 from -0.0.
    """
    __tracebackhide__ = True
    if not isinstance(x, tuple):
        x, expected = (x,), (expected,)
    assert len(x) == len(expected)
    found = None
    for one, other in zip(x, expected, strict=True):
        found = found or _problem(one, np.asarray(other), rtol, dtype, signed_zeros)
    agree(found)


def _problem(x: Any, expected: Any, rtol: float, dtype: Any, signed_zeros: bool) -> str | None:
    assert isinstance(x, xp.Array), f"expected an Array, not {x!r}"
    wanted = expected.dtype if dtype is None else np.dtype(dtype)
    if x.shape != expected.shape or x.dtype != wanted:
        return f"{x.dtype} {x.shape}, expected {wanted} {expected.shape}"
    if tuple(x.local.shape) != x.layout.local_shape:
        return f"x.local has shape {tuple(x.local.shape)}, its layout {x.layout.local_shape}"
    local = x.local.detach()
    local = local.float() if local.dtype is torch.bfloat16 else local
    actual, mine = local.resolve_conj().numpy(), expected[rows_of(x.layout)]
    mine = mine.astype(actual.dtype)
    try:
        if rtol:
            np.testing.assert_allclose(actual, mine, rtol=rtol, atol=0)
        else:
            np.testing.assert_array_equal(actual, mine)
        if signed_zeros and mine.dtype.kind == "f":
            zeros = mine == 0
            np.testing.assert_array_equal(np.signbit(actual[zeros]), np.signbit(mine[zeros]))
    except AssertionError as error:
        return f"split {x.split}, counts {x.layout.counts}: {error}"
    return None
