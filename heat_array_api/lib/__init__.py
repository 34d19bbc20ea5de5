"""What NumPy keeps in ``numpy.lib`` and array-agnostic code looks for there."""

from __future__ import annotations

from . import stride_tricks

__all__ = ["stride_tricks"]


def __dir__() -> list[str]:
    return sorted(__all__)
