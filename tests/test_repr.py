"""How arrays print."""

from __future__ import annotations

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
