"""The table of collectives: what each sends, what each rank gets, and its transpose.

Everything that must know a collective's rules reads them here: the communicator (bytes in traces,
what debug mode compares), transports without messages (the shape of a result) and `compile`.

The rules take the communicator (its rank and size), the shape of the tensor that this rank brings,
and the collective's other arguments in the order of the communicator's method. Collectives that
carry integers or pickled objects count as those of int64 or uint8 vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from .buffers import REDUCTIONS
from .division import Division

Shape = tuple[int, ...]

Parts = tuple[tuple[int, int], ...]
"""Ranks, each with a number of elements that goes there or comes from there."""

Routes = tuple[Parts, Parts]


class Ranks(Protocol):
    """What the rules ask of a communicator or a transport."""

    rank: int
    size: int


def _own(comm: Ranks, own: Shape, *args: Any) -> Shape:
    return own


def _nothing(comm: Ranks, own: Shape, *args: Any) -> Shape:
    return (0,)


def _elements(comm: Ranks, own: Shape, *args: Any) -> int:
    return math.prod(own)


def _no_routes(own: Shape, *args: Any) -> Routes:
    return (), ()


def _all_ranks(comm: Ranks, own: Shape, *args: Any) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Collective:
    """One row of the table.

    Attributes
    ----------
    name : str
        What traces, debug mode, transports and compiled programs call it.
    method : str
        The communicator's method.
    same : callable
        ``same(dtype, own, *args)``: what must be equal on all ranks, as debug mode prints it.
    adjoint : str
        The collective that sends the cotangents back where every rank has a cotangent of its own;
        ``""`` where nothing is differentiated.
    result : callable
        ``result(comm, own, *args)``: the shape of what this rank gets.
    sent : callable
        ``sent(comm, own, *args)``: the number of elements that this rank sends, as traces count.
    routes : callable
        ``routes(own, *args)``: how many elements go to each rank and come from each, where
        the ranks need not agree on the arguments.
    partners : callable
        ``partners(comm, own, *args)``: how many ranks this one exchanges a message with, where
        each pair exchanges something else; None where all take part in each round.
    reduces : bool
        Whether elements are combined. The last argument then names the operation, and the
        elements travel as codes (`buffers.REDUCTIONS`).
    """

    name: str
    method: str
    same: Callable[..., tuple[Any, ...]]
    adjoint: str = ""
    result: Callable[..., Shape] = _own
    sent: Callable[..., int] = _elements
    routes: Callable[..., Routes] = _no_routes
    partners: Callable[..., int | None] = _all_ranks
    reduces: bool = False

    def _itemsize(self, dtype: torch.dtype, args: Sequence[Any]) -> int:
        return (REDUCTIONS[args[-1], dtype][1] if self.reduces else dtype).itemsize

    def nbytes(self, comm: Ranks, own: Shape, dtype: torch.dtype, args: Sequence[Any]) -> int:
        """Return the bytes that this rank sends."""
        return self.sent(comm, own, *args) * self._itemsize(dtype, args)

    def result_nbytes(
        self, comm: Ranks, own: Shape, dtype: torch.dtype, args: Sequence[Any]
    ) -> int:
        """Return the bytes that this rank gets."""
        return math.prod(self.result(comm, own, *args)) * self._itemsize(dtype, args)


def _pair_routes(own: Shape, dest: int | None, source: int | None, shape: Sequence[int]) -> Routes:
    goes = () if dest is None else ((dest, math.prod(own)),)
    return goes, () if source is None else ((source, math.prod(shape)),)


def _all_routes(own: Shape, sends: Division, receives: Division) -> Routes:
    return tuple(enumerate(sends.counts)), tuple(enumerate(receives.counts))


def _partners_of_all(comm: Ranks, own: Shape, sends: Division, receives: Division) -> int:
    meets = (sends.lengths + receives.lengths) > 0
    return int(meets.sum()) - int(meets[comm.rank])


def _partners_of_parts(comm: Ranks, own: Shape, sends: Parts, receives: Parts) -> int:
    return len({rank for rank, _ in (*sends, *receives)})


def _partners_of_pair(
    comm: Ranks, own: Shape, dest: int | None, source: int | None, shape: Sequence[int]
) -> int:
    return len({dest, source} - {None, comm.rank})


def _total(parts: Parts) -> int:
    return sum(n for _, n in parts)


_TENSORS = (
    Collective(
        "allreduce", "allreduce", lambda d, own, op: (op, d, own), "allreduce", reduces=True
    ),
    Collective(
        "reduce_scatter",
        "reduce_scatter",
        lambda dtype, own, counts, op: (op, dtype, own, counts),
        "allgather",
        result=lambda comm, own, counts, op: (counts[comm.rank], *own[1:]),
        reduces=True,
    ),
    Collective("exscan", "exscan", lambda dtype, own, op: (op, dtype, own), reduces=True),
    Collective("bcast", "bcast", lambda dtype, own, root: (dtype, own, f"from rank {root}")),
    Collective(
        "allgather",
        "allgatherv",
        lambda dtype, own, counts: (dtype, counts, own[1:]),
        "reduce_scatter",
        result=lambda comm, own, counts: (counts.total, *own[1:]),
    ),
    Collective(
        "alltoall",
        "alltoallv",
        lambda dtype, own, sends, receives: (dtype,),
        "alltoall",
        result=lambda comm, own, sends, receives: (receives.total,),
        sent=lambda comm, own, sends, receives: sends.total - sends[comm.rank],
        routes=_all_routes,
        partners=_partners_of_all,
    ),
    Collective(
        "exchange",
        "exchange",
        lambda dtype, own, sends, receives: (dtype,),
        "exchange",
        result=lambda comm, own, sends, receives: (_total(receives),),
        sent=lambda comm, own, sends, receives: _total(sends),
        routes=lambda own, sends, receives: (sends, receives),
        partners=_partners_of_parts,
    ),
    Collective(
        "sendrecv",
        "sendrecv",
        lambda dtype, own, dest, source, shape: (dtype,),
        "sendrecv",
        result=lambda comm, own, dest, source, shape: tuple(shape),
        sent=lambda comm, own, dest, source, shape: 0 if dest is None else math.prod(own),
        routes=_pair_routes,
        partners=_partners_of_pair,
    ),
)

# Bookkeeping: integers and objects, which no array holds.
_OTHERS = (
    Collective(
        "allgather_ints",
        "allgather_ints",
        lambda dtype, own: own,
        result=lambda comm, own: (comm.size, *own),
    ),
    Collective("allgather_object", "allgather_object", lambda *_: (), result=_nothing),
    Collective(
        "bcast_object", "bcast_object", lambda d, own, root: (f"from rank {root}",), result=_nothing
    ),
    Collective("barrier", "barrier", lambda *_: ()),
)

TABLE = {row.name: row for row in (*_TENSORS, *_OTHERS)}
"""The collectives by name."""

TENSOR_METHODS = frozenset(row.method for row in _TENSORS)
"""The communicator's methods that carry an array's data."""
