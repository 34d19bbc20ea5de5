"""Transports and the table of collectives: one rank without MPI, and rules against messages."""

from __future__ import annotations

import re

import pytest
import torch
from mpi4py import MPI

from heat_array_api._comm import mpi as _mpi
from heat_array_api._comm.communicator import Communicator, world
from heat_array_api._comm.division import Division
from heat_array_api._comm.dry import Answers, DryTransport
from heat_array_api._comm.mpi import MPITransport
from heat_array_api._comm.table import TABLE, TENSOR_METHODS
from heat_array_api._comm.trace import Trace, trace
from heat_array_api._comm.transport import SerialTransport, Transport

W = world()
P, RANK = W.size, W.rank

several = pytest.mark.skipif(P == 1, reason="nothing is sent on one rank")

DTYPES = [torch.bool, torch.int16, torch.float16, torch.float32, torch.float64, torch.complex64]


def calls(rank: int, size: int, dtype: torch.dtype) -> list[tuple[str, torch.Tensor, tuple]]:
    """Return one call or more of every collective of tensors: name, tensor, other arguments."""
    t = torch.arange(6 * size).reshape(2 * size, 3).add(rank).to(dtype)
    row, column = Division.of(range(size)), Division.of([2] * size)
    after, before = (rank + 1) % size, (rank - 1) % size
    ops = ("sum", "prod") if dtype.is_complex else ("sum", "prod", "max", "min")
    return [
        *(("allreduce", t, (op,)) for op in ops),
        *(("reduce_scatter", t, (column, op)) for op in ops),
        *(("exscan", t, (op,)) for op in ops),
        ("bcast", t.clone(), (size - 1,)),
        ("allgather", t[:rank], (row,)),
        ("allgather", t[:2], (column,)),
        ("alltoall", t.view(-1)[: 2 * size], (column, column)),
        ("alltoall", t.view(-1)[: row.total], (row, Division.of([rank] * size))),
        ("exchange", t.view(-1)[: 3 * (size > 1)], parts(after, before, size)),
        ("sendrecv", t, ((rank + 1) % size, (rank - 1) % size, (3, 2 * size))),
        ("sendrecv", t, (None, None, (2,))),
    ]


def parts(after: int, before: int, size: int) -> tuple:
    """Return what goes round a ring of ranks: three elements; nothing on one rank."""
    return (((after, 3),), ((before, 3),)) if size > 1 else ((), ())


def carried(where: Communicator | Transport, name: str, t: torch.Tensor, args: tuple):
    method = TABLE[name].method if isinstance(where, Communicator) else name
    return getattr(where, method)(t, *args)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_rank_without_mpi_is_one_rank_with_it(dtype):
    by_mpi = MPITransport(MPI.COMM_SELF.Dup())
    serial = SerialTransport()
    communicators = Communicator(by_mpi), Communicator(serial)
    for name, t, args in calls(0, 1, dtype):
        if not t.numel():
            continue
        expected, *others = (
            carried(where, name, t.clone(), args) for where in (by_mpi, serial, *communicators)
        )
        for out in others:
            assert (out.dtype, out.shape) == (expected.dtype, expected.shape), name
            assert torch.equal(out, expected), name
        copy = carried(serial, name, t, args)
        assert copy.data_ptr() != t.data_ptr()


@pytest.mark.parametrize("size", [2, 5])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_dry_transport_has_results_of_the_shapes_in_the_table(dtype, size):
    for rank in range(size):
        answers, messages = Answers(), []
        answers.begin(rank)
        dry = DryTransport(rank, size, 2, answers, messages)
        for name, t, args in calls(rank, size, dtype):
            out = carried(dry, name, t, args)
            row, own = TABLE[name], tuple(t.shape)
            assert tuple(out.shape) == row.result(dry, own, *args), name
            assert out.dtype == dtype
            facts = (dry, own, dtype, args)
            last = messages[-1]
            assert (last.collective, last.nbytes) == (name, row.nbytes(*facts)), name
        assert dry.allgather_ints([rank, 3]).tolist() == [[rank, 3]] * size
        assert dry.bcast_object("a", size - 1) == "a"
        assert (dry.node_rank, dry.node_size) == (rank % 2, 2)
        assert repr(Communicator(dry)) == f"<Communicator: rank {rank} of {size}, a dry run>"


def test_ranks_of_a_dry_run_hear_what_others_said():
    answers = Answers()
    said = {0: 5, 1: 4, 8: 3}
    for _ in range(2):
        heard = []
        for rank, n in said.items():
            answers.begin(rank)
            everyone = DryTransport(rank, 9, 9, answers, []).allgather_ints([n])
            heard.append(everyone[:, 0].tolist())
    assert heard == [[5, 4, 4, 4, 4, 4, 4, 4, 3]] * 3
    assert answers.agree
    answers.begin(1)
    DryTransport(1, 9, 9, answers, []).allgather_ints([7])
    assert not answers.agree


def test_one_rank_without_mpi_has_the_same_bookkeeping():
    for where in (MPITransport(MPI.COMM_SELF.Dup()), SerialTransport()):
        assert (where.rank, where.size) == (0, 1)
        for one in (where, where.split(3, 0), where.duplicate()):
            assert one.size == 1
            assert one.allgather_ints([1, -2]).tolist() == [[1, -2]]
            assert one.allgather_object("a", patient=True) == ["a"]
            assert one.bcast_object("b", 0) == "b"
            assert one.arrive()()
            one.barrier()
    alone = Communicator(SerialTransport())
    assert alone.mpi is None
    assert alone.split(0).allgather_ints((5,)).tolist() == [[5]]
    assert (alone.node_rank, alone.node_size) == (0, 1)


def test_only_one_module_knows_mpi():
    assert isinstance(W.transport, MPITransport)
    assert W.mpi is W.transport.mpi
    assert _mpi.is_world(MPI.COMM_WORLD)
    assert not _mpi.is_world(W.mpi)


# ---------------------------------------------------------------------- the table


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_results_have_the_shape_and_bytes_that_the_table_says(dtype):
    for name, t, args in calls(RANK, P, dtype):
        row = TABLE[name]
        with trace() as seen:
            out = carried(W, name, t, args)
        assert tuple(out.shape) == row.result(W, tuple(t.shape), *args), name
        if P == 1:
            assert not seen.events
            continue
        (event,) = seen.events
        facts = (W, tuple(t.shape), dtype, args)
        assert (event.collective, event.nranks) == (name, P)
        assert (event.bytes, event.result) == (row.nbytes(*facts), row.result_nbytes(*facts))
        wide = dtype in (torch.float16, torch.bfloat16) and args[-1] in ("sum", "prod")
        assert event.result == out.nbytes * (2 if wide else 1), name


@several
def test_the_table_has_the_bytes_of_bookkeeping():
    with trace() as seen:
        W.allgather_ints((1, 2, 3))
        W.allgather_object(None)
        W.bcast_object("abc", P - 1)
        W.barrier()
    assert [(e.collective, e.result) for e in seen.events] == [
        ("allgather_ints", 24 * P),
        ("allgather_object", 0),
        ("bcast_object", 0),
        ("barrier", 0),
    ]
    assert seen.events[0].bytes == 24
    assert (seen.events[2].bytes > 0) == (RANK == P - 1)


def test_names_are_spelled_once():
    """The table, the methods of transports and communicators, and the text of `Trace`."""
    for name, row in TABLE.items():
        assert row.name == name
        assert callable(getattr(Communicator, row.method))
        for kind in (MPITransport, SerialTransport, DryTransport):
            assert callable(getattr(kind, name))
    rows = re.findall(r"^ {4}(\w+) {2,}\w", Trace.__doc__, flags=re.MULTILINE)
    assert [name for name in rows if name != "collective"] == list(TABLE)


def test_adjoints_are_each_others():
    for name, row in TABLE.items():
        if row.adjoint:
            assert row.method in TENSOR_METHODS
            assert TABLE[row.adjoint].adjoint == name
