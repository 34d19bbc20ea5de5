"""Text that many docstrings share: what `split`, `comm`, `device` and `dtype` are, said once.

A line of a docstring that is nothing but ``{split}`` stands for the paragraph of that name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from textwrap import dedent, indent
from typing import Any, Final, TypeVar

__all__ = ["SHARED", "filled_in"]

F = TypeVar("F", bound=Callable[..., Any])

SHARED: Final = {
    name: dedent(text).strip()
    for name, text in {
        "dtype": """
            dtype : dtype, optional
                Of the result, such as ``xp.float32``; by default float64 (see `set_options`).
            """,
        "device": """
            device : Device or str, optional
                Where shards are stored: "cpu" (the default) or "cuda", each rank's own GPU.
            """,
        "split": """
            split : int or None, optional
                The axis along which the result is cut into shards, one for each rank, of equal
                lengths as far as possible. None: every rank holds a full copy. If it is not
                given, the option ``default_split`` counts (None; see `set_options`).
            """,
        "comm": """
            comm : Communicator or mpi4py communicator, optional
                The ranks that share the result; by default all ranks of the job, `world()`.
            """,
        "axis": """
            axis : int or tuple of int, optional
                The axes to reduce; by default all of them.
            """,
        "keepdims": """
            keepdims : bool, optional
                Keep the reduced axes, with length 1.
            """,
        "reduced": """
            Split as `x` if the split axis is kept: sends nothing. Otherwise replicated, by one
            allreduce of the result; if that would be more than one rank's share of `x`, one
            all-to-all splits `x` along its longest kept axis first, and the result is split.
            """,
        "raises": """
            Raises
            ------
            IndexError
                If an axis is out of range.
            """,
        "reduction": """
            Parameters
            ----------
            x : Array
                {x}
            {axis}
            {options}

            Returns
            -------
            Array
                {result}
                {reduced}

            {raises}
            """,
        "options": "{keepdims}",
    }.items()
}
"""Parameters by name, in numpydoc's form."""

_PLACE = re.compile(r"^( *)\{(\w+)\}$", re.MULTILINE)


def filled_in(**own: str) -> Callable[[F], F]:
    """Complete a function's docstring: each line ``{name}`` becomes the text of that name.

    Parameters
    ----------
    **own : str
        Texts of this function, besides those of `SHARED`; they may have such lines too.
    """
    texts = SHARED | own

    def filled(text: str) -> str:
        return _PLACE.sub(lambda place: indent(filled(texts[place[2]]), place[1]), text)

    def complete(function: F) -> F:
        if function.__doc__ is not None:  # None under python -OO
            function.__doc__ = filled(function.__doc__)
        return function

    return complete
