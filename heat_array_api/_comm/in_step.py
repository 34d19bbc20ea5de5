"""Blocks in which the ranks compare their messages, as debug mode does for a whole program.

A function that one rank leaves early, or by an exception, makes the ranks wait for each other
forever, or take one message for another. Inside `in_step` each message, and the end of the block,
is compared before it is sent: 16 bytes where all is well. What the ranks find, all of them raise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from .._errors import CollectiveMismatchError
from .attribution import caller, raised_at
from .communicator import Communicator
from .debug import Call, Checker, digest_of, mismatch, table
from .trace import trace
from .transport import Transport

R = TypeVar("R")

_END = "end of"


class OutOfStep(BaseException):
    """The ranks have gone different ways inside a block.

    Derived from BaseException: the handlers of the user's program must not catch it.

    Attributes
    ----------
    error : BaseException
        What this rank raises at the end of the block.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def in_step(
    comm: Communicator, name: str, function: Callable[[], R], facts: Callable[[R], str]
) -> R:
    """Call a function, on all ranks of a communicator; compare what it sends on that.

    Parameters
    ----------
    comm : Communicator
        The ranks.
    name : str
        What errors call the function.
    function : callable
        Takes no arguments.
    facts : callable
        Gets the result; returns what of it must be the same on all ranks that have such, or "".

    Returns
    -------
    object
        Its result. Sends 16 bytes before each message, and at the end.

    Raises
    ------
    OutOfStep
        On all ranks, if they make different calls, or one ends while others go on.
    """
    if comm.size == 1 or isinstance(comm._checker, _Comparison):  # the outer block compares
        return function()
    comparison = _Comparison(comm.transport, name)
    before, comm._checker = comm._checker, comparison
    try:
        with trace():  # so that messages are looked at
            return _to_its_end(function, facts, comparison, caller()[1])
    finally:
        comm._checker = before


def _to_its_end(
    function: Callable[[], R], facts: Callable[[R], str], comparison: _Comparison, line: str
) -> R:
    try:
        result = function()
    except (OutOfStep, KeyboardInterrupt):
        raise
    except BaseException as error:
        comparison.check(raised(error), error)
        raise
    comparison.check(Call("", f"{_END} {comparison.name}", line, facts(result)))
    return result


class _Comparison(Checker):
    """Compares the messages of a block, in place of debug mode's checker.

    The first failure is raised again at each later call, without a message: this rank's program may
    have swallowed it, and the others have left the block.
    """

    def __init__(self, transport: Transport, name: str) -> None:
        super().__init__(transport)
        self.name = name
        self._failure: OutOfStep | None = None

    def free(self) -> None:
        """Keep the transport, which is the communicator's own."""

    def check(self, call: Call, error: BaseException | None = None) -> None:
        """Raise on every rank if the calls do not match; `error` is what ends the block here."""
        if self._failure is not None:
            raise self._failure
        if self._differs(0 if error is not None else digest_of(call), call):
            self._explain(call, error)

    def _explain(self, call: Call, error: BaseException | None) -> None:
        everyone = self.transport.allgather_object((call, error is not None))
        calls = [theirs for theirs, _ in everyone]
        failed = [rank for rank, (_, ended) in enumerate(everyone) if ended]
        if error is not None:
            self._fail(error)
        if failed:
            self._fail(RuntimeError(on_some_ranks(self.name, calls, failed)))
        problem = _differing_ends(calls) if _are_ends(calls) else mismatch(calls)
        if problem:
            text = f"compile: {self.name}: {problem}:\n{table(calls)}"
            self._fail(CollectiveMismatchError(text))

    def _fail(self, error: BaseException) -> NoReturn:
        self._failure = OutOfStep(error)
        raise self._failure


def _are_ends(calls: Sequence[Call]) -> bool:
    return all(call.collective.startswith(_END) for call in calls)


def _differing_ends(calls: Sequence[Call]) -> str:
    """Return whether results differ; a rank may have none (one that prints, say)."""
    return "the results differ" if len({call.detail for call in calls} - {""}) > 1 else ""


def raised(error: BaseException) -> Call:
    """Return what stands for an error that has ended a rank's part."""
    text = f"raised {type(error).__name__}: {error}".partition("\n")[0]
    return Call("", text, raised_at(error))


def on_some_ranks(name: str, calls: Sequence[Call], failed: Sequence[int]) -> str:
    """Return the text of an error for ranks that go on while others have raised one."""
    numbers = ", ".join(map(str, failed))
    ranks = f"rank{'s' * (len(failed) > 1)} {numbers}"
    return f"compile: {name} raised an error on {ranks} and not on all:\n{table(calls)}"
