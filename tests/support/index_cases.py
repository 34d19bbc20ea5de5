"""Random arrays, layouts, keys and values for the tests of indexing: the same on every rank."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

import heat_array_api as xp
from heat_array_api._core.layout import Layout
from layouts import make

DTYPES = ("float64", "int64", "uint16", "uint64", "bool", "complex64", "float16")


@dataclass
class Case:
    """An array in both forms, and a key in both forms."""

    values: np.ndarray[Any, Any]
    layout: Layout
    key: Any  # for NumPy
    our_key: Any

    def array(self) -> Any:
        return make(self.values, self.layout)


@st.composite
def layouts_of(draw: Any, shape: tuple[int, ...]) -> Layout:
    comm = xp.world()
    split = draw(st.none() | st.sampled_from(range(len(shape)))) if shape else None
    if split is None:
        return Layout.replicated(shape, comm)
    cuts = sorted(draw(st.integers(0, shape[split])) for _ in range(comm.size - 1))
    ends = [0, *cuts, shape[split]]
    counts = tuple(b - a for a, b in pairwise(ends))
    return Layout.of(shape, split, counts, comm)


def shapes(most: int = 3) -> Any:
    return st.lists(st.sampled_from([0, 1, 2, 3, 5, 7]), max_size=most).map(tuple)


def numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)


def slices(n: int) -> Any:
    end = st.none() | st.integers(-n - 2, n + 2)
    return st.builds(slice, end, end, st.sampled_from([None, 1, 2, 3, -1, -2]))


@st.composite
def items(draw: Any, n: int, index_shape: tuple[int, ...], advanced: bool) -> Any:
    choices = [slices(n)]
    if n:
        choices.append(st.integers(-n, n - 1))
        if advanced:
            choices.append(
                st.lists(
                    st.integers(-n, n - 1),
                    min_size=int(np.prod(index_shape)),
                    max_size=int(np.prod(index_shape)),
                ).map(lambda v: np.asarray(v, dtype=np.int64).reshape(index_shape))
            )
    return draw(st.one_of(choices))


@st.composite
def cases(draw: Any, kind: str) -> Case:
    """Draw a case: kind "basic", "arrays" or "mask"."""
    shape = draw(shapes())
    values = numbers(shape, draw(st.sampled_from(DTYPES)), draw(st.integers(0, 99)))
    layout = draw(layouts_of(shape))
    if kind == "mask":
        axes = draw(st.integers(0, len(shape)))
        mask = np.random.default_rng(draw(st.integers(0, 99))).random(shape[:axes]) < 0.5
        mask = np.asarray(mask)
        return Case(values, layout, mask, make(mask, draw(layouts_of(mask.shape))))
    index_shape = draw(st.sampled_from([(3,), (2, 2), (1,), (0,), (5,), ()]))
    key: list[Any] = []
    for n in shape[: draw(st.integers(0, len(shape)))]:
        key.append(draw(items(n, index_shape, kind == "arrays")))
        if draw(st.integers(0, 6)) == 0:
            key.append(None)
    if sum(k is not None for k in key) < len(shape) and draw(st.booleans()):
        key.insert(draw(st.integers(0, len(key))), Ellipsis)
    ours = [
        make(k, draw(layouts_of(k.shape)))
        if isinstance(k, np.ndarray) and draw(st.booleans())
        else k
        for k in key
    ]
    return Case(values, layout, tuple(key), tuple(ours))


@st.composite
def values_for(draw: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Draw a value that broadcasts to `shape`, for NumPy and for us (a scalar, NumPy, an Array)."""
    extents = [1 if draw(st.integers(0, 4)) == 0 else n for n in shape]
    if draw(st.booleans()):
        extents = extents[draw(st.integers(0, len(extents))) :]
    value = numbers(tuple(extents), dtype.name, draw(st.integers(0, 99)))
    form = draw(st.sampled_from(["array", "array", "array", "numpy", "scalar"]))
    if form == "scalar":
        scalar = dtype.type(1).item()
        return scalar, scalar
    if form == "numpy":
        return value, value
    return value, make(value, draw(layouts_of(value.shape)))
