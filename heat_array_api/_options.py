"""Process-wide options: default split and dtype, implicit gathers, caches, the end of a program.

Options are part of the program, so every rank must set the same values; nothing
is communicated.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Final

import numpy as np


class Unset:
    """Type of the default of ``split=``: the caller passed nothing (None means replicated)."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<default split>"


UNSET: Final = Unset()


def _split_from_environment() -> int | None:
    text = os.environ.get("HEAT_ARRAY_API_SPLIT", "").strip()
    if text.lower() in ("", "none"):
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f"HEAT_ARRAY_API_SPLIT is {text!r}; expected an axis number or 'None'"
        ) from None


_values: dict[str, Any] = {
    "default_split": _split_from_environment(),
    "default_dtype": np.dtype("float64"),
    "on_gather": "warn",
    "gather_limit": 64 * 2**20,
    "cache_limit": 64 * 2**20,
    "exit_patience": 10.0,
    "exit_grace": 5.0,
    "tracebacks": "short",
}


def _checked(name: str, value: Any) -> Any:
    if name == "default_split":
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise TypeError(f"set_options: default_split is {value!r}; expected an int or None")
        return value
    if name == "default_dtype":
        dtype = np.dtype(value)
        if dtype not in (np.dtype("float32"), np.dtype("float64")):
            raise ValueError(f"set_options: default_dtype is {dtype}; expected float32 or float64")
        return dtype
    if name == "on_gather":
        if value not in ("allow", "warn", "error"):
            raise ValueError(
                f"set_options: on_gather is {value!r}; expected 'allow', 'warn' or 'error'"
            )
        return value
    if name in ("gather_limit", "cache_limit"):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(
                f"set_options: {name} is {value!r}; expected a number of bytes, an int >= 0"
            )
        return value
    if name in ("exit_patience", "exit_grace"):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
            raise ValueError(
                f"set_options: {name} is {value!r}; expected seconds, a number >= 0 (or inf)"
            )
        return float(value)
    if name == "tracebacks":
        if value not in ("short", "full"):
            raise ValueError(f"set_options: tracebacks is {value!r}; expected 'short' or 'full'")
        return value
    raise TypeError(f"set_options: unknown option {name!r}; known options: {', '.join(_values)}")


class set_options:
    """Set options, for good or for the length of a ``with`` block.

    Parameters
    ----------
    default_split : int or None
        The axis along which creation functions split an array when their caller passes
        no ``split``. Negative axes count from the end; an axis beyond the array's rank
        is clipped to it. 0-d arrays are always replicated. Initially the environment's
        ``HEAT_ARRAY_API_SPLIT``, else None (replicated).
    default_dtype : dtype
        The real floating-point dtype of creation functions: ``float64`` (initially) or
        ``float32``.
    on_gather : {"allow", "warn", "error"}
        What happens where code outside the package asks for the whole of a split array of more than
        `gather_limit` bytes (``np.asarray(x)``, DLPack export, ``x.tolist()``): nothing; a
        `GatherWarning`, once for each source line (initially); a `GatherError` on every rank,
        before any message.
    gather_limit : int
        In bytes; initially 64 MiB.
    cache_limit : int
        The bytes that layouts and plans may take on each rank which are remembered for operations
        that come again; initially 64 MiB. A greater limit pays where thousands of
        ranks compute with arrays of ever new sizes.
    exit_patience : float
        Seconds (initially 10) after which a rank that has ended looks for ranks that wait for it in
        vain, inside a collective that it never called. These are named on standard error.
    exit_grace : float
        Seconds (initially 5) from then to the end of the whole job; infinity never ends it. A rank
        that has called ``sys.exit`` with an error has this patience instead, and then no grace.
    tracebacks : {"short", "full"}
        Whether the traceback of an uncaught exception, on several ranks, leaves out the frames of
        the library (initially), or shows all.

    Notes
    -----
    Sends nothing. Every rank must set the same values.

    Examples
    --------
    >>> with xp.set_options(default_split=0):
    ...     x = xp.zeros((10, 3))
    >>> x.split
    0
    """

    def __init__(self, **options: Any) -> None:
        checked = {name: _checked(name, value) for name, value in options.items()}
        self._previous = {name: _values[name] for name in checked}
        _values.update(checked)

    def __enter__(self) -> set_options:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _values.update(self._previous)


def get_options() -> dict[str, Any]:
    """Return the options in force.

    Returns
    -------
    dict
        A copy, by the names that `set_options` takes. Sends nothing.

    Examples
    --------
    >>> xp.get_options()["on_gather"]
    'warn'
    """
    return dict(_values)


def default_split(ndim: int) -> int | None:
    """Return the default split axis of an array of `ndim` axes, or None."""
    axis: int | None = _values["default_split"]
    if axis is None or ndim == 0:
        return None
    return max(axis + ndim, 0) if axis < 0 else min(axis, ndim - 1)


def default_dtype() -> np.dtype[Any]:
    """Return the default real floating-point dtype."""
    dtype: np.dtype[Any] = _values["default_dtype"]
    return dtype


def exit_limits() -> tuple[float, float]:
    """Return `exit_patience` and `exit_grace`."""
    return _values["exit_patience"], _values["exit_grace"]


def full_tracebacks() -> bool:
    """Return whether uncaught exceptions are shown with the library's frames."""
    return bool(_values["tracebacks"] == "full")


def gather_policy() -> tuple[str, int]:
    """Return `on_gather` and `gather_limit`."""
    return _values["on_gather"], _values["gather_limit"]


def cache_limit() -> int:
    """Return `cache_limit`."""
    limit: int = _values["cache_limit"]
    return limit
