"""`compile`: a function of arrays as one fused program per rank, with its messages in place.

README.md in this folder describes the design and the other modules.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any

from .._core.arguments import as_choice, as_flag

__all__ = ["compile"]

BACKENDS = ("inductor", "aot_eager", "eager")

_RUN_LATER = (isgeneratorfunction, iscoroutinefunction, isasyncgenfunction)


def compile(
    f: Callable[..., Any] | None = None,
    /,
    *,
    fullgraph: bool = False,
    backend: str = "inductor",
    show_progress: bool | None = None,
) -> Any:
    """Return a function that does what `f` does, as one fused program on each rank.

    Derivatives can be taken inside `f` and of the result. The page "Compiled functions" of the
    documentation describes what is compiled, and when.

    Parameters
    ----------
    f : callable, optional
        Takes and returns arrays, nested tuples, lists and dicts of arrays, and other values.
        Without it, `compile` returns a decorator.
    fullgraph : bool
        If True, raise an error where `f` cannot be compiled as a whole. If False, such a function
        runs as subgraphs between the lines that need values (masks, ``if x > 0``, sorting) if its
        arrays take 8 MB or more on each rank, and eagerly if they take less.
    backend : {"inductor", "aot_eager", "eager"}
        The compiler of the captured graph: "inductor" makes machine code; "eager" only combines
        messages, and "aot_eager" also decomposes operations, to find errors.
    show_progress : bool, optional
        Whether rank 0 reports on its standard error what is being compiled. By default it does on
        a terminal, unless the environment variable ``HEAT_ARRAY_API_PROGRESS`` is 0.

    Returns
    -------
    callable
        The compiled function. Its results have the shapes, dtypes and splits of those of `f`. Its
        attributes ``captures``, ``compilations`` and ``breaks`` count what it did.
        The first call with new layouts, dtypes or other values captures and compiles, so all ranks
        must call it in the same order. It sends the messages of `f`, small independent sums as
        one, and where it runs as subgraphs 24 bytes more for each subgraph.

    Raises
    ------
    TypeError
        If `f` is not callable, or a generator or coroutine function, whose body runs later.
    ValueError
        If the backend is unknown.

    Examples
    --------
    >>> @xp.compile
    ... def standardise(x):
    ...     return (x - xp.mean(x)) / xp.std(x)
    >>> print(standardise(xp.asarray([1.0, 3.0, 1.0, 3.0], split=0)))
    [-1.  1. -1.  1.]
    """
    if f is None:
        return partial(compile, fullgraph=fullgraph, backend=backend, show_progress=show_progress)
    if not callable(f):
        raise TypeError(f"compile: f is {type(f).__name__}; expected a function")
    if any(is_one(g) for is_one in _RUN_LATER for g in (f, type(f).__call__)):
        raise TypeError(
            "compile: f is a generator or coroutine function, which runs after the call; compile "
            "the functions that it calls"
        )
    as_choice("compile", "backend", backend, BACKENDS)
    fullgraph = as_flag("compile", "fullgraph", fullgraph)
    if show_progress is not None:
        show_progress = as_flag("compile", "show_progress", show_progress)
    from .compiled import Compiled  # loads torch's compiler

    return Compiled(f, fullgraph, backend, show_progress)
