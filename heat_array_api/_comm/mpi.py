"""The only module that imports mpi4py's MPI: messages, and how an MPI job starts and ends.

Importing it starts MPI (collectively, on every rank of the job) and checks that launcher and
library belong to the same MPI. `job` imports it where there is an MPI to start.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from threading import get_ident
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
from torch import Tensor

from .._errors import MPIUnavailableError
from .buffers import REDUCTIONS, Codec, deliver, dense, empty, fresh, identity, outgoing
from .division import Division, Integers
from .dtypes import INTEGERS
from .exit import ExitHandler
from .large_messages import LargeMessages
from .launch import NO_MPI, check_launcher, set_threads, sleep_until
from .parting import Post, tally
from .table import Parts
from .transport import Transport

try:
    import mpi4py

    # mpi4py would end MPI in forked children too, and with it their parent's job: where nobody has
    # started MPI or said how, it is started here, and this process alone ends it (`_finalize`).
    _alone = "mpi4py.MPI" not in sys.modules and not vars(mpi4py.rc)
    _alone = _alone and not any(name.startswith("MPI4PY_RC_") for name in os.environ)
    mpi4py.rc.initialize = mpi4py.rc.initialize and not _alone
    from mpi4py import MPI

    mpi4py.rc.initialize = mpi4py.rc.initialize or _alone
    _starts = _alone and not MPI.Is_initialized()
    if _starts:
        MPI.Init_thread()
except (ImportError, RuntimeError, OSError) as error:
    raise MPIUnavailableError(NO_MPI.format(error=error)) from error


check_launcher(MPI.COMM_WORLD.Get_size(), MPI.Get_library_version(), os.environ)

T = TypeVar("T")

_NODE = MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED)

_EVERYONE = MPI.COMM_WORLD.Get_group()

_address = MPI.buffer.fromaddress

# Types of raw memory by the size of an element.
_RAW = {1: MPI.BYTE, 2: MPI.INT16_T, 4: MPI.INT32_T, 8: MPI.INT64_T, 16: MPI.C_DOUBLE_COMPLEX}

_TYPES = {
    **{t: getattr(MPI, f"{str(t).removeprefix('torch.').upper()}_T") for t in INTEGERS},
    torch.float32: MPI.FLOAT,
    torch.float64: MPI.DOUBLE,
    torch.complex64: MPI.C_FLOAT_COMPLEX,
    torch.complex128: MPI.C_DOUBLE_COMPLEX,
}

_OPS = {"sum": MPI.SUM, "prod": MPI.PROD, "max": MPI.MAX, "min": MPI.MIN}

# How MPI reduces a dtype: its code if any, MPI's type, MPI's operation.
_PLANS: dict[tuple[str, torch.dtype], tuple[Codec | None, MPI.Datatype, MPI.Op]] = {
    key: (codec, _TYPES[code], _OPS[op]) for key, (codec, code, op) in REDUCTIONS.items()
}


def _buffer(t: Tensor, kind: MPI.Datatype) -> list[Any]:
    return [_address(t.data_ptr(), t.nbytes), t.numel(), kind]


# Before MPI 4, counts were C ints.
_UNLIMITED = 2**62

LARGE = LargeMessages(_buffer, 2**31 - 1 if MPI.Get_version() < (4, 0) else _UNLIMITED)


class MPITransport(Transport):
    """Messages of a group of ranks by MPI.

    Parameters
    ----------
    mpi : mpi4py.MPI.Intracomm
        The communicator that becomes this object's own: no one else may send on it. It is freed
        by `free` alone, a collective call: garbage collectors run at different times.
    """

    def __init__(self, mpi: MPI.Intracomm) -> None:
        self._mpi = mpi
        self._thread = get_ident()
        self.rank, self.size = mpi.Get_rank(), mpi.Get_size()
        self.node_rank, self.node_size = _NODE.Get_rank(), _NODE.Get_size()
        group = mpi.Get_group()
        self.tally = tally(group.Translate_ranks(None, _EVERYONE))
        group.Free()

    @property
    def mpi(self) -> MPI.Intracomm:
        """The communicator, for the thread that made it: calls of two threads would mix."""
        if get_ident() != self._thread:
            raise _other_thread()
        return self._mpi

    def _next(self) -> MPI.Intracomm:
        """Return the communicator for one more collective, which is counted."""
        if get_ident() != self._thread:
            raise _other_thread()
        self.tally.calls += 1
        return self._mpi

    def allreduce(self, t: Tensor, op: str) -> Tensor:
        codec, kind, mpi_op = _PLANS[op, t.dtype]
        code = outgoing(t if codec is None else codec.encode(dense(t)))
        out = torch.empty_like(code) if t.is_cpu else empty(code.shape, code.dtype, t.device)
        if op == "prod" and t.is_complex():
            # Fused multiply-adds do not commute: one rank multiplies, the others take the result.
            LARGE.reduce_and_bcast(self._next(), code, out, kind, mpi_op)
        elif code.numel() > LARGE.limit:
            LARGE.allreduce(self._next(), code, out, kind, mpi_op)
        else:
            self._next().Allreduce(_buffer(code, kind), _buffer(out, kind), mpi_op)
        out = deliver(out, t)
        return out if codec is None else codec.decode(out, t.dtype)

    def reduce_scatter(self, t: Tensor, counts: Division, op: str) -> Tensor:
        codec, kind, mpi_op = _PLANS[op, t.dtype]
        code = outgoing(t if codec is None else codec.encode(dense(t)))
        out = empty((counts[self.rank], *t.shape[1:]), code.dtype, t.device)
        if code.numel() > LARGE.limit:
            LARGE.reduce_scatter(self._next(), code, out, counts.counts, kind, mpi_op)
        else:
            sizes = (counts.lengths * (code.numel() // code.shape[0])).tolist()
            self._next().Reduce_scatter(_buffer(code, kind), _buffer(out, kind), sizes, mpi_op)
        out = deliver(out, t)
        return out if codec is None else codec.decode(out, t.dtype)

    def exscan(self, t: Tensor, op: str) -> Tensor:
        codec, kind, mpi_op = _PLANS[op, t.dtype]
        code = outgoing(t if codec is None else codec.encode(dense(t)))
        out = empty(code.shape, code.dtype, t.device)
        if code.numel() > LARGE.limit:
            LARGE.exscan(self._next(), code, out, kind, mpi_op)
        else:
            self._next().Exscan(_buffer(code, kind), _buffer(out, kind), mpi_op)
        if self.rank == 0:
            return identity(op, t.shape, t.dtype, t.device)
        out = deliver(out, t)
        return out if codec is None else codec.decode(out, t.dtype)

    def bcast(self, t: Tensor, root: int) -> Tensor:
        out = outgoing(t)
        if out.numel() > LARGE.limit:
            LARGE.bcast(self._next(), out, _RAW[t.itemsize], root)
        else:
            self._next().Bcast(_buffer(out, _RAW[t.itemsize]), root)
        return fresh(t) if self.rank == root else deliver(out, t)

    def allgather(self, t: Tensor, counts: Division) -> Tensor:
        send = outgoing(t)
        out = empty((counts.total, *t.shape[1:]), t.dtype, t.device)
        kind = _RAW[t.itemsize]
        target = _address(out.data_ptr(), out.nbytes)
        if out.numel() > LARGE.limit:
            LARGE.allgather(self._next(), send, out, counts.counts, kind)
        elif counts.is_even:
            self._next().Allgather(_buffer(send, kind), [target, send.numel(), kind])
        else:
            sizes = (counts.lengths * t.shape[1:].numel()).tolist()
            self._next().Allgatherv(_buffer(send, kind), [target, sizes, kind])
        return deliver(out, t)

    def alltoall(self, t: Tensor, sends: Division, receives: Division) -> Tensor:
        send = outgoing(t)
        out = empty((receives.total,), t.dtype, t.device)
        kind = _RAW[t.itemsize]
        # mpi4py takes a tuple of two counts for counts and displacements.
        goes, comes = sends.lengths.tolist(), receives.lengths.tolist()
        # Where calls are limited, one rank's excess counts for all: 8 bytes to ask.
        most = max(send.numel(), out.numel())
        if LARGE.limit < _UNLIMITED and self.allgather_ints((most,)).max() > LARGE.limit:
            blocks = enumerate(send.split_with_sizes(goes))
            LARGE.exchange(self._next(), blocks, enumerate(out.split_with_sizes(comes)), kind)
        else:
            self._next().Alltoallv(
                [_address(send.data_ptr(), send.nbytes), goes, kind],
                [_address(out.data_ptr(), out.nbytes), comes, kind],
            )
        return deliver(out, t)

    def exchange(self, t: Tensor, sends: Parts, receives: Parts) -> Tensor:
        send = outgoing(t)
        out = empty((sum(n for _, n in receives),), t.dtype, t.device)
        LARGE.exchange(self._next(), _blocks(send, sends), _blocks(out, receives), _RAW[t.itemsize])
        return deliver(out, t)

    def sendrecv(
        self, t: Tensor, dest: int | None, source: int | None, recv_shape: Sequence[int]
    ) -> Tensor:
        send = outgoing(t)
        out = empty(recv_shape, t.dtype, t.device)
        sends = [] if dest is None else [(dest, send)]
        receives = [] if source is None else [(source, out)]
        LARGE.exchange(self._next(), sends, receives, _RAW[t.itemsize])
        return deliver(out.zero_() if source is None else out, t)

    def allgather_ints(self, values: Sequence[int]) -> Integers:
        n = len(values)
        everyone = np.empty((self.size, n), dtype=np.int64)
        self._next().Allgather([array("q", values), n, MPI.INT64_T], [everyone, n, MPI.INT64_T])
        return everyone

    def allgather_object(self, value: Any, patient: bool = False) -> list[Any]:
        if patient:
            sleep_until(self.arrive())
        return list(self._next().allgather(value))

    def bcast_object(self, value: Any, root: int) -> Any:
        return self._next().bcast(value, root)

    def barrier(self) -> None:
        self._next().Barrier()

    def arrive(self) -> Callable[[], bool]:
        test: Callable[[], bool] = self._next().Ibarrier().Test
        return test

    def split(self, color: int, key: int) -> MPITransport:
        return MPITransport(_made(lambda: self._next().Split(color, key)))

    def duplicate(self) -> MPITransport:
        return MPITransport(_made(self._next().Dup))

    def free(self) -> None:
        self._next().Free()


def _blocks(t: Tensor, parts: Parts) -> Iterator[tuple[int, Tensor]]:
    """Yield the consecutive blocks of a vector, each with the rank of its other end."""
    begin = 0
    for rank, n in parts:
        yield rank, t[begin : begin + n]
        begin += n


def _other_thread() -> RuntimeError:
    return RuntimeError(
        "arrays that several ranks hold are used in another thread than the one that "
        "imported heat_array_api: messages of two threads would meet; use them in that one"
    )


def _made(make: Callable[[], Any]) -> Any:
    """Return a new communicator; where MPI has no more, say what to do."""
    try:
        return make()
    except MPI.Exception as error:
        raise RuntimeError(
            f"split: MPI makes no more communicators ({error}); free() those that are not needed "
            "any more, or use each in a with statement"
        ) from None


# ---------------------------------------------------------------------- the job


class MPIPost(Post):
    """Messages between any two ranks of the job, which nobody waits for.

    Parameters
    ----------
    mpi : mpi4py.MPI.Intracomm
        A private communicator of all ranks.
    """

    def __init__(self, mpi: MPI.Intracomm) -> None:
        self._mpi = mpi
        self.rank, self.size = mpi.Get_rank(), mpi.Get_size()
        self.from_threads = MPI.Query_thread() == MPI.THREAD_MULTIPLE
        self._sent: list[MPI.Request] = []  # they hold what is being sent

    def send(self, dest: int, message: tuple[Any, ...]) -> None:
        self._sent = [request for request in self._sent if not request.Test()]
        self._sent.append(self._mpi.isend(message, dest))

    def receive(self) -> Iterator[tuple[int, tuple[Any, ...]]]:
        status = MPI.Status()
        if MPI.Is_finalized():  # by the program itself
            return
        while (message := self._mpi.improbe(status=status)) is not None:
            yield status.Get_source(), message.recv()

    def arrive(self) -> Callable[[], bool]:
        if MPI.Is_finalized():
            return lambda: True
        test: Callable[[], bool] = self._mpi.Ibarrier().Test
        return test


def abort(code: int) -> NoReturn:
    """End all ranks of the job."""
    MPI.COMM_WORLD.Abort(code)
    os._exit(code)


def _finalize(pid: int) -> None:
    """Let MPI end when the interpreter has ended, as mpi4py does; but not in a forked child."""
    if os.getpid() != pid or MPI.Is_finalized():
        return
    try:
        end = ctypes.CDLL(MPI.__file__).MPI_Finalize
    except (OSError, AttributeError):
        MPI.Finalize()
    else:
        ctypes.pythonapi.Py_AtExit(end)


def start() -> MPITransport:
    """Set up this process, and return the transport among all ranks of the job."""
    if _starts:
        atexit.register(_finalize, os.getpid())
    world = MPITransport(MPI.COMM_WORLD.Dup())
    set_threads(world.size, os.environ, _NODE.allgather)
    if world.size > 1:
        ExitHandler(MPIPost(MPI.COMM_WORLD.Dup()), abort).install()
    return world


# ---------------------------------------------------------------------- communicators of users

# Under this key a user's communicator keeps what was made of it.
_KEY = MPI.Comm.Create_keyval()


def is_intracomm(comm: Any) -> bool:
    """Return whether this is a communicator of mpi4py's that this rank is in."""
    return isinstance(comm, MPI.Intracomm) and comm != MPI.COMM_NULL


def is_world(comm: Any) -> bool:
    """Return whether this is mpi4py's communicator of all ranks."""
    return bool(comm == MPI.COMM_WORLD)


def adopted(
    comm: MPI.Intracomm, make: Callable[[MPITransport], T], is_live: Callable[[T], bool]
) -> T:
    """Return what `make` makes of a private duplicate of `comm`, once as long as that is live."""
    known: Any = comm.Get_attr(_KEY)
    if known is None or not is_live(known):
        known = make(MPITransport(comm.Dup()))
        comm.Set_attr(_KEY, known)
    result: T = known
    return result
