"""einops on distributed arrays, by `einops.array_api`: what it moves and reduces, against NumPy."""

from __future__ import annotations

from typing import Any

import einops
import numpy as np
import pytest
from einops import array_api

import heat_array_api as xp
from agnostic import compare, layout_of
from consumers import W, consumer, entries, rows, stays_distributed
from layouts import assert_equal, make

N = 3_000


def images(n: int, dtype: Any = np.float64) -> np.ndarray:
    """Return n images of 4 by 6 pixels of 3 colours."""
    return np.random.default_rng(9).normal(size=(n, 4, 6, 3)).astype(dtype)


REARRANGED = {
    "b h w c -> b c h w": {},
    "b h w c -> b (h w c)": {},
    "b h w c -> (b h) w c": {},
    "b (h h2) (w w2) c -> b h w (h2 w2 c)": {"h2": 2, "w2": 3},
    "b h w c -> h w c b": {},
    "(n k) h w c -> n k h w c": {"k": 1},
    "b ... -> ... b": {},
    "b h w c -> b 1 h w 1 c": {},
    "b h w c -> (b h w c)": {},
}
REDUCED = {
    "b h w c -> b c": {},
    "b h w c -> h w c": {},
    "b h w c -> 1 h w 1": {},
    "b (h h2) (w w2) c -> b h w c": {"h2": 2, "w2": 2},
    "b h w c ->": {},
}
REPEATED = {
    "b h w c -> b h w c k": {"k": 2},
    "b h w c -> b (h h2) (w w2) c": {"h2": 2, "w2": 2},
    "b h w c -> (k b) h w c": {"k": 2},
}


def rearrange(module: Any, x: Any, reduction: str = "") -> list[Any]:
    return [module.rearrange(x, pattern, **sizes) for pattern, sizes in REARRANGED.items()]


def repeat(module: Any, x: Any, reduction: str = "") -> list[Any]:
    return [module.repeat(x, pattern, **sizes) for pattern, sizes in REPEATED.items()]


def reduce(module: Any, x: Any, reduction: str) -> list[Any]:
    return [module.reduce(x, pattern, reduction, **sizes) for pattern, sizes in REDUCED.items()]


CASES = {"rearrange": (rearrange, ""), "repeat": (repeat, "")}
CASES |= {f"reduce {name}": (reduce, name) for name in ("sum", "mean", "min", "max", "prod")}


@entries("einops", CASES)
def test_samples_stay_distributed(case):
    function, reduction = case
    values = images(N)
    expected = function(einops, values, reduction)
    with stays_distributed(N):
        found = function(array_api, rows(values), reduction)
    compare(found, expected)


@entries("einops", CASES)
def test_values_in_all_layouts(case):
    function, reduction = case
    for dtype in (np.float32, np.int64):
        if (reduction, dtype) == ("mean", np.int64):
            continue
        values = images(7, dtype) if dtype is np.float32 else (10 * images(7)).astype(dtype)
        expected = function(einops, values, reduction)
        for way in range(3):
            compare(
                function(array_api, make(values, layout_of(values.shape, way)), reduction), expected
            )


@consumer("einops", "any and all")
def test_booleans():
    values = images(9) > 1
    for name in ("any", "all"):
        expected = einops.reduce(values, "b h w c -> b c", name)
        compare(array_api.reduce(rows(values), "b h w c -> b c", name), expected)


@consumer("einops", "lists of arrays")
def test_lists_of_arrays():
    values = [images(9)[i : i + 3] for i in (0, 3, 6)]
    pattern = "k b h w c -> b (k h) w c"
    found = array_api.rearrange([rows(v) for v in values], pattern)
    assert_equal(found, einops.rearrange(values, pattern), split=0 if W.size > 1 else ...)


@consumer("einops", "pack")
@consumer("einops", "unpack")
def test_pack_and_unpack():
    values = [images(N), images(N)[..., 0, 0], images(N)[..., 0]]
    packed, shapes = einops.pack(values, "b *")
    with stays_distributed(N):
        found, found_shapes = array_api.pack([rows(v) for v in values], "b *")
        parts = array_api.unpack(found, found_shapes, "b *")
        guessed = array_api.unpack(found, [shapes[0], (-1,)], "b *")
    assert [tuple(s) for s in found_shapes] == [tuple(s) for s in shapes]
    assert_equal(found, packed, split=0)
    compare(parts, values)
    compare(guessed, einops.unpack(packed, [shapes[0], (-1,)], "b *"))


@consumer("einops", "pack")
@consumer("einops", "unpack")
def test_packing_samples():
    values = [images(5), images(40), images(1)[0]]
    packed, _ = einops.pack(values, "* h w c")
    found, found_shapes = array_api.pack([rows(v) for v in values], "* h w c")
    assert_equal(found, packed)
    compare(array_api.unpack(found, found_shapes, "* h w c"), values)


@consumer("einops", "asnumpy")
def test_asnumpy_gathers():
    values = images(9)
    with xp.trace() as t:
        found = array_api.asnumpy(rows(values))
    assert [g.operation for g in t.gathers] == ["__dlpack__"] * (W.size > 1)
    np.testing.assert_array_equal(found, values)


@consumer("einops", "errors")
def test_errors_name_the_shape_on_all_ranks():
    with pytest.raises(einops.EinopsError, match=r"shape: \(9, 4, 6, 3\)"):
        array_api.rearrange(rows(images(9)), "b (h h2) w c -> b h h2 w c", h2=3)
