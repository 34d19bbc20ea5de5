"""The standard's linear algebra extension, on matrices of any layout.

Where the results are split, and what is sent, is said at each function; docs/distribution.md
has the table.
"""

from __future__ import annotations

from .. import _linalg as _linalg
from .._linalg import *
from . import _factorizations as _factorizations
from . import _matrix_functions as _matrix_functions
from . import _solve as _solve
from . import _spectral as _spectral
from ._factorizations import *
from ._matrix_functions import *
from ._solve import *
from ._spectral import *

__all__: list[str] = []
__all__ += _linalg.__all__
__all__ += _factorizations.__all__
__all__ += _matrix_functions.__all__
__all__ += _solve.__all__
__all__ += _spectral.__all__


def __dir__() -> list[str]:
    return sorted(__all__)
