"""Selections of a variable: which part of it an array is, and which part of that a rank reads."""

from __future__ import annotations

from typing import Any, NamedTuple

from .._keys import Basic, Range, parse_basic
from .._layout import Layout, Shape

__all__ = ["Selection", "select"]


class Selection(NamedTuple):
    """A box of a variable: an item for each of its axes, an integer or a range."""

    items: tuple[int | Range, ...]

    @property
    def shape(self) -> Shape:
        """The shape of the array: integers drop their axes."""
        return tuple(item.length for item in self.items if isinstance(item, Range))

    def along(self, axis: int, first: int, count: int) -> Selection:
        """Return the selection of a part of the array, from `first` on along one of its axes."""
        at = self.source_axis(axis)
        item = self.items[at]
        assert isinstance(item, Range)
        part = Range(item.start + first * item.step, item.step, count)
        return Selection((*self.items[:at], part, *self.items[at + 1 :]))

    def of_rank(self, layout: Layout) -> Selection:
        """Return this rank's part; `layout` is that of the array."""
        if layout.split is None:
            return self
        return self.along(layout.split, layout.start, layout.count)

    def source_axis(self, axis: int) -> int:
        """Return which axis of the variable is an axis of the array."""
        kept = [i for i, item in enumerate(self.items) if isinstance(item, Range)]
        return kept[axis]

    @property
    def slab(self) -> tuple[int | slice, ...]:
        """What to read, in ascending order."""
        return tuple(_as_slice(item) if isinstance(item, Range) else item for item in self.items)

    @property
    def flipped(self) -> tuple[int, ...]:
        """The axes to flip then."""
        ranges = [item for item in self.items if isinstance(item, Range)]
        return tuple(axis for axis, item in enumerate(ranges) if item.step < 0)


def _as_slice(item: Range) -> slice:
    if not item.length:
        return slice(0, 0)
    up = item.ascending
    return slice(
        up.start, up.start + (up.length - 1) * up.step + 1, None if up.step == 1 else up.step
    )


def select(func: str, selection: Any, shape: Shape) -> Selection:
    """Return a selection of a variable: slices, integers and Ellipsis; None is all of it."""
    if selection is None:
        selection = Ellipsis
    try:
        items: tuple[Basic, ...] = parse_basic(selection, shape)
    except (IndexError, TypeError) as error:
        raise type(error)(f"{func}: selection: {error}") from None
    found: list[int | Range] = []
    for item in items:
        if item is None:
            raise TypeError(f"{func}: selection is {selection!r}; expected slices and integers")
        found.append(item)
    return Selection(tuple(found))
