"""Files of the tests: a folder that all ranks share."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


@contextmanager
def shared_folder(comm: Any) -> Iterator[Path]:
    """Make an empty folder that is the same on all ranks; remove it when all are done with it.

    Collective. pytest's ``tmp_path`` is each rank's own, and when the ranks number and clean up
    those of earlier runs they disturb each other.
    """
    made = TemporaryDirectory(prefix="heat_array_api-") if comm.rank == 0 else None
    try:
        yield Path(comm.bcast_object(made.name if made else None))
        comm.barrier()
    finally:
        if made:
            made.cleanup()


def package_folder(package):
    """Return the folder of a package, which is not imported: it may lack what it needs."""
    found = importlib.util.find_spec(package)
    return None if found is None else Path(found.origin).parent


def files_of(package, pattern):
    folder = package_folder(package)
    return [] if folder is None else sorted(folder.rglob(pattern))
