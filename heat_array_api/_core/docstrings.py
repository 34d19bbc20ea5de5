"""Text that many docstrings share, written once.

`filled_in` replaces each line ``{split}`` of a docstring by the paragraph of that name.
`template` and `documented` complete docstrings that consist of a summary: those of functions with
like parameters and results, and those of elementwise functions.

All return the function itself, so they cost nothing per call. Under ``python -OO`` there are no
docstrings, and they do nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import cleandoc, signature
from textwrap import dedent, indent
from typing import Any, Final, TypeVar

from .dtypes import ANY, FLOATING, REAL_FLOATING, Kind

F = TypeVar("F", bound=Callable[..., Any])


def described(parameters: str) -> dict[str, str]:
    """Return the descriptions of parameters by name, from a text in numpydoc's form."""
    texts = re.split(r"^(?=\*{0,2}\w+ : )", dedent(parameters).strip(), flags=re.MULTILINE)
    return {text.partition(" : ")[0].lstrip("*"): text.rstrip() for text in texts if text}


SHARED: Final = described("""
    dtype : dtype, optional
        Of the result, such as ``xp.float32``; by default float64 (see `set_options`).
    device : Device or str, optional
        Where shards are stored: "cpu" (the default) or "cuda", each rank's own GPU.
    split : int or None, optional
        The axis along which the result is cut into shards, one for each rank, of equal
        lengths as far as possible. None: every rank holds a full copy. If it is not
        given, the option ``default_split`` counts (None; see `set_options`).
    comm : Communicator or mpi4py communicator, optional
        The ranks that share the result; by default all ranks of the job, `world()`.
    axis : int or tuple of int, optional
        The axes to reduce; by default all of them.
    keepdims : bool, optional
        Keep the reduced axes, with length 1.
    """) | {
    name: dedent(text).strip()
    for name, text in {
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
    texts = SHARED | {name: dedent(text).strip() for name, text in own.items()}

    def filled(text: str) -> str:
        return _PLACE.sub(lambda place: indent(filled(texts[place[2]]), place[1]), text)

    def complete(function: F) -> F:
        if function.__doc__ is not None:  # None under python -OO
            function.__doc__ = filled(function.__doc__)
        return function

    return complete


def template(parameters: str, ending: str) -> Callable[..., Callable[[F], F]]:
    """Return a decorator that completes docstrings of functions with like parameters and results.

    It takes the lines of the example, and appends the description of each parameter, the ending
    and the example.

    Parameters
    ----------
    parameters : str
        Descriptions in numpydoc's form, besides those of `SHARED`.
    ending : str
        The sections "Returns" and "Raises".
    """
    texts = SHARED | described(parameters)

    def completed(*example: str) -> Callable[[F], F]:
        def complete(function: F) -> F:
            if function.__doc__ is not None:
                names = [name for name in signature(function).parameters if name != "self"]
                sections = [
                    cleandoc(function.__doc__),
                    "\n".join(["Parameters\n----------", *(texts[name] for name in names)]),
                    dedent(ending).strip(),
                    "\n".join(["Examples\n--------", *example]) if example else "",
                ]
                function.__doc__ = "\n\n".join(sections).rstrip() + "\n"
            return function

        return complete

    return completed


# ---------------------------------------------------------------------- elementwise functions

_UNARY: Final = """
Parameters
----------
{names} : Array
    Of any shape and layout, with {kind}.{converted}

Returns
-------
Array
    {dtype}. Sends nothing.

Raises
------
TypeError
    If `{names}` is not an array{refused}.
"""

_BINARY: Final = """
Parameters
----------
{names} : Array or Python scalar
    At least one array, of any layout, with {kind}.{converted}
    Shapes are broadcast. A NumPy array counts as replicated.

Returns
-------
Array
    {dtype} and the broadcast shape.
    Sends nothing if all split operands have one layout: it is the result's. Otherwise the
    operand with fewer bytes is sent to the layout of the other by one all-to-all, or
    gathered if it is broadcast along the split axis. Shifted slices such as ``x[:-1]``
    and ``x[1:]`` exchange only the rows by which they are shifted.

Raises
------
TypeError
    If neither operand is an array{refused}.
ValueError
    If the shapes do not broadcast together.{overflow}
CommunicatorMismatchError
    If the arrays live on different communicators.
"""

_OVERFLOW: Final = """
OverflowError
    If a Python integer does not fit the dtype of the array."""

_KINDS: Final = {"any": "any dtype", "real": "a real or boolean dtype"}

_CONVERTED: Final = "\n    Integers and booleans are converted to the default real dtype first."

_REFUSED: Final = (", or one has another dtype", " or has another dtype")

_UNARY_DTYPES: Final = {
    "": "Of the dtype, shape and layout of `x`",
    "bool": "Of dtype bool, with the shape and layout of `x`",
    "component": "Real (complex64 becomes float32), with the shape and layout of `x`",
}

_BINARY_DTYPES: Final = {"": "Of the promoted dtype", "bool": "Of dtype bool"}


def documented(kind: Kind, *operands: str, gives: str, dtype: str = "") -> Callable[[F], F]:
    """Complete the docstring of an elementwise function, which has a summary only.

    Parameters
    ----------
    kind : Kind
        The dtypes that the function takes.
    *operands : str
        Those of the example, as text; lists become arrays.
    gives : str
        What the example prints.
    dtype : {"bool", "component"}, optional
        The result's dtype, if it is not that of the operands.
    """

    def complete(function: F) -> F:
        if function.__doc__ is not None:
            names = list(signature(function).parameters)
            parts = (
                cleandoc(function.__doc__),
                _sections(function, names, kind, dtype),
                _example(function, dict(zip(names, operands, strict=True)), gives),
            )
            function.__doc__ = "\n".join(parts)
        return function

    return complete


def _is_special(function: Callable[..., Any]) -> bool:
    return function.__module__.endswith(".special")


def _sections(function: Callable[..., Any], names: list[str], kind: Kind, dtype: str) -> str:
    """Return the sections about parameters, result and errors."""
    name, unary = kind.name, len(names) == 1
    compares = dtype == "bool" and not function.__name__.startswith("logical")
    accepted = _KINDS.get(name, f"{'an' if name[0] in 'aeiou' else 'a'} {name} dtype")
    return (_UNARY if unary else _BINARY).format(
        names=", ".join(names),
        kind=accepted,
        converted=_CONVERTED * (kind in (FLOATING, REAL_FLOATING)),
        dtype=(_UNARY_DTYPES if unary else _BINARY_DTYPES)[dtype],
        refused="" if kind in (ANY, FLOATING) else _REFUSED[unary],
        overflow="" if compares else _OVERFLOW,
    )


def _example(function: Callable[..., Any], operands: dict[str, str], gives: str) -> str:
    """Return the sections about the source and an example."""
    name = function.__name__
    if _is_special(function):
        call, source = f"xp.special.{name}", f"As `scipy.special.{name}`."
    else:
        call, source = f"xp.{name}", f"The standard's `{name}`, special cases included."
    lines = [
        f">>> {key} = xp.asarray({value}, split=0)"
        for key, value in operands.items()
        if value.startswith("[")
    ]
    values = (key if value.startswith("[") else value for key, value in operands.items())
    lines += [f">>> print({call}({', '.join(values)}))", gives]
    return "\n".join(["Notes\n-----", source, "\nExamples\n--------", *lines, ""])
