"""How arrays print."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import heat_array_api as xp
from layouts import agree, layouts, make


def test_repr_never_communicates():
    for layout in layouts((5, 4)):
        x = make(np.zeros((5, 4)), layout)
        with xp.trace() as t:
            text = repr(x) + x._repr_html_()
        assert t.events == []
        assert "shape=(5, 4)" in text
        assert "dtype=float64" in text
        assert f"split={layout.split}" in text
        if layout.split is not None:
            assert f"rank {layout.comm.rank} of {layout.comm.size} holds" in repr(x)


@pytest.mark.parametrize("shape", [(), (0,), (7,), (5, 4), (3000,), (200, 30), (2, 100, 8)])
def test_str_is_numpys(shape):
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    expected = np.array2string(values, threshold=1000, edgeitems=3)
    for layout in layouts(shape, few=True):
        text = str(make(values, layout))
        agree(None if text == expected else f"{text}\n is not\n{expected}", layout.comm)


def test_str_gathers_the_corner_only():
    x = xp.arange(100_000, split=0)
    with xp.trace() as t:
        str(x)
    assert t.bytes() <= 8 * 8
    for dtype in ("bool", "uint16", "complex64", "float16"):
        assert str(xp.ones(3, dtype=dtype, split=0)) == str(np.ones(3, dtype=dtype))


def test_html_draws_the_blocks():
    for layout in layouts((6, 4)):
        html = make(np.zeros((6, 4)), layout)._repr_html_()
        boxes = 1 if layout.split is None else layout.comm.size
        assert html.count("<rect") == boxes
        assert "<svg" in html


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "uint64", "float16", "complex64"])
def test_str_of_every_dtype(dtype):
    rng = np.random.default_rng(0)
    for shape in ((), (3,), (2000,), (7, 7, 7, 7), (6, 6, 6, 6), (7, 200), (1001, 1), (2, 0)):
        values = (rng.standard_normal(shape) * 100).astype(np.int64).astype(dtype)
        for split in (None, 0, -1) if shape else (None,):
            text = str(xp.asarray(values, split=split))
            assert text == str(values), (shape, split)


def test_str_of_one_number():
    for value in (1 / 3, 1e-300, True, 7, 1 / 3 + 2j, np.float32(0.1)):
        assert str(xp.asarray(value)) == str(np.asarray(value))
        assert f"{xp.asarray(value)}" == str(np.asarray(value))
    x = xp.ones(3, dtype=ml_dtypes.bfloat16, split=0)
    assert str(x) == "[1. 1. 1.]"
    assert "dtype=bfloat16" in repr(x)


def test_options_of_to_string():
    values = np.random.default_rng(0).random((30, 5))
    for layout in layouts((30, 5), few=True):
        x = make(values, layout)
        for options in (
            {"threshold": 10},
            {"threshold": 10, "edgeitems": 1},
            {"precision": 2},
            {"threshold": 0, "edgeitems": 2, "precision": 3},
        ):
            assert xp.to_string(x, **options) == np.array2string(values, **options), options


def test_html_names_the_facts_and_the_ranks():
    comm = xp.world()
    for split in (None, 0, 1, 2):
        x = xp.zeros((2, 8 * comm.size, 12 * comm.size), dtype="float32", split=split)
        html = x._repr_html_()
        for fact in (str(x.shape), "float32", f"{x.nbytes:,}", str(x.layout.local_shape)):
            assert fact in html
        if split in (1, 2):
            labels = [f">{rank}</text>" for rank in range(comm.size)]
            assert [label for label in labels if label not in html] == []
        elif split is None:
            assert "every rank" in html
    for shape in ((), (0,), (0, 3), (5,)):
        assert "<svg" in xp.zeros(shape)._repr_html_()
