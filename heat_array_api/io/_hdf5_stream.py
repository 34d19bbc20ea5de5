"""Writing HDF5 files on disks that may be full.

HDF5 cannot close a file after a failed write: it keeps the rest, and crashes the process with a
segmentation fault some time later. So it writes through a stream that remembers the first error
instead of raising it; the error is raised once HDF5 has closed the file.
"""

from __future__ import annotations

import ctypes
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

PIECE = 8 << 20
"""Bytes after which the disk is told to start writing."""


@contextmanager
def writing(open_file: Callable[[Any, str], Any], path: str, mode: str) -> Iterator[Any]:
    """Open an existing file for writing by ``h5py.File`` or a class built on it, and yield it.

    An OSError of the system is raised once the file has been closed.
    """
    stream = _Stream(path, "r+")
    try:
        with open_file(stream, mode) as file:
            yield file
    except Exception as error:
        if stream.problem is not None:
            raise stream.problem from error
        raise
    finally:
        stream.close()
    if stream.problem is not None:
        raise stream.problem


class _Stream(io.FileIO):
    """The file object that h5py writes to."""

    problem: OSError | None = None

    def write(self, buffer: Any) -> int:
        data, at = memoryview(buffer).cast("B"), self.tell()
        self._guarded(lambda: write_bytes(self.fileno(), data, at))
        self.seek(at + len(data))
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        length = self.tell() if size is None else size
        self._guarded(lambda: os.ftruncate(self.fileno(), length))
        return length

    def _guarded(self, step: Callable[[], object]) -> None:
        try:
            step()
        except OSError as error:
            self.problem = self.problem or error


def write_bytes(file: int, data: memoryview, offset: int) -> None:
    """Write bytes at an offset of an open file.

    The disk writes one piece while the next one is copied, instead of waiting for the fsync.
    """
    while data:
        written = os.pwrite(file, data[:PIECE], offset)
        if written == PIECE:
            _start_writing(file, offset, written)
        data, offset = data[written:], offset + written


def _start_writing(file: int, offset: int, count: int) -> None:
    """Let the disk start writing a part of a file, if the system can (Linux)."""
    start = 2  # SYNC_FILE_RANGE_WRITE
    with suppress(AttributeError):
        ctypes.CDLL(None).sync_file_range(
            file, ctypes.c_int64(offset), ctypes.c_int64(count), ctypes.c_uint(start)
        )
