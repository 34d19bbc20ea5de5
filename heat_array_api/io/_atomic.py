"""Atomic replacement: a saved file appears whole or not at all.

A file is written under another name in the same folder, and renamed once every rank has written
and flushed its part. A job that fails or is killed leaves the old file as it was, and at most an
unfinished one beside it, which the next save removes.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .._comm.communicator import Communicator
from ._agreement import at_root, attempt
from ._arguments import path_of

SUFFIX = ".unfinished"

_numbers = itertools.count()


@contextmanager
def replacing(
    func: str,
    comm: Communicator,
    path: str | os.PathLike[str],
    *,
    keep: bool = False,
    folder: bool = False,
) -> Iterator[str]:
    """Yield the name of an unfinished file, or `folder`, which replaces `path` at the end.

    It starts as a copy of the old one if `keep` is true. Every step inside must fail on all ranks
    alike (`attempt`). Messages: two small allgathers.
    """
    final = Path(os.path.realpath(path_of(func, path)))  # through a link, to the file that it names
    unfinished = at_root(func, comm, lambda: _begin(final, keep, folder))
    try:
        yield unfinished
        attempt(func, comm, lambda: _finish(Path(unfinished), final) if comm.rank == 0 else None)
    except BaseException:
        if comm.rank == 0:
            with suppress(OSError):
                _remove(Path(unfinished))
        raise


def _begin(final: Path, keep: bool, folder: bool) -> str:
    if final.exists() and final.is_dir() != folder:
        raise (NotADirectoryError if folder else IsADirectoryError)(
            f"{str(final)!r} is a {'file' if folder else 'folder'}"
        )
    if not final.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(final.parent)!r}")
    _recover(final)
    _clean(final)
    host, number = socket.gethostname(), next(_numbers)
    unfinished = final.with_name(f".{final.name}.{host}.{os.getpid()}.{number}{SUFFIX}")
    if keep and final.exists():
        if folder:
            shutil.copytree(final, unfinished)
        else:
            _copy(final, unfinished)
    elif folder:
        unfinished.mkdir()
    else:
        unfinished.touch()
    if final.exists():
        shutil.copymode(final, unfinished)
    return str(unfinished)


def _copy(one: Path, other: Path) -> None:
    """Copy a file, if possible within the file system, which may share the blocks."""
    try:
        with one.open("rb") as source, other.open("wb") as target:
            while os.copy_file_range(source.fileno(), target.fileno(), 1 << 30):
                pass
    except (AttributeError, OSError):
        shutil.copyfile(one, other)


def _clean(final: Path) -> None:
    """Remove the unfinished files of this machine's jobs that have ended."""
    prefix = f".{final.name}.{socket.gethostname()}."
    for old in os.listdir(final.parent):
        if not (old.startswith(prefix) and old.endswith(SUFFIX)):
            continue
        process, _, _ = old.removeprefix(prefix).removesuffix(SUFFIX).partition(".")
        if process.isdigit() and not _runs(int(process)):
            with suppress(OSError):
                _remove(final.with_name(old))


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _finish(unfinished: Path, final: Path) -> None:
    if unfinished.is_dir():
        for path in (*unfinished.rglob("*"), unfinished):
            flush(path)
        _exchange(unfinished, final)
    else:
        flush(unfinished)
        os.replace(unfinished, final)
    flush(final.parent)


def _exchange(unfinished: Path, final: Path) -> None:
    """Replace a folder by another, in one step if the system can."""
    if not final.exists():
        unfinished.rename(final)
        return
    if not _swap(unfinished, final):
        old = _set_aside(final)
        final.rename(old)
        try:
            unfinished.rename(final)
        except OSError:
            old.rename(final)
            raise
        unfinished = old
    shutil.rmtree(unfinished)


def _set_aside(final: Path) -> Path:
    return final.with_name(f".{final.name}.replaced{SUFFIX}")


def _recover(final: Path) -> None:
    """Restore or remove the old folder that a killed job had set aside."""
    old = _set_aside(final)
    if old.is_dir():
        if final.exists():
            shutil.rmtree(old)
        else:
            old.rename(final)


def _swap(one: Path, other: Path) -> bool:
    """Exchange two names in one step (renameat2 of Linux); return whether that was possible."""
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):
        return False
    done: int = renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange)
    return done == 0


def flush(path: str | os.PathLike[str]) -> None:
    """Wait until the disk has the data of a file, or the entries of a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
