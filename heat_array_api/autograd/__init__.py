"""Derivatives of programs of the namespace, on any layout and number of ranks."""

from __future__ import annotations

from .. import _autograd as _autograd
from .._autograd import *
from . import _check as _check
from . import _interop as _interop
from . import _rules as _rules
from ._check import *
from ._interop import *
from ._rules import *

__all__: list[str] = []
__all__ += _autograd.__all__
__all__ += _check.__all__
__all__ += _interop.__all__
__all__ += _rules.__all__


def __dir__() -> list[str]:
    return sorted(__all__)
