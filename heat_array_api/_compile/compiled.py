"""Compiled functions: which calls share a program, what runs eagerly, derivatives."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .._autograd import differentiable, vjp
from .._comm.communicator import Communicator, world
from .._comm.debug import DEBUG
from .._comm.recording import NotCapturable, captures
from .._comm.trace import unrecorded
from .._core.array import Array
from .._core.tape import tracked, transforming
from .._errors import CollectiveMismatchError, CompileWarning
from .capture import holding
from .dynamic_shapes import Templates
from .graph_breaks import InPieces
from .guards import Environment, put_back
from .inductor import progress
from .program import Body, Outcome, Program, build
from .subgraphs import Segments, Unbreakable

__all__ = ["Compiled"]


Pure = Callable[[Sequence[Array]], Sequence[Array]]


MOST_FAILURES = 4
"""A function that could be captured in none of so many ways is not tried again."""


MOST_PROGRAMS = 512
"""Of one function: more different calls than these run eagerly."""


LEAST_BYTES = 1 << 23
"""Of the arrays, on a rank: with less, recording a function costs more than fusing it saves."""


def _comm_of(arrays: Sequence[Array]) -> Communicator:
    return arrays[0]._layout.comm if arrays else world()


def _pays(arrays: Sequence[Array]) -> bool:
    """Return whether arrays are big enough for a function of them to run in pieces."""
    return sum(_share(x) for x in arrays) >= LEAST_BYTES


def _share(x: Array) -> int:
    """Return the bytes of a rank's share of an array, the same number on all ranks."""
    return x.nbytes if x._layout.split is None else x.nbytes // x._layout.comm.size


class Compiled:
    """A function made by `compile`.

    Attributes
    ----------
    captures : int
        How often the function was captured: once for each set of layouts, dtypes, other values.
    breaks : dict of str to int
        Where the graph was broken, as ``"operation at file:line"``, and how often.
    """

    def __init__(
        self, f: Callable[..., Any], fullgraph: bool, backend: str, show_progress: bool | None
    ) -> None:
        functools.update_wrapper(self, f, updated=())
        self._f = f
        self._fullgraph = fullgraph
        self._backend = backend
        self._show_progress = show_progress
        self._outcomes: dict[Any, Outcome] = {}
        self._warned: set[str] = set()
        # By communicator: ranks take part in different ones.
        self._attempts: dict[Communicator, list[Outcome]] = {}
        self._unbreakable: dict[Communicator, str] = {}
        self._templates = Templates()
        self._segments = Segments(self._name, self._templates, backend, self._shown, self._report)
        self.captures = 0
        self.breaks: dict[str, int] = {}

    def _hopeless(self, comm: Communicator) -> Outcome | None:
        """Return what came of the last attempt if all have failed, the same on all ranks."""
        outcomes = self._attempts.get(comm, [])
        if len(outcomes) < MOST_FAILURES or any(o.program is not None for o in outcomes):
            return None
        return outcomes[-1]

    @property
    def compilations(self) -> int:
        """How many graphs were compiled, on this rank."""
        return self._templates.compilations

    @property
    def _name(self) -> str:
        return str(getattr(self._f, "__qualname__", type(self._f).__name__))

    def __repr__(self) -> str:
        return f"<compiled {self._name}: {self.compilations} compilations>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if captures or transforming():
            return self._f(*args, **kwargs)
        around = Environment(self._f, args, kwargs)
        outcome = self._outcomes.get(around.key)
        if outcome is None:
            outcome = self._hopeless(_comm_of(around.arrays))
        if DEBUG:
            self._check_in_step(around.arrays, outcome)
        if outcome is None:
            outcome = self._attempt(around, args, kwargs)
            if outcome.error:
                return self._after_error(outcome, around, args, kwargs)
        program = outcome.program
        if program is None:
            return self._without_program(outcome, around, args, kwargs)
        if any(tracked(x._local) for x in around.arrays):
            return self._on_tape(program, around, args, kwargs)
        return program(around.arrays)

    def _check_in_step(self, arrays: Sequence[Array], outcome: Outcome | None) -> None:
        """Raise on all ranks unless all take the same program, or none has one."""
        comm = _comm_of(arrays)
        number = -1
        if outcome is not None:
            number = next(i for i, o in enumerate(self._attempts[comm]) if o is outcome)
        with unrecorded():
            chosen = [numbers[0] for numbers in comm.allgather_ints((number,))]
        if len(set(chosen)) > 1:
            raise CollectiveMismatchError(
                f"compile: {self._name}: the ranks would run different programs ({chosen}; -1 is a "
                "new one): something that it depends on differs from rank to rank"
            )

    # ------------------------------------------------------------------ making programs

    def _attempt(self, around: Environment, args: Any, kwargs: Any) -> Outcome:
        """Make the program of a call, or find out why there is none."""
        holders: list[Any] = []
        Environment(self._f, args, kwargs, holders=holders)

        def call() -> Any:
            try:
                return self._f(*args, **kwargs)
            finally:
                if not put_back(holders):
                    raise NotCapturable("it changes a list, a dict or an attribute outside")

        return self._made(around.key, call, around.arrays)

    def _made(self, key: Any, call: Callable[[], Any], arrays: list[Array]) -> Outcome:
        """Make a program, on all ranks alike, and keep what came of it."""
        comm = _comm_of(arrays)
        if any(x._layout.comm is not comm for x in arrays):
            outcome = Outcome(None, "its arrays live on several communicators")
        elif len(self._outcomes) >= MOST_PROGRAMS:
            outcome = Outcome(None, f"it was called in more than {MOST_PROGRAMS} different ways")
        else:
            self.captures += 1
            outcome = build(
                Body(call, arrays), comm, self._backend, self._templates, partial(self._shown, comm)
            )
        if not outcome.error:
            self._keep(key, outcome, comm)
        return outcome

    def _shown(self, comm: Communicator) -> Any:
        return progress(self._name, comm, self._show_progress)

    def _keep(self, key: Any, outcome: Outcome, comm: Communicator) -> None:
        self._outcomes[key] = outcome
        self._attempts.setdefault(comm, []).append(outcome)
        if self._fullgraph or not outcome.breaks:
            self._report(outcome.problem)

    def _report(self, problem: str) -> None:
        """Say once what keeps the function from being compiled, on all ranks; or raise."""
        if not problem:
            return
        text = f"compile: {self._name} runs eagerly: {problem}"
        if self._fullgraph:
            raise RuntimeError(f"compile: {self._name} cannot be compiled as a whole: {problem}")
        if problem not in self._warned:
            self._warned.add(problem)
            warnings.warn(text, CompileWarning, stacklevel=4)

    def _after_error(self, outcome: Outcome, around: Environment, args: Any, kwargs: Any) -> Any:
        """Call eagerly what raised while it was captured; the error may be the function's own."""
        result = self._f(*args, **kwargs)
        self._keep(around.key, Outcome(None, outcome.problem), _comm_of(around.arrays))
        return result

    # ------------------------------------------------------------------ without a program

    def _without_program(
        self, outcome: Outcome, around: Environment, args: Any, kwargs: Any
    ) -> Any:
        """Call what is no program as a whole: in pieces where that can be, and pays."""
        if self._fullgraph:
            self._report(outcome.problem)
        arrays = around.arrays
        comm = _comm_of(arrays)
        problem = self._unbreakable.get(comm, "")
        if outcome.breaks and any(x._local.requires_grad or tracked(x._local) for x in arrays):
            problem = outcome.problem
        if problem or not outcome.breaks or not _pays(arrays):
            self._report(problem)
            return self._f(*args, **kwargs)
        holders: list[Any] = []
        Environment(self._f, args, kwargs, holders=holders)
        call = InPieces(self._segments, comm, self._broken)
        try:
            return call(lambda: self._f(*args, **kwargs), arrays, holders)
        except Unbreakable as error:
            reasons = comm.allgather_object(str(error))
        problem = next(filter(None, reasons), outcome.problem)
        self._unbreakable[comm] = problem
        self._report(problem)
        return self._f(*args, **kwargs)

    def _broken(self, operation: str, line: str) -> None:
        place = f"{operation} at {line}"
        self.breaks[place] = self.breaks.get(place, 0) + 1

    # ------------------------------------------------------------------ derivatives

    def _on_tape(self, program: Program, around: Environment, args: Any, kwargs: Any) -> Any:
        """Run as a node of the tape, of which the adjoint is a compiled function too."""
        if program.written or not program.new:
            return self._f(*args, **kwargs)

        def function(arrays: Sequence[Array]) -> list[Array]:
            with holding(around.arrays, [x._local for x in arrays]):
                return program.new_of(self._f(*args, **kwargs))

        new = self._pure(around.key, function, around.arrays)
        return program.result(around.arrays, new)

    def _pure(self, key: Any, function: Pure, arrays: list[Array]) -> Sequence[Array]:
        """Call a function of a list of arrays that returns such, compiled, and on the tape."""
        outcome = self._outcomes.get(key)
        if outcome is None:
            outcome = self._made(key, lambda: function(arrays), arrays)
        program = outcome.program
        if program is None:
            self._report(outcome.problem)
            return function(arrays)
        if not any(tracked(x._local) for x in arrays):
            return program.new_arrays(arrays)
        return differentiable(
            lambda *xs: program.new_arrays(xs), partial(self._adjoint, key, function), *arrays
        )

    def _adjoint(
        self,
        key: Any,
        function: Pure,
        needed: Sequence[bool],
        inputs: Sequence[Array],
        results: Sequence[Array],
        cotangents: Sequence[Array | None],
    ) -> list[Array | None]:
        """Return the inputs' cotangents: the function runs again, and back, in one program."""
        chosen = tuple(i for i, wanted in enumerate(needed) if wanted)
        given = tuple(g is not None for g in cotangents)
        n = len(inputs)

        def pullback(arrays: Sequence[Array]) -> Sequence[Array]:
            def of_chosen(*variables: Array) -> list[Array]:
                full = list(arrays[:n])
                for i, x in zip(chosen, variables, strict=True):
                    full[i] = x
                return [y for y, there in zip(function(full), given, strict=True) if there]

            _, back = vjp(of_chosen, *(arrays[i] for i in chosen))
            found: Sequence[Array] = back(list(arrays[n:]))
            return found

        arrays = [*inputs, *(g for g in cotangents if g is not None)]
        found = iter(self._pure(("adjoint", key, chosen, given), pullback, arrays))
        return [next(found) if wanted else None for wanted in needed]
