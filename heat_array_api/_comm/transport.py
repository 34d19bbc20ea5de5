"""Transports: what carries the messages of a communicator.

A communicator checks, observes (traces, debug mode) and leaves out what one rank or an empty tensor
need not send; a transport carries the rest. It knows its ranks and the collectives of `table`, and
nothing above this folder knows which transport it is. `mpi.MPITransport` is the usual one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .buffers import fresh, identity
from .division import Division, Integers
from .table import TABLE, Collective, Parts


class TensorTransport(Protocol):
    """What carries the tensors of a group of ranks.

    Tensors come as the communicator got them, of any dtype and strides. Results are new, dense
    tensors on the same device, shaped by the table; only `bcast` may fill and return its argument.
    Arguments have been checked, and no transport is called for a tensor without elements, but
    `alltoall`, `exchange` and `sendrecv` may have nothing to send.

    A transport that treats all collectives alike derives from this class and defines `carry`.
    """

    def carry(self, collective: Collective, t: Tensor, *args: Any) -> Tensor:
        """Carry a tensor by a collective with these further arguments."""
        raise TypeError(f"{type(self).__name__} does not carry {collective.name}")

    def allreduce(self, t: Tensor, op: str) -> Tensor:
        """Combine the ranks' tensors element by element."""
        return self.carry(TABLE["allreduce"], t, op)

    def reduce_scatter(self, t: Tensor, counts: Division, op: str) -> Tensor:
        """Combine the ranks' tensors; rank r keeps ``counts[r]`` rows."""
        return self.carry(TABLE["reduce_scatter"], t, counts, op)

    def exscan(self, t: Tensor, op: str) -> Tensor:
        """Combine the tensors of the ranks before this one; the identity on rank 0."""
        return self.carry(TABLE["exscan"], t, op)

    def bcast(self, t: Tensor, root: int) -> Tensor:
        """Send the tensor of `root` to all ranks."""
        return self.carry(TABLE["bcast"], t, root)

    def allgather(self, t: Tensor, counts: Division) -> Tensor:
        """Concatenate the ranks' rows."""
        return self.carry(TABLE["allgather"], t, counts)

    def alltoall(self, t: Tensor, sends: Division, receives: Division) -> Tensor:
        """Send a block of a vector to every rank, and receive one from every rank."""
        return self.carry(TABLE["alltoall"], t, sends, receives)

    def exchange(self, t: Tensor, sends: Parts, receives: Parts) -> Tensor:
        """Send blocks of a vector to some ranks, and receive one from some."""
        return self.carry(TABLE["exchange"], t, sends, receives)

    def sendrecv(
        self, t: Tensor, dest: int | None, source: int | None, recv_shape: Sequence[int]
    ) -> Tensor:
        """Send a tensor to one rank and receive one from another; zeros without a source."""
        return self.carry(TABLE["sendrecv"], t, dest, source, recv_shape)


class Transport(TensorTransport, Protocol):
    """What carries the tensors, integers and objects of a group of ranks.

    Attributes
    ----------
    rank, size : int
        This rank's number, and how many there are.
    node_rank, node_size : int
        The same among the job's ranks on this node, whatever the group.
    note : str
        What a communicator's repr adds.
    """

    note: str = ""
    rank: int
    size: int
    node_rank: int
    node_size: int

    def allgather_ints(self, values: Sequence[int]) -> Integers:
        """Return every rank's integers, equally many: an array of shape (size, n)."""

    def allgather_object(self, value: Any, patient: bool = False) -> list[Any]:
        """Return every rank's object; a patient rank sleeps until all have come."""

    def bcast_object(self, value: Any, root: int) -> Any:
        """Return the object of `root`."""

    def barrier(self) -> None:
        """Wait until all ranks have come."""

    def arrive(self) -> Callable[[], bool]:
        """Say that this rank has come, without waiting; the result tells whether all have."""

    def split(self, color: int, key: int) -> Transport:
        """Return a transport among the ranks with this `color`, in order of (key, rank)."""

    def duplicate(self) -> Transport:
        """Return a transport among the same ranks, whose messages do not meet this one's."""

    def free(self) -> None:
        """Give back what the transport holds; it carries nothing after that."""


class SerialTransport(Transport):
    """One rank alone, without MPI.

    Parameters
    ----------
    why : str
        Why there is no MPI.
    node_rank, node_size : int
        A child process has its parent's place on the node: it uses the same cores and GPU.
    """

    def __init__(self, why: str = "", node_rank: int = 0, node_size: int = 1) -> None:
        self.why, self.note = why, f"without MPI: {why}" if why else "without MPI"
        self.rank, self.size = 0, 1
        self.node_rank, self.node_size = node_rank, node_size

    def carry(self, collective: Collective, t: Tensor, *args: Any) -> Tensor:
        if collective.name == "exscan":
            return identity(args[0], t.shape, t.dtype, t.device)
        shape = collective.result(self, tuple(t.shape), *args)
        if collective.name == "sendrecv" and args[1] is None:
            return torch.zeros(shape, dtype=t.dtype, device=t.device)
        return fresh(t).view(shape)

    def allgather_ints(self, values: Sequence[int]) -> Integers:
        return np.asarray([values], dtype=np.int64)

    def allgather_object(self, value: Any, patient: bool = False) -> list[Any]:
        return [value]

    def bcast_object(self, value: Any, root: int) -> Any:
        return value

    def barrier(self) -> None:
        pass

    def arrive(self) -> Callable[[], bool]:
        return lambda: True

    def split(self, color: int, key: int) -> SerialTransport:
        return self.duplicate()

    def duplicate(self) -> SerialTransport:
        return SerialTransport(self.why, self.node_rank, self.node_size)

    def free(self) -> None:
        pass
