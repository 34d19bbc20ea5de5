"""Undoing: give arrays, lists and dicts back what they held before a call."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from .._core.array import Array
from .._core.views import note_write


class Before:
    """The state of arrays before a call, to which they may have to return."""

    def __init__(self, arrays: Sequence[Array]) -> None:
        self._arrays = [_Before(x) for x in _with_sources(arrays)]

    def restore(self) -> None:
        """Give all arrays what they had before the call."""
        for one in self._arrays:
            one.restore()


class _Before:
    """One array's state before a call."""

    def __init__(self, x: Array) -> None:
        self._x = x
        self._local = x._local
        self._layout = x._layout
        self._link = getattr(x, "_link", None)
        # With a second owner of its memory, in-place operators write into a copy.
        self._owner = x._local.detach()

    def restore(self) -> None:
        x = self._x
        x._local, x._layout = self._local, self._layout
        if self._link is not None:
            x._link = self._link
        note_write(x)


def _with_sources(arrays: Sequence[Array]) -> list[Array]:
    """Return arrays, and the sources of those that are views."""
    found = {id(x): x for x in arrays}
    for x in arrays:
        while (link := getattr(x, "_link", None)) is not None:
            x = link.source
            found[id(x)] = x
    return list(found.values())


def put_back(holders: list[Any]) -> bool:
    """Give lists and dicts back their items; return whether they still had them."""
    same = True
    for value, items in holders:
        if isinstance(value, list):
            if len(value) != len(items) or any(map(operator.is_not, value, items)):
                value[:] = items
                same = False
        elif value.keys() != items.keys() or any(value[k] is not items[k] for k in items):
            value.clear()
            value.update(items)
            same = False
    return same
