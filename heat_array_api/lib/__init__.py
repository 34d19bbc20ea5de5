"""The part of ``numpy.lib`` that array-agnostic code uses."""

from __future__ import annotations

from . import stride_tricks

__all__ = ["stride_tricks"]


def __dir__() -> list[str]:
    return sorted(__all__)
