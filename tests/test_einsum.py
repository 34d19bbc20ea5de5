"""einsum against NumPy, on all layouts; its messages and errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import heat_array_api as xp
from heat_array_api._core.layout import Layout
from layouts import assert_equal, describe, layouts, make

EXTENTS = {"a": 3, "b": 3, "c": 4, "i": 3, "j": 4, "k": 5, "l": 2}

LETTERS = [
    "ij,jk->ik",
    "ij,jk",
    "ji",
    "ij->ji",
    "ii->i",
    "ii",
    "iij->j",
    "iiji->ij",
    "ij,ij->",
    "ij,ij->i",
    "i,j->ij",
    "ij,j->ij",
    "bi,bj->bij",
    "bij,bjk->bik",
    "bij,bkj->kib",
    "ijk,kl,lj->i",
    "i,ij,j",
    "ijkl,klj->i",
    "ij,ik,il->jkl",
    "iji,i->j",
    "ij,kl->ikjl",
    "ij->",
    " i j , j k -> k i ",
]

ELLIPSES = [
    ("...ij,...jk->...ik", (2, 3, 4), (3, 1, 4, 5)),
    ("...ij,...jk", (2, 3, 4), (4, 5)),
    ("ij...->...", (3, 4, 2, 3)),
    ("ij...->j...i", (3, 4, 2)),
    ("i...,i...->...", (3, 4), (3, 2, 4)),
    ("b...i,bj...->j...i", (3, 2, 3), (3, 4, 2)),
    ("...,...->...", (3, 1), (4,)),
    ("...ii->...i", (2, 3, 3)),
    ("ij,jk->ik", (3, 1), (4, 2)),  # an axis of length 1 broadcasts
    ("ij,ij->j", (1, 4), (3, 4)),
    ("ij,jk->ik", (3, 0), (0, 2)),
]

CASES = [
    (text, *(tuple(EXTENTS[c] for c in term.strip() if c != " ") for term in terms))
    for text in LETTERS
    for terms in [text.split("->")[0].split(",")]
] + ELLIPSES


def values(shape, dtype="float64", seed=0):
    drawn = np.random.default_rng(seed).integers(-8, 9, shape)
    return drawn.astype(dtype) + (0.5j * drawn if np.dtype(dtype).kind == "c" else 0)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_einsum(case, check):
    text, *shapes = case
    arrays = [values(shape, seed=seed) for seed, shape in enumerate(shapes)]
    expected = np.einsum(text, *arrays)
    combinations = list(itertools.product(*(layouts(shape, few=True) for shape in shapes)))
    for found in combinations[:: 1 if len(shapes) < 3 else 4]:
        operands = [make(a, layout) for a, layout in zip(arrays, found, strict=True)]
        check(xp.einsum(text, *operands), expected, [describe(layout) for layout in found])


@pytest.mark.parametrize("dtype", ["int8", "uint16", "uint64", "float32", "complex128"])
def test_einsum_dtypes(dtype, check):
    a = values((3, 4)).astype(dtype)
    for text in ("ij,ik->kj", "ij->i", "ij,ij->ij"):
        count = text.count(",") + 1
        expected = np.einsum(text, *(count * [a]))
        for layout in layouts(a.shape, few=True):
            result = xp.einsum(text, *(make(a, layout) for _ in range(count)))
            check(result, expected, (text, describe(layout)))


def test_einsum_is_consistent():
    a, b = values((5, 4)), values((5, 3), seed=1)
    for layout in layouts(a.shape, few=True):
        if layout.split == 0:
            result = xp.einsum("ij,ik->jk", make(a, layout), make(b, layout.with_shape(b.shape, 0)))
            assert_equal(result, np.einsum("ij,ik->jk", a, b))


MESSAGES = [
    ("ij,ij->ij", 0, 0, 0, []),
    ("ij,ik->jk", 0, 0, None, ["allreduce"]),
    ("ij,ij->i", 0, 0, 0, []),
    ("ij,ij->", 0, 0, None, ["allreduce"]),
    ("ij,ik->ijk", 0, 0, 0, []),
    ("ij,jk->ik", 0, None, 0, []),
    ("ij,ij->ji", 0, 0, 1, []),
]


@pytest.mark.parametrize("case", MESSAGES, ids=str)
def test_einsum_messages(case, comm):
    text, split1, split2, split, messages = case
    shape2 = (3, 4) if "jk" in text.split("->")[0] else (60, 3)
    x1 = make(values((60, 3)), Layout.balanced((60, 3), split1, comm))
    x2 = make(values(shape2, seed=1), Layout.balanced(shape2, split2, comm))
    with xp.trace() as t:
        result = xp.einsum(text, x1, x2)
    assert result.split == split
    assert t.collectives == (messages if comm.size > 1 else [])


def test_einsum_of_one_operand_sends_nothing(comm):
    square = make(values((8, 8)), Layout.balanced((8, 8), 0, comm))
    with xp.trace() as t:
        diagonal = xp.einsum("ii->i", square)
        turned = xp.einsum("ij->ji", square)
        rows = xp.einsum("ij->i", square)
    assert not t.events
    assert (diagonal.split, turned.split, rows.split) == (0, 1, 0)
    assert turned.local is not square.local


def test_einsum_errors():
    x = xp.ones((3, 4))
    for text, message in [
        ("ij,jk", "2 terms for 1 operands"),
        ("ijk", "does not fit operand 0, which has 2 axes"),
        ("i", "does not fit operand 0"),
        ("ij->k", "only after the arrow"),
        ("ij->ii", "repeats a letter"),
        ("...->", "lacks '...' after the arrow"),
        ("i1->i", "expected letters"),
        ("......", "expected letters"),
        ("ii", "axis 'i' has lengths 3 and 4"),
    ]:
        with pytest.raises(ValueError, match=message):
            xp.einsum(text, x)
    with pytest.raises(ValueError, match="no operands"):
        xp.einsum("ij")
    with pytest.raises(TypeError, match="subscripts is Array"):
        xp.einsum(x, "ij")
    with pytest.raises(ValueError, match="under"):
        xp.einsum("...,...", x, xp.ones(3))


def test_a_mask_counts_as_zeros_and_ones():
    """As xarray's weighted means have it."""
    values = np.asarray([[1.0, np.nan, 3.0], [4.0, 5.0, np.nan]])
    weights = np.asarray([0.5, 1.0, 2.0])
    for layout in layouts(values.shape, few=True):
        mask = ~xp.isnan(make(values, layout))
        found = xp.einsum("ij,j->i", mask, make(weights))
        assert_equal(found, ~np.isnan(values) @ weights)
        assert_equal(xp.einsum("j,ij->i", make(weights), mask), ~np.isnan(values) @ weights)
