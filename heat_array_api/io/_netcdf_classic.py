"""Headers of classic NetCDF files (CDF-1, 2 and 5), checked before the NetCDF library reads them.

The library trusts the counts in a header: one wrong bit makes it read a billion variables. And it
returns zeros for the missing part of a file that is cut short. (NetCDF Classic Format
Specification, Unidata.)
"""

from __future__ import annotations

import math
import os
from typing import BinaryIO, NamedTuple

LONGEST = 1 << 16
"""Bytes of a name; NetCDF allows 256."""

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
"""Bytes of a number, by its type."""

DIMENSION, VARIABLE, ATTRIBUTE = 10, 11, 12


class _Variable(NamedTuple):
    name: str
    shape: list[int]
    """Without the record dimension."""
    record: bool
    itemsize: int
    begin: int

    @property
    def nbytes(self) -> int:
        """Bytes of the variable, or of one of its records."""
        return math.prod(self.shape) * self.itemsize


def ends_of(path: str | os.PathLike[str]) -> dict[str, int]:
    """Return the offset at which each variable ends; empty if the file is not a classic one.

    Raises
    ------
    OSError
        If the header is damaged or cut short.
    """
    with open(path, "rb") as file:
        magic = file.read(4)
        if magic[:3] != b"CDF" or magic[3:] not in (b"\x01", b"\x02", b"\x05"):
            return {}
        return _Header(file, magic[3], os.fspath(path)).ends()


class _Header:
    """A header, read from front to back."""

    def __init__(self, file: BinaryIO, version: int, path: str) -> None:
        self._file, self._path = file, path
        self._left = os.fstat(file.fileno()).st_size - 4
        self._count = 8 if version == 5 else 4
        self._offset = 4 if version == 1 else 8

    def ends(self) -> dict[str, int]:
        records = self._integer(self._count)
        if records == (1 << 8 * self._count) - 1:  # the file is being written
            records = 0
        dims = []
        for _ in range(self._items(DIMENSION)):
            self._name()
            dims.append(self._integer(self._count))
        self._attributes()
        variables = [self._variable(dims) for _ in range(self._items(VARIABLE))]
        growing = [v for v in variables if v.record]
        # Records are padded to four bytes, unless only one variable has records.
        row = sum(v.nbytes if len(growing) == 1 else -(-v.nbytes // 4) * 4 for v in growing)
        ends = {}
        for v in variables:
            size = v.nbytes if not v.record else (records - 1) * row + v.nbytes if records else 0
            ends[v.name] = v.begin + size if size else 0
        return ends

    def _variable(self, dims: list[int]) -> _Variable:
        name = self._name()
        numbers = []
        for _ in range(self._integer(self._count)):
            number = self._integer(self._count)
            self._check(number < len(dims))
            numbers.append(number)
        self._attributes()
        itemsize = self._itemsize()
        self._integer(self._count)  # its size, which is wrong for large variables
        record = bool(numbers) and not dims[numbers[0]]
        shape = [dims[number] for number in numbers[record:]]
        return _Variable(name, shape, record, itemsize, self._integer(self._offset))

    def _attributes(self) -> None:
        for _ in range(self._items(ATTRIBUTE)):
            self._name()
            itemsize = self._itemsize()
            self._skip(itemsize * self._integer(self._count))

    def _items(self, kind: int) -> int:
        found, count = self._integer(4), self._integer(self._count)
        self._check(found == kind or found == count == 0)
        return count

    def _itemsize(self) -> int:
        kind = self._integer(4)
        self._check(kind in SIZES)
        return SIZES[kind]

    def _name(self) -> str:
        length = self._integer(self._count)
        self._check(0 < length < LONGEST)
        name = self._read(length)
        self._skip(-length % 4, padded=True)
        return name.decode(errors="replace")

    def _integer(self, size: int) -> int:
        return int.from_bytes(self._read(size), "big")

    def _read(self, size: int) -> bytes:
        self._left -= size
        self._check(self._left >= 0)
        return self._file.read(size)

    def _skip(self, size: int, padded: bool = False) -> None:
        size = size if padded else -(-size // 4) * 4
        self._left -= size
        self._check(self._left >= 0)
        self._file.seek(size, os.SEEK_CUR)

    def _check(self, right: bool) -> None:
        if not right:
            raise OSError(f"{self._path!r} is a NetCDF file whose header is cut short or damaged")
