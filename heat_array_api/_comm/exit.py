"""The end of a program on several ranks: none leaves the others hanging without a word."""

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

from .._options import exit_limits, full_tracebacks
from .parting import Parting, Post, Watch, counts, same_on
from .tracebacks import digest, formatted

VERDICT = 1.5
"""Seconds that a rank with an uncaught exception waits to hear which rank shows it."""

SILENT = 2.0
"""Seconds that a rank whose exception another shows waits to be ended by that one."""


class ExitHandler:
    """Makes sure that no rank leaves the others waiting forever when it ends.

    An uncaught exception ends all ranks. A rank that ends otherwise waits for the others, and
    all ranks end once one of these waits in vain (`parting`).

    Parameters
    ----------
    post : Post
        Messages between the ranks of the job.
    abort : callable
        ``abort(code)`` ends all ranks.
    """

    def __init__(self, post: Post, abort: Callable[[int], NoReturn]) -> None:
        self.post, self.abort = post, abort
        self.parting = Parting(post, self.say, abort)
        self.watch = Watch(self.parting)
        self.pid = os.getpid()
        self.leaving: tuple[int, FrameType, int] | None = None

    def install(self) -> None:
        """Put the hooks in place, and start to watch."""
        self.previous_hook = sys.excepthook
        sys.excepthook = self.on_exception
        threading.excepthook = self.on_thread_exception
        sys.exit = self.on_sys_exit
        atexit.register(self.at_exit)
        if self.post.from_threads:
            self.watch.start()

    def say(self, text: str) -> None:
        """Write to stderr in one piece, so that ranks do not mix within lines."""
        sys.stdout.flush()
        mark = f"[rank {self.post.rank} of {self.post.size}] "
        sys.stderr.write("".join(mark + line + "\n" for line in text.rstrip("\n").split("\n")))
        sys.stderr.flush()

    # ------------------------------------------------------------------ exceptions

    def on_exception(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        """Show an uncaught exception once for all ranks that raised it, then end all ranks."""
        interactive = hasattr(sys, "ps1") or sys.flags.interactive
        if interactive or os.getpid() != self.pid:
            self.previous_hook(kind, error, trace)
            return
        text = self._formatted(error.with_traceback(trace))

        def show() -> None:
            if self.previous_hook is not sys.__excepthook__:
                self.say("uncaught exception:")
                try:
                    self.previous_hook(kind, error, trace)
                    return
                except Exception as flaw:
                    self.say(f"the hook for uncaught exceptions failed ({flaw!r}):")
            self.say(text)

        self._fail(error, text, show)

    def _formatted(self, error: BaseException) -> str:
        try:
            return formatted(error, full=full_tracebacks())
        except Exception:  # what matters is that it is shown
            return "".join(traceback.format_exception(error))

    def _fail(self, error: BaseException, text: str, show: Callable[[], None]) -> NoReturn:
        """Agree with the other ranks that fail on who shows the error; show it; end all ranks.

        Ranks with the same `text` show it once. If nothing is agreed in time, all show theirs.
        """
        try:
            self.watch.stop()
            self.parting.report("failed", digest(text))
            self._serve_until(VERDICT, lambda: self.parting.verdict is not None)
        finally:
            rank, size = self.post.rank, self.post.size
            first, ranks = self.parting.verdict or (rank, [rank])
            try:
                if first == rank:
                    show()
                    if also := same_on(ranks, size):
                        self.say(also)
                # The launcher passes on what has been written, and others show what is theirs.
                self._serve_until(0.25 if first == rank else SILENT, lambda: False)
            finally:
                self.abort(130 if isinstance(error, KeyboardInterrupt) else 1)

    def _serve_until(self, limit: float, done: Callable[[], bool]) -> None:
        end = time.monotonic() + limit
        while not done() and time.monotonic() < end:
            self.parting.serve()
            time.sleep(0.001)

    def on_thread_exception(self, args: threading.ExceptHookArgs) -> None:
        """Show an uncaught exception of a thread with this rank's number; the program goes on."""
        if args.exc_type is not SystemExit and args.exc_value is not None:
            name = args.thread.name if args.thread is not None else "?"
            self.say(f"Exception in thread {name}:\n{self._formatted(args.exc_value)}")

    # ------------------------------------------------------------------ other ends

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
        at which ``sys.exit`` was called. Of ``raise SystemExit`` nothing is known.
        """
        if self.leaving is None:
            return 0
        code, frame, instruction = self.leaving
        return code if frame.f_lasti == instruction else 0

    def unseen_exception(self) -> BaseException | None:
        """Return the exception that ended the program, if another hook than ours showed it.

        The interpreter notes it in `sys`, but so do programs that catch one (pytest): it ended
        the program if its traceback begins with the outermost frame.
        """
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if sys.excepthook == self.on_exception or not isinstance(error, BaseException):
            return None
        if hasattr(sys, "ps1") or sys.flags.interactive or error.__traceback__ is None:
            return None
        first = error.__traceback__.tb_frame
        module, name = first.f_globals.get("__name__"), first.f_code.co_name
        outermost = ("__main__", "<module>"), ("runpy", "_run_module_as_main")
        return error if (module, name) in outermost else None

    def at_exit(self) -> None:
        """Wait until all ranks have ended, as MPI_Finalize would; end them if one never will."""
        if os.getpid() != self.pid:
            return
        error = self.unseen_exception()
        if error is not None:
            text = (
                f"{type(error).__name__}, which was shown by the program's own hook, ends all ranks"
            )
            self._fail(error, self._formatted(error), lambda: self.say(text))
        self.watch.stop()
        code = self.exit_code()
        self.parting.ended = code, counts()
        everyone_has = self.post.arrive()
        patience, grace = exit_limits()
        limit = min(grace, patience) if code else patience
        started = time.monotonic()
        reported = False
        while not everyone_has():
            waited = time.monotonic() - started
            if waited > limit and not reported:
                reported = True
                self._report(code)
            if waited > 0.01:
                self.parting.serve()
            time.sleep(0.0 if waited < 0.01 else 0.001)

    def _report(self, code: int) -> None:
        """Tell that this rank has ended long ago."""
        if self.post.from_threads:
            self.parting.report("ended", code, counts())
            return
        # No rank can answer from within a collective.
        text = f"has ended{f' with exit code {code}' * bool(code)} while other ranks go on"
        self.say(f"{text}; if they wait for it, HEAT_ARRAY_API_DEBUG=1 tells where")
        if code:
            time.sleep(0.25)
            self.abort(code)
