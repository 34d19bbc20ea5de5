"""`compile`: a function of arrays as one fused program per rank, with its messages in place.

See `_capture` (what the function does, recorded from one call), `_schedule` (which messages
travel together), `_inductor` (machine code), `_program` (how ranks do all this in step),
`_compiled` (which calls share a program), `_breaking` and `_segments` (functions in pieces).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["compile"]


BACKENDS = ("inductor", "aot_eager", "eager")


def compile(
    f: Callable[..., Any] | None = None,
    /,
    *,
    fullgraph: bool = False,
    backend: str = "inductor",
    show_progress: bool | None = None,
) -> Any:
    """Return a function that does what `f` does, as one fused program on each rank.

    Parameters
    ----------
    f : callable, optional
        Of arrays, nested tuples, lists and dicts of them, and other values; returns such. Without
        it, a decorator.
    fullgraph : bool
        Raise an error where `f` cannot be compiled as a whole. Else it runs in pieces, compiled
        between the lines that need values (masks, ``if x > 0``, sorting), if its arrays have
        8 MB or more on each rank, and eagerly if they have less.
    backend : {"inductor", "aot_eager", "eager"}
        What compiles the captured graph: "inductor" to machine code; "eager" not at all: messages
        are combined, and nothing else is changed.
    show_progress : bool, optional
        Whether rank 0 tells on its standard error what is being compiled; by default if that
        is a terminal, and the environment's ``HEAT_ARRAY_API_PROGRESS`` is not 0.

    Returns
    -------
    Compiled
        The function. Its first call with new layouts, dtypes or other values captures and
        compiles (collectively: all ranks call it in the same order); later ones run. Its
        ``captures``, ``compilations`` and ``breaks`` tell how often it did what.

    Notes
    -----
    Messages: those of `f`, small independent sums in one; where it runs in pieces one of 24 bytes
    for each piece. Derivatives can be taken inside `f`, and
    of the result. See the page "Compiled functions" of the documentation.

    Examples
    --------
    >>> @xp.compile
    ... def standardise(x):
    ...     return (x - xp.mean(x, axis=0)) / xp.std(x, axis=0)
    """
    if f is None:
        return partial(compile, fullgraph=fullgraph, backend=backend, show_progress=show_progress)
    if not callable(f):
        raise TypeError(f"compile: f is {type(f).__name__}; expected a function")
    if backend not in BACKENDS:
        expected = ", ".join(map(repr, BACKENDS))
        raise ValueError(f"compile: backend is {backend!r}; expected one of {expected}")
    # Torch's compiler is loaded by those who use it.
    from .compiled import Compiled

    return Compiled(f, fullgraph, backend, show_progress)
