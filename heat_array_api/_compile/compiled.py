"""Compiled functions: which calls share a program, which run as subgraphs or eagerly; derivatives.

`Compiled` documents the states of a function and their transitions.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .._autograd import differentiable, vjp
from .._comm.assumptions import assumed
from .._comm.communicator import Communicator, keeps, world
from .._comm.debug import DEBUG
from .._comm.in_step import OutOfStep, in_step
from .._comm.recording import NotCapturable, captures
from .._comm.trace import unrecorded
from .._core.array import Array
from .._core.tape import tracked, transforming
from .._errors import CollectiveMismatchError, CompileWarning
from .capture import holding
from .graph_breaks import CallWithBreaks
from .guards import Environment, common_of_arrays
from .inductor import Compiler
from .program import Outcome, Program, State, build
from .subgraphs import Subgraphs, Unbreakable
from .undoing import Before, put_back

Pure = Callable[[Sequence[Array]], Sequence[Array]]

_EAGER = "compiled functions run operation by operation: no message is combined with another"
"""What a dry run assumes of them."""


MOST_FAILURES = 4
"""A function is not captured again after so many attempts if none of them led to a program."""

MOST_PROGRAMS = 512
"""For one function: further kinds of calls run eagerly, and are not remembered."""

LEAST_BYTES_FOR_SUBGRAPHS = 1 << 23
"""The least size of the arrays on a rank: with less, recording costs more than fusing saves."""


def _comm_of(arrays: Sequence[Array]) -> Communicator:
    return arrays[0]._layout.comm if arrays else world()


def _pays(arrays: Sequence[Array]) -> bool:
    """Return whether arrays are large enough for subgraphs."""
    return sum(_share(x) for x in arrays) >= LEAST_BYTES_FOR_SUBGRAPHS


def _share(x: Array) -> int:
    """Return the bytes of an array on each rank, the same number on all ranks."""
    return x.nbytes if x._layout.split is None else x.nbytes // x._layout.comm.size


class Compiled:
    """A function made by `compile`.

    Attributes
    ----------
    captures : int
        How often the function was captured: once for each set of layouts, dtypes, other values.
    breaks : dict of str to int
        Where the graph was broken, as ``"operation at file:line"``, and how often.

    Notes
    -----
    For calls of one kind (one `Environment.key`) the function is in one state (`State`)::

        (new) --captured--> WHOLE, BREAKS, EAGER, COMPARED       _capture
                            or RAISED
        RAISED --called eagerly--> EAGER, or (new) if it raises  _after_error
        BREAKS --cannot be broken--> EAGER, for all calls
                                     on the communicator         _give_up_breaks
        BREAKS, EAGER --the ranks go different ways--> COMPARED  _in_step

    A new call takes the last outcome's state if `MOST_FAILURES` attempts led to no program.
    """

    def __init__(
        self, f: Callable[..., Any], fullgraph: bool, backend: str, show_progress: bool | None
    ) -> None:
        functools.update_wrapper(self, f, updated=())
        self._f = f
        self._fullgraph = fullgraph
        self._outcomes: dict[Any, Outcome] = {}
        self._warned: set[str] = set()
        # By communicator: ranks take part in different ones.
        self._attempts: dict[Communicator, list[Outcome]] = {}
        self._unbreakable: dict[Communicator, tuple[State, str]] = {}
        self._compiler = Compiler(self._name, backend, show_progress)
        self._subgraphs = Subgraphs(self._name, self._compiler, self._report)
        self.captures = 0
        self.breaks: dict[str, int] = {}
        keeps(self)

    def forget(self, comm: Communicator) -> None:
        """Drop the programs of a communicator that has been freed."""
        gone = self._attempts.pop(comm, [])
        dropped = set(map(id, gone))
        self._outcomes = {k: o for k, o in self._outcomes.items() if id(o) not in dropped}
        self._unbreakable.pop(comm, None)
        self._subgraphs.forget(comm)

    @property
    def compilations(self) -> int:
        """How many graphs were compiled, on this rank."""
        return self._compiler.graphs.compilations

    @property
    def _name(self) -> str:
        return str(getattr(self._f, "__qualname__", type(self._f).__name__))

    def __repr__(self) -> str:
        return f"<compiled {self._name}: {self.compilations} compilations>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if captures or transforming() or assumed(_EAGER):
            return self._f(*args, **kwargs)
        around = Environment(self._f, args, kwargs)
        outcome = self._outcomes.get(around.key)
        if outcome is None:
            outcome = self._hopeless(_comm_of(around.arrays))
        if DEBUG:
            self._check_in_step(around.arrays, outcome)
        before = self.captures
        if outcome is None:
            outcome = self._capture(around, args, kwargs)
        if outcome.program is not None:  # WHOLE
            if any(tracked(x._local) for x in around.arrays):
                return self._on_tape(outcome.program, around, args, kwargs)
            return outcome.program(around.arrays)
        if outcome.state is State.RAISED:
            return self._after_error(outcome, around, args, kwargs)
        if self._fullgraph:
            self._report(outcome.problem)
        if outcome.state is State.BREAKS:
            if any(x._local.requires_grad or tracked(x._local) for x in around.arrays):
                self._report(outcome.problem)
            elif _pays(around.arrays):
                return self._with_breaks(outcome, around, args, kwargs)
        if self.captures > before or outcome.state is State.COMPARED:
            return self._compared(outcome, around, args, kwargs)
        return self._f(*args, **kwargs)

    def _check_in_step(self, arrays: Sequence[Array], outcome: Outcome | None) -> None:
        """Raise on all ranks unless all take the same program, or none has one."""
        comm = _comm_of(arrays)
        number = -1
        if outcome is not None:
            number = next(i for i, o in enumerate(self._attempts[comm]) if o is outcome)
        with unrecorded():
            chosen = comm.allgather_ints((number,))[:, 0].tolist()
        if len(set(chosen)) > 1:
            raise CollectiveMismatchError(
                f"compile: {self._name}: the ranks would run different programs ({chosen}; -1 is a "
                "new one): something that it depends on differs from rank to rank"
            )

    # ------------------------------------------------------------------ transitions

    def _hopeless(self, comm: Communicator) -> Outcome | None:
        """Return the last outcome if all attempts have failed, the same on all ranks."""
        outcomes = self._attempts.get(comm, [])
        if len(outcomes) < MOST_FAILURES or any(o.state is State.WHOLE for o in outcomes):
            return None
        return outcomes[-1]

    def _capture(self, around: Environment, args: Any, kwargs: Any) -> Outcome:
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
        """Make a program, on all ranks alike, and keep the outcome unless it is RAISED."""
        comm = _comm_of(arrays)
        if any(x._layout.comm is not comm for x in arrays):
            return self._eager("its arrays live on several communicators")
        if len(self._outcomes) >= MOST_PROGRAMS:
            return self._eager(f"it was called in more than {MOST_PROGRAMS} different ways")
        self.captures += 1
        outcome = build(call, arrays, comm, self._compiler)
        if outcome.state is not State.RAISED:
            self._keep(key, outcome, comm)
        return outcome

    def _eager(self, problem: str) -> Outcome:
        """Return the outcome of a call that is not captured, and is not remembered."""
        self._report(problem)
        return Outcome(State.EAGER, problem)

    def _keep(self, key: Any, outcome: Outcome, comm: Communicator) -> None:
        if outcome.state is State.BREAKS and comm in self._unbreakable:
            outcome.state, outcome.problem = self._unbreakable[comm]
        self._outcomes[key] = outcome
        self._attempts.setdefault(comm, []).append(outcome)
        if self._fullgraph or outcome.state not in (State.BREAKS, State.COMPARED):
            self._report(outcome.problem)

    def _after_error(self, outcome: Outcome, around: Environment, args: Any, kwargs: Any) -> Any:
        """Call eagerly what raised while it was captured; the error may be the function's own."""
        result = self._compared(outcome, around, args, kwargs)
        self._keep(around.key, Outcome(State.EAGER, outcome.problem), _comm_of(around.arrays))
        return result

    def _give_up_breaks(self, comm: Communicator, state: State, problem: str) -> None:
        self._unbreakable[comm] = state, problem
        for outcome in self._attempts[comm]:
            if outcome.state is State.BREAKS:
                outcome.state, outcome.problem = state, problem

    # ------------------------------------------------------------------ what users are told

    def _report(self, problem: str) -> None:
        """Warn once, on all ranks, why the function is not compiled; raise with `fullgraph`."""
        if not problem:
            return
        if self._fullgraph:
            raise RuntimeError(f"compile: {self._name} cannot be compiled as a whole: {problem}")
        if problem not in self._warned:
            self._warned.add(problem)
            text = f"compile: {self._name} runs eagerly: {problem}"
            warnings.warn(text, CompileWarning, stacklevel=4)

    def _count_break(self, operation: str, line: str) -> None:
        place = f"{operation} at {line}"
        self.breaks[place] = self.breaks.get(place, 0) + 1

    # ------------------------------------------------------------------ graph breaks

    def _with_breaks(self, outcome: Outcome, around: Environment, args: Any, kwargs: Any) -> Any:
        """Call a function with graph breaks: as subgraphs where that is possible and pays."""
        arrays = around.arrays
        comm = _comm_of(arrays)
        holders: list[Any] = []
        Environment(self._f, args, kwargs, holders=holders)
        call = CallWithBreaks(self._subgraphs, comm, self._count_break)
        try:
            return call(lambda: self._f(*args, **kwargs), arrays, holders)
        except Unbreakable as error:
            apart, reasons = error.apart, comm.allgather_object(str(error))
        problem = next(filter(None, reasons), outcome.problem)
        self._give_up_breaks(comm, State.COMPARED if apart else State.EAGER, problem)
        if not apart:
            self._report(problem)
        return self._compared(outcome, around, args, kwargs)

    # ------------------------------------------------------------------ in step

    def _compared(self, outcome: Outcome, around: Environment, args: Any, kwargs: Any) -> Any:
        """Call the function eagerly, while the ranks compare what they send."""
        holders: list[Any] = []
        Environment(self._f, args, kwargs, holders=holders)
        call = partial(self._f, *args, **kwargs)
        return self._in_step(outcome, call, around.arrays, holders)

    def _in_step(
        self, outcome: Outcome, call: Callable[[], Any], arrays: list[Array], holders: list[Any]
    ) -> Any:
        """Call a function; if the ranks go different ways, all raise, and nothing has changed."""
        before = Before(arrays)
        try:
            result = in_step(_comm_of(arrays), self._name, call, common_of_arrays)
        except OutOfStep as failure:
            error = failure.error
        else:
            if outcome.state is State.COMPARED:
                self._report(outcome.problem)
            return result
        before.restore()
        put_back(holders)
        outcome.state, outcome.problem = State.COMPARED, "the ranks went different ways through it"
        raise error

    # ------------------------------------------------------------------ derivatives

    def _on_tape(self, program: Program, around: Environment, args: Any, kwargs: Any) -> Any:
        """Run as a node of the tape, whose adjoint is a compiled function too."""
        if program.written or not program.new:
            return self._f(*args, **kwargs)

        def function(arrays: Sequence[Array]) -> list[Array]:
            with holding(around.arrays, [x._local for x in arrays]):
                return program.new_of(self._f(*args, **kwargs))

        new = self._pure(around.key, function, around.arrays)
        return program.result(around.arrays, new)

    def _pure(self, key: Any, function: Pure, arrays: list[Array]) -> Sequence[Array]:
        """Call a function from a list of arrays to another, compiled and on the tape."""
        outcome = self._outcomes.get(key)
        before = self.captures
        if outcome is None:
            outcome = self._made(key, lambda: function(arrays), arrays)
        program = outcome.program
        if program is None:
            self._report(outcome.problem)
            if self.captures > before or outcome.state is State.COMPARED:
                call = partial(function, arrays)
                found: Sequence[Array] = self._in_step(outcome, call, arrays, [])
                return found
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
        """Return the inputs' cotangents: one program runs the function again, and its pullback."""
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
