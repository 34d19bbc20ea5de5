"""Tables of numbers as text (CSV): each rank parses and writes its share of the lines."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from .._comm.communicator import Communicator, as_communicator
from .._comm.division import Division
from .._comm.recording import breaks
from .._comm.trace import note
from .._core.arguments import as_int
from .._core.array import Array
from .._core.collectives import divided
from .._core.dtypes import to_numpy_dtype, to_torch_dtype
from .._core.layout import Layout, as_ints
from .._core.redistribute import redistribute
from .._creation import Split, device_kind, local_device, new_layout
from .._errors import shown
from .._options import UNSET
from ._agreement import at_root, attempt
from ._agreement import progress as bar
from ._arguments import as_array, documented, path_of, progress_of, text_of
from ._atomic import replacing
from ._write import as_numpy

BLOCK = 1 << 12
"""Rows converted to Python numbers, and to text, at once."""


@breaks
@documented
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
    """Load a table of numbers from a text file, each rank only its share of the lines.

    Parameters
    ----------
    {source}
    {split}
    dtype : dtype, optional
        The dtype of the numbers; float64 by default.
    {device}
    {comm}
    delimiter : str
        The text between two numbers; None: any white space.
    skip_lines : int
        The number of lines to skip at the beginning, such as column names.
    comments : str, optional
        The text that begins a comment; None: the file has no comments.
    columns : tuple of int, optional
        The columns to keep; by default all.
    {progress}

    Returns
    -------
    Array
        Shape ``(rows, columns)``, split evenly along `split`. A rank parses the lines that begin
        in its share of the bytes. Messages: three small allgathers, and one all-to-all (or
        allgather) that balances the rows.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read, or a line is not a row of numbers. On all ranks.

    Examples
    --------
    >>> xp.io.save_csv(xp.reshape(xp.arange(4, split=0), (2, 2)), "a.csv", header="a,b")
    >>> print(xp.io.load_csv("a.csv", split=0, skip_lines=1, dtype=xp.int64))
    [[0 1]
     [2 3]]
    """
    func = "load_csv"
    comm = as_communicator("load_csv", comm)
    target = torch.float64 if dtype is None else to_torch_dtype(dtype, func)
    wanted = np.dtype("float32") if target is torch.bfloat16 else to_numpy_dtype(target)
    name = path_of(func, path)
    skip_lines = as_int(func, "skip_lines", skip_lines, least=0)
    progress = progress_of(func, progress)
    device_kind(func, device)
    if delimiter is not None:
        text_of(func, "delimiter", delimiter, "one character, or None", longest=1)
        _check_delimiter(func, delimiter)
    if comments is not None:
        text_of(func, "comments", comments, "a text, or None")
    if columns is not None:
        columns = as_ints(func, "columns", columns)
    begin, end = at_root(func, comm, lambda: _bytes_of_rows(name, skip_lines))

    def read() -> tuple[torch.Tensor, torch.device]:
        lines = _own_lines(name, begin, end, comm, advance)
        values = _numbers(lines, wanted, delimiter, comments, columns)
        return torch.from_numpy(values).to(target), local_device(func, device, comm)

    with bar(func, end - begin, comm, progress) as advance:
        local, place = attempt(func, comm, read)
    shapes = comm.allgather_ints(tuple(local.shape))
    widths = sorted({int(width) for width in shapes[shapes[:, 0] > 0, 1]})
    if len(widths) > 1:
        raise ValueError(f"{func}: {name!r} has rows of {widths} numbers; expected equal lengths")
    width = widths[0] if widths else 0
    rows = Division.of(shapes[:, 0])
    found = Layout.of((rows.total, width), 0, rows, comm)
    x = Array(local.reshape(found.local_shape).to(place), found)
    return redistribute(x, new_layout(func, x.shape, split, comm))


def _numbers(
    lines: Iterator[str],
    dtype: np.dtype[Any],
    delimiter: str,
    comments: str | None,
    columns: tuple[int, ...] | None,
) -> np.ndarray[Any, Any]:
    """Parse lines of text into rows of numbers."""
    mark = "\n" if comments is None else comments
    rows = (line for line in lines if line.partition(mark)[0].strip())
    first = next(rows, None)
    if first is None:
        return np.empty((0, 0), dtype)
    lines = itertools.chain([first], rows)
    return np.loadtxt(
        lines, dtype=dtype, delimiter=delimiter, comments=comments, usecols=columns, ndmin=2
    )


def _bytes_of_rows(name: str, skipped: int) -> tuple[int, int]:
    """Return the offsets at which the first row begins and the last one ends."""
    with open(name, "rb") as file:
        for _ in range(skipped):
            if not file.readline():
                break  # the file has fewer lines
        return file.tell(), os.fstat(file.fileno()).st_size


def _own_lines(
    name: str, begin: int, end: int, comm: Communicator, advance: Callable[[int], object]
) -> Iterator[str]:
    """Yield the lines that begin in this rank's share of the bytes from `begin` to `end`."""
    size = end - begin
    at, end = (begin + size * r // comm.size for r in (comm.rank, comm.rank + 1))
    with open(name, "rb") as file:
        if at > begin:  # a line that began before this share belongs to the previous rank
            file.seek(at - 1)
            file.readline()
            at = file.tell()
        file.seek(at)
        while at < end and (line := file.readline()):
            at += len(line)
            advance(len(line))
            yield line.decode()


@breaks
@documented
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
        Any layout; real or boolean (as 0 and 1). One row a line; a single axis is one column.
    {target}
    delimiter : str
        The text between two numbers.
    header : str, optional
        A first line.
    format : str, optional
        The format of a number for Python's ``%``; by default all digits needed to restore it.
    {saving}

    Notes
    -----
    A rank holds the text of its rows. Messages: small allgathers, and one all-to-all if the array
    is not split evenly along axis 0.

    Examples
    --------
    >>> xp.io.save_csv(xp.asarray([[1.5, 2.0], [3.0, 4.0]], split=0), "a.csv", delimiter=" ")
    >>> print(np.loadtxt("a.csv"))
    [[1.5 2. ]
     [3.  4. ]]
    """
    func = "save_csv"
    x = as_array(func, x)
    path, progress = path_of(func, path), progress_of(func, progress)
    if x.ndim not in (1, 2) or x._local.is_complex():
        raise TypeError(f"{func}: x has shape {x.shape} and dtype {x.dtype}; expected a real table")
    _check_delimiter(func, text_of(func, "delimiter", delimiter, "a text"))
    if header is not None and not isinstance(header, str):
        raise TypeError(f"{func}: header is {shown(header)}; expected a str")
    _check_format(func, format, x)
    rows = redistribute(x, x._layout.split_along(0))
    data = attempt(func, x.comm, lambda: _as_text(as_numpy(rows._local), delimiter, format))
    if header is not None and x.comm.rank == 0:
        data = f"{header}\n".encode() + data
    sizes = divided(len(data), x.comm)
    offset, _ = sizes.interval(x.comm.rank)

    def write(path: str) -> None:
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    note("io: text", len(data))
    with (
        replacing(func, x.comm, path) as unfinished,
        bar(func, sizes.total, x.comm, progress) as advance,
    ):
        attempt(func, x.comm, lambda: write(unfinished))
        advance(len(data))


def _check_delimiter(func: str, delimiter: str) -> None:
    if not {"\n", "\r"}.isdisjoint(delimiter):
        raise ValueError(f"{func}: delimiter is {delimiter!r}; expected one that ends no line")


def _check_format(func: str, form: str | None, x: Array) -> None:
    """Raise unless a text formats a number of the dtype of `x` by Python's ``%``."""
    if form is None:
        return
    expected = "a format of one number for Python's %, such as '%.6g'"
    text_of(func, "format", form, expected)
    try:
        form % (1.0 if x._local.is_floating_point() else 1)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{func}: format is {form!r} ({error}); expected {expected}") from None


def _as_text(values: np.ndarray[Any, Any], delimiter: str, form: str | None) -> bytes:
    show: Callable[[Any], str] = repr if form is None else (lambda number: form % number)
    table = values if values.ndim == 2 else values[:, None]  # -1 fits no array of no rows
    text = io.BytesIO()
    for first in range(0, len(table), BLOCK):
        for row in _as_numbers(table[first : first + BLOCK]):
            text.write((delimiter.join(map(show, row)) + "\n").encode())
    return text.getvalue()


def _as_numbers(table: np.ndarray[Any, Any]) -> list[list[Any]]:
    """Return Python numbers whose `repr` has only the digits that the dtype needs."""
    if table.dtype.kind == "b":
        table = table.astype(np.int8)
    if table.dtype.kind == "f" and table.dtype != np.float64:
        return [[float(str(v)) for v in row] for row in table]
    rows: list[list[Any]] = table.tolist()
    return rows
