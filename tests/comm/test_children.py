"""Child processes of ranks, and processes without MPI: jobs of one rank."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest

import heat_array_api as xp
from heat_array_api._comm.children import MARK, leave_mark, marked_parent
from heat_array_api._comm.launch import launcher
from jobs import MPIRUN, ROOT, alone, environment, run
from layouts import assert_equal

WORLD = xp.world()

# ---------------------------------------------------------------- who is a child


def marked(environ: dict[str, str], pid: int | None = None) -> dict[str, str]:
    """Return the environment that a rank with this one gives to its children."""
    environ = dict(environ)
    leave_mark(environ, rank=1, size=4, node_rank=1, node_size=2, threads=3)
    if pid is not None:
        environ[MARK] = json.dumps(json.loads(environ[MARK]) | {"pid": pid})
    return environ


LAUNCHED = [
    {"PMI_RANK": "1", "PMI_SIZE": "4", "PMI_FD": "999999"},
    {"PMI_RANK": "1", "PMI_SIZE": "4", "PMI_PORT": "node:1234", "PMI_ID": "1"},
    {"PMIX_RANK": "1", "PMIX_NAMESPACE": "prterun-node-77@1", "OMPI_COMM_WORLD_SIZE": "4"},
    {"SLURM_PROCID": "1", "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "5", "SLURM_NTASKS": "4"},
]


@pytest.mark.parametrize("environ", LAUNCHED)
def test_a_mark_tells_children_from_ranks(environ):
    there = marked(environ, pid=1)
    parent = marked_parent(there)
    assert (parent.rank, parent.size, parent.node_rank, parent.threads) == (1, 4, 1, 3)
    assert marked_parent(there | {"PATH": "x", "OMPI_MCA_btl": "self", "I_MPI_DEBUG": "1"})
    assert marked_parent(marked(environ)) is None  # the rank itself
    assert marked_parent(environ) is None
    for text in ("", "7", "[]", "{}", '{"pid": 1}', "nonsense"):
        assert marked_parent(environ | {MARK: text}) is None
    # A launcher within the rank gives variables of its own.
    for name in ("PMI_RANK", "PMI_FD", "PMI_PORT", "PMIX_NAMESPACE", "SLURM_STEP_ID"):
        assert marked_parent(there | {name: "other"}) is None
    assert marked_parent({MARK: there[MARK]}) is None  # the user took the launcher's away


def test_launches_with_equal_variables_differ_by_their_socket():
    mine, launchers = socket.socketpair()
    other, _ = pairs = socket.socketpair()
    reading, writing = os.pipe()
    environ = {"PMI_RANK": "0", "PMI_SIZE": "1", "PMI_FD": str(mine.fileno())}
    there = marked(environ, pid=1)
    assert marked_parent(there)  # a child that inherits the descriptor
    os.dup2(reading, mine.fileno())
    assert marked_parent(there)  # a child that has another file there
    os.dup2(other.fileno(), mine.fileno())
    assert marked_parent(there) is None  # the socket of another launch
    number = mine.detach()
    os.close(number)
    assert marked_parent(there)  # a child without it
    for one in (launchers, *pairs):
        one.close()
    os.close(reading)
    os.close(writing)


def test_who_is_launched():
    step = {"SLURM_PROCID": "0", "SLURM_STEP_ID": "0"}
    assert not launcher({})
    assert not launcher({"SLURM_NTASKS": "8", "SLURM_JOB_ID": "7"})  # a batch script
    assert not launcher(step | {"SLURM_NTASKS": "1"})  # an interactive shell
    assert launcher(step | {"SLURM_NTASKS": "2"})
    assert launcher({"PMI_SIZE": "1"}) == "PMI_SIZE"
    assert launcher({"PMIX_RANK": "0"}) == "PMIX_RANK"


# ---------------------------------------------------------------- arrays that go to them


def test_arrays_on_their_way_to_a_child():
    whole = xp.asarray([1.0, 2.0])
    assert_equal(ForkingPickler.loads(ForkingPickler.dumps(whole)), np.asarray([1.0, 2.0]))
    x = xp.arange(6.0, split=0)
    if WORLD.size == 1:
        assert_equal(ForkingPickler.loads(ForkingPickler.dumps(x)), np.arange(6.0))
        return
    with pytest.raises(TypeError, match=rf"split over {WORLD.size} ranks.*send x.local"):
        ForkingPickler.dumps(x)


def test_arrays_that_come_from_a_child():
    rebuild, (values, dtype, device, _) = xp.arange(6.0).__reduce__()
    x = rebuild(values, dtype, device, ((6,), 0, (6,), WORLD))
    assert_equal(x, np.arange(6.0))
    assert x.split == (0 if WORLD.size == 1 else None)
    counts = (1,) * (WORLD.size + 1) + (5 - WORLD.size,)
    with pytest.raises(ValueError, match=rf"split over {len(counts)} ranks.*as many ranks as"):
        rebuild(values, dtype, device, ((6,), 0, counts, WORLD))


# ---------------------------------------------------------------- real ones

CHILDREN = """
import multiprocessing
import os
import subprocess
import sys

import numpy as np
import torch
from concurrent.futures import ProcessPoolExecutor

import heat_array_api as xp


def who():
    x = xp.arange(5.0, split=0)  # a result whose values needed every rank of the job
    return f"{xp.world()} {float(xp.sum(x[::-1]))} {torch.get_num_threads()}"


def total(x):
    return float(xp.sum(x))


def whole(x):
    return float(x.local.sum())


class Dataset(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return float(xp.sum(xp.arange(i + 1.0, split=0)))


def outcome(f, *args):
    try:
        return f(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def show(name, value):
    sys.stdout.write(f"{name}: {value}\\n")
    sys.stdout.flush()


def of_multiprocessing(x, copy):
    for method in ("fork", "spawn", "forkserver"):
        with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
            show(method, pool.submit(who).result())
            show(f"{method} whole", pool.submit(total, copy).result())
            show(f"{method} split", outcome(lambda: pool.submit(total, x).result()))
            show(f"{method} returns", whole(pool.submit(xp.arange, 4.0, split=0).result()))


def of_libraries():
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import cross_val_score

    values = np.random.default_rng(0).standard_normal((60, 3))
    y = values @ [1.0, 2.0, 3.0]
    show("cross_val_score", cross_val_score(Ridge(1e-9), values, y, n_jobs=2).round(6).tolist())
    batches = torch.utils.data.DataLoader(Dataset(), batch_size=2, num_workers=2)
    show("DataLoader", [batch.tolist() for batch in batches])


def of_the_system(x, group):
    rank = xp.world()
    torch.set_num_threads(2)
    many = xp.ones(3_000_000)
    xp.sum(many)
    child = os.fork()
    if child == 0:
        show("forked threads", float(xp.sum(many)))
        show("forked", who())
        show("forked sum", outcome(total, x))
        show("forked split", outcome(lambda: repr(group.split(0))))
        show("forked local", float(xp.sum(xp.from_local(x.local, split=0))))
        show("forked parent", rank)
        raise SystemExit(4)
    show("exit status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    program = "import sys, heat_array_api as xp; x = xp.ones(4, split=0); "
    program += 'sys.stdout.write(f"{xp.world()} {xp.sum(x)} ")'
    script = ["sh", "-c", f"{sys.executable} -c '{program}'"]
    show("subprocess", output(script))
    show("nested", output([sys.argv[1], "-n", str(rank.size), *script]))


def output(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    return " ".join(done.stdout.split()) + f" ({done.returncode})"


def main():
    world = xp.world()
    x, copy, group = xp.arange(6.0, split=0), xp.ones(3), world.split(0)
    if world.rank == world.size - 1:
        of_multiprocessing(x, copy)
        if world.size > 1:
            of_libraries()
        of_the_system(x, group)
    world.allgather_object(None, patient=True)
    show(f"rank {world.rank}", total(x))


if __name__ == "__main__":
    main()
"""

START = """
import runpy, sys
sys.argv = {arguments}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def shown(output: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w ]+): (.*)$", output, flags=re.MULTILINE))


@alone
@pytest.mark.parametrize("ranks", [1, 2])
def test_children_of_a_rank(ranks, tmp_path):
    path = tmp_path / "children.py"
    path.write_text(CHILDREN)
    job = run(START.format(arguments=[str(path), MPIRUN]), ranks=ranks, OMP_NUM_THREADS="1")
    assert job.returncode == 0, job.stderr
    found = shown(job.stdout)
    rank = ranks - 1
    one = "<Communicator: rank 0 of 1, without MPI: a child process of rank "
    one += f"{rank} of {ranks}>"
    for method in ("fork", "spawn", "forkserver"):
        assert found[method] == f"{one} 10.0 1"
        assert found[f"{method} whole"] == "3.0"
        assert found[f"{method} returns"] == "6.0"
        refused = "TypeError: pickle: an array of shape (6,), split over 2 ranks"
        assert found[f"{method} split"].startswith("15.0" if ranks == 1 else refused)
    if ranks > 1:
        assert found["cross_val_score"] == "[1.0, 1.0, 1.0, 1.0, 1.0]"
        assert found["DataLoader"] == "[[0.0, 1.0], [3.0, 6.0]]"
    assert found["forked threads"] == "3000000.0"
    assert found["forked"] == f"{one} 10.0 1"
    parent = "<Communicator: rank 1 of 2, in the parent process>"
    belongs = "RuntimeError: this array or communicator belongs to 2 processes"
    assert found["forked sum"].startswith("15.0" if ranks == 1 else belongs)
    assert found["forked split"].startswith(one if ranks == 1 else belongs)
    assert found["forked local"] == ("15.0" if ranks == 1 else "12.0")
    assert found["forked parent"] == (one if ranks == 1 else parent)
    assert found["exit status"] == "4"
    assert found["subprocess"] == f"{one} 4.0 (0)"
    nested = found["nested"]
    assert sorted(re.findall(r"<.*?> [\d.]+", nested)) == [
        f"<Communicator: rank {r} of {ranks}> 4.0" for r in range(ranks)
    ]
    assert {found[f"rank {r}"] for r in range(ranks)} == {"15.0"}


@alone
def test_what_wraps_a_rank_is_no_parent(tmp_path):
    """Programs that start the rank's program: a shell, Python's runners and subprocesses."""
    path = tmp_path / "program.py"
    path.write_text("import heat_array_api as xp; print(xp.sum(xp.ones(4, split=0)), xp.world())")
    python = f"exec env A=1 sh -c '{sys.executable} {path}; true'"
    done = subprocess.run(
        [MPIRUN, "-n", "2", "sh", "-c", python],
        check=False, env=environment(), capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert sorted(re.findall("rank . of .", done.stdout)) == ["rank 0 of 2", "rank 1 of 2"]


# ---------------------------------------------------------------- no MPI

WITHOUT = """
import heat_array_api as xp
print(xp.world(), xp.world().mpi, xp.sum(xp.ones(4, split=0)), xp.world().split(0))
"""


@alone
def test_no_mpi_library_is_one_rank():
    """mpi4py finds none."""
    job = run(WITHOUT, MPI4PY_LIBMPI="/nowhere/libmpi.so")
    one = "<Communicator: rank 0 of 1, without MPI: no MPI library was found>"
    assert job.stdout == f"{one} None 4.0 {one}\n", job.stderr
    for variables in ({"PMI_RANK": "0", "PMI_SIZE": "2"}, {"PMIX_RANK": "0"}):
        job = run(WITHOUT, MPI4PY_LIBMPI="/nowhere/libmpi.so", **variables)
        assert job.returncode != 0
        assert "MPIUnavailableError: under a launcher" in job.stderr
        assert "/nowhere/libmpi.so" in job.stderr


@alone
def test_one_rank_by_choice_passes_the_tests_of_communicators():
    files = [
        str(Path(__file__).with_name(f"test_{name}.py")) for name in ("communicator", "gathers")
    ]
    job = run(
        f"""
        import sys, pytest
        options = ["-q", "-k", "not mpi and not identity", "--rootdir={ROOT}"]
        sys.exit(pytest.main([*{files}, *options, "-c", "{ROOT}/pyproject.toml"]))
        """,
        HEAT_ARRAY_API_SERIAL="1",
    )
    assert job.returncode == 0, job.stdout + job.stderr
    assert re.search(r"\d+ passed", job.stdout)
