"""Subgraphs: what is known of the recorded programs between the graph breaks of a function.

A subgraph is recorded anew in each call (`graph_breaks`), and what was found out about it
before is used again: the order of its messages, for what all ranks recorded, and its machine code,
for what this rank recorded.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from .._comm.attribution import named
from .._comm.communicator import Communicator
from .._comm.debug import Call, digest_of, table
from .._comm.in_step import on_some_ranks
from .._comm.recording import paused
from .capture import Capture
from .collective_ops import executed
from .dynamic_shapes import Function, structure_and_numbers
from .inductor import Compiler
from .schedule import Dependencies, Steps, dependencies, functional, plan, united

MOST_SUBGRAPHS = 256
"""For one function: of so many, the last ones used are remembered."""

EMPTY, UNKNOWN = -1, -2


class RankState(IntEnum):
    """A rank's state at a synchronisation point."""

    SUBGRAPH = 0
    """A subgraph has been recorded, and must run."""
    RECORDED = 1
    """An operation could be recorded."""
    BREAKS = 2
    """An operation could not be recorded."""
    ERROR = 3
    """The function has raised an error."""
    UNBREAKABLE = 4
    """Something needs values where the graph cannot be broken."""


# Derived from BaseException: the function's own handlers must not catch these.


class Unbreakable(BaseException):
    """The function must run eagerly, on all ranks.

    `apart` tells that the ranks go different ways through it.
    """

    def __init__(self, reason: str, apart: bool = False) -> None:
        super().__init__(reason)
        self.apart = apart


class RaisedElsewhere(BaseException):
    """The function has raised an error on another rank, and not on this one."""


class _Subgraph(NamedTuple):
    """What this rank knows of a subgraph.

    `facts` must be the same on all ranks; `digest` is a hash of facts and needs; `functions` are
    the compiled ones, by the order of the messages.
    """

    facts: str
    graph: fx.Graph
    needs: Dependencies
    digest: int
    functions: dict[Steps, Function]


class Subgraphs:
    """The subgraphs of one function.

    `report` takes a problem of the compiler.
    """

    def __init__(self, name: str, compiler: Compiler, report: Callable[[str], None]) -> None:
        self.name = name
        self._compiler = compiler
        self._report = report
        self._subgraphs: dict[Any, _Subgraph] = {}
        # Both are the same on all ranks of a communicator.
        self._orders: dict[Communicator, dict[tuple[int, ...], Steps]] = {}
        self._recordable: dict[Communicator, dict[Any, bool]] = {}

    def recordable(self, comm: Communicator) -> dict[Any, bool]:
        """Return whether all ranks can record an operation, for the keys that were tried."""
        return self._recordable.setdefault(comm, {})

    def forget(self, comm: Communicator) -> None:
        """Drop what is known for a communicator that has been freed."""
        self._orders.pop(comm, None)
        self._recordable.pop(comm, None)

    # ------------------------------------------------------------------ all ranks together

    def synchronise(
        self,
        comm: Communicator,
        call: Call,
        state: RankState,
        digest: int = 0,
        order: int = 0,
        reason: str = "",
    ) -> list[tuple[int, ...]]:
        """Return every rank's state, digest of its subgraph, and order of messages: one message.

        Raises `Unbreakable` on all ranks if one cannot go on, or if their calls differ, and
        `RaisedElsewhere` if another rank has raised an error, and this one has not.
        """
        with named(("compile", call.line)), paused():
            gathered = comm.allgather_ints((digest_of(call) << 3 | state, digest, order))
        everyone = [tuple(theirs) for theirs in gathered.tolist()]
        places = {theirs[0] >> 3 for theirs in everyone}
        everyone = [(theirs[0] & 7, *theirs[1:]) for theirs in everyone]
        states = [theirs[0] for theirs in everyone]
        if RankState.UNBREAKABLE in states:
            raise Unbreakable(reason)
        failed = [rank for rank, theirs in enumerate(states) if theirs == RankState.ERROR]
        if len(failed) == comm.size:
            return everyone
        operations = {RankState.RECORDED, RankState.BREAKS}
        if failed or len(places) > 1 or not (operations.issuperset(states) or len({*states}) == 1):
            self._explain(comm, call, failed)
        return everyone

    def _explain(self, comm: Communicator, call: Call, failed: Sequence[int]) -> None:
        """Raise what the ranks have found, except on those that have failed themselves."""
        with named(("compile", call.line)), paused():
            calls = comm.allgather_object(call)
        if not failed:
            text = f"the ranks go different ways through it:\n{table(calls)}"
            raise Unbreakable(text, apart=True)
        if comm.rank not in failed:
            raise RaisedElsewhere(on_some_ranks(self.name, calls, failed))

    def run(
        self, capture: Capture, outputs: Sequence[fx.Node], comm: Communicator, call: Call
    ) -> tuple[Sequence[Tensor], Exception | None]:
        """Run a subgraph, on all ranks alike.

        Return this rank's tensors, and the error of the first check that has failed, the same on
        all ranks.
        """
        try:
            subgraph = self._known(capture)
        except Exception as error:
            self.synchronise(comm, call, RankState.UNBREAKABLE, reason=str(error))
            raise
        order = UNKNOWN
        if not (outputs or capture.messages or capture.checks):
            order = EMPTY
        elif subgraph.functions:
            order = _number(next(reversed(subgraph.functions)))
        everyone = self.synchronise(comm, call, RankState.SUBGRAPH, subgraph.digest, order)
        if all(theirs[2] == EMPTY for theirs in everyone):
            return [], None
        with named(("compile", call.line)):
            steps = self._steps(subgraph, capture, comm, tuple(theirs[1] for theirs in everyone))
            if any(theirs[2] != _number(steps) for theirs in everyone):
                self._compile(subgraph, capture, comm, steps)
        tensors = [*(t.detach().contiguous() for t in capture.constants), torch.zeros(1)]
        sends = [[capture.messages[i] for i in step] for step in steps]
        errors = [error for _, error in capture.checks]
        return executed(subgraph.functions[steps], tensors, sends, errors)

    def _steps(
        self, subgraph: _Subgraph, capture: Capture, comm: Communicator, digests: tuple[int, ...]
    ) -> Steps:
        """Return the order of the messages, known for these subgraphs of all ranks or agreed on."""
        orders = self._orders.setdefault(comm, {})
        steps = orders.get(digests)
        if steps is None:
            everyone = comm.allgather_object((zlib.crc32(subgraph.facts.encode()), subgraph.needs))
            if len({facts for facts, _ in everyone}) > 1:
                raise Unbreakable("the ranks would send different messages", apart=True)
            steps = tuple(plan(capture.messages, united([needs for _, needs in everyone])))
            if len(orders) >= MOST_SUBGRAPHS:
                orders.clear()
            orders[digests] = steps
        return steps

    def _compile(
        self, subgraph: _Subgraph, capture: Capture, comm: Communicator, steps: Steps
    ) -> None:
        """Compile a subgraph, on all ranks; a rank that has done so before keeps its function."""
        function = subgraph.functions.pop(steps, None)
        made, problem = self._compiler(subgraph.graph, capture, steps, comm)
        subgraph.functions[steps] = made if function is None or problem else function
        if problem:
            self._report(problem)

    # ------------------------------------------------------------------ this rank

    def _known(self, capture: Capture) -> _Subgraph:
        """Return what is known of a subgraph: of the same graph with the same messages."""
        graph = structure_and_numbers(capture.graph, capture.fakes)
        key = (*graph, tuple(capture.messages), tuple(capture.shards))
        found = self._subgraphs.pop(key, None)
        if found is None:
            pure = functional(capture)
            needs = dependencies(pure)
            facts = str([message.common() for message in capture.messages])
            text = f"{facts} {needs}".encode()
            digest = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), signed=True)
            found = _Subgraph(facts, pure, needs, digest, {})
            while len(self._subgraphs) >= MOST_SUBGRAPHS:
                del self._subgraphs[next(iter(self._subgraphs))]
        self._subgraphs[key] = found
        return found


def _number(steps: Steps) -> int:
    return zlib.crc32(str(steps).encode())
