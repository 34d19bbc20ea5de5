"""The end of a program on several ranks: an error on one rank ends all of them."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import NoReturn

EXIT_GRACE = 5.0
"""Seconds that a rank which calls ``sys.exit`` with an error waits for the others to end too."""


class ExitHandler:
    """Makes sure that no rank leaves the others waiting forever when it ends.

    Parameters
    ----------
    rank, size : int
        This rank's number in the job, and how many ranks there are.
    abort : callable
        ``abort(code)`` ends all ranks.
    arrive : callable
        ``arrive()`` tells the other ranks that this one has ended its program, and returns
        a function that says whether all have.
    """

    def __init__(
        self,
        rank: int,
        size: int,
        abort: Callable[[int], NoReturn],
        arrive: Callable[[], Callable[[], bool]],
    ) -> None:
        self.rank, self.size = rank, size
        self.abort, self.arrive = abort, arrive
        self.pid = os.getpid()
        self.leaving: tuple[int, FrameType, int] | None = None

    def install(self) -> None:
        """Put the hooks in place."""
        self.previous_hook = sys.excepthook
        self.previous_exit = sys.exit
        sys.excepthook = self.on_exception
        threading.excepthook = self.on_thread_exception
        sys.exit = self.on_sys_exit
        atexit.register(self.at_exit)

    def say(self, text: str) -> None:
        """Write to stderr in one piece, so that ranks do not mix within lines."""
        sys.stdout.flush()
        mark = f"[rank {self.rank} of {self.size}] "
        sys.stderr.write("".join(mark + line + "\n" for line in text.rstrip("\n").split("\n")))
        sys.stderr.flush()

    def on_exception(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        """Show an uncaught exception with this rank's number, then end all ranks."""
        interactive = hasattr(sys, "ps1") or sys.flags.interactive
        if interactive or os.getpid() != self.pid:
            self.previous_hook(kind, error, trace)
            return
        if self.previous_hook is sys.__excepthook__:
            self.say("".join(traceback.format_exception(kind, error, trace)))
        else:
            self.say("uncaught exception:")
            self.previous_hook(kind, error, trace)
        self.end(130 if issubclass(kind, KeyboardInterrupt) else 1)

    def end(self, code: int) -> None:
        """End all ranks, after a moment in which the launcher passes on what ranks have written.

        If all ranks raise the same error, the others show it in the meantime.
        """
        time.sleep(0.25)
        self.abort(code)

    def on_thread_exception(self, args: threading.ExceptHookArgs) -> None:
        """Show an uncaught exception of a thread with this rank's number; the program goes on."""
        if args.exc_type is not SystemExit:
            name = args.thread.name if args.thread is not None else "?"
            lines = traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback)
            self.say(f"Exception in thread {name}:\n{''.join(lines)}")

    def on_sys_exit(self, status: object = None, /) -> NoReturn:
        """Remember that the program is about to end, and where; then exit."""
        if threading.current_thread() is threading.main_thread():
            frame = sys._getframe(1)
            while frame.f_back is not None:
                frame = frame.f_back
            code = status & 0xFF if isinstance(status, int) else int(status is not None)
            self.leaving = (code, frame, frame.f_lasti)
        raise SystemExit(status)

    def exit_code(self) -> int:
        """Return the code that ``sys.exit`` was called with; 0 if the program went on afterwards.

        If the SystemExit was caught, the outermost frame has moved on from the instruction
        at which ``sys.exit`` was called.
        """
        if self.leaving is None:
            return 0
        code, frame, instruction = self.leaving
        return code if frame.f_lasti == instruction else 0

    def at_exit(self) -> None:
        """Wait until all ranks have ended, as MPI_Finalize would; end them after an error."""
        if os.getpid() != self.pid:
            return
        code = self.exit_code()
        everyone_has = self.arrive()
        started = time.monotonic()
        while not everyone_has():
            waited = time.monotonic() - started
            if code and waited > EXIT_GRACE:
                self.say(f"ended with exit code {code} while other ranks go on; ending them")
                self.end(code)
            time.sleep(0.0 if waited < 0.01 else 0.001)
