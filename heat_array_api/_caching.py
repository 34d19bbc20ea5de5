"""Caches of what follows from metadata alone: layouts and plans, within one limit of bytes.

At thousands of ranks a layout's counts weigh 100 kB and more, so that a number of entries says
little about memory. All caches of the package together hold at most `cache_limit` bytes
(`set_options`); when a new entry would exceed it, all are emptied. Hits are those of
`functools.cache`, in C: only a new entry is weighed.

Ranks may empty their caches at different times, as their own plans weigh. So only pure functions
of metadata are cached: whether a result was remembered must not show, in the messages least of all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache, update_wrapper
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from ._options import cache_limit

_Function = TypeVar("_Function", bound=Callable[..., Any])

_ENTRY = 300  # a slot in the table, the key's tuple, and a share of `_weighed`
_INT = 32
_EMPTY = sys.getsizeof(())
_LONG = 8  # the least length of a tuple that is worth being weighed once only

_SIZES: dict[type, Any] = {int: _INT}
_caches: list[Any] = []
_clearing: list[Callable[[], None]] = []
_weighed: set[int] = set()  # ids of what caches hold, and so of what lives until they are emptied
_used = 0


class CacheInfo(NamedTuple):
    """What the caches hold.

    Attributes
    ----------
    entries : int
        The number of results.
    nbytes : int
        What they weigh, with their arguments; what several of them share counts once.
    limit : int
        The greatest weight: the option `cache_limit`.
    """

    entries: int
    nbytes: int
    limit: int


def cached(function: _Function) -> _Function:
    """Return a function that remembers its results, as far as the limit of all caches allows.

    Parameters
    ----------
    function : callable
        Of hashable arguments, all passed by position; without side effects. Its results never
        change.

    Returns
    -------
    callable
        A `functools.cache` of it, whose errors are not remembered.
    """

    def computed(*args: Any) -> Any:
        global _used
        result = function(*args)
        _used += _weight(args, result)
        if _used > cache_limit():
            clear_caches()
            _used = _weight(args, result)
        return result

    remembering: Any = update_wrapper(cache(computed), function)
    _caches.append(remembering)
    _clearing.append(remembering.cache_clear)
    return remembering  # type: ignore[no-any-return]


def clear_caches() -> None:
    """Forget all results: when the limit is reached, or what they refer to has been freed."""
    global _used
    for clear in _clearing:
        clear()
    _weighed.clear()
    _used = 0


def when_cleared(function: Callable[[], None]) -> Callable[[], None]:
    """Have a function called each time when the caches have been emptied."""
    _clearing.append(function)
    return function


def cache_info() -> CacheInfo:
    """Return how much the caches hold."""
    return CacheInfo(sum(c.cache_info().currsize for c in _caches), _used, cache_limit())


def _weight(args: tuple[Any, ...], result: Any) -> int:
    """Return the bytes that an entry keeps in memory and that have not been counted before.

    Tuples and dataclasses are followed. Another class whose objects refer to much says so by
    ``__sizeof__``.
    """
    nbytes = _ENTRY
    pending = [*args, result]
    for value in pending:
        kind = type(value)
        try:
            size = _SIZES[kind]
        except KeyError:
            size = _size_of(kind)
        if type(size) is int:
            nbytes += size
        elif id(value) in _weighed:
            continue
        elif size is len:
            n = len(value)
            nbytes += _EMPTY + 8 * n
            if n >= _LONG:
                _weighed.add(id(value))
                if set(map(type, value)) == {int}:
                    nbytes += _INT * n
                    continue
            pending += value
        elif size is None:
            nbytes += sys.getsizeof(value)
        else:
            _weighed.add(id(value))
            found = size(value)
            nbytes += _EMPTY + 8 * len(found)
            pending += found
    return nbytes


def _size_of(kind: type) -> Any:
    """Return how to weigh objects of a type, which `_SIZES` remembers.

    The bytes, if all have the same; a function that returns what a dataclass refers to; `len` for
    tuples; None for what `sys.getsizeof` must be asked.
    """
    size: Any = None
    if issubclass(kind, tuple):
        size = len
    elif is_dataclass(kind):
        size = attrgetter(*(field.name for field in fields(kind)), "__class__")  # always a tuple
    elif kind.__sizeof__ is object.__sizeof__ and not kind.__itemsize__:
        size = kind.__basicsize__
    _SIZES[kind] = size
    return size
