"""The Python Array API Standard as a namespace of distributed arrays.

``import heat_array_api as xp``: torch shards on the ranks of an MPI job, one split axis,
the same program on a laptop and on a cluster. Version 2025.12 of the standard, and what
array-agnostic libraries look for beyond it.
"""

from __future__ import annotations

import sys as _sys
from importlib import import_module as _import_module
from typing import Any as _Any

# First: torch decides on huge pages when it makes its first tensor.
from ._comm import memory as _memory  # noqa: F401

# isort: split

from . import _autograd as _autograd
from . import _creation as _creation
from . import _data_type as _data_type
from . import _einsum as _einsum
from . import _elementwise as _elementwise
from . import _indexing as _indexing
from . import _linalg as _linalg
from . import _manipulation as _manipulation
from . import _padding as _padding
from . import _quantile as _quantile
from . import _repr as _repr
from . import _reshape as _reshape
from . import _searching as _searching
from . import _set as _set
from . import _sorting as _sorting
from . import _statistical as _statistical
from . import _ufuncs as _ufuncs
from . import _utility as _utility
from . import autograd as autograd
from . import fft as fft
from . import lib as lib
from . import linalg as linalg
from . import random as random
from . import special as special
from ._comm.communicator import Communicator, world
from ._comm.trace import quiet as _quiet
from ._comm.trace import trace
from ._compile import compile
from ._core.array import Array, Device
from ._core.layout import Layout
from ._core.operators import bind_namespace as _bind_namespace
from ._core.redistribute import rebalance, redistribute, resplit
from ._creation import *
from ._data_type import *
from ._data_type import bool_ as bool
from ._dry_run import ShapeDtype, dry_run
from ._einsum import *
from ._elementwise import *
from ._errors import (
    CollectiveMismatchError,
    CommunicatorMismatchError,
    CompileWarning,
    GatherError,
    GatherWarning,
    LauncherMismatchError,
    MPIUnavailableError,
    PlanError,
)
from ._indexing import take, take_along_axis
from ._linalg import *
from ._manipulation import *
from ._options import get_options, set_options
from ._padding import *
from ._quantile import *
from ._repr import to_string
from ._reshape import *
from ._searching import *
from ._set import *
from ._sorting import *
from ._statistical import *
from ._utility import *

__version__ = "0.2.0"
__array_api_version__ = "2025.12"
SUPPORTED_API_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")

__all__ = [
    "SUPPORTED_API_VERSIONS",
    "Array",
    "CollectiveMismatchError",
    "Communicator",
    "CommunicatorMismatchError",
    "CompileWarning",
    "Device",
    "GatherError",
    "GatherWarning",
    "LauncherMismatchError",
    "Layout",
    "MPIUnavailableError",
    "PlanError",
    "ShapeDtype",
    "__array_api_version__",
    "__version__",
    "autograd",
    "bool",
    "compile",
    "dry_run",
    "fft",
    "get_options",
    "io",
    "lib",
    "linalg",
    "random",
    "rebalance",
    "redistribute",
    "resplit",
    "set_options",
    "special",
    "take",
    "take_along_axis",
    "to_string",
    "trace",
    "world",
]
__all__ += _creation.__all__
__all__ += _data_type.__all__
__all__ += _einsum.__all__
__all__ += _elementwise.__all__
__all__ += _linalg.__all__
__all__ += _manipulation.__all__
__all__ += _padding.__all__
__all__ += _quantile.__all__
__all__ += _reshape.__all__
__all__ += _searching.__all__
__all__ += _set.__all__
__all__ += _sorting.__all__
__all__ += _statistical.__all__
__all__ += _utility.__all__

# Loaded at first use. `ml` needs scikit-learn, so a star import leaves it out.
_LAZY = frozenset({"demo", "io", "ml"})


def __getattr__(name: str) -> _Any:
    if name in _LAZY:
        return _import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "ml"])


_bind_namespace(_sys.modules[__name__])
# Code that draws from the global generators (``random_state=None``) must draw alike on all ranks.
random.share_generators()
_quiet(world().rank)
