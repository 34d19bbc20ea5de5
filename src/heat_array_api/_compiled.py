"""Compiled functions: which calls share a program, what runs eagerly, derivatives."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ._array import Array
from ._autograd import differentiable, vjp
from ._capture import holding
from ._capturing import NotCapturable, captures
from ._comm import world
from ._debug import DEBUG
from ._environment import Environment, put_back
from ._errors import CollectiveMismatchError, CompileWarning
from ._inductor import progress
from ._program import Body, Outcome, Program, build
from ._tape import tracked, transforming
from ._templates import Templates
from ._trace import unrecorded

__all__ = ["Compiled"]

Pure = Callable[[Sequence[Array]], Sequence[Array]]

MOST_FAILURES = 4
"""A function that could be captured in none of so many ways is not tried again."""

MOST_PROGRAMS = 512
"""Of one function: more different calls than these run eagerly."""


class Compiled:
    """A function made by `compile`.

    Attributes
    ----------
    captures : int
        How often the function was captured: once for each set of layouts, dtypes, other values.
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
        self._failures = 0
        self._templates = Templates()
        self.captures = 0

    @property
    def _hopeless(self) -> bool:
        """Whether all attempts have failed, the same on all ranks."""
        return self._failures >= MOST_FAILURES and self._failures == len(self._outcomes)

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
        if captures or transforming() or self._hopeless:
            return self._f(*args, **kwargs)
        around = Environment(self._f, args, kwargs)
        outcome = self._outcomes.get(around.key)
        if DEBUG:
            self._check_in_step(around.arrays, outcome)
        if outcome is None:
            outcome = self._attempt(around, args, kwargs)
            if outcome.error:
                return self._after_error(outcome, around.key, args, kwargs)
        program = outcome.program
        if program is None:
            return self._f(*args, **kwargs)
        if any(tracked(x._local) for x in around.arrays):
            return self._on_tape(program, around, args, kwargs)
        return program(around.arrays)

    def _check_in_step(self, arrays: Sequence[Array], outcome: Outcome | None) -> None:
        """Raise on all ranks unless all take the same program, or none has one."""
        number = -1
        if outcome is not None:
            number = next(i for i, o in enumerate(self._outcomes.values()) if o is outcome)
        comm = arrays[0]._layout.comm if arrays else world()
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
        comms = {id(x._layout.comm): x._layout.comm for x in arrays}
        if len(comms) > 1:
            outcome = Outcome(None, "its arrays live on several communicators")
        elif len(self._outcomes) >= MOST_PROGRAMS:
            outcome = Outcome(None, f"it was called in more than {MOST_PROGRAMS} different ways")
        else:
            comm = next(iter(comms.values()), world())
            shown = partial(progress, self._name, comm, self._show_progress)
            self.captures += 1
            outcome = build(Body(call, arrays), comm, self._backend, self._templates, shown)
        if not outcome.error:
            self._keep(key, outcome)
        return outcome

    def _keep(self, key: Any, outcome: Outcome) -> None:
        self._outcomes[key] = outcome
        self._failures += outcome.program is None
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

    def _after_error(self, outcome: Outcome, key: Any, args: Any, kwargs: Any) -> Any:
        """Call eagerly what raised while it was captured; the error may be the function's own."""
        result = self._f(*args, **kwargs)
        self._keep(key, Outcome(None, outcome.problem))
        return result

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
