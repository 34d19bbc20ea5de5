"""Hypothesis strategies: any layout of a shape, any array of any layout."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import heat_array_api as xp
from heat_array_api._core.layout import Layout
from layouts import make

SIZE = xp.world().size
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7)


@st.composite
def layouts_of(draw, shape):
    """Draw any layout of a shape: replicated, or any counts along any axis."""
    if not shape or draw(st.booleans()) is draw(st.booleans()) is False:
        return Layout.replicated(shape, xp.world())
    split = draw(st.integers(0, len(shape) - 1))
    cuts = sorted(
        draw(st.lists(st.integers(0, shape[split]), min_size=SIZE - 1, max_size=SIZE - 1))
    )
    counts = tuple(b - a for a, b in zip([0, *cuts], [*cuts, shape[split]], strict=True))
    return Layout.of(shape, split, counts, xp.world())


@st.composite
def arrays(draw, shapes=SHAPES, dtype="float64"):
    """Draw an array and its values."""
    shape = draw(shapes)
    values = (np.arange(np.prod(shape, dtype=int)) % 11 - 5).reshape(shape).astype(dtype)
    return make(values, draw(layouts_of(shape))), values
