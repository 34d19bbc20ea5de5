"""Interception: see every read and write of an array's shard while a subgraph is recorded.

Any array that a function can reach may take part in a subgraph, also arrays made meanwhile, and
those in objects that no search finds; so the class is the only place to see them all. This module
is the only one that changes it: `Array._local`, a slot, is a property while `intercepted` blocks
are entered in some thread, and a slot again after the last of them, so that eager access pays
nothing. Other threads reach through to the slot.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

from .._core.array import SLOT, Array

Read = Callable[[Array], Tensor]

Write = Callable[[Array, Tensor], None]


class _Blocks(threading.local):
    """The blocks that this thread is in, innermost last."""

    def __init__(self) -> None:
        self.entered: list[tuple[Read, Write]] = []


_blocks = _Blocks()

_lock = threading.Lock()

_count = 0
"""The number of blocks in all threads."""


def _read(x: Array) -> Tensor:
    read = _blocks.entered[-1][0] if _blocks.entered else SLOT.__get__
    t: Tensor = read(x)
    return t


def _write(x: Array, t: Tensor) -> None:
    write = _blocks.entered[-1][1] if _blocks.entered else SLOT.__set__
    write(x, t)


_PROPERTY = property(_read, _write)


@contextmanager
def intercepted(read: Read, write: Write) -> Iterator[None]:
    """Call `read` and `write` for every access to ``x._local`` in this thread within a block."""
    _change_count(1)
    _blocks.entered.append((read, write))
    try:
        yield
    finally:
        _blocks.entered.pop()
        _change_count(-1)


def _change_count(by: int) -> None:
    global _count
    with _lock:
        _count += by
        setattr(Array, "_local", _PROPERTY if _count else SLOT)  # noqa: B010
