"""The one door to MPI: communicators whose collectives take and return torch tensors.

Importing this module starts MPI (collectively: on every rank of the job), checks that
launcher and library agree, sets torch's threads, and makes sure that an error on one rank
ends all of them.
"""

from __future__ import annotations

import atexit
import os
import pickle
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from .._errors import MPIUnavailableError
from . import trace as _trace
from .attribution import caller
from .buffers import Codec, codec_of, deliver, dense, empty, fresh, identity, no_reduction, outgoing
from .debug import DEBUG, Call, Checker
from .exit import Ending
from .large_messages import InPieces
from .launch import NO_MPI, check_launcher, set_threads, sleep_until
from .trace import Event, active

__all__ = ["Communicator", "as_communicator", "world"]


try:
    from mpi4py import MPI
except (ImportError, RuntimeError, OSError) as error:
    raise MPIUnavailableError(NO_MPI.format(error=error)) from error


check_launcher(MPI.COMM_WORLD.Get_size(), MPI.Get_library_version(), os.environ)


_NODE = MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED)


_address = MPI.buffer.fromaddress


# Types of raw memory by the size of an element.
_RAW = {1: MPI.BYTE, 2: MPI.INT16_T, 4: MPI.INT32_T, 8: MPI.INT64_T, 16: MPI.C_DOUBLE_COMPLEX}


_TYPES = {
    torch.int8: MPI.INT8_T,
    torch.int16: MPI.INT16_T,
    torch.int32: MPI.INT32_T,
    torch.int64: MPI.INT64_T,
    torch.uint8: MPI.UINT8_T,
    torch.uint16: MPI.UINT16_T,
    torch.uint32: MPI.UINT32_T,
    torch.uint64: MPI.UINT64_T,
    torch.float32: MPI.FLOAT,
    torch.float64: MPI.DOUBLE,
    torch.complex64: MPI.C_FLOAT_COMPLEX,
    torch.complex128: MPI.C_DOUBLE_COMPLEX,
}


_OPS = {"sum": MPI.SUM, "prod": MPI.PROD, "max": MPI.MAX, "min": MPI.MIN}


Plan = tuple[Codec | None, MPI.Datatype, MPI.Op]


def _plans() -> dict[tuple[str, torch.dtype], Plan]:
    plans = {}
    for op in _OPS:
        for dtype in (*_TYPES, torch.bool, torch.float16, torch.bfloat16):
            if not (dtype.is_complex and op in ("max", "min")):
                codec, code, name = codec_of(op, dtype)
                plans[op, dtype] = codec, _TYPES[code], _OPS[name]
    return plans


_PLANS = _plans()


def _plan(func: str, op: str, dtype: torch.dtype) -> Plan:
    """Return how MPI reduces a dtype: codec if any, MPI type, MPI operation."""
    if (plan := _PLANS.get((op, dtype))) is None:
        raise no_reduction(func, op, dtype, _PLANS)
    return plan


def _buffer(t: Tensor, kind: MPI.Datatype) -> list[Any]:
    return [_address(t.data_ptr(), t.nbytes), t.numel(), kind]


# Before MPI 4, counts were C ints.
_UNLIMITED = 2**62


PIECES = InPieces(_buffer, 2**31 - 1 if MPI.Get_version() < (4, 0) else _UNLIMITED)


def _decoded(out: Tensor, codec: Codec | None, t: Tensor) -> Tensor:
    """Return a reduced code as a tensor like `t`."""
    out = deliver(out, t.device)
    return out if codec is None else codec.decode(out, t.dtype)


class Communicator:
    """A group of ranks that exchange tensors.

    Every method but the properties is collective: all ranks call it, in the same order.
    Tensors may be of any dtype, shape and strides, on the CPU or on CUDA devices. A returned
    tensor is new and contiguous, and shares no memory with the arguments, on one rank too
    (`bcast` on the receiving ranks is the exception). Reductions have the same bits on all
    ranks (the payload of a NaN aside). On a communicator of one rank nothing is sent.

    Communicators are equal only to themselves. They are not freed: that would be a collective
    call whenever a garbage collector pleases.

    Parameters
    ----------
    mpi : mpi4py.MPI.Intracomm
        The communicator that becomes this object's own: no one else may send on it.

    Attributes
    ----------
    rank, size : int
        This process's number among the ranks, and how many there are.
    node_rank, node_size : int
        The same among the job's processes on this node, whatever the communicator.
    """

    __slots__ = ("__weakref__", "_checker", "mpi", "node_rank", "node_size", "rank", "size")

    def __init__(self, mpi: MPI.Intracomm) -> None:
        self.mpi = mpi
        self.rank: int = mpi.Get_rank()
        self.size: int = mpi.Get_size()
        self.node_rank: int = _NODE.Get_rank()
        self.node_size: int = _NODE.Get_size()
        self._checker = Checker(mpi.Dup()) if DEBUG and self.size > 1 else None

    def __repr__(self) -> str:
        return f"<Communicator: rank {self.rank} of {self.size}>"

    def __copy__(self) -> Communicator:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Communicator:
        return self

    def __reduce__(self) -> tuple[Callable[[], Communicator], tuple[()]]:
        if self is _WORLD:
            return world, ()
        raise TypeError(
            f"pickle: {self!r} is not the communicator of all ranks, and means something to "
            f"this job only; pickle x.local, and build the array with from_local(..., comm=)"
        )

    def _watch(
        self,
        collective: str,
        nbytes: int,
        *same: Any,
        goes: Mapping[int, int] | None = None,
        comes: Mapping[int, int] | None = None,
    ) -> tuple[str, str, int, str, float, float]:
        """Begin a call under a trace or in debug mode: compare it over the ranks, and time it."""
        operation, line = caller()
        if self._checker is not None:
            detail = " ".join(str(tuple(x) if isinstance(x, (tuple, list)) else x) for x in same)
            call = Call(operation, collective, line, detail, goes or {}, comes or {})
            self._checker.check(call)
        return operation, collective, nbytes, line, time.time(), time.perf_counter()

    def _watched(self, begun: tuple[str, str, int, str, float, float], result: int = 0) -> None:
        """End such a call: record it. `result` bytes are what this rank has got."""
        operation, collective, nbytes, line, start, clock = begun
        seconds = time.perf_counter() - clock
        _trace.record(Event(operation, collective, nbytes, seconds, start, line, self.size, result))

    def allreduce(self, t: Tensor, op: str = "sum") -> Tensor:
        """Combine the ranks' tensors element by element.

        Parameters
        ----------
        t : Tensor
            Same shape and dtype on every rank.
        op : {"sum", "prod", "max", "min"}
            Booleans: or, and, or, and. A NaN anywhere makes "max" and "min" NaN, and -0.0
            is less than 0.0. Sums and products of float16 and bfloat16 are rounded once.

        Returns
        -------
        Tensor
            The result, on every rank.
        """
        codec, kind, mpi_op = _plan("allreduce", op, t.dtype)
        if self.size == 1 or t.numel() == 0:
            return fresh(t)
        code = outgoing(t if codec is None else codec.encode(dense(t)))
        out = torch.empty_like(code) if t.is_cpu else empty(code.shape, code.dtype, t.device)
        begun = None
        if active or DEBUG:
            begun = self._watch("allreduce", code.nbytes, op, t.dtype, t.shape)
        if t.is_complex() and op == "prod":
            # Fused multiply-adds do not commute: one rank multiplies, the others take it.
            PIECES.reduce_and_bcast(self.mpi, code, out, kind, mpi_op)
        elif code.numel() > PIECES.limit:
            PIECES.allreduce(self.mpi, code, out, kind, mpi_op)
        else:
            self.mpi.Allreduce(_buffer(code, kind), _buffer(out, kind), mpi_op)
        if begun is not None:
            self._watched(begun, out.nbytes)
        return _decoded(out, codec, t)

    def reduce_scatter(self, t: Tensor, counts: Sequence[int], op: str = "sum") -> Tensor:
        """Combine the ranks' tensors element by element; each rank keeps its rows.

        Parameters
        ----------
        t, op
            As in `allreduce`; `t` has ``sum(counts)`` rows along axis 0.
        counts : sequence of int
            Rank r keeps ``counts[r]`` rows.

        Returns
        -------
        Tensor, shape (counts[rank], ...)
        """
        codec, kind, mpi_op = _plan("reduce_scatter", op, t.dtype)
        self._check_rows("reduce_scatter", t, sum(counts), counts)
        if self.size == 1 or t.numel() == 0:
            return fresh(t.narrow(0, sum(counts[: self.rank]), counts[self.rank]))
        code = outgoing(t if codec is None else codec.encode(dense(t)))
        out = empty((counts[self.rank], *t.shape[1:]), code.dtype, t.device)
        begun = None
        if active or DEBUG:
            begun = self._watch("reduce_scatter", code.nbytes, op, t.dtype, t.shape, counts)
        if code.numel() > PIECES.limit:
            PIECES.reduce_scatter(self.mpi, code, out, counts, kind, mpi_op)
        else:
            sizes = [n * (code.numel() // code.shape[0]) for n in counts]
            self.mpi.Reduce_scatter(_buffer(code, kind), _buffer(out, kind), sizes, mpi_op)
        if begun is not None:
            self._watched(begun, out.nbytes)
        return _decoded(out, codec, t)

    def exscan(self, t: Tensor, op: str = "sum") -> Tensor:
        """Combine the tensors of the ranks before this one, element by element.

        Parameters
        ----------
        t, op
            As in `allreduce`.

        Returns
        -------
        Tensor
            On rank 0 the identity: 0, 1, or the least ("max") or greatest value.
        """
        codec, kind, mpi_op = _plan("exscan", op, t.dtype)
        if self.size == 1 or t.numel() == 0:
            return identity(op, t.shape, t.dtype, t.device)
        code = outgoing(t if codec is None else codec.encode(dense(t)))
        out = empty(code.shape, code.dtype, t.device)
        begun = None
        if active or DEBUG:
            begun = self._watch("exscan", code.nbytes, op, t.dtype, t.shape)
        if code.numel() > PIECES.limit:
            PIECES.exscan(self.mpi, code, out, kind, mpi_op)
        else:
            self.mpi.Exscan(_buffer(code, kind), _buffer(out, kind), mpi_op)
        if begun is not None:
            self._watched(begun, out.nbytes)
        if self.rank == 0:
            return identity(op, t.shape, t.dtype, t.device)
        return _decoded(out, codec, t)

    def bcast(self, t: Tensor, root: int = 0) -> Tensor:
        """Send a tensor from one rank to all.

        Parameters
        ----------
        t : Tensor
            On `root` the values; on the other ranks memory of the same shape and dtype,
            which is overwritten.
        root : int
            The sending rank.

        Returns
        -------
        Tensor
            The values: on `root` a copy, elsewhere `t` itself where it is contiguous.
        """
        if self.size == 1 or t.numel() == 0:
            return fresh(t)
        out = outgoing(t)
        begun = None
        if active or DEBUG:
            begun = self._watch("bcast", out.nbytes, t.dtype, t.shape, f"from rank {root}")
        if out.numel() > PIECES.limit:
            PIECES.bcast(self.mpi, out, _RAW[t.itemsize], root)
        else:
            self.mpi.Bcast(_buffer(out, _RAW[t.itemsize]), root)
        if begun is not None:
            self._watched(begun, out.nbytes)
        return fresh(t) if self.rank == root else deliver(out, t.device)

    def allgatherv(self, t: Tensor, counts: Sequence[int]) -> Tensor:
        """Concatenate the ranks' tensors along axis 0, on every rank.

        Parameters
        ----------
        t : Tensor, shape (counts[rank], ...)
            Same dtype and trailing shape on every rank.
        counts : sequence of int
            The number of rows of every rank.

        Returns
        -------
        Tensor, shape (sum(counts), ...)
        """
        self._check_rows("allgatherv", t, counts[self.rank], counts)
        total = sum(counts)
        row = t.shape[1:].numel()
        if self.size == 1:
            return fresh(t)
        if total * row == 0:
            return t.new_empty((total, *t.shape[1:]))
        send = outgoing(t)
        out = empty((total, *t.shape[1:]), t.dtype, t.device)
        begun = None
        if active or DEBUG:
            begun = self._watch("allgather", send.nbytes, t.dtype, counts, t.shape[1:])
        kind = _RAW[t.itemsize]
        target = _address(out.data_ptr(), out.nbytes)
        if out.numel() > PIECES.limit:
            PIECES.allgatherv(self.mpi, send, out, counts, kind)
        elif counts.count(counts[0]) == self.size:
            self.mpi.Allgather(_buffer(send, kind), [target, send.numel(), kind])
        else:
            sizes = [n * row for n in counts]
            self.mpi.Allgatherv(_buffer(send, kind), [target, sizes, kind])
        if begun is not None:
            self._watched(begun, out.nbytes)
        return deliver(out, t.device)

    def alltoallv(
        self, t: Tensor, send_counts: Sequence[int], recv_counts: Sequence[int]
    ) -> Tensor:
        """Send a block of a vector to every rank, and receive a block from every rank.

        Parameters
        ----------
        t : Tensor, shape (sum(send_counts),)
            The blocks, in the order of the ranks they go to.
        send_counts, recv_counts : sequence of int
            Elements that go to each rank, and that come from each.

        Returns
        -------
        Tensor, shape (sum(recv_counts),)
            The blocks received, in the order of the ranks they come from.
        """
        self._check_rows("alltoallv", t, sum(send_counts), send_counts)
        if self.size == 1:
            return fresh(t)
        send = outgoing(t)
        out = empty((sum(recv_counts),), t.dtype, t.device)
        begun = None
        if active or DEBUG:
            others = t.numel() - send_counts[self.rank]
            goes, comes = dict(enumerate(send_counts)), dict(enumerate(recv_counts))
            begun = self._watch("alltoall", others * t.itemsize, t.dtype, goes=goes, comes=comes)
        kind = _RAW[t.itemsize]
        # Where calls are limited, one rank's excess counts for all: 8 bytes to ask.
        most = max(send.numel(), out.numel())
        if PIECES.limit < _UNLIMITED and max(self._ints((most,)))[0] > PIECES.limit:
            blocks = send.split_with_sizes(list(send_counts))
            slots = out.split_with_sizes(list(recv_counts))
            PIECES.exchange(self.mpi, enumerate(blocks), enumerate(slots), kind)
        else:
            self.mpi.Alltoallv(
                [_address(send.data_ptr(), send.nbytes), send_counts, kind],
                [_address(out.data_ptr(), out.nbytes), recv_counts, kind],
            )
        if begun is not None:
            self._watched(begun, out.nbytes)
        return deliver(out, t.device)

    def sendrecv(
        self, t: Tensor, dest: int | None, source: int | None, recv_shape: Sequence[int]
    ) -> Tensor:
        """Send a tensor to one rank and receive one from another.

        Parameters
        ----------
        t : Tensor
            What goes to `dest`; its dtype is that of the tensor received, too.
        dest, source : int or None
            The two ranks; None for no message.
        recv_shape : sequence of int
            The shape of the tensor that comes from `source`.

        Returns
        -------
        Tensor, shape `recv_shape`
            Zeros where `source` is None.
        """
        if self.size == 1 and dest is not None and source is not None:
            return fresh(t).view(tuple(recv_shape))
        send = outgoing(t)
        out = empty(recv_shape, t.dtype, t.device)
        begun = None
        if (active or DEBUG) and self.size > 1:
            goes = {} if dest is None else {dest: send.numel()}
            comes = {} if source is None else {source: out.numel()}
            nbytes = send.nbytes if goes else 0
            begun = self._watch("sendrecv", nbytes, t.dtype, goes=goes, comes=comes)
        sends = [] if dest is None else [(dest, send)]
        receives = [] if source is None else [(source, out)]
        PIECES.exchange(self.mpi, sends, receives, _RAW[t.itemsize])
        if begun is not None:
            self._watched(begun, out.nbytes)
        return deliver(out.zero_() if source is None else out, t.device)

    def _check_rows(self, func: str, t: Tensor, rows: int, counts: Sequence[int]) -> None:
        """Raise rather than let MPI read or write beyond a tensor's memory."""
        if t.ndim == 0 or t.shape[0] != rows or len(counts) != self.size:
            raise ValueError(
                f"{func}: a tensor of shape {tuple(t.shape)} does not fit counts "
                f"{tuple(counts)} on rank {self.rank} of {self.size}"
            )

    def _ints(self, values: Sequence[int]) -> list[tuple[int, ...]]:
        n = len(values)
        everyone = array("q", bytes(8 * n * self.size))
        self.mpi.Allgather([array("q", values), n, MPI.INT64_T], [everyone, n, MPI.INT64_T])
        return [tuple(everyone[r * n : (r + 1) * n]) for r in range(self.size)]

    def allgather_ints(self, values: Sequence[int]) -> list[tuple[int, ...]]:
        """Return every rank's integers (the same number of them on each): one small message."""
        if self.size == 1:
            return [tuple(values)]
        begun = None
        if active or DEBUG:
            begun = self._watch("allgather_ints", 8 * len(values), len(values))
        everyone = self._ints(values)
        if begun is not None:
            self._watched(begun, 8 * len(values) * self.size)
        return everyone

    def _seldom(
        self, collective: str, sent: Sequence[Any], send: Callable[[], Any], *same: Any
    ) -> Any:
        """Send objects, or nothing: what need not be fast."""
        if not (active or DEBUG):
            return send()
        begun = self._watch(collective, sum(len(pickle.dumps(value)) for value in sent), *same)
        result = send()
        self._watched(begun)
        return result

    def allgather_object(self, value: Any, patient: bool = False) -> list[Any]:
        """Return every rank's object, pickled; a patient rank sleeps until all have come."""
        if self.size == 1:
            return [value]

        def send() -> Any:
            if patient:
                sleep_until(self.mpi.Ibarrier().Test)
            return self.mpi.allgather(value)

        return list(self._seldom("allgather_object", [value], send))

    def bcast_object(self, value: Any, root: int = 0) -> Any:
        """Return rank `root`'s object, pickled on the way, on every rank."""
        if self.size == 1:
            return value
        sent = [value] if self.rank == root else []
        return self._seldom(
            "bcast_object", sent, lambda: self.mpi.bcast(value, root), f"from rank {root}"
        )

    def barrier(self) -> None:
        """Wait until every rank has come here."""
        if self.size > 1:
            self._seldom("barrier", (), self.mpi.Barrier)

    def split(self, color: int, key: int = 0) -> Communicator:
        """Return a communicator of the ranks with this `color` (>= 0), in order of (key, rank)."""
        if color < 0:
            raise ValueError(f"split: color is {color}; expected a number >= 0")
        if self._checker is not None:
            self._watch("split", 0)
        parts: Any = self.mpi.Split(color, key)
        return Communicator(parts)


# ---------------------------------------------------------------------- the world


def _abort(code: int) -> NoReturn:
    """End all ranks of the job."""
    MPI.COMM_WORLD.Abort(code)
    os._exit(code)


def _start() -> Communicator:
    """Set up this process, and return the communicator of all ranks."""
    everyone = MPI.COMM_WORLD
    set_threads(everyone.Get_size(), os.environ, _NODE.allgather)
    if everyone.Get_size() == 1:
        return Communicator(everyone.Dup())
    ending = everyone.Dup()
    Ending(everyone.rank, everyone.size, _abort, lambda: ending.Ibarrier().Test).install()
    return Communicator(everyone.Dup())


_WORLD = _start()


# Where a communicator of the user's keeps its Communicator.
_KEY = MPI.Comm.Create_keyval()


def world() -> Communicator:
    """Return the communicator of all ranks of the job."""
    return _WORLD


def as_communicator(comm: Communicator | MPI.Intracomm | None) -> Communicator:
    """Return a communicator: the world for None, a private duplicate for mpi4py's.

    Collective over an mpi4py communicator when first given it; the same communicator then
    gives the same result.
    """
    if comm is None:
        return _WORLD
    if isinstance(comm, Communicator):
        return comm
    if comm == MPI.COMM_NULL or not isinstance(comm, MPI.Intracomm):
        raise TypeError(
            f"comm is {comm!r}; expected a Communicator, a valid mpi4py Intracomm that this "
            f"rank is in, or None for all ranks"
        )
    if comm == MPI.COMM_WORLD:
        return _WORLD
    known = comm.Get_attr(_KEY)
    if not isinstance(known, Communicator):
        known = Communicator(comm.Dup())
        comm.Set_attr(_KEY, known)
    return known


_trace.join(_WORLD.rank, _WORLD.mpi.allgather)


if _WORLD._checker is not None:
    atexit.register(_WORLD._checker.end_of_program, _abort)
