"""The end of a program: no rank leaves the others hanging without a word."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import heat_array_api as xp
from heat_array_api._comm import exit as _exit
from heat_array_api._comm.communicator import world
from heat_array_api._comm.exit import ExitHandler
from jobs import LIMIT, alone, run

HURRY = """
import sys, time
import heat_array_api as xp
xp.set_options(exit_patience=0.3, exit_grace=0.2)
rank = xp.world().rank
x = xp.arange(10.0, split=0)
"""


def job(program: str, ranks: int, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program whose ranks have little patience; its first line is line 7."""
    return run(HURRY + program, ranks=ranks, **variables)


# ---------------------------------------------------------------- an end that others wait for


@alone
def test_a_collective_under_if_rank_is_0_is_named():
    """The first thing that a newcomer writes."""
    done = job("if rank == 0:\n    print(x)", 3)
    assert done.returncode == 1
    assert "ranks 1-2 have ended; rank 0 is in __str__ at line 8 of <string>" in done.stderr
    assert "HEAT_ARRAY_API_DEBUG=1 tells more" in done.stderr
    assert "`text = str(x)`" in done.stderr


@alone
def test_raised_exits_are_named_wherever_the_others_wait():
    """Rank 0 cannot see the exit of rank 1, and waits for rank 2, which waits for rank 1."""
    done = job(
        """
pair = xp.world().split(int(rank == 1))
def main():
    return 4
if rank == 1:
    raise SystemExit(main())
if rank == 2:
    xp.sum(x)
xp.sum(xp.ones(4, split=0, comm=pair))
""",
        3,
    )
    assert done.returncode not in (0, None)
    assert "rank 1 has ended; rank 2 is in sum at line 14 of <string>" in done.stderr
    assert "rank 0 is" not in done.stderr  # the one it waits for has not ended


@alone
def test_sys_exit_with_an_error_ends_all_ranks():
    done = job("if rank == 1:\n    sys.exit(3)\nxp.sum(x)", 2)
    assert done.returncode == 3
    assert "rank 1 has ended with exit code 3; rank 0 is in sum at line 9" in done.stderr


@alone
def test_ends_that_harm_nobody():
    """An exit that is caught, and ranks that end long before others which do not wait for them."""
    done = job(
        """
import torch
try:
    if rank == 1:
        sys.exit(3)
except SystemExit:
    pass
if rank == 1:
    time.sleep(2.5)  # the others have ended, or wait for this one
xp.world().exscan(torch.zeros(3))
sys.stdout.write("fine\\n")
""",
        3,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["fine"] * 3
    assert "which needs all ranks" not in done.stderr
    # A common exit is quick, whatever the patience.
    done = run("import sys, heat_array_api; sys.exit('all agree')", ranks=2)
    assert done.returncode == 1
    assert done.stderr.count("all agree") == 2
    assert "ended" not in done.stderr


# ---------------------------------------------------------------- exceptions


@alone
def test_an_uncaught_exception_ends_all_ranks():
    started = time.monotonic()
    done = job("if rank == 1:\n    raise ValueError('boom')\nxp.sum(x)", 2)
    assert done.returncode not in (0, None)
    assert time.monotonic() - started < LIMIT - 5
    assert "[rank 1 of 2] Traceback (most recent call last):" in done.stderr
    assert "[rank 1 of 2] ValueError: boom" in done.stderr
    assert "the same on" not in done.stderr


@alone
def test_an_exception_that_all_ranks_raise_is_shown_once():
    done = job("def f():\n    xp.sum(x, axis=7)\nf()", 3)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == done.stderr.count("IndexError: sum: axis 7") == 1
    lines = [line.rpartition("] ")[2] for line in done.stderr.splitlines()]
    assert "(the same on 2 other ranks)" in lines
    user = lines.index('  File "<string>", line 8, in f')
    assert "of the library" in lines[user + 1]


@alone
def test_each_exception_is_shown_with_its_ranks():
    done = job("xp.sum(x, axis=7 if rank % 2 else 8)", 3)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 2
    assert "[rank 1 of 3] IndexError: sum: axis 7" in done.stderr
    assert "[rank 0 of 3] IndexError: sum: axis 8" in done.stderr
    assert "[rank 0 of 3] (the same on rank 2)" in done.stderr


@alone
def test_a_hook_of_the_program_stays_in_control():
    """Rich installs one, for example; this one fails, too."""
    done = job(
        """
def hook(*args):
    sys.stderr.write("shown by the hook\\n")
    raise RuntimeError("broken")
sys.excepthook = hook
if rank == 1:
    raise ValueError("boom")
xp.sum(x)
""",
        2,
    )
    assert done.returncode not in (0, None)
    assert done.stderr.count("shown by the hook") == 1
    assert "rank 1 of 2] ValueError, which was shown by the program's own hook" in done.stderr


@alone
def test_debug_mode_raises_on_all_ranks():
    job = run(
        """
        import torch
        from heat_array_api import world
        from heat_array_api._errors import CollectiveMismatchError
        def f(comm):
            if comm.rank == 1:
                return comm.exscan(torch.zeros(3))
            return comm.allreduce(torch.zeros(3))
        try:
            f(world())
        except CollectiveMismatchError as error:
            print(f"caught on {world().rank}:", error, flush=True)
        """,
        ranks=3,
        HEAT_ARRAY_API_DEBUG="1",
    )
    assert job.returncode == 0, job.stderr
    for rank in range(3):
        assert f"caught on {rank}:" in job.stdout
    assert job.stdout.count("ranks 0, 2: allreduce: allreduce sum torch.float32 (3,)") == 3
    assert job.stdout.count("rank 1: exscan: exscan sum torch.float32 (3,)") == 3
    assert job.stdout.count("at <string>:7") == job.stdout.count("at <string>:8") == 3


@alone
def test_debug_mode_sees_an_early_end():
    """The rank that goes on shows it, and the first of those that have ended."""
    done = run(
        """
        import torch
        from heat_array_api import world
        if world().rank == 1:
            world().allreduce(torch.zeros(3))
        """,
        ranks=3,
        HEAT_ARRAY_API_DEBUG="1",
    )
    assert done.returncode != 0
    assert "[rank 1 of 3] heat_array_api._errors.CollectiveMismatchError" in done.stderr
    assert "[rank 0 of 3] the ranks make different collective calls" in done.stderr
    assert done.stderr.count("ranks 0, 2: end of the program") == 2


# ---------------------------------------------------------------- in this process


class Lonely:
    """Messages to ranks that never answer, and end too late."""

    rank, size, from_threads = 1, 4, True

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []

    def send(self, dest: int, message: tuple[Any, ...]) -> None:
        assert dest == 0
        self.sent.append(message)

    def receive(self) -> list[tuple[int, tuple[Any, ...]]]:
        return []

    def arrive(self) -> Callable[[], bool]:
        end = time.monotonic() + 0.2
        return lambda: time.monotonic() > end


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch):
    """Return an exit handler in such a job, and the abort codes."""
    monkeypatch.setattr(_exit, "VERDICT", 0.01)
    codes: list[int] = []

    def abort(code: int) -> None:
        codes.append(code)
        raise InterruptedError

    mine = ExitHandler(Lonely(), abort)
    mine.previous_hook = lambda *args: sys.stderr.write("the hook before\n")
    with xp.set_options(exit_patience=0.05, exit_grace=0.02):
        yield mine, codes


def test_hook_in_this_process(ending, monkeypatch, capsys):
    """Nobody answers: the exception is shown."""
    mine, codes = ending
    error = KeyboardInterrupt("stop")
    with pytest.raises(InterruptedError):
        mine.on_exception(KeyboardInterrupt, error, None)
    assert codes == [130]
    assert "[rank 1 of 4] uncaught exception:\nthe hook before" in capsys.readouterr().err
    boom = ValueError("boom")
    monkeypatch.setattr(mine, "previous_hook", lambda *args: 1 / 0)
    with pytest.raises(InterruptedError):
        mine.on_exception(ValueError, boom, None)
    assert "[rank 1 of 4] ValueError: boom" in capsys.readouterr().err
    monkeypatch.setattr(mine, "previous_hook", sys.__excepthook__)
    with pytest.raises(InterruptedError):
        mine.on_exception(ValueError, boom, None)
    assert codes == [130, 1, 1]
    assert "[rank 1 of 4] ValueError: boom" in capsys.readouterr().err
    monkeypatch.setattr(_exit, "formatted", lambda error, full: 1 / 0)
    assert "ValueError: boom" in mine._formatted(boom)
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    mine.on_exception(ValueError, ValueError("interactive"), None)
    assert codes == [130, 1, 1]


def test_who_shows_an_exception(ending, monkeypatch, capsys):
    mine, _ = ending
    monkeypatch.setattr(_exit, "SILENT", 0.01)
    monkeypatch.setattr(mine, "previous_hook", sys.__excepthook__)
    for verdict, shown in (((1, [1, 2, 3]), True), ((0, [0, 1, 2, 3]), False)):
        monkeypatch.setattr(mine.parting, "verdict", verdict)
        with pytest.raises(InterruptedError):
            mine.on_exception(ValueError, ValueError("boom"), None)
        text = capsys.readouterr().err
        assert ("ValueError: boom" in text) is shown
        assert ("(the same on ranks 2-3)" in text) is shown


def test_exception_in_a_thread(ending, capsys, monkeypatch):
    mine, codes = ending
    monkeypatch.setattr(threading, "excepthook", mine.on_thread_exception)

    def work(error: BaseException) -> None:
        raise error

    for error in (ValueError("boom"), SystemExit(2)):
        thread = threading.Thread(target=work, args=(error,), name="worker")
        thread.start()
        thread.join()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "[rank 1 of 4] Exception in thread worker:"
    assert lines[-1] == "[rank 1 of 4] ValueError: boom"
    assert not codes


def test_exit_in_this_process(ending, capsys, monkeypatch):
    mine, codes = ending
    assert mine.exit_code() == 0
    mine.at_exit()
    assert mine.post.sent[-1][:2] == ("ended", 0)
    for status, code in ((None, 0), (0, 0), (7, 7), ("text", 1)):
        with pytest.raises(SystemExit) as caught:
            mine.on_sys_exit(status)
        assert caught.value.code == status
        assert mine.leaving[0] == code
        assert mine.exit_code() == code
    mine.at_exit()
    assert mine.post.sent[-1][:2] == ("ended", 1)
    assert not codes
    monkeypatch.setattr(mine.post, "from_threads", False)  # an MPI for one thread
    with pytest.raises(InterruptedError):
        mine.at_exit()
    assert codes == [1]
    assert "ended with exit code 1 while other ranks go on" in capsys.readouterr().err
    frame = mine.leaving[1]
    mine.leaving = (1, frame, frame.f_lasti + 2)
    assert mine.exit_code() == 0  # the outermost frame has moved on
    mine.pid = -1  # a forked child
    mine.at_exit()


def test_an_exception_that_another_hook_showed(ending, monkeypatch, capsys):
    mine, codes = ending

    def error_in(module: str) -> BaseException:
        with pytest.raises(ValueError, match="boom") as caught:
            exec("raise ValueError('boom')", {"__name__": module})
        return caught.value.with_traceback(caught.tb.tb_next)

    assert mine.unseen_exception() is None
    monkeypatch.setattr(sys, "last_value", error_in("pytest"), raising=False)  # one that it caught
    assert mine.unseen_exception() is None
    monkeypatch.setattr(sys, "last_value", error_in("__main__"), raising=False)
    assert mine.unseen_exception() is sys.last_value
    with pytest.raises(InterruptedError):
        mine.at_exit()
    assert codes == [1]
    assert "ValueError, which was shown by the program's own hook" in capsys.readouterr().err
    monkeypatch.setattr(sys, "excepthook", mine.on_exception)  # it would have been shown by ours
    assert mine.unseen_exception() is None


def test_hooks_are_in_place_on_several_ranks():
    if world().size > 1:
        assert isinstance(sys.exit.__self__, ExitHandler)
        assert any(one.name == "heat_array_api-watch" for one in threading.enumerate())


def test_install(ending, monkeypatch):
    mine, _ = ending
    registered = []
    monkeypatch.setattr("atexit.register", registered.append)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "exit", sys.exit)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    mine.install()
    mine.watch.stop()
    assert sys.excepthook == mine.on_exception
    assert sys.exit == mine.on_sys_exit
    assert registered == [mine.at_exit]
