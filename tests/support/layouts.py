"""Arrays of every layout for the tests, and comparison of arrays with NumPy's values.

Everything here that takes an `Array` is collective: call it on all ranks of the array's
communicator. A check that fails on one rank fails on all of them at the same place, so
that their messages keep matching.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

import heat_array_api as xp
from _harness import FailedElsewhere, checksum
from heat_array_api._comm.communicator import world
from heat_array_api._core.collectives import numbers_of
from heat_array_api._core.dtypes import to_torch_dtype
from heat_array_api._core.layout import Layout

ROUNDINGS = 64
"""How many roundings (of the result's dtype) a value may be off, unless the test says."""


# ---------------------------------------------------------------- layouts


def layouts(shape: Sequence[int], comm: Any = None, *, few: bool = False) -> Iterator[Layout]:
    """Yield layouts of `shape`: replicated, and for each axis balanced, uneven, with empty shards.

    Parameters
    ----------
    shape : sequence of int
        The global shape.
    comm : Communicator, optional
        All ranks by default.
    few : bool
        Only the replicated, the balanced, and the uneven with an empty shard.

    Yields
    ------
    Layout
        No two are equal; with one rank there is the replicated one and one for each axis.
    """
    comm = world() if comm is None else comm
    shape = tuple(shape)
    yield Layout.replicated(shape, comm)
    for axis, n in enumerate(shape):
        balanced = Layout.balanced(shape, axis, comm)
        yield balanced
        seen = {balanced.counts}
        for counts in _counts(n, comm.size, few):
            if counts not in seen:
                seen.add(counts)
                yield Layout.of(shape, axis, counts, comm)


def _counts(n: int, size: int, few: bool) -> Iterator[tuple[int, ...]]:
    uneven = [(size - rank) * (rank % 3 != 1) for rank in range(size)]  # empty: ranks 1, 4, 7 ...
    yield divide(n, uneven)
    if few:
        return
    yield divide(n, [1 + 2 * rank for rank in range(size)])
    yield (n,) + (0,) * (size - 1)
    yield (0,) * (size - 1) + (n,)
    yield divide(n, [rank % 2 for rank in range(size)] if size > 1 else [1])


def divide(n: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Divide `n` rows over ranks by weight; a rank of weight 0 gets none."""
    total = sum(weights)
    bounds = [n * sum(weights[: rank + 1]) // total for rank in range(len(weights))]
    return tuple(end - start for start, end in zip([0, *bounds], bounds, strict=False))


def describe(layout: Layout) -> str:
    """Name a layout in a few characters, for the ids of parametrised tests."""
    if layout.split is None:
        return "replicated"
    return f"split{layout.split}:{','.join(map(str, layout.counts))}"


# ---------------------------------------------------------------- making arrays


def tensor_of(values: Any) -> torch.Tensor:
    """Return a copy of NumPy values as a tensor, of any dtype (bfloat16 too)."""
    values = np.array(values, order="C")
    dtype = to_torch_dtype(values.dtype)
    if dtype is torch.bfloat16:
        return torch.from_numpy(values.view(np.int16)).view(dtype)
    return torch.from_numpy(values)


def rows_of(layout: Layout) -> tuple[slice, ...]:
    """Return the index of this rank's shard in the whole array."""
    rows = [slice(None)] * layout.ndim
    if layout.split is not None:
        rows[layout.split] = slice(layout.start, layout.start + layout.count)
    return tuple(rows)


def make(values: Any, layout: Layout | None = None) -> Any:
    """Make the `Array` of the global NumPy `values`, the same on every rank, in a layout.

    None means replicated over all ranks. Sends nothing.
    """
    values = np.asarray(values)
    if layout is None:
        layout = Layout.replicated(values.shape, world())
    return xp.Array(tensor_of(values[rows_of(layout)]), layout)


def to_numpy(x: Any) -> np.ndarray:
    """Return the whole array on every rank."""
    return np.asarray(x)


# ---------------------------------------------------------------- comparing


def agree(problem: str | None, comm: Any = None) -> None:
    """Raise on every rank if any rank has a problem."""
    __tracebackhide__ = True
    comm = world() if comm is None else comm
    flags = numbers_of(0 if problem is None else 1, comm)
    if problem is not None:
        raise AssertionError(problem)
    if any(flags):
        raise FailedElsewhere(f"ranks {[r for r, flag in enumerate(flags) if flag]} found an error")


def same_everywhere(what: str, text: str, comm: Any = None) -> None:
    """Raise on every rank unless `text` is the same on all of them."""
    __tracebackhide__ = True
    comm = world() if comm is None else comm
    if len(set(numbers_of(checksum(text), comm).tolist())) > 1:
        raise AssertionError(f"{what} differs from rank to rank; here it is {text}")


def assert_consistent(x: Any) -> None:
    """Check an array's invariants: one layout on all ranks, the shard it says, equal copies."""
    __tracebackhide__ = True
    assert isinstance(x, xp.Array), f"expected an Array, not {x!r}"
    _agree_on(x, None)


def _agree_on(x: Any, problem: str | None) -> None:
    """Raise on every rank if one has a problem, or if the array is not one array: one message."""
    __tracebackhide__ = True
    layout = x.layout
    metadata = (layout.shape, layout.split, layout.counts, str(x.dtype), x.local.requires_grad)
    shape = tuple(x.local.shape)
    if not all(type(n) is int for n in (*layout.shape, *layout.counts)):
        problem = f"not all ints: {metadata}"
    if shape != layout.local_shape:
        problem = f"x.local has shape {shape}, its layout says {layout.local_shape}"
    copy = shard_of(x).tobytes().decode("latin-1") if layout.split is None else ""
    facts = (problem is not None, checksum(str(metadata)), checksum(copy))
    everyone = layout.comm.allgather_ints([int(fact) for fact in facts])
    if len({theirs[1] for theirs in everyone}) > 1:
        raise AssertionError(
            f"(shape, split, counts, dtype, requires_grad) differs from rank to rank; here it is "
            f"{metadata}"
        )
    if len({theirs[2] for theirs in everyone}) > 1:
        raise AssertionError(
            f"the copies of a replicated array are not bitwise equal; here: {problem or 'right'}"
        )
    if problem is not None:
        raise AssertionError(problem)
    if any(theirs[0] for theirs in everyone):
        found = [rank for rank, theirs in enumerate(everyone) if theirs[0]]
        raise FailedElsewhere(f"ranks {found} found an error")


def shard_of(x: Any) -> np.ndarray:
    """Return this rank's shard as a NumPy array. Sends nothing."""
    return np.asarray(xp.Array(x.local, Layout.replicated(tuple(x.local.shape), x.comm)))


def assert_equal(
    x: Any,
    expected: Any,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    dtype: Any = None,
    split: Any = ...,
    signed_zeros: bool = False,
) -> None:
    """Check that an array is consistent and has the expected shape, dtype and values.

    Parameters
    ----------
    x : Array or tuple of Array
        The result; a tuple is compared item by item.
    expected : array_like or tuple
        NumPy's values.
    rtol, atol : float, optional
        Tolerances of floating-point values. By default 64 roundings of the dtype, relative
        to the value and to the greatest finite expected value. Integers must be equal.
    dtype : dtype, optional
        The expected dtype where it is not that of `expected`.
    split : int or None, optional
        The expected split, where the test wants a certain one.
    signed_zeros : bool
        Also tell 0.0 from -0.0.
    """
    __tracebackhide__ = True
    if isinstance(x, tuple):
        options = {
            "rtol": rtol,
            "atol": atol,
            "dtype": dtype,
            "split": split,
            "signed_zeros": signed_zeros,
        }
        assert len(x) == len(expected), f"{len(x)} results, expected {len(expected)}"
        for one, other in zip(x, expected, strict=True):
            assert_equal(one, other, **options)
        return
    assert isinstance(x, xp.Array), f"expected an Array, not {x!r}"
    expected = np.asarray(expected)
    wanted = expected.dtype if dtype is None else np.dtype(dtype)
    problem = None
    if x.shape != expected.shape:
        problem = f"shape {x.shape}, expected {expected.shape}"
    elif x.dtype != wanted:
        problem = f"dtype {x.dtype}, expected {wanted}"
    elif split is not ... and x.split != split:
        problem = f"split {x.split}, expected {split}"
    elif tuple(x.local.shape) == x.layout.local_shape:
        part = expected[rows_of(x.layout)]
        atol = margin(expected, x.dtype) if atol is None else atol
        problem = difference(shard_of(x), part, rtol, atol, signed_zeros)
    _agree_on(x, problem)


def assert_exact(x: Any, expected: Any, *, rtol: float = 0, **options: Any) -> None:
    """Check as `assert_equal` does, but without tolerances: equal, and NaN where NaN is."""
    __tracebackhide__ = True
    assert_equal(x, expected, rtol=rtol, atol=0, **options)


def margin(expected: np.ndarray, dtype: np.dtype) -> float:
    """Return how far a value may be off for the sake of the greatest finite one."""
    if dtype.kind in "biu":
        return 0.0
    parts = (expected.real, expected.imag) if expected.dtype.kind == "c" else (expected,)
    values = np.abs(np.stack([part.astype(np.float64) for part in parts]))
    return float(ROUNDINGS * rounding(dtype) * values[np.isfinite(values)].max(initial=0))


def difference(
    actual: np.ndarray,
    expected: np.ndarray,
    rtol: float | None = None,
    atol: float | None = None,
    signed_zeros: bool = False,
) -> str | None:
    """Describe how two NumPy arrays differ; None if they do not."""
    if actual.dtype.kind in "biu":
        return _difference(actual, expected, 0, 0)
    eps = rounding(actual.dtype)
    rtol = ROUNDINGS * eps if rtol is None else rtol
    for part in (np.real, np.imag) if actual.dtype.kind == "c" else (np.asarray,):
        a, e = part(actual).astype(np.float64), part(expected).astype(np.float64)
        found = _difference(a, e, rtol, margin(expected, actual.dtype) if atol is None else atol)
        if found is None and signed_zeros:
            zeros = (a == 0) & (e == 0)
            found = _difference(np.signbit(a) & zeros, np.signbit(e) & zeros, 0, 0)
        if found is not None:
            return found
    return None


def _difference(a: np.ndarray, e: np.ndarray, rtol: float, atol: float) -> str | None:
    try:
        if rtol == 0 and atol == 0:
            np.testing.assert_array_equal(a, e)
        else:
            np.testing.assert_allclose(a, e, rtol=rtol, atol=atol)
    except AssertionError as error:
        return str(error)
    return None


def rounding(dtype: np.dtype) -> float:
    """Return the rounding unit of a floating-point dtype, bfloat16 too."""
    return float(torch.finfo(to_torch_dtype(dtype)).eps)
