"""The part of ``numpy.lib.stride_tricks`` that array-agnostic code uses: windows."""

from __future__ import annotations

from .._windows import sliding_window_view

__all__ = ["sliding_window_view"]


def __dir__() -> list[str]:
    return sorted(__all__)
