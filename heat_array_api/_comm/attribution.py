"""Which operation and which line of the user's program a message belongs to.

The library's frames are known by the names of their modules, not by files. Two kinds of modules
register themselves: programs inside the package, which count as the user's code, and wrappers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PACKAGE = __name__.partition(".")[0]

_programs: tuple[str, ...] = ()

_wrappers: set[str] = set()


def register_program(module: str) -> None:
    """Count a module (its ``__name__``), and those below it, as the user's code."""
    global _programs
    _programs = (*_programs, module)


def register_wrapper(module: str) -> None:
    """Skip the functions of a module (its ``__name__``): they only wrap operations."""
    _wrappers.add(module)


def _is_program(module: str) -> bool:
    return any(module == program or module.startswith(f"{program}.") for program in _programs)


def is_library(module: str) -> bool:
    """Return whether a module (its ``__name__``) is the library's own, and no program in it."""
    return module.partition(".")[0] == PACKAGE and not _is_program(module)


def caller(frame: FrameType | None = None) -> tuple[str, str]:
    """Return the operation that the user called, and the line ``"file:number"`` of the call.

    The operation is the outermost function of the library below the user's frame, wrappers
    left out. Frames of torch in between (its backward engine, compiled code) are skipped.

    Parameters
    ----------
    frame : frame, optional
        Where to start: by default the frame that calls this.
    """
    if _origins:
        return _origins[-1]
    if frame is None:
        frame = sys._getframe(1)
    operation = ""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if is_library(module):
            if module not in _wrappers and not frame.f_code.co_name.startswith("<"):
                operation = frame.f_code.co_name
        elif module.partition(".")[0] != "torch":
            return operation, f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return operation, "?"


def raised_at(error: BaseException) -> str:
    """Return the line ``"file:number"`` of the user's program that an error came from."""
    line = "?"
    trace = error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in (PACKAGE, "torch") or _is_program(module):
            line = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return line


_origins: list[tuple[str, str]] = []


@contextmanager
def adjoint_of(origin: tuple[str, str] | None) -> Iterator[None]:
    """Name the messages of a backward pass after the operation and line of the forward one."""
    if origin is None:
        yield
        return
    operation, line = origin
    prefix = "" if operation.startswith("adjoint of ") else "adjoint of "
    _origins.append((prefix + operation, line))
    try:
        yield
    finally:
        _origins.pop()


@contextmanager
def named(origin: tuple[str, str]) -> Iterator[None]:
    """Name the messages of compiled code after the operation and line they were captured at."""
    _origins.append(origin)
    try:
        yield
    finally:
        _origins.pop()
