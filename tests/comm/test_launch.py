"""The start of a program: checks of the launcher, threads per rank, memory."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import pytest

from heat_array_api._comm import launch as _launch
from heat_array_api._comm.launch import check_launcher, launched_ranks, threads_per_rank
from heat_array_api._errors import LauncherMismatchError, MPIUnavailableError
from jobs import alone, run

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
        """,
        PMI_SIZE="2",
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
