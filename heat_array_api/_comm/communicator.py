"""Communicators: groups of ranks that exchange tensors, and the communicator of the whole job.

A `Communicator` checks its arguments, answers at once where nothing need be sent (one rank, no
elements), and reports to captures, traces and debug mode. Its transport carries the messages.
Importing this module starts MPI where there is one (`job.start`), sets torch's threads, and makes
sure that an error on one rank ends all of them.
"""

from __future__ import annotations

import atexit
import os
import pickle
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor

from .._caching import clear_caches
from .._errors import shown
from . import trace as _trace
from .attribution import caller
from .buffers import REDUCTIONS, fresh, identity, no_reduction
from .debug import DEBUG, Call, Checker
from .job import forked, loaded_mpi, start
from .recording import captures
from .table import TABLE, Collective
from .trace import Event, active
from .transport import Transport

_live: WeakSet[Communicator] = WeakSet()


class Communicator:
    """A group of ranks that exchange tensors.

    All methods are collective: all ranks of the group call them, in the same order. Tensors may be
    of any dtype, shape and strides, on the CPU or on CUDA devices. A returned tensor is new and
    contiguous, and shares no memory with the arguments, on one rank too (`bcast` on the receiving
    ranks is the exception). Reductions have the same bits on all ranks (the payload of a NaN
    aside). On a communicator of one rank nothing is sent. Communicators are equal only to
    themselves.

    `world` returns the one of all ranks, `split` makes others, and every parameter ``comm`` takes
    an mpi4py communicator too.

    Parameters
    ----------
    transport : Transport
        What carries the messages. It becomes this object's own: no one else may send on it.

    Attributes
    ----------
    rank, size : int
        This process's number among the ranks, and how many there are.
    node_rank, node_size : int
        The same among the job's processes on this node, whatever the communicator.
    mpi : mpi4py.MPI.Intracomm or None
        The private MPI communicator that carries the messages, for libraries that take one.

    Examples
    --------
    >>> comm = xp.world()
    >>> comm.allgather_ints((comm.rank,)) == [(r,) for r in range(comm.size)]
    True
    >>> xp.zeros(5, split=0, comm=comm.split(0)).shape
    (5,)
    """

    __slots__ = (
        "__weakref__", "_checker", "_splits", "node_rank", "node_size", "rank", "size", "transport",
    )  # fmt: skip

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.rank: int = transport.rank
        self.size: int = transport.size
        self.node_rank: int = transport.node_rank
        self.node_size: int = transport.node_size
        self._checker = Checker(transport.duplicate()) if DEBUG and self.size > 1 else None
        self._splits: dict[bytes, Communicator] = {}
        _live.add(self)

    @property
    def mpi(self) -> Any:
        """The mpi4py communicator that carries the messages; None if MPI does not."""
        return getattr(self.transport, "mpi", None)

    def __repr__(self) -> str:
        return self._shown(f"rank {self.rank} of {self.size}")

    @property
    def shown(self) -> str:
        """How errors show the communicator, the same on all of its ranks."""
        return self._shown(f"{self.size} rank{'s' * (self.size > 1)}")

    def _shown(self, ranks: str) -> str:
        note = f", {self.transport.note}" if self.transport.note else ""
        return f"<Communicator: {ranks}{note}>"

    def __copy__(self) -> Communicator:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Communicator:
        return self

    def __reduce__(self) -> tuple[Callable[[], Communicator], tuple[()]]:
        if self is world():
            return world, ()
        raise TypeError(
            f"pickle: {self.shown} is not the communicator of all ranks, and means something to "
            f"this job only; pickle x.local, and build the array with from_local(..., comm=)"
        )

    # ------------------------------------------------------------------ an array's data

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
        if (op, t.dtype) not in REDUCTIONS:
            raise no_reduction("allreduce", op, t.dtype)
        if self.size == 1 or t.numel() == 0:
            return fresh(t)
        if active or captures or DEBUG:
            return self._observed("allreduce", t, op)
        return self.transport.allreduce(t, op)

    def reduce_scatter(self, t: Tensor, counts: Sequence[int], op: str = "sum") -> Tensor:
        """Combine the ranks' tensors element by element; each rank keeps its rows.

        Parameters
        ----------
        t : Tensor, shape (sum(counts), ...)
            Same shape and dtype on every rank.
        counts : sequence of int
            Rank r keeps ``counts[r]`` rows.
        op : {"sum", "prod", "max", "min"}
            As in `allreduce`.

        Returns
        -------
        Tensor, shape (counts[rank], ...)
            This rank's rows of the result.
        """
        if (op, t.dtype) not in REDUCTIONS:
            raise no_reduction("reduce_scatter", op, t.dtype)
        self._check_rows("reduce_scatter", t, sum(counts), counts)
        if self.size == 1 or t.numel() == 0:
            return fresh(t.narrow(0, sum(counts[: self.rank]), counts[self.rank]))
        if active or captures or DEBUG:
            return self._observed("reduce_scatter", t, counts, op)
        return self.transport.reduce_scatter(t, counts, op)

    def exscan(self, t: Tensor, op: str = "sum") -> Tensor:
        """Combine the tensors of the ranks before this one, element by element.

        Parameters
        ----------
        t : Tensor
            Same shape and dtype on every rank.
        op : {"sum", "prod", "max", "min"}
            As in `allreduce`.

        Returns
        -------
        Tensor
            On rank 0 the identity: 0, 1, or the least ("max") or greatest value.
        """
        if (op, t.dtype) not in REDUCTIONS:
            raise no_reduction("exscan", op, t.dtype)
        if self.size == 1 or t.numel() == 0:
            return identity(op, t.shape, t.dtype, t.device)
        if active or captures or DEBUG:
            return self._observed("exscan", t, op)
        return self.transport.exscan(t, op)

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
        if active or captures or DEBUG:
            return self._observed("bcast", t, root)
        return self.transport.bcast(t, root)

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
            All rows, in the order of the ranks.
        """
        self._check_rows("allgatherv", t, counts[self.rank], counts)
        if self.size == 1:
            return fresh(t)
        total = sum(counts)
        if total * t.shape[1:].numel() == 0:
            return t.new_empty((total, *t.shape[1:]))
        if active or captures or DEBUG:
            return self._observed("allgather", t, counts)
        return self.transport.allgather(t, counts)

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
        if active or captures or DEBUG:
            return self._observed("alltoall", t, send_counts, recv_counts)
        return self.transport.alltoall(t, send_counts, recv_counts)

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
            What came; zeros where `source` is None.
        """
        if self.size == 1:
            if dest is None or source is None:
                return t.new_zeros(tuple(recv_shape))
            return fresh(t).view(tuple(recv_shape))
        if active or captures or DEBUG:
            return self._observed("sendrecv", t, dest, source, recv_shape)
        return self.transport.sendrecv(t, dest, source, recv_shape)

    def _check_rows(self, func: str, t: Tensor, rows: int, counts: Sequence[int]) -> None:
        """Raise rather than read or write beyond a tensor's memory."""
        if t.ndim == 0 or t.shape[0] != rows or len(counts) != self.size:
            raise ValueError(
                f"{func}: a tensor of shape {tuple(t.shape)} does not fit counts "
                f"{tuple(counts)} on rank {self.rank} of {self.size}"
            )

    # ------------------------------------------------------------------ bookkeeping

    # A capture is asked on one rank too: it refuses what might come from values.

    def allgather_ints(self, values: Sequence[int]) -> list[tuple[int, ...]]:
        """Return every rank's integers: one small message.

        Parameters
        ----------
        values : sequence of int
            Of 64 bits, equally many on each rank.

        Returns
        -------
        list of tuple of int
            Those of every rank.
        """
        if self.size == 1 and not captures:
            return [tuple(values)]
        if active or captures or DEBUG:
            return list(self._reported("allgather_ints", values))
        return self.transport.allgather_ints(values)

    def allgather_object(self, value: Any, patient: bool = False) -> list[Any]:
        """Return every rank's object, pickled on the way.

        Parameters
        ----------
        value : object
            Anything that can be pickled.
        patient : bool
            Whether to sleep until all ranks have come, which leaves the cores to others.

        Returns
        -------
        list
            The objects of all ranks.
        """
        if self.size == 1 and not captures:
            return [value]
        return list(self._reported("allgather_object", value, patient))

    def bcast_object(self, value: Any, root: int = 0) -> Any:
        """Return rank `root`'s object, pickled on the way, on every rank.

        Parameters
        ----------
        value : object
            Anything that can be pickled; ignored on the other ranks.
        root : int
            The sending rank.

        Returns
        -------
        object
            On `root` the object itself, elsewhere a copy.
        """
        if self.size == 1 and not captures:
            return value
        return self._reported("bcast_object", value, root)

    def barrier(self) -> None:
        """Wait until every rank has come here."""
        if self.size > 1 or captures:
            self._reported("barrier")

    def split(self, color: int, key: int = 0) -> Communicator:
        """Return a communicator of the ranks with the same color.

        Parameters
        ----------
        color : int
            At least 0. Ranks with the same color form one group.
        key : int
            Ranks are numbered in the order of (key, rank).

        Returns
        -------
        Communicator
            That of this rank's group; the same object for an equal division, until it is freed. MPI
            has about 2,000 communicators: `free` those that are not needed any more. Messages:
            one allgather of two integers, and MPI's own for a division that is new.

        Raises
        ------
        ValueError
            If the color is negative.
        RuntimeError
            If MPI has no more communicators.

        Examples
        --------
        >>> with xp.world().split(0) as comm:
        ...     print(xp.sum(xp.ones(4, split=0, comm=comm)))
        4.0
        """
        if color < 0:
            raise ValueError(f"split: color is {color}; expected a number >= 0")
        if self._checker is not None and not captures:
            operation, line = caller()
            self._checker.check(Call(operation, "split", line))
        if captures:
            return Communicator(self._carrier().split(color, key))
        # All ranks see the same division, and so take the same branch.
        everyone = np.asarray(self.allgather_ints((color, key)))
        division = blake2b(everyone.tobytes()).digest()
        live = {d: comm for d, comm in self._splits.items() if _is_live(comm)}
        if division not in live:
            live[division] = Communicator(self.transport.split(color, key))
        self._splits = live
        return live[division]

    def free(self) -> None:
        """Give the communicator back to MPI; arrays on it cannot send any more.

        All of its ranks call it. A with statement does so at its end.
        """
        if self is world():
            raise ValueError("free: this is the communicator of all ranks, which stays")
        if self.transport is _FREED:
            return
        self.transport.free()
        if self._checker is not None:
            self._checker.free()
        self.transport = _FREED
        clear_caches()
        for keeper in list(_keepers):
            keeper.forget(self)

    def __enter__(self) -> Communicator:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:  # else not all ranks may come here
            self.free()

    # ------------------------------------------------------------------ observation

    def _carrier(self) -> Transport:
        """Return the transport in force: this communicator's, or that of a capture."""
        if captures:
            recording: Transport = captures[-1].transport(self)
            return recording
        return self.transport

    def _observed(self, name: str, t: Tensor, *args: Any) -> Tensor:
        """Carry a tensor while a capture, a trace or debug mode is in force."""
        result: Tensor = self._reported(name, t, *args)
        return result

    def _reported(self, name: str, *args: Any) -> Any:
        """Carry a message, and report it to the capture, the traces and debug mode in force."""
        send = getattr(self._carrier(), name)
        if captures or not (active or DEBUG):
            return send(*args)
        row = TABLE[name]
        own, dtype, rest = self._described(row, args)
        operation, line = caller()
        if self._checker is not None:
            same = row.same(dtype, own, *rest)
            detail = " ".join(str(tuple(x) if isinstance(x, (tuple, list)) else x) for x in same)
            goes, comes = row.routes(own, *rest)
            self._checker.check(Call(operation, name, line, detail, goes, comes))
        start, clock = time.time(), time.perf_counter()
        result = send(*args)
        seconds = time.perf_counter() - clock
        sent, got = (size(self, own, dtype, rest) for size in (row.nbytes, row.result_nbytes))
        _trace.record(Event(operation, name, sent, seconds, start, line, self.size, got))
        return result

    def _described(
        self, row: Collective, args: Sequence[Any]
    ) -> tuple[tuple[int, ...], torch.dtype, Sequence[Any]]:
        """Return the shape and dtype that a message counts as, and its other arguments."""
        if not args:
            return (0,), torch.uint8, ()
        value, *rest = args
        if isinstance(value, Tensor):
            return tuple(value.shape), value.dtype, rest
        if row.name == "allgather_ints":
            return (len(value),), torch.int64, rest
        sends = row.name != "bcast_object" or rest == [self.rank]
        return (len(pickle.dumps(value)) if sends else 0,), torch.uint8, rest


class _Closed:
    """In place of the transport of a communicator that can carry nothing any more."""

    def __init__(self, reason: str, note: str = "") -> None:
        self.reason, self.note = reason, note

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(self.reason)


_FREED: Any = _Closed("the communicator has been freed; its arrays can send nothing any more")


def _is_live(comm: Communicator) -> bool:
    return comm.transport is not _FREED


class _Keeper(Protocol):
    def forget(self, comm: Communicator) -> None:
        """Drop all that refers to a communicator that has been freed."""


_keepers: WeakSet[_Keeper] = WeakSet()


def keeps(keeper: _Keeper) -> None:
    """Tell an object, as long as it is in use, when a communicator is freed."""
    _keepers.add(keeper)


# ---------------------------------------------------------------------- the world

_WORLD = Communicator(start())


def world() -> Communicator:
    """Return the communicator of all ranks of the job.

    Returns
    -------
    Communicator
        The same object each time. Sends nothing.

    Examples
    --------
    >>> 0 <= xp.world().rank < xp.world().size
    True
    """
    return _WORLD


def as_communicator(func: str, comm: Any) -> Communicator:
    """Return a communicator: the world for None, a private duplicate for mpi4py's.

    Collective over an mpi4py communicator when first given it; the same communicator then
    gives the same result, until that is freed.
    """
    if comm is None:
        return world()
    if isinstance(comm, Communicator):
        return comm
    mpi = loaded_mpi()
    if mpi is None or not mpi.is_intracomm(comm):
        kinds = "" if mpi is None else "a valid mpi4py Intracomm that this rank is in, "
        raise TypeError(
            f"{func}: comm is {shown(comm)}; expected a Communicator, {kinds}or None for all "
            f"ranks, {world().shown}"
        )
    result: Communicator = (
        world() if mpi.is_world(comm) else mpi.adopted(comm, Communicator, _is_live)
    )
    return result


def _in_forked_child() -> None:
    """Make this process a job of one rank: MPI, which it has in memory, is its parent's.

    What the parent had on one rank is whole here, and goes on; what it shared is refused.
    """
    global _WORLD
    parent = _WORLD
    serial = forked(parent.transport)
    closed: Any = _Closed(
        f"this array or communicator belongs to {parent.size} processes, and this is {serial.why}: "
        "it cannot send to them; compute with x.local, or with arrays made in this process "
        "(from_local(x.local))",
        "in the parent process",
    )
    for comm in list(_live):
        if comm._checker is not None:
            atexit.unregister(comm._checker.end_of_program)
            comm._checker = None
        if comm.transport is not _FREED:
            comm.transport = serial.duplicate() if comm.size == 1 else closed
    if parent.size > 1:
        _WORLD = Communicator(serial)
    _trace.join(0, serial.allgather_object)


_trace.join(_WORLD.rank, _WORLD.transport.allgather_object)


if (_by_mpi := loaded_mpi()) is not None:
    os.register_at_fork(after_in_child=_in_forked_child)
    if _WORLD._checker is not None:
        atexit.register(_WORLD._checker.end_of_program, _by_mpi.abort)
