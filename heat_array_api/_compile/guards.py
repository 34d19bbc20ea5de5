"""Guards: what a call depends on: its arguments, and the variables that its functions refer to.

A compiled function must see every array as an input, also those that it takes from the functions
around it, from its module, or from the object whose method it is. It must be captured anew
when anything else among these changes: a number, a flag, a layout, a dtype.
"""

from __future__ import annotations

import functools
import hashlib
import sysconfig
from collections.abc import Hashable, Iterator
from itertools import islice
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

from .._caching import cached
from .._comm.attribution import PACKAGE
from .._comm.communicator import Communicator
from .._core.array import Array, Device
from .._core.layout import Layout
from .._core.trees import leaves
from .._core.views import relations
from .._options import get_options

_PLAIN = (str, bytes, bool, int, type(None), type(Ellipsis), type(NotImplemented), range)

_CONTAINERS = (tuple, list, set, frozenset, dict, slice)

_FIXED = (
    *(ModuleType, BuiltinFunctionType, type, Layout, Communicator, Device, np.dtype),
    *(torch.dtype, torch.device, np.ufunc, CodeType),
)

# The variables of modules below these paths are not looked at.
_LIBRARIES = tuple(
    path for key, path in sysconfig.get_paths().items() if key in ("stdlib", "purelib", "platlib")
)

_DEEPEST = 12

_MOST_ITEMS = 32
"""Of longer lists among an operation's arguments, the first ones are compared."""


class Environment:
    """The arrays that a call depends on, and a key of everything else that it depends on.

    Parameters
    ----------
    *roots : object
        The function and its arguments.
    holders : list, optional
        The lists and dicts that were found are appended, each with a copy.

    Attributes
    ----------
    arrays : list of Array
        Each array once, in the order found.
    key : tuple
        Equal for calls that differ only in the arrays' values, and equal on all ranks as far as
        their programs are.
    """

    __slots__ = ("_parts", "_seen", "arrays", "holders", "key")

    def __init__(self, *roots: Any, holders: list[Any] | None = None) -> None:
        self.arrays: list[Array] = []
        self.holders = holders
        self._seen: dict[int, int] = {}
        self._parts: list[Hashable] = [*get_options().values()]
        for root in roots:
            self._add(root, 0)
        self._parts.extend(relations(self.arrays))
        self.key = tuple(self._parts)

    def _add(self, value: Any, depth: int) -> None:
        kind = type(value)
        if isinstance(value, Array):
            if not self._known(value):
                self.arrays.append(value)
                t = value._local
                self._parts.append((value._layout, t.dtype, t.device.type))
        elif isinstance(value, _PLAIN):
            self._parts.append((kind, value))
        elif isinstance(value, (float, complex, np.generic)):
            self._parts.append((kind, repr(value)))  # a NaN does not equal itself
        elif isinstance(value, _CONTAINERS):
            self._add_container(value, depth)
        elif isinstance(value, np.ndarray):
            content = hashlib.blake2b(np.ascontiguousarray(value).tobytes()).digest()
            self._parts.append((value.shape, value.dtype, content))
        elif isinstance(value, _FIXED) or depth > _DEEPEST:
            self._parts.append(_as_key(value))
        elif not self._known(value):
            self._add_object(value, depth + 1)

    def _add_container(self, value: Any, depth: int) -> None:
        items: Any = value
        if isinstance(value, dict):
            self._parts.append((type(value), *map(_as_key, value)))
            items = value.values()
        elif isinstance(value, slice):
            self._parts.append(_as_key(slice))
            items = (value.start, value.stop, value.step)
        else:
            self._parts.append((type(value), len(value)))
        if self.holders is not None and isinstance(value, (list, dict)):
            self.holders.append((value, value.copy()))
        for item in items:
            self._add(item, depth)

    def _known(self, value: Any) -> bool:
        """Return whether a value was found before; if so, its number stands for it."""
        number = self._seen.get(id(value))
        if number is None:
            self._seen[id(value)] = len(self._seen)
            return False
        self._parts.append(("again", number))
        return True

    def _add_object(self, value: Any, depth: int) -> None:
        if isinstance(value, FunctionType):
            self._parts.append(value.__code__)
            for item in _variables(value):
                self._add(item, depth)
        elif isinstance(value, MethodType):
            self._add(value.__func__, depth)
            self._add(value.__self__, depth)
        elif isinstance(value, functools.partial):
            for item in (value.func, value.args, value.keywords):
                self._add(item, depth)
        elif hasattr(value, "__wrapped__") and not hasattr(value, "__dict__"):
            self._add(value.__wrapped__, depth)
        else:  # an object of a user's class: its attributes
            attributes = getattr(value, "__dict__", None)
            if attributes is None:
                self._parts.append(_as_key(value))
            else:
                self._parts.append(_as_key(type(value)))
                self._add(attributes, depth)


def common(value: Any) -> str:
    """Return as text what of an argument must be the same on all ranks.

    The layouts of arrays, and plain values; of other objects nothing.
    """
    if isinstance(value, Array):
        return f"array of shape {value._layout.shape}, split {value._layout.split}"
    if isinstance(value, (*_PLAIN, float, complex, np.generic, np.dtype)):
        return repr(value)
    if isinstance(value, slice):
        return f"slice{common((value.start, value.stop, value.step))}"
    if isinstance(value, (tuple, list, dict)):
        items = value.items() if isinstance(value, dict) else value
        return f"({', '.join(map(common, islice(items, _MOST_ITEMS)))})"
    return "..."


def common_of_arrays(result: Any) -> str:
    """Return as text the layouts of the arrays in a result; "" if it has none."""
    arrays = [x for x in leaves(result) if isinstance(x, Array)]
    return common(arrays) if arrays else ""


def _as_key(value: Any) -> Hashable:
    """Return what stands for a value in a key: itself if it is hashable, else its id."""
    try:
        hash(value)
    except TypeError:
        return ("id", id(value))
    key: Hashable = value
    return key


def _names(code: CodeType) -> Iterator[str]:
    """Yield the names that a function's code, and the functions inside it, may look up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


@cached
def _names_of(code: CodeType) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_names(code)))


def _variables(function: FunctionType) -> Iterator[Any]:
    """Yield a function's defaults, and the variables of its module and enclosing functions."""
    yield function.__defaults__
    yield function.__kwdefaults__
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not yet bound
            yield None
    around = function.__globals__
    file = around.get("__file__") or ""
    module = str(function.__module__ or around.get("__name__") or "")  # None in made code (exec)
    if module.partition(".")[0] != PACKAGE and not file.startswith(_LIBRARIES):
        for name in _names_of(function.__code__):
            if name in around:
                yield around[name]
