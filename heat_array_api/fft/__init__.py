"""The standard's Fourier transforms, of arrays of any layout.

Where the results are split, and what is sent, is said at `fft`; docs/distribution.md has the table.
"""

from __future__ import annotations

from . import _transforms as _transforms
from ._transforms import *

__all__: list[str] = []
__all__ += _transforms.__all__


def __dir__() -> list[str]:
    return sorted(__all__)
