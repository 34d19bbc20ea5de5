"""Parameters that the public functions share: what the user chooses, and the text about it.

Readers put their keywords into `ReadOptions`, which is passed on as one value. `documented`
completes docstrings by the texts of `TEXTS`: a line ``{reading}`` becomes six parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent
from typing import Any, Final

from .._core.docstrings import SHARED, filled_in
from .._creation import Split
from .._options import UNSET

__all__ = ["ReadOptions", "documented"]


@dataclass(frozen=True)
class ReadOptions:
    """What a user says about the array to read; the docstrings of readers explain each."""

    split: Split = UNSET
    dtype: Any = None
    device: Any = None
    comm: Any = None
    selection: Any = None
    progress: bool | None = None


_PROGRESS = """
progress : bool, optional
    Whether rank 0 shows a progress bar; by default on a terminal for more than 256 MiB."""

_SELECTION = """
selection : slices and integers, optional
    The part to read, as an index: ``np.s_[100:200, ::2]``. The rest is not read."""

_DTYPE = """
dtype : dtype, optional
    Convert to this dtype. By default that of the (decoded) values, in native byte order."""

TEXTS: Final = {
    name: dedent(text).strip()
    for name, text in {
        "source": """
            path : str or path-like
                The file (for Zarr the folder); every rank must be able to read it.
            """,
        "reading": "\n".join(
            [SHARED["split"], _DTYPE.strip(), SHARED["device"], SHARED["comm"]]
            + [_SELECTION.strip(), _PROGRESS.strip()]
        ),
        "progress": _PROGRESS,
        "loaded": """
            Array
                The values in the file or the selected part of them, split evenly along `split`;
                each rank reads only its own shard. Two small allgathers let the ranks agree on
                errors. If shards are short along a late axis (parts of rows below 16 KiB), ranks
                read whole rows and redistribute them: one all-to-all for every 4 MiB a rank.
            """,
        "read_errors": """
            OSError
                If the file cannot be opened or read on any rank. All errors are raised on all
                ranks.
            KeyError
                If the file has no such name.
            TypeError
                If no array can hold the stored dtype (strings, compounds ...), or complex values
                would become real.
            """,
        "saved": """
            x : Array, or mapping of names to arrays
                Any layout and dtype; bfloat16 is stored as float32.
            """,
        "target": """
            path : str or path-like
                The file (for Zarr the folder). It takes this name once it is whole.
            """,
        "mode": """
            mode : {"w", "a"}
                "w": a new file. "a": add to the file, replacing variables of the same names. The
                file is copied first, so that a failure leaves it as it was.
            """,
        "attributes": """
            attributes : mapping, optional
                Attributes of the variable, or ``{name: attributes}`` for several. The name ""
                stands for the file.
            """,
        "storage": """
            chunks : tuple of int or True, optional
                The shape of chunks; True: h5py chooses. Default: contiguous storage.
            gzip : int, optional
                The compression level, 0 to 9; implies chunks.
            strategy : {"mpio", "offset", "chunks", "root"}, optional
                How shards get into the file; chosen by default (docs, "Reading and writing").
            """,
        "write_errors": """
            OSError
                If any rank cannot write. All errors are raised on all ranks, and an old file of
                this name stays as it was.
            TypeError, ValueError
                If arguments do not fit together.
            """,
    }.items()
}

documented = filled_in(**TEXTS)
