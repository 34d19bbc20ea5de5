"""How an uncaught exception is shown: the user's frames, and those of the library folded."""

from __future__ import annotations

import hashlib
import re
import traceback
from collections.abc import Iterable
from typing import Any

from .attribution import is_library

_FOLDED = "<folded>"


class _Folded(traceback.StackSummary):
    """A stack in which a run of hidden frames is one, whose line number counts them."""

    def format_frame_summary(self, frame_summary: traceback.FrameSummary, **kwargs: Any) -> str:
        if frame_summary.filename != _FOLDED:
            return super().format_frame_summary(frame_summary, **kwargs)
        n = frame_summary.lineno
        return (
            f"  [{n} frame{'s' * (n != 1)} of the library; "
            'set_options(tracebacks="full") shows all]\n'
        )


def _files(error: BaseException) -> tuple[set[str], set[str]]:
    """Return the files of the library and those of torch among the frames of an exception."""
    library, torch = set(), set()
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", ""))
        if is_library(module):
            library.add(frame.f_code.co_filename)
        elif module.partition(".")[0] == "torch":
            torch.add(frame.f_code.co_filename)
    return library, torch


def _folded(stack: Iterable[traceback.FrameSummary], error: BaseException) -> _Folded:
    """Fold the library's frames, and torch's below them."""
    library, torch = _files(error)
    frames = _Folded()
    inside = 0
    for one in stack:
        if one.filename in library or (inside and one.filename in torch):
            if inside:
                frames.pop()
            inside += 1
            one = traceback.FrameSummary(_FOLDED, inside, "", lookup_line=False, line="")
        else:
            inside = 0
        frames.append(one)
    return frames


def _fold(summary: traceback.TracebackException, error: BaseException) -> None:
    """Fold the frames of an exception, of what caused it, and of what it groups."""
    todo: list[tuple[traceback.TracebackException | None, BaseException | None]] = [
        (summary, error)
    ]
    while todo:
        text, cause = todo.pop()
        if text is None or cause is None:
            continue
        text.stack = _folded(text.stack, cause)
        todo += [(text.__cause__, cause.__cause__), (text.__context__, cause.__context__)]
        if isinstance(cause, BaseExceptionGroup):
            todo += zip(text.exceptions or (), cause.exceptions, strict=False)


def formatted(error: BaseException, full: bool) -> str:
    """Return an exception with its traceback as text, the library's frames folded or in full."""
    summary = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
    if not full and any(one.filename not in _files(error)[0] for one in summary.stack):
        _fold(summary, error)
    return "".join(summary.format())


def digest(text: str) -> bytes:
    """Return what is the same for texts that differ by addresses in memory only."""
    return hashlib.sha256(re.sub("0x[0-9a-f]+", "0x", text).encode("utf-8", "replace")).digest()
