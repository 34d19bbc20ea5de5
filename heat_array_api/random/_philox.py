"""The stream of random words behind `heat_array_api.random`, and numbers made from them.

The stream is NumPy's Philox (4x64, ten rounds): block n of 256 bits is a function of the
key and of n alone, so a rank can start at any element.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch

from .._core.layout import Layout

Values = np.ndarray[Any, Any]
HALVES_PER_BLOCK: Final = 8
"""The positions of a stream count blocks of 256 bits, elements take words of 32 bits."""


_RUN: Final = 1 << 12  # elements above which a run of its own is worth placing the counter


def stream(key: Values, position: int, half: int) -> np.random.Generator:
    """Return NumPy's generator on the stream of `key`, `half` words of 32 bits past a position."""
    block, skip = divmod(half, HALVES_PER_BLOCK)
    bits = np.random.Philox(key=key)
    bits.advance(position + block)
    source = np.random.Generator(bits)
    if skip:  # of each word of 64 bits NumPy hands out the lower half first
        bits.random_raw(skip // 2, output=False)
        source.random(skip % 2, dtype=np.float32)
    return source


# ---------------------------------------------------------------------- the elements of a rank


def drawn_layout(layout: Layout) -> Layout:
    """Return the layout in which to draw: the result's if each rank's elements make long runs."""
    split = layout.split
    if split is None or layout.comm.size == 1 or math.prod(layout.shape[:split]) <= 1:
        return layout
    run = math.prod(layout.shape[split:]) // layout.comm.size
    return layout if run >= _RUN else layout.split_along(0)


def runs(layout: Layout) -> Iterator[tuple[int, int]]:
    """Yield this rank's elements as runs (first, length) of the flattened array."""
    split = layout.split
    if split is None:
        yield 0, layout.size
        return
    inner = math.prod(layout.shape[split + 1 :])
    row = layout.shape[split] * inner
    for outer in range(math.prod(layout.shape[:split])):
        yield outer * row + layout.start * inner, layout.count * inner


# ---------------------------------------------------------------------- numbers from words


def normal_quantile(u: torch.Tensor) -> torch.Tensor:
    quantile: torch.Tensor = torch.special.ndtri(u.clamp_(min=2.0**-54))  # finite at u = 0
    return quantile


def exponential_quantile(u: torch.Tensor) -> torch.Tensor:
    return torch.log1p(-u).neg_()


def multiples(words: Values, extent: int) -> Values:
    """Return ``floor(words * extent / 2**64)`` for an extent of up to 2**32."""
    factor, half, mask = np.uint64(extent), np.uint64(32), np.uint64(2**32 - 1)
    low = ((words & mask) * factor) >> half
    products: Values = ((words >> half) * factor + low) >> half
    return products


def _high_product(words: Values, extent: int) -> Values:
    """Return ``floor(words * extent / 2**64)`` for an extent of up to 2**64 - 1."""
    half, mask = np.uint64(32), np.uint64(2**32 - 1)
    high1, low1 = words >> half, words & mask
    high2, low2 = np.uint64(extent >> 32), np.uint64(extent & (2**32 - 1))
    cross1, cross2 = low1 * high2, high1 * low2
    middle = ((low1 * low2) >> half) + (cross1 & mask) + (cross2 & mask)
    products: Values = high1 * high2 + (cross1 >> half) + (cross2 >> half) + (middle >> half)
    return products


def wide_multiples(words: Values, extent: int) -> Values:
    """Return ``floor(w * extent / 2**128)`` for the numbers w that pairs of words make."""
    high, low = words[0::2], words[1::2]
    if extent == 2**64:
        return high.copy()
    tail = _high_product(low, extent)
    carried = high * np.uint64(extent) + tail < tail  # the sum's overflow
    products: Values = _high_product(high, extent) + carried
    return products
