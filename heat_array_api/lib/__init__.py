"""What NumPy keeps in ``numpy.lib`` and array-agnostic code looks for there."""

from . import stride_tricks as stride_tricks

__all__ = ["stride_tricks"]
