"""The steps from an array to a view of it, and the few that do what many do.

However long the way, a view is what NumPy makes of the same steps: an offset into its source and a
stride for each axis. From these alone `shortened` finds a short way: the source's axes, merged
where the view runs across them; a range of each, cut into rows where several of the view's axes lie
in it; the axes in their order; those of length 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from operator import mul
from typing import Any, Literal, NamedTuple

import numpy as np

from .layout import Shape

Kind = Literal["index", "permute_dims", "reshape", "squeeze", "expand_dims"]
_View = np.ndarray[Any, Any]


class Step(NamedTuple):
    """One step from an array to a view of it: an index, or a function of the namespace.

    Attributes
    ----------
    kind : str
        "index", or the function's name.
    how : Any
        The key, or the function's second argument: an order of axes, a shape, axes.
    """

    kind: Kind
    how: Any


# ---------------------------------------------------------------------- NumPy's view


def placed(steps: Sequence[Step], first: Shape) -> _View:
    """Return the view that NumPy would make of an array of shape `first`.

    It has strides and an address but no memory; its elements are bytes.
    """
    sizes = accumulate((max(n, 1) for n in first[:0:-1]), mul, initial=1)
    strides = tuple(sizes)[::-1] if first else ()
    view = np.lib.stride_tricks.as_strided(_BYTE, first, strides)
    for kind, how in steps:
        if kind == "index":
            key = how if type(how) is tuple else (how,)
            view = view[key if ... in key else (*key, ...)]  # integers alone would read memory
        elif kind == "permute_dims":
            view = view.transpose(how)
        elif kind == "reshape":
            view = view.reshape(how)
        else:
            view = np.squeeze(view, how) if kind == "squeeze" else np.expand_dims(view, how)
    return view


_BYTE = np.empty(1, np.uint8)


def _offset(view: _View) -> int:
    offset: int = view.ctypes.data - _BYTE.ctypes.data
    return offset


def _is_same(view: _View, other: _View) -> bool:
    """Return whether two views have the same elements in the same places."""
    if view.shape != other.shape:
        return False
    ends = zip(view.shape, view.strides, other.strides, strict=True)
    same = _offset(view) == _offset(other) and all(a == b for n, a, b in ends if n > 1)
    return bool(same) or not view.size


def shortened(steps: tuple[Step, ...], first: Shape) -> tuple[Step, ...]:
    """Return few steps that make the same view of an array of shape `first` as many do.

    How many depends on the axes of the source and of the view alone. Should no short way be found,
    or none shorter, they are the steps as they were.
    """
    view = placed(steps, first)
    found = _way(first, view) if view.size else _way_to_nothing(first, view.shape)
    try:
        is_same = _is_same(placed(found, first), view)
    except ValueError:  # of `_rows` that do not fit
        return steps
    return found if is_same and len(found) < len(steps) else steps


def _way_to_nothing(first: Shape, shape: Shape) -> tuple[Step, ...]:
    key = (slice(0, 0),) if first else (None, slice(0, 0))
    return Step("index", key), Step("reshape", shape)


# ---------------------------------------------------------------------- the way to a view


class _Axis(NamedTuple):
    """An axis of a view, in the elements of an axis on the way to it."""

    number: int
    length: int
    stride: int
    backwards: bool


class _Part(NamedTuple):
    """An axis on the way to a view: where the view begins in it, and the view's axes in it.

    The axis of the greatest stride comes first.
    """

    length: int
    start: int
    axes: tuple[_Axis, ...]

    @property
    def is_axis(self) -> bool:
        """Whether it is one of the view's axes."""
        return len(self.axes) == 1 and self.axes[0][1:] == (self.length, 1, False)


class _Cut(NamedTuple):
    """What is taken of an axis, and what that becomes."""

    item: int | slice
    parts: tuple[_Part, ...]


def _way(first: Shape, view: _View) -> tuple[Step, ...]:
    """Return steps from an array of shape `first` to a view that is not empty."""
    parts = _parts(first, view)
    shape = tuple(part.length for part in parts)
    steps = [Step("reshape", shape)] if shape != first else []
    while not all(part.is_axis for part in parts):
        cuts = [_cut(part) for part in parts]
        key = tuple(cut.item for cut in cuts)
        if any(item != slice(None) for item in key):
            steps.append(Step("index", key))
        parts = [part for cut in cuts for part in cut.parts]
        if any(len(cut.parts) > 1 for cut in cuts):
            steps.append(Step("reshape", tuple(part.length for part in parts)))
    numbers = [part.axes[0].number for part in parts]
    if numbers != sorted(numbers):
        order = tuple(sorted(range(len(numbers)), key=numbers.__getitem__))
        steps.append(Step("permute_dims", order))
    if len(numbers) < view.ndim:
        new = tuple(slice(None) if i in numbers else None for i in range(view.ndim))
        steps.append(Step("index", new))
    return tuple(steps) or (Step("index", ...),)


def _cut(part: _Part) -> _Cut:
    """Return what is taken of an axis: one element, a range, or rows of it."""
    length, start, axes = part
    if not axes:
        return _Cut(start, ())
    outer, inner, n, stride = _divided(axes)
    if not inner:
        backwards = len(outer) == 1 and outer[0].backwards
        item = _range(start, _Axis(0, n, stride, backwards), length)
        whole = outer if len(outer) > 1 else (outer[0]._replace(backwards=False),)
        return _Cut(item, tuple(_Part(a.length, 0, (a._replace(stride=1),)) for a in whole))
    unit, row, before = _rows(part)
    step = stride // unit // row  # every `step`th row holds the inner axes
    rows = _Axis(0, ((n - 1) * step + 1) * row, unit, backwards=False)
    around = tuple(a._replace(stride=a.stride // unit // row) for a in outer)
    inside = tuple(a._replace(stride=a.stride // unit) for a in inner)
    parts = (_Part(rows.length // row, 0, around), _Part(row, before, inside))
    return _Cut(_range(start - before * unit, rows, length), parts)


def _divided(axes: Sequence[_Axis]) -> tuple[tuple[_Axis, ...], tuple[_Axis, ...], int, int]:
    """Divide axes into the first ones, that are one range, and the rest; describe the range."""
    n, stride = axes[0].length, axes[0].stride
    for i, axis in enumerate(axes[1:], 1):
        if stride != axis.length * axis.stride:
            return tuple(axes[:i]), tuple(axes[i:]), n, stride
        n, stride = n * axis.length, axis.stride
    return tuple(axes), (), n, stride


def _rows(part: _Part) -> tuple[int, int, int]:
    """Return rows in an axis such that each of its inner axes lies in a row.

    They are given by the distance of two elements, the number of elements, and that of the first
    row's elements before the view's beginning. If no rows fit into the axis, some that do not.
    """
    length, start, axes = part
    _, inner, n, stride = _divided(axes)
    for unit in (math.gcd(*(a.stride for a in axes)), 1):
        front, behind, rows = start // unit, (length - 1 - start) // unit, stride // unit
        extent = sum((a.length - 1) * a.stride for a in inner) // unit + 1
        for step in range(1, min(rows // extent, _MOST_STEPS) + 1):
            row = rows // step
            before = max((n - 1) * rows + row - 1 - behind, 0)
            if row * step == rows and before <= min(front, row - extent):
                return unit, row, before
    return 1, stride, 0


_MOST_STEPS = 4096


def _range(start: int, axis: _Axis, length: int) -> slice:
    """Return the elements of an axis as a slice, the whole axis as ``slice(None)``."""
    _, n, step, backwards = axis
    end = start + n * step
    if backwards:
        start, end, step = end - step, start - step, -step
    if (start, end, step) == (0, length, 1):
        return slice(None)
    return slice(start, end if end >= 0 else None, step)


def _parts(first: Shape, view: _View) -> list[_Part]:
    """Return the source's axes, merged where the view needs it, with the view's axes in each."""
    low = _offset(view)
    long: list[_Axis] = []
    short: list[_Axis] = []
    for i, (n, stride) in enumerate(zip(view.shape, view.strides, strict=True)):
        low += min(stride, 0) * (n - 1)
        (long if n > 1 else short).append(_Axis(i, n, abs(stride), stride < 0 and n > 1))
    long.sort(key=lambda axis: -axis.stride)
    lengths = list(first)
    while (at := _crossing(lengths, low, long)) is not None:
        lengths[at : at + 2] = [lengths[at] * lengths[at + 1]]
    parts = []
    for n, stride in _with_strides(lengths):
        own = [a._replace(stride=a.stride // stride) for a in _axes_within(long, n, stride)]
        if not own:  # one element: it may have kept its axis
            kept = [a for a in short if a.stride == stride or stride < a.stride < n * stride][:1]
            own = [a._replace(stride=1) for a in kept]
            short = [a for a in short if a not in kept]
        parts.append(_Part(n, low // stride % n, tuple(own)))
    return parts


def _crossing(lengths: list[int], low: int, axes: list[_Axis]) -> int | None:
    """Return the first of two neighbouring axes that a view runs across; None if there is none."""
    for i, (n, stride) in enumerate(_with_strides(lengths)):
        own = _axes_within(axes, n, stride)
        if low // stride % n + sum((a.length - 1) * a.stride for a in own) // stride >= n:
            return i - 1
        if any(a.stride % stride for a in own):
            return i
    return None


def _with_strides(lengths: list[int]) -> list[tuple[int, int]]:
    return [(n, math.prod(lengths[i + 1 :])) for i, n in enumerate(lengths)]


def _axes_within(axes: list[_Axis], n: int, stride: int) -> list[_Axis]:
    return [a for a in axes if stride <= a.stride < n * stride]
