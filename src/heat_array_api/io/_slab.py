"""What the readers share: agreement of the ranks on errors, and the walk from file to Array.

A file can fail on one rank alone (a node without the mount, a full memory). Every step
that touches it therefore ends in one small allgather of the ranks' errors, so that an
error is raised on all of them or on none.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from .._array import Array
from .._comm import Communicator, as_communicator
from .._conversion import Split, local_device, new_layout
from .._dtypes import COMPLEX, TO_TORCH, to_numpy_dtype, to_torch_dtype
from .._layout import Layout, Shape

__all__ = ["Source", "attempt", "load", "members", "missing_package"]

T = TypeVar("T")


class Source(Protocol):
    """An open variable of a file: what `load` asks of a reader."""

    @property
    def shape(self) -> Shape:
        """The global shape."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values where the caller asks for none; of the file's metadata alone."""

    def read(self, slab: tuple[slice, ...], dtype: np.dtype[Any] | None) -> np.ndarray[Any, Any]:
        """Return the values of a slab, which the caller then converts to `dtype`."""


def attempt(
    func: str,
    comm: Communicator,
    step: Callable[[], T],
    same: Callable[[T], object] = lambda result: None,
) -> T:
    """Run `step` on every rank; if it fails on any, raise one and the same error on all.

    Parameters
    ----------
    func : str
        The public function on whose behalf this is done, for the message.
    comm : Communicator
        Whose ranks must agree.
    step : callable
        Takes nothing, must not communicate.
    same : callable, optional
        What of the result must be equal on all ranks (metadata, picklable).

    Returns
    -------
    object
        This rank's result of `step`.

    Notes
    -----
    Messages: one small allgather.

    Raises
    ------
    Exception
        The error of the lowest rank that has one, of its type where that is a builtin,
        else a RuntimeError.
    """
    cause: Exception | None = None
    try:
        result = step()
        report: tuple[str, str, object] = ("", "", same(result))
    except Exception as error:
        cause = error
        report = (type(error).__name__, _text(error), None)
    reports = comm.allgather_object(report)
    failed = [rank for rank, (kind, _, _) in enumerate(reports) if kind]
    if failed:
        kind, text, _ = reports[failed[0]]
        where = "" if len(failed) == comm.size else f" (on rank {_listed(failed)} of {comm.size})"
        raise _error_type(kind)(f"{func}: {text}{where}") from cause
    if any(other[2] != reports[0][2] for other in reports):
        seen = "; ".join(f"rank {rank}: {other[2]}" for rank, other in enumerate(reports))
        raise RuntimeError(f"{func}: the ranks see different files: {seen}")
    return result


def _text(error: Exception) -> str:
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # str(KeyError) is the repr of its argument
    return str(error) or type(error).__name__


def _listed(ranks: list[int]) -> str:
    return ", ".join(map(str, ranks))


def _error_type(name: str) -> type[Exception]:
    found = getattr(builtins, name, None)
    if not isinstance(found, type) or not issubclass(found, Exception):
        return RuntimeError
    # Their constructors want more than a message.
    return ValueError if issubclass(found, UnicodeError) else found


def missing_package(package: str, extra: str) -> ImportError:
    """Return the error that tells how to get an optional package."""
    return ImportError(f'needs {package}; install it with: pip install "heat_array_api[{extra}]"')


def members(kind: str, names: list[str]) -> str:
    """Return ", it has <kind> a, b, c" for the message of a missing name."""
    shown = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
    return f"it has the {kind} {shown}" if names else f"it has no {kind}"


def load(
    func: str,
    open_source: Callable[[str], AbstractContextManager[Source]],
    path: str | os.PathLike[str],
    split: Split,
    dtype: Any,
    device: Any,
    comm: Any,
) -> Array:
    """Open a source on every rank, read this rank's slab of it, and make the Array.

    Messages: two small allgathers, of what opening and reading came to.
    """
    comm = as_communicator(comm)
    target = None if dtype is None else to_torch_dtype(dtype, func)
    name = os.fspath(path)
    with ExitStack() as stack:

        def opened() -> tuple[Source, torch.device]:
            return stack.enter_context(open_source(name)), local_device(func, device, comm)

        source, place = attempt(
            func, comm, opened, lambda result: (result[0].shape, str(result[0].dtype))
        )
        found = TO_TORCH.get(source.dtype)
        if found is None:
            raise TypeError(f"{func}: {name!r} holds values of {source.dtype}, which no array can")
        target = found if target is None else target
        if found in COMPLEX.all and target not in COMPLEX.all:
            raise TypeError(f"{func}: dtype is {dtype}, but {name!r} holds {source.dtype}")
        layout = new_layout(func, source.shape, split, comm)
        local = attempt(func, comm, lambda: _read(source, layout, target).to(place))
    return Array(local, layout)


def _read(source: Source, layout: Layout, dtype: torch.dtype) -> Tensor:
    """Return this rank's slab as a tensor of `dtype`."""
    slab = [slice(0, n) for n in layout.shape]
    if layout.split is not None:
        slab[layout.split] = slice(layout.start, layout.start + layout.count)
    # NumPy has no bfloat16 of its own: read as float32, and let torch round.
    wanted = np.dtype("float32") if dtype is torch.bfloat16 else to_numpy_dtype(dtype)
    if 0 in layout.local_shape:  # not every library reads nothing
        values = np.empty(layout.local_shape, wanted)
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            values = source.read(tuple(slab), wanted).astype(wanted, order="C", copy=False)
    if not values.flags.writeable:
        values = values.copy()
    return torch.from_numpy(values).to(dtype)
