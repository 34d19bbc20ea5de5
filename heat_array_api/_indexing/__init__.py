"""Indexing: `x[key]`, `x[key] = value`, `take`, `take_along_axis`."""

from __future__ import annotations

from .read import getitem, take, take_along_axis
from .write import setitem

__all__ = ["getitem", "setitem", "take", "take_along_axis"]
