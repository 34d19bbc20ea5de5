"""Index expressions: what ``x[key]`` means for a shape, from metadata alone.

A key has two parts. The *basic* part (integers, slices, None, Ellipsis) selects a box; the
*advanced* part (integer arrays, boolean masks) then picks points of that box. Next to an integer
array an integer counts as an array, as in NumPy. Only a mask sends anything: `nonzero` counts its
elements.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from .._comm.communicator import Communicator
from .._core.array import Array
from .._core.dtypes import INTEGER
from .._core.layout import Shape
from .._creation import as_array, asarray


class Range(NamedTuple):
    """A slice of an axis, resolved: `length` elements ``start, start + step, ...``."""

    start: int
    step: int
    length: int

    @property
    def ascending(self) -> Range:
        """The same elements in ascending order."""
        if self.step > 0:
            return self
        return Range(self.start + (self.length - 1) * self.step, -self.step, self.length)


# None is a new axis; an int selects; a Range keeps its axis.
Basic = int | Range | None


class Key(NamedTuple):
    """A normalised key: a basic item per axis of the array (and new axes), and index arrays."""

    basic: tuple[Basic, ...]
    arrays: tuple[Array, ...]  # integer arrays, one for each of `axes`
    axes: tuple[int, ...]  # of the array after the basic part
    front: bool  # whether the arrays' axes come first (they were separated by a slice)


def as_key(basic: Sequence[Basic]) -> tuple[int | slice | None, ...]:
    """Return resolved items as a key of Python's integers and slices."""
    return tuple(_as_slice(item) if isinstance(item, Range) else item for item in basic)


def _as_slice(item: Range) -> slice:
    if not item.length:
        return slice(0, 0)
    end = item.start + item.length * item.step
    return slice(item.start, end if end >= 0 else None, item.step)


def is_mask(item: Any) -> bool:
    """Return whether a key's item is boolean: a mask."""
    if isinstance(item, Array):
        return item._local.dtype is torch.bool
    if isinstance(item, (bool, np.bool_)):
        return True
    return isinstance(item, np.ndarray) and item.dtype == np.bool_


def _resolve(item: slice, n: int) -> Range:
    start, stop, step = item.indices(n)
    return Range(start, step, len(range(start, stop, step)))


def _checked(index: int, n: int, axis: int) -> int:
    if not -n <= index < n:
        raise IndexError(f"index: {index} is out of range for axis {axis} of length {n}")
    return index + n if index < 0 else index


def parse_basic(key: Any, shape: Shape) -> tuple[Basic, ...]:
    """Return the items of a key of integers, slices, None and Ellipsis, for every axis."""
    items = key if isinstance(key, tuple) else (key,)
    taken = sum(item is not None and item is not Ellipsis for item in items)
    result: list[Basic] = []
    axis = 0
    for item in _without_ellipsis(items, taken, len(shape)):
        if item is None:
            result.append(None)
            continue
        n = shape[axis]
        result.append(_resolve(item, n) if type(item) is slice else _checked(item, n, axis))
        axis += 1
    return tuple(result)


def _without_ellipsis(items: Sequence[Any], taken: int, ndim: int) -> list[Any]:
    """Return the items with full slices for the axes that an Ellipsis (or nothing) stands for."""
    if taken > ndim:
        raise IndexError(f"index: {taken} indices for an array of {ndim} axes")
    places = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(places) > 1:
        raise IndexError("index: more than one Ellipsis")
    at = places[0] if places else len(items)
    full = [slice(None)] * (ndim - taken)
    return [*items[:at], *full, *items[at + 1 :]]


def _as_index(item: Any, comm: Communicator) -> Any:
    """Return an item that is no slice, None or Ellipsis as an int, a mask or an index Array."""
    if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
        return operator.index(item)
    if isinstance(item, (list, tuple, np.ndarray, bool, np.bool_)):
        empty = isinstance(item, (list, tuple)) and not item
        dtype = "int64" if empty else None
        item = as_array("index", "key", item, split=None, comm=comm, dtype=dtype)
    if isinstance(item, Array):
        if item._local.dtype is torch.bool:
            return item
        if item._local.dtype not in INTEGER.all:
            raise IndexError(f"index: an array of {item.dtype}; expected integers or booleans")
        return operator.index(item) if item.ndim == 0 and item.split is None else item
    try:
        return operator.index(item)
    except TypeError:
        raise IndexError(
            f"index: {type(item).__name__}; expected integers, slices, None, Ellipsis, integer "
            "arrays or boolean masks"
        ) from None


def parse(key: Any, shape: Shape, comm: Communicator, nonzero: Any) -> Key:
    """Normalise any key; ``nonzero(mask)`` turns a mask into index arrays (it may communicate)."""
    items = []
    for item in key if isinstance(key, tuple) else (key,):
        plain = item is None or item is Ellipsis or isinstance(item, slice)
        items.append(item if plain else _as_index(item, comm))
    taken = sum(_extent(item) for item in items)
    items = _without_ellipsis(items, taken, len(shape))
    _check_masks(items, shape)
    expanded: list[Any] = []
    for item in items:
        if not is_mask(item):
            expanded.append(item)
        elif item.ndim == 0:  # a 0-d mask is one of a new axis of length 1
            expanded.append((None, nonzero(item[None])[0]))
        else:
            expanded.extend(nonzero(item))
    return _assemble(expanded, shape, comm)


def _extent(item: Any) -> int:
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if is_mask(item) else 1


def _check_masks(items: Sequence[Any], shape: Shape) -> None:
    axis = 0
    for item in items:
        part = shape[axis : axis + _extent(item)]
        # An axis of length 0 fits any other, as in NumPy: the mask selects nothing.
        if is_mask(item) and (
            len(part) != item.ndim
            or any(m not in (n, 0) for m, n in zip(item.shape, part, strict=True))
        ):
            raise IndexError(f"index: a mask of shape {item.shape} for axes of shape {part}")
        axis += _extent(item)


def _assemble(items: Sequence[Any], shape: Shape, comm: Communicator) -> Key:
    advanced = any(isinstance(item, (Array, tuple)) for item in items)
    basic: list[Basic] = []
    arrays: list[Array] = []
    axes: list[int] = []
    places: list[int] = []  # of the arrays among the items, to see whether they are adjacent
    axis = 0
    for place, item in enumerate(items):
        position = sum(not isinstance(b, int) for b in basic)
        if item is None:
            basic.append(None)
            continue
        if isinstance(item, tuple):
            basic.append(None)
            arrays.append(item[1])
            axes.append(position)
            places.append(place)
            continue
        n = shape[axis]
        if isinstance(item, slice):
            basic.append(_resolve(item, n))
        elif isinstance(item, int) and not advanced:
            basic.append(_checked(item, n, axis))
        else:
            if isinstance(item, int):
                item = asarray(_checked(item, n, axis), split=None, comm=comm)
            basic.append(Range(0, 1, n))
            arrays.append(item)
            axes.append(position)
            places.append(place)
        axis += 1
    front = bool(places) and places[-1] - places[0] + 1 != len(places)
    return Key(tuple(basic), tuple(arrays), tuple(axes), front)
