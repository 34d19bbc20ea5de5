"""As ``numpy.lib.stride_tricks``: windows (`_windows`)."""

from .._windows import sliding_window_view

__all__ = ["sliding_window_view"]
