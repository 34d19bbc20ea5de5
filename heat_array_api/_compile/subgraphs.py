"""The pieces of a function that runs in pieces: programs between two breaks of its graph.

A piece is recorded anew in each call (`_breaking`), and what it was found to be before is used
again: in which order its messages go, by what all ranks recorded; its machine code, by what this
rank did.
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
from .._comm.recording import paused
from .capture import Capture
from .collective_ops import executed
from .dynamic_shapes import Function, Templates, taken_apart
from .inductor import compiled_in_step
from .schedule import Dependencies, dependencies, functional, plan, scheduled, united

__all__ = ["MOST_SEGMENTS", "Elsewhere", "Segments", "State", "Unbreakable"]


Steps = tuple[tuple[int, ...], ...]


MOST_SEGMENTS = 256
"""Of one function: of so many the last ones are remembered."""


EMPTY, UNKNOWN = -1, -2


class State(IntEnum):
    """Where a rank has come to when it asks the others."""

    PIECE = 0
    """A piece is recorded, and must run."""
    RECORDED = 1
    """An operation could be recorded."""
    BREAKS = 2
    """It could not."""
    ERROR = 3
    """The function has raised an error."""
    UNBREAKABLE = 4
    """Something depends on values where the graph cannot be broken."""


# No handler of the function's own is asked about these.


class Unbreakable(BaseException):
    """The function must run eagerly, on all ranks."""


class Elsewhere(BaseException):
    """The function has raised an error on another rank, and not here."""


class _Segment(NamedTuple):
    """What is known of a piece, on this rank.

    Attributes
    ----------
    facts : str
        What must be the same on all ranks.
    graph : torch.fx.Graph
    needs : Dependencies
    digest : int
        Of facts and dependencies.
    functions : dict
        By the order of the messages.
    """

    facts: str
    graph: fx.Graph
    needs: Dependencies
    digest: int
    functions: dict[Steps, Function]


class Segments:
    """The pieces of one function.

    Parameters
    ----------
    name : str
        The function's.
    templates : Templates
        What was compiled of it.
    backend : str
    shown : callable
        Of a communicator; returns a context manager around compilation.
    report : callable
        Of a problem of the compiler's.
    """

    def __init__(
        self,
        name: str,
        templates: Templates,
        backend: str,
        shown: Callable[[Communicator], Any],
        report: Callable[[str], None],
    ) -> None:
        self.name = name
        self._templates = templates
        self._backend = backend
        self._shown = shown
        self._report = report
        self._segments: dict[Any, _Segment] = {}
        # By communicator, of which all ranks come to the same.
        self._plans: dict[Communicator, dict[tuple[int, ...], Steps]] = {}
        self._recordable: dict[Communicator, dict[Any, bool]] = {}

    def recordable(self, comm: Communicator) -> dict[Any, bool]:
        """Return of which operations it is known whether they can be recorded, on all ranks."""
        return self._recordable.setdefault(comm, {})

    # ------------------------------------------------------------------ all ranks together

    def asked(
        self,
        comm: Communicator,
        line: str,
        state: State,
        digest: int = 0,
        order: int = 0,
        reason: str = "",
    ) -> list[tuple[int, ...]]:
        """Return every rank's state, digest of its piece, and order of messages: one message.

        Raises
        ------
        Unbreakable
            On all ranks, if one cannot go on.
        Elsewhere
            If another raises an error, and this one does not.
        """
        with named(("compile", line)), paused():
            everyone = comm.allgather_ints((int(state), digest, order))
        states = [State(theirs[0]) for theirs in everyone]
        if State.UNBREAKABLE in states:
            raise Unbreakable(reason)
        errors = [rank for rank, theirs in enumerate(states) if theirs is State.ERROR]
        if 0 < len(errors) < comm.size and state is not State.ERROR:
            raise Elsewhere(f"compile: {self.name} raised an error on rank {errors[0]}")
        operations = {State.RECORDED, State.BREAKS}
        if not errors and not (set(states) <= operations or operations.isdisjoint(states)):
            raise Unbreakable("the ranks would break it at different lines")
        return everyone

    def run(
        self, capture: Capture, outputs: Sequence[fx.Node], comm: Communicator, line: str
    ) -> tuple[Sequence[Tensor], Exception | None]:
        """Run a piece, on all ranks alike.

        Returns
        -------
        outputs
            This rank's tensors.
        error
            Of a check that has failed, the same on all ranks.
        """
        try:
            segment = self._known(capture, outputs)
        except Exception as error:
            self.asked(comm, line, State.UNBREAKABLE, reason=str(error))
            raise
        order = UNKNOWN
        if not (outputs or capture.messages or capture.checks):
            order = EMPTY
        elif segment.functions:
            order = _number(next(reversed(segment.functions)))
        everyone = self.asked(comm, line, State.PIECE, segment.digest, order)
        if all(theirs[2] == EMPTY for theirs in everyone):
            return [], None
        with named(("compile", line)):
            steps = self._steps(segment, capture, comm, tuple(theirs[1] for theirs in everyone))
            if any(theirs[2] != _number(steps) for theirs in everyone):
                self._compile(segment, capture, comm, steps)
        tensors = [*(t.detach().contiguous() for t in capture.constants), torch.zeros(1)]
        sends = [[capture.messages[i] for i in step] for step in steps]
        errors = [error for _, error in capture.checks]
        return executed(segment.functions[steps], tensors, sends, errors)

    def _steps(
        self, segment: _Segment, capture: Capture, comm: Communicator, digests: tuple[int, ...]
    ) -> Steps:
        """Return the order of the messages: known for these pieces of all ranks, or agreed on."""
        plans = self._plans.setdefault(comm, {})
        steps = plans.get(digests)
        if steps is None:
            everyone = comm.allgather_object((zlib.crc32(segment.facts.encode()), segment.needs))
            if len({facts for facts, _ in everyone}) > 1:
                raise Unbreakable("the ranks would send different messages")
            steps = tuple(plan(capture.messages, united([needs for _, needs in everyone])))
            if len(plans) >= MOST_SEGMENTS:
                plans.clear()
            plans[digests] = steps
        return steps

    def _compile(
        self, segment: _Segment, capture: Capture, comm: Communicator, steps: Steps
    ) -> None:
        """Compile a piece, on all ranks: those that have done so before take what they have."""
        function = segment.functions.pop(steps, None)
        fakes = [*capture.fakes, capture.mode.from_tensor(torch.zeros(1))]
        with self._shown(comm):
            module = scheduled(segment.graph, steps)
            made, problem = compiled_in_step(
                self._templates, module, fakes, capture.shards, self._backend, comm
            )
        segment.functions[steps] = made if function is None or problem else function
        if problem:
            self._report(problem)

    # ------------------------------------------------------------------ this rank

    def _known(self, capture: Capture, outputs: Sequence[fx.Node]) -> _Segment:
        """Return what is known of a piece: of the same graph with the same messages."""
        graph = taken_apart(capture.graph, capture.fakes)
        key = (*graph, tuple(capture.messages), tuple(capture.shards))
        found = self._segments.pop(key, None)
        if found is None:
            pure = functional(capture)
            needs = dependencies(pure)
            facts = str([message.common() for message in capture.messages])
            text = f"{facts} {needs}".encode()
            digest = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), signed=True)
            found = _Segment(facts, pure, needs, digest, {})
            while len(self._segments) >= MOST_SEGMENTS:
                del self._segments[next(iter(self._segments))]
        self._segments[key] = found
        return found


def _number(steps: Steps) -> int:
    return zlib.crc32(str(steps).encode())
