"""Arguments other than arrays: brought to Python's own types, or refused by an error with a name.

Each function takes the called function's and the parameter's name for its error, which is raised
from what every rank has, before any message.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .._errors import shown

# Bytes that no process can address more of.
_ADDRESSABLE = 2**47


def as_flag(func: str, name: str, value: Any) -> bool:
    """Return True or False; 0, 1 and NumPy's booleans are taken, other values raise TypeError."""
    if value is True or value is False:
        return value
    if isinstance(value, np.bool) or (isinstance(value, (int, np.integer)) and value in (0, 1)):
        return bool(value)
    raise TypeError(f"{func}: {name} is {shown(value)}; expected True or False")


def as_int(func: str, name: str, value: Any, least: int | None = None) -> int:
    """Return a Python int; other types raise TypeError, less than `least` raises ValueError."""
    try:
        n = int(operator.index(value))
    except (TypeError, ValueError):
        raise TypeError(f"{func}: {name} is {shown(value)}; expected an int") from None
    if least is not None and n < least:
        wanted = "it must not be negative" if least == 0 else f"expected at least {least}"
        raise ValueError(f"{func}: {name} is {n}; {wanted}")
    return n


def as_real(func: str, name: str, value: Any) -> float:
    """Return a real number as a Python float; texts, complex numbers and the rest raise."""
    if isinstance(value, (str, bytes, bytearray)) or callable(value):
        raise TypeError(f"{func}: {name} is {shown(value)}; expected a real number")
    try:
        return float(value)
    except OverflowError:
        raise OverflowError(f"{func}: {name} is {value}; it does not fit float64") from None
    except (TypeError, ValueError):
        raise TypeError(f"{func}: {name} is {shown(value)}; expected a real number") from None


def as_choice(func: str, name: str, value: Any, choices: Iterable[Any]) -> Any:
    """Return the value if it is one of a few, of one type; else raise ValueError."""
    known = tuple(choices)
    for choice in known:
        if type(value) is type(choice) and value == choice:
            return choice
    *others, last = map(repr, known)
    raise ValueError(f"{func}: {name} is {shown(value)}; expected {', '.join(others)} or {last}")


def as_callable(func: str, name: str, value: Any) -> Callable[..., Any]:
    """Return a callable; other objects raise TypeError."""
    if not callable(value):
        raise TypeError(f"{func}: {name} is {shown(value)}; expected a function")
    return value  # type: ignore[no-any-return]


def check_size(func: str, shape: Sequence[int], ranks: int = 1) -> None:
    """Refuse an array whose share of each rank no machine could address, even of bytes.

    Raises
    ------
    MemoryError
        On every rank, from the global shape. A shard that is only too big for its machine is
        refused where it is allocated (`allocation_error`).
    """
    if math.prod(shape) // ranks >= _ADDRESSABLE:
        raise MemoryError(
            f"{func}: an array of shape {tuple(shape)} on {ranks} rank{'s' * (ranks > 1)} needs "
            "more memory than a machine can address"
        )


def allocation_error(func: str, error: RuntimeError) -> Exception:
    """Return what to raise for torch's error: a MemoryError if a tensor could not be allocated."""
    if "memory" not in str(error):
        return error
    return MemoryError(f"{func}: this rank's part of the result does not fit its memory: {error}")
