"""The arguments of readers and savers, checked and in one form, and the text that explains them.

Readers pass their keywords on as one value, `ReadOptions`. Savers turn theirs into arrays by name,
attributes by name, and `Storage`. `documented` completes docstrings: a line ``{reading}`` is
replaced by six parameters, the result and the errors of a reader.
"""

from __future__ import annotations

import math
import os
from collections.abc import Container, Iterable, Mapping, Set
from dataclasses import dataclass
from textwrap import dedent
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from .._comm.communicator import Communicator
from .._core.arguments import as_choice, as_flag, as_int
from .._core.array import Array, common_communicator
from .._core.docstrings import SHARED, filled_in
from .._core.layout import Shape
from .._creation import Split
from .._data_type import astype
from .._errors import shown
from ._agreement import optional_package

# ---------------------------------------------------------------------- the text

_PROGRESS = """\
progress : bool, optional
    Whether rank 0 shows a progress bar; by default on a terminal for more than 256 MiB."""

_LOADED = """\
dtype : dtype, optional
    Convert to this dtype. By default that of the (decoded) values, in native byte order.
selection : slices and integers, optional
    The part to read, as an index: ``np.s_[100:200, ::2]``. The rest is not read.
{progress}

Returns
-------
Array
    The values in the file or the selected part of them, split evenly along `split`; each rank
    reads only its own shard. Two small allgathers let the ranks agree on errors. If shards are
    short along a late axis (parts of rows below 16 KiB), ranks read whole rows and redistribute
    them: one all-to-all for every 4 MiB a rank.

Raises
------
OSError
    If the file cannot be opened or read on any rank. All errors are raised on all ranks.
KeyError
    If the file has no such name.
TypeError
    If no array can hold the stored dtype (strings, compounds ...), or complex values would become
    real."""

_SAVED = """\
{progress}

Raises
------
OSError
    If any rank cannot write. All errors are raised on all ranks, and an old file of this name
    stays as it was.
TypeError, ValueError
    If arguments do not fit together."""

documented: Final = filled_in(
    reading="\n".join(
        [SHARED["split"], SHARED["device"], SHARED["comm"], _LOADED.format(progress=_PROGRESS)]
    ),
    saving=_SAVED.format(progress=_PROGRESS),
    **{
        name: dedent(text).strip()
        for name, text in {
            "source": """
                path : str or path-like
                    The file (for Zarr the folder); every rank must be able to read it.
                """,
            "target": """
                path : str or path-like
                    The file (for Zarr the folder). It takes this name once it is whole.
                """,
            "external": """
                allow_external : bool, optional
                    Whether to follow links, virtual datasets and storage that lead to other files.
                    By default they are refused: a file from elsewhere could name any file here.
                """,
            "progress": _PROGRESS,
            "saved": """
                x : Array, or mapping of names to arrays
                    Any layout and dtype; bfloat16 is stored as float32.
                """,
            "mode": """
                mode : {"w", "a"}
                    "w": a new file. "a": add to the file, replacing variables of the same names.
                    The file is copied first, so that a failure leaves it as it was.
                """,
            "attributes": """
                attributes : mapping, optional
                    Attributes of the variable, or ``{name: attributes}`` for several. The name ""
                    stands for the file. What the format cannot give back is refused before the
                    first byte is written (docs, "Names and attributes").
                """,
            "storage": """
                chunks : tuple of int or True, optional
                    The shape of chunks; True: h5py chooses. Default: contiguous storage.
                gzip : int, optional
                    The compression level, 0 to 9; implies chunks.
                strategy : {"mpio", "offset", "chunks", "root"}, optional
                    How shards get into the file; chosen by default (docs, "Reading and writing").
                """,
        }.items()
    },
)
"""Completes the docstring of a public function by the texts above."""


# ---------------------------------------------------------------------- readers


@dataclass(frozen=True)
class ReadOptions:
    """What a user says about the array to read; the docstrings of readers explain each."""

    split: Split
    dtype: Any
    device: Any
    comm: Any
    selection: Any
    progress: Any


# ---------------------------------------------------------------------- savers


class Storage(NamedTuple):
    """How a dataset is stored.

    `chunks` is the shape of the chunks; True: h5py chooses; None: not chunked. `gzip` is the level
    of compression, after a shuffle of the bytes; None: not compressed.
    """

    chunks: Shape | bool | None = None
    gzip: int | None = None

    @property
    def chunked(self) -> bool:
        return self.chunks is not None or self.gzip is not None

    def options(self, shape: Shape) -> dict[str, Any]:
        """Return the keywords for `create_dataset`."""
        chunks = True if self.chunks is None else self.chunks
        if self.gzip is not None and shape:
            return {
                "chunks": chunks,
                "compression": "gzip",
                "compression_opts": self.gzip,
                "shuffle": True,
            }
        h5py = optional_package("h5py")
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if self.chunked and shape:
            if h5py.get_config().mpi:  # for "mpio"
                properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            return {"chunks": chunks, "dcpl": properties}
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        return {"dcpl": properties}


class SaveArguments(NamedTuple):
    """What `save_netcdf` saves, by names of variables; "" holds the file's attributes."""

    arrays: dict[str, Array]
    dims: Mapping[str, Any]
    attributes: Mapping[str, Any]
    encoding: Mapping[str, Any]
    unlimited: tuple[str, ...] = ()
    texts: Mapping[str, np.ndarray[Any, Any]] = {}


def as_variables(
    func: str, x: Array | Mapping[str, Array], name: str | None, what: str
) -> tuple[dict[str, Array], Communicator]:
    """Return the arrays to save by name, and their communicator.

    `name` is that of a single array, given as the argument `what`.
    """
    if isinstance(x, Mapping):
        if name is not None:
            raise TypeError(f"{func}: {what} is {shown(name)}; expected None for a mapping")
        if not x:
            raise ValueError(f"{func}: no arrays to save")
        found = {_checked(func, key): as_array(func, value) for key, value in x.items()}
        if len(found) < len(x):
            raise ValueError(f"{func}: two of the names {list(x)} are the same")
    else:
        found = {_checked(func, "data" if name is None else name, what): as_array(func, x)}
    return found, common_communicator(func, *found.values())


def by_name(
    func: str, what: str, given: Mapping[str, Any] | None, x: Any, names: Iterable[str]
) -> dict[str, Any]:
    """Return attributes (or encodings) by name of variable.

    For a single array they may be given directly; then none of the values is a mapping.
    """
    given = as_mapping(func, what, given)
    names = list(names)
    if not isinstance(x, Mapping) and not any(isinstance(v, Mapping) for v in given.values()):
        return {names[0]: given}
    found: dict[str, Any] = {}
    for key, value in given.items():
        name = name_of(func, f"a name in {what}", key).strip("/")
        if name not in names and (name or what == "encoding"):  # "" is the file
            raise KeyError(f"{func}: {what} of {name!r}, which is not among the arrays")
        if name in found:
            raise ValueError(f"{func}: {what} of {name!r} is given twice")
        found[name] = as_mapping(func, f"{what} of {name!r}", value)
    return found


def as_mapping(func: str, what: str, given: Any) -> dict[Any, Any]:
    """Return a mapping of names as a dict, an empty one for None."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"{func}: {what} is {shown(given)}; expected a mapping of names")
    return dict(given)


def _checked(func: str, name: Any, what: str = "a name") -> str:
    if not isinstance(name, str) or not name.strip("/"):
        raise TypeError(f"{func}: {what} is {shown(name)}; expected a string")
    return name.strip("/")


def path_of(func: str, path: Any, name: str = "path") -> str:
    """Return the name of a file or folder as text."""
    try:
        found = os.fsdecode(path)
    except TypeError:
        raise TypeError(f"{func}: {name} is {shown(path)}; expected a str or a path") from None
    if not found or "\0" in found or _unencodable(found):
        raise ValueError(f"{func}: {name} is {found!r}; expected the name of a file or folder")
    return found


def _unencodable(name: str) -> bool:
    """Return whether no file can have a name: it has half a character."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return True
    return False


def name_of(func: str, what: str, name: Any) -> str:
    """Return the name of a variable, a group or a dimension."""
    if not isinstance(name, str):
        raise TypeError(f"{func}: {what} is {shown(name)}; expected a str")
    return name


def names_of(func: str, what: str, names: Any) -> tuple[str, ...]:
    """Return one name, or several of an iterable, as a tuple; sorted, if it has no order."""
    if isinstance(names, str):
        return (names,)
    found: tuple[Any, ...] | None = None
    if isinstance(names, Iterable) and not isinstance(names, (bytes, type, Array, np.ndarray)):
        found = tuple(names)
    if found is None or not all(isinstance(name, str) for name in found):
        raise TypeError(f"{func}: {what} is {shown(names)}; expected a str, or several")
    return tuple(sorted(found)) if isinstance(names, Set) else found


def text_of(func: str, name: str, value: Any, expected: str, *, longest: int | None = None) -> str:
    """Return a text that is not empty; `expected` is what the error says."""
    if not isinstance(value, str):
        raise TypeError(f"{func}: {name} is {shown(value)}; expected {expected}")
    if not value or (longest is not None and len(value) > longest):
        raise ValueError(f"{func}: {name} is {value!r}; expected {expected}")
    return value


def progress_of(func: str, progress: Any) -> bool | None:
    """Return whether to show a progress bar; None: as it fits."""
    return None if progress is None else as_flag(func, "progress", progress)


def as_array(func: str, x: Any) -> Array:
    """Return an array as it is saved: detached from the tape, in a dtype that files have."""
    if not isinstance(x, Array):
        raise TypeError(f"{func}: x is {type(x).__name__}; expected arrays of heat_array_api")
    x = x.detach()
    return astype(x, "float32") if x._local.dtype is torch.bfloat16 else x


def check_mode(func: str, mode: str) -> None:
    as_choice(func, "mode", mode, ("w", "a"))


def storage_of(func: str, chunks: Any, gzip: Any) -> Storage:
    if gzip is not None:
        gzip = as_int(func, "gzip", gzip)
        if not 0 <= gzip <= 9:
            raise ValueError(f"{func}: gzip is {gzip}; expected a level, 0 to 9")
    if chunks is not None and chunks is not True:
        chunks = lengths_of(func, chunks, "a tuple of lengths, or True")
    return Storage(chunks, gzip)


def lengths_of(func: str, chunks: Any, expected: str) -> Shape:
    """Return the shape of chunks as positive Python ints."""
    if not isinstance(chunks, (tuple, list)):
        raise TypeError(f"{func}: chunks is {shown(chunks)}; expected {expected}")
    return tuple(as_int(func, f"chunks[{i}]", n, least=1) for i, n in enumerate(chunks))


def check_chunks(
    func: str,
    name: str,
    shape: Shape,
    dtype: np.dtype[Any],
    chunks: Shape | bool | None,
    *,
    grows: Container[int] = (),
    gib: int = 4,
) -> None:
    """Raise unless an array can be stored in chunks of a shape; axes in `grows` may be shorter.

    A chunk has less than `gib` GiB.
    """
    if not isinstance(chunks, tuple) or not shape:
        return
    if len(chunks) != len(shape):
        raise ValueError(
            f"{func}: chunks is {chunks}, but {name!r} has shape {shape}; expected "
            f"{len(shape)} lengths"
        )
    if math.prod(chunks) * dtype.itemsize >= gib << 30:
        raise ValueError(f"{func}: chunks is {chunks}; a chunk of {name!r} must be below {gib} GiB")
    for axis, (length, n) in enumerate(zip(chunks, shape, strict=True)):
        if length > n and axis not in grows:
            raise ValueError(
                f"{func}: chunks is {chunks}, but {name!r} has shape {shape}; expected lengths "
                "that are no longer"
            )
