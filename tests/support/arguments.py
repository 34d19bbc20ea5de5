"""Calls of the whole namespace with one wrong argument each, and what a good error is."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from traceback import extract_tb
from typing import Any, NamedTuple

import numpy as np

import heat_array_api as xp
from docstrings import public_names

ERRORS = (TypeError, ValueError, IndexError, OverflowError, MemoryError)
# What a file that is not there, or lacks a name, raises.
ERRORS_OF_FILES = (OSError, KeyError)

# Estimators follow scikit-learn's rules of arguments.
ELSEWHERE = ("ml.",)
# What a file decides is found out by all ranks together, once readers have opened it.
READERS = ("io.load", "io.open_dataset")
OF_THE_FILE = {
    "dataset", "variable", "array", "name", "group", "split", "selection", "dtype", "columns",
    "delimiter",
}  # fmt: skip
# Plain values that the library makes, and functions of no arguments that could be wrong.
MADE_BY_THE_LIBRARY = {
    "Array",
    "Communicator",
    "Layout",
    "autograd.CustomVjp",
    "autograd.ScipyProblem",
    "io.FileInfo",
    "io.VariableInfo",
    "random.Generator",
    "UniqueAllResult",
    "UniqueCountsResult",
    "UniqueInverseResult",
}


def _square() -> xp.Array:
    """Return a positive definite matrix of 4 x 4, split along its rows."""
    values = np.random.default_rng(0).standard_normal((4, 4))
    return xp.asarray(values @ values.T + 4 * np.eye(4), split=0)


def _vector() -> xp.Array:
    return xp.asarray([3.0, 1.0, 2.0, 4.0], split=0)


def _whole() -> xp.Array:
    return xp.asarray([[3, 1, 2, 0]] * 4, dtype="int64", split=0)


def _square_sum(*xs: Any) -> Any:
    return xp.sum(xs[0] * xs[0])


class Wrong(NamedTuple):
    """A value that fits hardly any parameter."""

    label: str
    make: Callable[[], Any]


# Arrays whose values decide whether they are right, and must be read.
VALUES = ("an array of integers out of range", "a split array")


WRONG = [
    Wrong("None", lambda: None),
    Wrong("a text", lambda: "yes"),
    Wrong("a number as text", lambda: "3"),
    Wrong("bytes", lambda: b"3"),
    Wrong("1.5", lambda: 1.5),
    Wrong("nan", lambda: float("nan")),
    Wrong("inf", lambda: float("inf")),
    Wrong("1e30", lambda: 1e30),
    Wrong("2+1j", lambda: 2 + 1j),
    Wrong("-7", lambda: -7),
    Wrong("10**18", lambda: 10**18),
    Wrong("2**70", lambda: 2**70),
    Wrong("an object", object),
    Wrong("a class", lambda: int),
    Wrong("a function", lambda: len),
    Wrong("a dict", lambda: {"a": 1}),
    Wrong("a set", lambda: {1, 2}),
    Wrong("an empty list", list),
    Wrong("a ragged list", lambda: [[1.0], [2.0, 3.0]]),
    Wrong("a mixed tuple", lambda: (1, "a")),
    Wrong("a tuple of three", lambda: (0, 1, 1)),
    Wrong("a tuple of floats", lambda: (0.5, 1.5)),
    Wrong("a generator", lambda: (i for i in range(2))),
    Wrong("an array of texts", lambda: np.asarray(["a", "b"])),
    Wrong("an array of objects", lambda: np.asarray([None, 1], dtype=object)),
    Wrong("a date", lambda: np.datetime64("2026-01-01")),
    Wrong("a split array", lambda: xp.asarray([0.0, 1.0, 2.0], split=0)),
    Wrong(VALUES[0], lambda: xp.asarray([99, -99, 2], split=0)),
    Wrong("an array of size 0", lambda: xp.zeros((0,), split=0)),
    Wrong("an array of no axes", lambda: xp.asarray(1.5)),
    Wrong("a stack of matrices", lambda: xp.ones((2, 3, 5), split=0)),
    Wrong("an array of booleans", lambda: xp.asarray([True, False], split=0)),
    Wrong("an array of complex numbers", lambda: xp.ones((4, 4), dtype="complex64", split=1)),
    Wrong("an array on other ranks", lambda: xp.ones((4, 4), comm=xp.world().split(0))),
]

# What a parameter of a name takes, where functions agree on it.
BY_NAME: dict[str, Callable[[], Any]] = {
    "x": _square,
    "x1": _square,
    "x2": _square,
    "f": _square,
    "obj": lambda: [[1.0, 2.0], [3.0, 4.0]],
    "shape": lambda: (4, 4),
    "shift": lambda: 1,
    "repeats": lambda: 2,
    "repetitions": lambda: (2,),
    "pad_width": lambda: 1,
    "source": lambda: 0,
    "destination": lambda: 1,
    "indices": _whole,
    "fill_value": lambda: 1.0,
    "layout": lambda: xp.zeros((4, 4), split=1).layout,
    "n": lambda: 2,
    "q": lambda: 0.5,
    "num": lambda: 4,
    "start": lambda: 0,
    "stop": lambda: 4,
    "n_rows": lambda: 4,
    "axes": lambda: (0, 1),
    "window_shape": lambda: (2, 2),
    "subscripts": lambda: "ij,jk->ik",
    "operands": lambda: (_square(), _square()),
    "arrays": lambda: (_square(), _square()),
    "shapes": lambda: ((4, 1), (1, 4)),
    "arrays_and_dtypes": lambda: (_square(), "float32"),
    "condition": lambda: _square() > 0,
    "min": lambda: 0.0,
    "max": lambda: 1.0,
    "dtype": lambda: "float64",
    "kind": lambda: "real floating",
    "type": lambda: "float32",
    "from_": lambda: "float32",
    "to": lambda: "float64",
    "local": lambda: np.ones((2, 2)),
    "a": _square,
    "y": _square,
    "d": lambda: 2,
    "function": lambda: _square_sum,
    "primals": lambda: (_square(),),
    "tangents": lambda: (_square(),),
    "args": lambda: (_square(),),
    "loss": lambda: _square_sum,
    "parameters": _vector,
    "seed": lambda: 5,
    "axis": lambda: 0,
}
# Where a function takes something else by the same name.
OF_FUNCTION: dict[str, dict[str, Callable[[], Any]]] = {
    "compile": {"f": lambda: _square_sum},
    "dry_run": {"f": lambda: _square_sum, "arguments": lambda: (_square(),), "ranks": lambda: 3},
    "squeeze": {"x": lambda: xp.ones((1, 4), split=1)},
    "take": {"indices": lambda: xp.asarray([1, 0]), "axis": lambda: 0},
    "einsum": {},
    "iinfo": {"type": lambda: "int32"},
    "Device": {"kind": lambda: "cpu"},
    "repeat": {"axis": lambda: 0},
    "cumulative_sum": {"axis": lambda: 0},
    "cumulative_prod": {"axis": lambda: 0},
    "concat": {"arrays": lambda: [_square(), _square()]},
    "stack": {"arrays": lambda: [_square(), _square()]},
    "meshgrid": {"arrays": lambda: (_vector(), _vector())},
    "searchsorted": {"x1": lambda: xp.asarray([1.0, 2.0, 3.0, 4.0], split=0)},
    "bincount": {"x": lambda: xp.asarray([1, 0, 2], split=0)},
    "from_dlpack": {"x": lambda: np.ones((2, 2))},
    "tensordot": {"axes": lambda: 1},
    "special.multigammaln": {"x": lambda: _square() + 5.0},
    "linalg.cross": {"x1": lambda: xp.ones((3, 3), split=0), "x2": lambda: xp.eye(3, split=0)},
    "linalg.outer": {"x1": _vector, "x2": _vector},
    "fft.fftn": {"s": lambda: (4, 4)},
    "gradient": {"varargs": lambda: ()},
    "autograd.module_apply": {},
}
OF_FUNCTION |= {
    f"bitwise_{name}": {"x": _whole, "x1": _whole, "x2": _whole}
    for name in ("and", "or", "xor", "invert", "left_shift", "right_shift")
}
OF_FUNCTION |= {f"autograd.{name}": {"f": lambda: _square_sum} for name in ("vjp", "jvp", "hvp")}
OF_FUNCTION |= {
    f"autograd.{name}": {"f": lambda: _square_sum}
    for name in ("grad", "hessian", "jacobian", "value_and_grad", "check_grads")
}
# Files lie in the working folder, which the test makes.
FILES = {
    "load": {"path": "a.h5"},
    "load_hdf5": {"path": "a.h5", "dataset": "data"},
    "load_netcdf": {"path": "a.nc", "variable": "data"},
    "load_zarr": {"path": "a.zarr"},
    "load_npy": {"path": "a.npy"},
    "load_csv": {"path": "a.csv"},
    "load_checkpoint": {"directory": "checkpoint"},
    "info": {"path": "a.nc"},
    "open_dataset": {"path": "a.nc"},
    "save": {"path": "saved.h5"},
    "save_hdf5": {"path": "saved.h5"},
    "save_netcdf": {"path": "saved.nc"},
    "save_zarr": {"path": "saved.zarr"},
    "save_npy": {"path": "saved.npy"},
    "save_csv": {"path": "saved.csv"},
    "save_checkpoint": {"directory": "saved", "tree": [1]},
}
OF_FUNCTION |= {
    f"io.{name}": {key: lambda value=value: value for key, value in given.items()}
    for name, given in FILES.items()
}
OF_FUNCTION["imag"] = {"x": lambda: _square() + 1j}


class Call(NamedTuple):
    """A function, and arguments that it takes."""

    name: str
    function: Callable[..., Any]
    parameters: tuple[inspect.Parameter, ...]

    def arguments(self, wrong: str = "", value: Any = None) -> tuple[list[Any], dict[str, Any]]:
        """Return valid arguments by position and by name, but for the one that is wrong."""
        positional: list[Any] = []
        named: dict[str, Any] = {}
        own = OF_FUNCTION.get(self.name, {})
        for p in self.parameters:
            if p.name == wrong:
                given = (value,) if p.kind is p.VAR_POSITIONAL else value
            elif p.default is p.empty and p.kind is not p.VAR_KEYWORD:
                given = own.get(p.name, BY_NAME.get(p.name, lambda: ()))()
            elif p.name in own:
                given = own[p.name]()
            else:
                # What comes later by position needs what comes before it.
                if p.kind is p.POSITIONAL_ONLY and wrong in [q.name for q in self.parameters]:
                    positional.append(p.default)
                continue
            optional = p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty
            if p.kind is p.VAR_POSITIONAL:
                positional.extend(given)
            elif p.kind is p.KEYWORD_ONLY or optional:
                named[p.name] = given
            elif p.kind is p.VAR_KEYWORD:
                named["unknown"] = given
            else:
                positional.append(given)
        return positional, named


def calls() -> Iterator[Call]:
    """Yield every public function outside files and estimators."""
    for name, value in public_names():
        if name.startswith(ELSEWHERE) or name in MADE_BY_THE_LIBRARY or name.endswith("Error"):
            continue
        if name.endswith("Warning"):
            continue
        parameters = inspect.signature(value).parameters
        if parameters:
            yield Call(name, value, tuple(parameters.values()))


# What ranks may see differently is agreed by a message, wrong or right.
AGREEING = {"from_local"}
# What calls a given function, and so passes on the errors of this one.
FUNCTIONS = {"f", "function", "loss", "io.load_checkpoint.split"}
CALLABLE = {"a class", "a function"}

INTEGERS = {"-7", "10**18", "2**70"}
# Parameters of these names take True or False alone, and integers alone.
FLAGS = {
    "keepdims", "copy", "endpoint", "stable", "descending", "include_initial", "assume_unique",
    "invert", "has_aux", "upper", "full_matrices", "writeable", "fullgraph", "show_progress", "raw",
    "allow_external", "progress",
}  # fmt: skip
WHOLE = {
    "edgeitems", "threshold", "precision", "k", "n_rows", "n_cols", "num", "minlength", "offset",
    "order", "gzip", "skip_lines",
}  # fmt: skip


class Outcome(NamedTuple):
    """What a call did: its result's type, or its error, and how many messages it sent."""

    error: BaseException | None
    result: Any
    messages: int


def outcome(function: Callable[..., Any], positional: list[Any], named: dict[str, Any]) -> Outcome:
    """Call a function; warnings are errors."""
    with warnings.catch_warnings(), xp.trace() as t:
        warnings.simplefilter("error")
        try:
            result = function(*positional, **named)
        except Exception as error:
            return Outcome(error, None, len(t.events))
    return Outcome(None, result, len(t.events))


def fault(name: str, o: Outcome, late: bool = False) -> str | None:
    """Say what is wrong with an error, or None; `late` allows messages before it."""
    if o.error is None:
        return None
    if _square_sum.__name__ in {frame.name for frame in extract_tb(o.error.__traceback__)}:
        return None  # the function's own error
    kind, text = type(o.error).__name__, str(o.error)
    kinds = (*ERRORS, *ERRORS_OF_FILES) if name.startswith("io.") else ERRORS
    if not isinstance(o.error, kinds):
        return f"{kind} {text[:100]!r}"
    if name.rpartition(".")[2] not in text.split(":")[0]:
        return f"names no function: {kind} {text[:100]!r}"
    late = late or isinstance(o.error, (np.linalg.LinAlgError, *ERRORS_OF_FILES))
    if o.messages and not late and name not in AGREEING:
        return f"after {o.messages} messages: {kind} {text[:100]!r}"
    return None


def reads_values(name: str, parameter: str, label: str) -> bool:
    """Return whether it takes messages to find out that a value is wrong."""
    return label in VALUES or (name.startswith(READERS) and parameter in OF_THE_FILE)


def calls_it(name: str, parameter: str, label: str) -> bool:
    """Return whether a value is a function that will be called, and may raise what it likes."""
    return label in CALLABLE and not FUNCTIONS.isdisjoint({parameter, f"{name}.{parameter}"})


def too_lenient(parameter: str, label: str) -> bool:
    """Return whether a flag or an integer took a value of another kind."""
    if parameter in FLAGS:
        return label != "None"
    return parameter in WHOLE and label not in INTEGERS | {"None"}
