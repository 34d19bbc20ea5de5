"""Indexing: ``x[key]``, ``x[key] = value``, `take`, `take_along_axis`.

`keys` says what a key means for a shape, `basic` plans slices and integers, `read` and `write` plan
and send the rest; their heads have tables of the messages.
"""

from __future__ import annotations

from .basic import is_same_key
from .read import getitem, take, take_along_axis
from .write import setitem

__all__ = [
    "getitem",
    "is_same_key",
    "setitem",
    "take",
    "take_along_axis",
]
