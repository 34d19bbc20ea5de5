"""NumPy's npy files: a header, then the values as consecutive bytes."""

from __future__ import annotations

import io
import math
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from .._comm.recording import breaks
from .._comm.trace import note
from .._core.array import Array
from .._core.layout import Shape
from .._creation import Split
from .._options import UNSET
from ._agreement import at_root
from ._agreement import progress as bar
from ._arguments import ReadOptions, as_array, documented, path_of, progress_of
from ._atomic import replacing
from ._read import Slab, Source, load
from ._write import write_at


class Header(NamedTuple):
    """The header of a file, and the offset at which the values begin."""

    shape: Shape
    fortran_order: bool
    dtype: np.dtype[Any]
    offset: int


def read_header(path: str) -> Header:
    """Return the header of a file; raise if the file is too short for its values."""
    with open(path, "rb") as file:
        version = npy_format.read_magic(file)
        read = (
            npy_format.read_array_header_1_0
            if version == (1, 0)
            else npy_format.read_array_header_2_0
        )
        shape, fortran_order, dtype = read(file)
        offset = file.tell()
    if dtype.hasobject:
        raise ValueError(f"{path!r} holds Python objects (a pickle), which are never loaded")
    needed = offset + math.prod(shape) * dtype.itemsize
    length = os.path.getsize(path)
    if length < needed:
        raise ValueError(f"{path!r} is cut short: {length} bytes; its header needs {needed}")
    return Header(tuple(shape), fortran_order, dtype, offset)


@breaks
@documented
def load_npy(
    path: str | os.PathLike[str],
    *,
    split: Split = UNSET,
    dtype: Any = None,
    device: Any = None,
    comm: Any = None,
    selection: Any = None,
    progress: bool | None = None,
) -> Array:
    """Load an npy file, each rank only its own shard. Pickled objects are refused.

    Parameters
    ----------
    {source}
    {reading}
    ValueError
        If the file is cut short, or holds Python objects (a pickle).

    Examples
    --------
    >>> xp.io.save_npy(xp.arange(6, split=0), "a.npy")
    >>> x = xp.io.load_npy("a.npy", split=0, dtype=xp.float32)
    >>> print(x)
    [0. 1. 2. 3. 4. 5.]
    """

    @contextmanager
    def open_source(name: str) -> Iterator[Source]:
        yield _File(name, read_header(name))

    options = ReadOptions(split, dtype, device, comm, selection, progress)
    return load("load_npy", open_source, path, options)


class _File(Source):
    """The array of a file, mapped into memory."""

    def __init__(self, path: str, header: Header) -> None:
        self._map: mmap.mmap | None = None
        if not math.prod(header.shape):
            super().__init__(np.empty(header.shape, header.dtype))
            return
        with open(path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        order: Literal["F", "C"] = "F" if header.fortran_order else "C"
        super().__init__(
            np.ndarray(header.shape, header.dtype, self._map, header.offset, order=order)
        )

    def read(self, slab: Slab, dtype: np.dtype[Any] | None) -> np.ndarray[Any, Any]:
        values = np.array(self._found[slab])
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)  # release the pages that have been copied
        return values


@breaks
@documented
def save_npy(x: Array, path: str | os.PathLike[str], *, progress: bool | None = None) -> None:
    """Save an array as an npy file, each rank its own shard.

    Parameters
    ----------
    x : Array
        Any layout and dtype; bfloat16 is stored as float32.
    {target}
    {saving}

    Notes
    -----
    Messages: some small allgathers. Arrays that are not split along their first axis: one
    all-to-all for every 4 MiB a rank.

    Examples
    --------
    >>> xp.io.save_npy(xp.reshape(xp.arange(4, split=0), (2, 2)), "a.npy")
    >>> np.load("a.npy")
    array([[0, 1],
           [2, 3]])
    """
    func = "save_npy"
    x = as_array(func, x)
    path, progress = path_of(func, path), progress_of(func, progress)
    header = io.BytesIO()
    npy_format.write_array_header_1_0(
        header,
        {"descr": npy_format.dtype_to_descr(x.dtype), "fortran_order": False, "shape": x.shape},
    )
    data = header.getvalue()

    def begin(path: str) -> None:
        with open(path, "wb") as file:
            file.write(data)
            file.truncate(len(data) + x.nbytes)

    note("io: offset", x.nbytes)
    with replacing(func, x.comm, path) as unfinished:
        at_root(func, x.comm, lambda: begin(unfinished))
        with bar(func, x.nbytes, x.comm, progress) as advance:
            write_at(func, x.comm, unfinished, x, len(data), advance)
