"""Start and end of a program: checks, threads per rank, and no rank that leaves others hanging."""

from __future__ import annotations

import ctypes
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from heat_array_api._comm import exit as _exit
from heat_array_api._comm import launch as _launch
from heat_array_api._comm.communicator import world
from heat_array_api._comm.exit import ExitHandler
from heat_array_api._comm.launch import check_launcher, launched_ranks, threads_per_rank
from heat_array_api._errors import LauncherMismatchError, MPIUnavailableError
from jobs import LIMIT, alone, run

# ---------------------------------------------------------------- the end


@alone
def test_an_uncaught_exception_ends_all_ranks():
    started = time.monotonic()
    job = run(
        """
        import torch
        from heat_array_api import world
        if world().rank == 1:
            raise ValueError("boom")
        world().allreduce(torch.zeros(3))
        """,
        ranks=2,
    )
    assert job.returncode not in (0, None)
    assert time.monotonic() - started < LIMIT - 5
    assert "[rank 1 of 2] Traceback (most recent call last):" in job.stderr
    assert "[rank 1 of 2] ValueError: boom" in job.stderr


@alone
def test_sys_exit_with_an_error_ends_all_ranks():
    job = run(
        """
        import sys, torch
        from heat_array_api._comm import exit as _exit
        from heat_array_api import world
        _exit.EXIT_GRACE = 0.5
        if world().rank == 1:
            sys.exit(3)
        world().allreduce(torch.zeros(3))
        """,
        ranks=2,
    )
    assert job.returncode == 3
    assert "[rank 1 of 2] ended with exit code 3 while other ranks go on" in job.stderr


@alone
def test_a_caught_exit_or_a_common_one_harms_nobody():
    job = run(
        """
        import sys, time
        from heat_array_api._comm import exit as _exit
        from heat_array_api import world
        _exit.EXIT_GRACE = 0.0
        if world().rank == 1:
            try:
                sys.exit(3)
            except SystemExit:
                pass
        else:
            time.sleep(1)
        print("fine", flush=True)
        """,
        ranks=2,
    )
    assert job.returncode == 0, job.stderr
    assert job.stdout.split() == ["fine", "fine"]
    job = run("import sys, heat_array_api; sys.exit('all agree')", ranks=2)
    assert job.returncode == 1
    assert job.stderr.count("all agree") == 2
    assert "other ranks go on" not in job.stderr


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
    job = run(
        """
        import torch
        from heat_array_api import world
        if world().rank == 0:
            world().allreduce(torch.zeros(3))
        """,
        ranks=2,
        HEAT_ARRAY_API_DEBUG="1",
    )
    assert job.returncode != 0
    assert "[rank 0 of 2] heat_array_api._errors.CollectiveMismatchError" in job.stderr
    assert "rank 1: end of the program" in job.stderr


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> tuple[ExitHandler, list[int]]:
    """Return an exit handler in a job whose other ranks end too late, and the abort codes."""
    monkeypatch.setattr(_exit, "EXIT_GRACE", 0.02)
    codes: list[int] = []

    def abort(code: int) -> None:
        codes.append(code)
        if not codes[1:]:
            raise InterruptedError

    def arrive() -> Callable[[], bool]:
        end = time.monotonic() + 0.2
        return lambda: time.monotonic() > end

    mine = ExitHandler(1, 4, abort, arrive)
    mine.previous_hook = lambda *args: sys.stderr.write("the hook before\n")
    return mine, codes


def test_hook_in_this_process(ending, monkeypatch, capsys):
    mine, codes = ending
    error = KeyboardInterrupt("stop")
    with pytest.raises(InterruptedError):
        mine.on_exception(KeyboardInterrupt, error, None)
    assert codes == [130]
    assert "[rank 1 of 4] uncaught exception:\nthe hook before" in capsys.readouterr().err
    monkeypatch.setattr(mine, "previous_hook", sys.__excepthook__)
    mine.on_exception(ValueError, ValueError("boom"), None)
    assert codes == [130, 1]
    assert "[rank 1 of 4] ValueError: boom" in capsys.readouterr().err
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    mine.on_exception(ValueError, ValueError("interactive"), None)
    assert codes == [130, 1]


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


def test_exit_in_this_process(ending, capsys):
    mine, codes = ending
    assert mine.exit_code() == 0
    mine.at_exit()
    for status, code in ((None, 0), (0, 0), (7, 7), ("text", 1)):
        with pytest.raises(SystemExit) as caught:
            mine.on_sys_exit(status)
        assert caught.value.code == status
        assert mine.leaving[0] == code
        assert mine.exit_code() == code
    with pytest.raises(InterruptedError):
        mine.at_exit()
    assert codes == [1]
    assert "ended with exit code 1" in capsys.readouterr().err
    frame = mine.leaving[1]
    mine.leaving = (1, frame, frame.f_lasti + 2)
    assert mine.exit_code() == 0  # the outermost frame has moved on
    mine.pid = -1  # a forked child
    mine.at_exit()


def test_hooks_are_in_place_on_several_ranks():
    if world().size > 1:
        assert isinstance(sys.exit.__self__, ExitHandler)


def test_install(ending, monkeypatch):
    mine, _ = ending
    registered = []
    monkeypatch.setattr("atexit.register", registered.append)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "exit", sys.exit)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    mine.install()
    assert sys.excepthook == mine.on_exception
    assert sys.exit == mine.on_sys_exit
    assert registered == [mine.at_exit]


# ---------------------------------------------------------------- launcher and library


def test_launchers():
    step = {"SLURM_PROCID": "0", "SLURM_STEP_ID": "0"}
    cases = [
        ({}, 0),
        ({"PMI_SIZE": "4"}, 4),
        ({"OMPI_COMM_WORLD_SIZE": "3"}, 3),
        ({"PMI_SIZE": "nonsense"}, 0),
        # A batch script, and an interactive shell that Slurm itself made a step of.
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, 0),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_STEP_ID": "4294967290"}, 0),
        ({"SLURM_NTASKS": "8"} | step, 8),
        ({"SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1"} | step, 1),
        # mpirun -n 1 inside a step: the nearer launcher counts.
        ({"SLURM_NTASKS": "8", "PMI_SIZE": "1"} | step, 1),
    ]
    for environ, ranks in cases:
        assert launched_ranks(environ)[1] == ranks, environ


def test_launcher_mismatch():
    with pytest.raises(
        LauncherMismatchError, match=r"PMI_SIZE=4(.|\n)*Some MPI 1.0\n(.|\n)*mpirun"
    ):
        check_launcher(1, "Some MPI 1.0\nand more\0", {"PMI_SIZE": "4"})
    with pytest.raises(LauncherMismatchError, match="srun --mpi=pmix"):
        check_launcher(1, "", {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0"})
    check_launcher(4, "", {"PMI_SIZE": "4"})
    check_launcher(1, "", {"PMI_SIZE": "1"})
    check_launcher(1, "", {"PMI_SIZE": "4", "HEAT_ARRAY_API_LAUNCHER_CHECK": "0"})


@alone
def test_launcher_mismatch_stops_the_import():
    job = run("import heat_array_api", OMPI_COMM_WORLD_SIZE="2")
    assert job.returncode != 0
    assert "LauncherMismatchError: the launcher started 2 ranks" in job.stderr


@alone
@pytest.mark.parametrize("error", ["ModuleNotFoundError(name)", "RuntimeError('no libmpi.so')"])
def test_missing_mpi_says_how_to_get_it(error):
    job = run(
        f"""
        import sys
        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == "mpi4py":
                    raise {error}
        sys.meta_path.insert(0, Blocker())
        from heat_array_api._errors import MPIUnavailableError
        """
    )
    assert job.returncode != 0
    last = job.stderr.rpartition("heat_array_api._errors.MPIUnavailableError: ")[2]
    assert "which cannot be loaded" in last
    assert "pip install 'heat_array_api[mpich]'" in last
    assert "pip install --no-binary=mpi4py mpi4py" in last
    assert issubclass(MPIUnavailableError, ImportError)


# ---------------------------------------------------------------- threads


def test_threads_per_rank():
    node = [range(16)] * 4
    assert threads_per_rank(range(16), node) == 4
    assert threads_per_rank(range(4), [range(4 * i, 4 * i + 4) for i in range(4)]) == 4
    sockets = [range(8), range(8), range(8, 16), range(8, 16)]
    assert threads_per_rank(range(8), sockets) == 4
    assert threads_per_rank(range(2), [range(2)] * 4) == 1


def test_cores_are_counted_once(tmp_path, monkeypatch):
    """Two hardware threads share a core: 0 with 2, 1 with 3."""
    monkeypatch.setattr(_launch.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert _launch.cores(str(tmp_path)) == {0, 1, 2, 3}  # nothing is known of them
    for cpu in range(4):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 2},{cpu % 2 + 2}\n")
    assert _launch.cores(str(tmp_path)) == {0, 1}
    (folder / "thread_siblings_list").write_text("2-3\n")
    assert _launch.cores(str(tmp_path)) == {0, 1, 2}
    assert _launch.cores()


@alone
def test_threads_of_a_job():
    program = """
    import sys
    import torch
    before = torch.get_num_threads()
    from heat_array_api import world
    sys.stdout.write(f"<{before},{torch.get_num_threads()}>")  # one piece: lines of ranks may mix
    """
    cores = len(_launch.cores())
    for ranks in (1, 2):
        counts = re.findall(r"<(\d+),(\d+)>", run(program, ranks=ranks).stdout)
        assert [int(after) for _, after in counts] == [max(1, cores // ranks)] * ranks
    for job in (run(program, ranks=2, OMP_NUM_THREADS="2"), run(program)):
        counts = re.findall(r"<(\d+),(\d+)>", job.stdout)
        assert counts
        for before, after in counts:
            assert before == after


# ---------------------------------------------------------------- memory


def _offers_huge_pages() -> bool:
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return setting.exists() and "[never]" not in setting.read_text()


@alone
@pytest.mark.skipif(not _offers_huge_pages(), reason="no huge pages on this system")
@pytest.mark.parametrize(("value", "wanted"), [(None, "True"), ("0", "False")])
def test_large_tensors_ask_for_huge_pages(monkeypatch, value, wanted):
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE")  # this process has set it at its import
    variables = {} if value is None else {"THP_MEM_ALLOC_ENABLE": value}
    job = run(
        """
        import heat_array_api as xp
        x = xp.ones((8_000_000,))
        address = x.local.data_ptr() + 32_000_000
        inside = False
        for line in open("/proc/self/smaps"):
            first = line.split()[0]
            if not first.endswith(":"):
                start, end = (int(part, 16) for part in first.split("-"))
                inside = start <= address < end
            elif inside and first == "VmFlags:":
                print("hg" in line.split())
        """,
        **variables,
    )
    assert job.stdout.split() == [wanted], job.stderr


@alone
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="not glibc >= 2.33")
def test_small_tensors_are_no_mappings_of_their_own():
    """So they can take memory that was freed before."""
    job = run(
        """
        import ctypes
        import heat_array_api as xp
        class Info(ctypes.Structure):
            _fields_ = [(f"field{i}", ctypes.c_size_t) for i in range(10)]
        info = ctypes.CDLL(None).mallinfo2
        info.restype = Info
        before = info().field3  # hblks: the number of mappings
        x = xp.ones((200_000,))
        print(info().field3 - before)
        """
    )
    assert job.stdout == "0\n", job.stderr
