"""Tables of numbers as text: each rank reads the lines of its part, and writes its own."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from .._comm.communicator import Communicator, as_communicator
from .._comm.recording import breaks
from .._comm.trace import note
from .._core.array import Array
from .._core.dtypes import to_numpy_dtype, to_torch_dtype
from .._core.layout import Layout, normalize_axis
from .._core.redistribute import redistribute
from .._creation import Split, local_device
from .._options import UNSET, Unset, default_split
from ._agreement import at_root, attempt
from ._agreement import progress as bar
from ._atomic import replacing
from ._save_arguments import as_array
from ._write import as_numpy

__all__ = ["load_csv", "save_csv"]


BLOCK = 1 << 12
"""Rows that are turned into Python's numbers at once, on their way into text."""


@breaks
def load_csv(
    path: str | os.PathLike[str],
    *,
    split: Split = UNSET,
    dtype: Any = None,
    device: Any = None,
    comm: Any = None,
    delimiter: str = ",",
    skip_lines: int = 0,
    comments: str | None = "#",
    columns: tuple[int, ...] | None = None,
    progress: bool | None = None,
) -> Array:
    """Load a table of numbers from a text file, each rank only the lines of its part.

    Parameters
    ----------
    path : str or path-like
        The file; every rank must be able to read it. One row a line; empty lines do not count.
    split : int or None, optional
        The axis along which the table is split evenly; None: every rank has all of it.
        The default split if not given (see `set_options`).
    dtype : dtype, optional
        Of the numbers; float64 by default.
    device : Device or str, optional
        "cpu" or "cuda".
    comm : Communicator or mpi4py communicator, optional
        The ranks that hold the array; the world by default.
    delimiter : str
        What stands between two numbers.
    skip_lines : int
        Lines at the beginning that are no rows, such as the columns' names.
    comments : str, optional
        What begins a comment; None: there are none.
    columns : tuple of int, optional
        Which columns to keep; default: all.
    progress : bool, optional
        Whether rank 0 shows a bar; by default for much text on a terminal.

    Returns
    -------
    Array
        Shape ``(rows, columns)``.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read, or a line is no row of numbers. On all ranks.

    Notes
    -----
    A rank reads the lines that begin in its share of the bytes. Messages: three small allgathers,
    and an all-to-all (allgather) that balances the rows.
    """
    func = "load_csv"
    comm = as_communicator(comm)
    target = torch.float64 if dtype is None else to_torch_dtype(dtype, func)
    wanted = np.dtype("float32") if target is torch.bfloat16 else to_numpy_dtype(target)
    name = os.fspath(path)
    begin, end = at_root(func, comm, lambda: _bytes_of_rows(name, skip_lines))

    def read() -> tuple[torch.Tensor, torch.device]:
        lines = _own_lines(name, begin, end, comm, advance)
        values = _numbers(lines, wanted, delimiter, comments, columns)
        return torch.from_numpy(values).to(target), local_device(func, device, comm)

    with bar(func, end - begin, comm, progress) as advance:
        local, place = attempt(func, comm, read)
    shapes = comm.allgather_ints(tuple(local.shape))
    widths = sorted({width for rows, width in shapes if rows})
    if len(widths) > 1:
        raise ValueError(f"{func}: {name!r} has rows of {widths} numbers")
    width = widths[0] if widths else 0
    counts = tuple(rows for rows, _ in shapes)
    found = Layout.of((sum(counts), width), 0, counts, comm)
    x = Array(local.reshape(counts[comm.rank], width).to(place), found)
    return redistribute(x, found.split_along(_axis(func, split)))


def _axis(func: str, split: Split) -> int | None:
    if isinstance(split, Unset):
        return default_split(2)
    return None if split is None else normalize_axis(func, split, 2, "split")


def _numbers(
    lines: Iterator[str],
    dtype: np.dtype[Any],
    delimiter: str,
    comments: str | None,
    columns: tuple[int, ...] | None,
) -> np.ndarray[Any, Any]:
    """Return the rows of numbers that lines of text hold."""
    rows = (line for line in lines if _is_row(line, comments))
    first = next(rows, None)
    if first is None:
        return np.empty((0, 0), dtype)
    return np.loadtxt(
        itertools.chain([first], rows),
        dtype=dtype,
        delimiter=delimiter,
        comments=comments,
        usecols=columns,
        ndmin=2,
    )


def _is_row(line: str, comments: str | None) -> bool:
    text = line if comments is None else line.split(comments, 1)[0]
    return bool(text.strip())


def _bytes_of_rows(name: str, skipped: int) -> tuple[int, int]:
    """Return where the first row begins and the last one ends."""
    with open(name, "rb") as file:
        for _ in range(skipped):
            file.readline()
        return file.tell(), os.fstat(file.fileno()).st_size


def _own_lines(
    name: str, begin: int, end: int, comm: Communicator, advance: Callable[[int], object]
) -> Iterator[str]:
    """Yield the lines that begin in this rank's share of the bytes from `begin` to `end`."""
    size = end - begin
    at, end = (begin + size * r // comm.size for r in (comm.rank, comm.rank + 1))
    with open(name, "rb") as file:
        if at > begin:  # the line that the share begins in belongs to the rank before
            file.seek(at - 1)
            file.readline()
            at = file.tell()
        file.seek(at)
        while at < end and (line := file.readline()):
            at += len(line)
            advance(len(line))
            yield line.decode()


@breaks
def save_csv(
    x: Array,
    path: str | os.PathLike[str],
    *,
    delimiter: str = ",",
    header: str | None = None,
    format: str | None = None,
    progress: bool | None = None,
) -> None:
    """Save an array of one or two axes as text, each rank its own rows.

    Parameters
    ----------
    x : Array
        Any layout; real or boolean (as 0 and 1). One row a line; of one axis one number a line.
    path : str or path-like
        The file, which takes this name once it is whole.
    delimiter : str
        What stands between two numbers.
    header : str, optional
        A first line.
    format : str, optional
        Of a number, as Python's ``%``; by default all digits that bring it back exactly.
    progress : bool, optional
        Whether rank 0 shows a bar; by default for much data on a terminal.

    Notes
    -----
    A rank holds the text of its rows. Messages: small allgathers; an all-to-all of an array that is
    not split evenly along axis 0.
    """
    func = "save_csv"
    x = as_array(func, x)
    if x.ndim not in (1, 2) or x._local.is_complex():
        raise TypeError(
            f"{func}: an array of shape {x.shape} and dtype {x.dtype}; expected a real table"
        )
    rows = redistribute(x, x._layout.split_along(0))
    data = attempt(func, x.comm, lambda: _as_text(as_numpy(rows._local), delimiter, format))
    if header is not None and x.comm.rank == 0:
        data = f"{header}\n".encode() + data
    sizes = [size for (size,) in x.comm.allgather_ints((len(data),))]
    offset = sum(sizes[: x.comm.rank])

    def write(path: str) -> None:
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    note("io: text", len(data))
    with (
        replacing(func, x.comm, path) as unfinished,
        bar(func, sum(sizes), x.comm, progress) as advance,
    ):
        attempt(func, x.comm, lambda: write(unfinished))
        advance(len(data))


def _as_text(values: np.ndarray[Any, Any], delimiter: str, form: str | None) -> bytes:
    show: Callable[[Any], str] = repr if form is None else (lambda number: form % number)
    table = values.reshape(len(values), -1)
    text = io.BytesIO()
    for first in range(0, len(table), BLOCK):
        for row in _as_numbers(table[first : first + BLOCK]):
            text.write((delimiter.join(map(show, row)) + "\n").encode())
    return text.getvalue()


def _as_numbers(table: np.ndarray[Any, Any]) -> list[list[Any]]:
    """Return Python's numbers, of which `repr` has no more digits than the dtype needs."""
    if table.dtype.kind == "b":
        table = table.astype(np.int8)
    if table.dtype.kind == "f" and table.dtype != np.float64:
        return [[float(str(v)) for v in row] for row in table]
    rows: list[list[Any]] = table.tolist()
    return rows
