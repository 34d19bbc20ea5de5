"""Programs of one line at a time, run on our arrays and on NumPy's, compared after every line.

A line is Python: the same text for both, `xp` being the library or what stands for it (`NumPy`).
So a program that fails is printed as it is, after it has been made as short as it can be.

Run as a file (``mpirun -n 3 python tests/support/programs.py program.txt``) it runs such a text.
"""

from __future__ import annotations

import ast
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import array_api_compat.torch as torch_namespace
import numpy as np
import torch

import heat_array_api as xp
from _harness import checksum, ranks
from files import shared_folder
from heat_array_api._core.layout import Layout
from layouts import difference, make, rows_of, shard_of

LARGEST = 400
"""Elements of an array: more show no more, and 7 ranks share few cores."""
HIGHEST = {"float16": 100.0, "float32": 1e4, "complex64": 1e4}
TOLERANCE = {"float16": 2e-2, "float32": 3e-4, "complex64": 3e-4}
"""Of a single operation whose operands are bit for bit equal, relative to the greatest value."""

REFUSALS = (TypeError, ValueError, IndexError, OverflowError, np.linalg.LinAlgError)


class Line(NamedTuple):
    """A statement, and what it does.

    Attributes
    ----------
    text : str
        Python.
    kind : str
        "new" (makes an array with values of its own), "view" (makes one, a view where NumPy makes
        one), "write", "look" (compares) or "drop".
    exact : bool
        Whether the values must be equal bit by bit.
    """

    text: str
    kind: str
    exact: bool = False

    @property
    def name(self) -> str:
        """Return the name of the array that the line makes, writes to, looks at or drops."""
        found = re.search(r"\bv\d+", self.text)
        assert found is not None
        return found[0]


class Untame(Exception):
    """NumPy's values are not finite, too large, or too many, so the line is left out."""


# ---------------------------------------------------------------- the words of programs


def numbers(seed: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return values with ties, that floats of all sizes hold exactly."""
    random = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return random.random(shape) < 0.5
    values = random.integers(0 if dtype.kind == "u" else -9, 12, shape)
    if dtype.kind in "iu":
        return values.astype(dtype)
    imaginary = 1j * random.integers(-3, 4, shape) if dtype.kind == "c" else 0
    return (values / 4 + imaginary).astype(dtype)


def _array(values: Any, split: int | None = None, counts: Sequence[int] | None = None) -> Any:
    return make(values, _layout(np.shape(values), split, counts))


def _layout(shape: tuple[int, ...], split: int | None, counts: Sequence[int] | None) -> Layout:
    if split is None:
        return Layout.replicated(shape, xp.world())
    assert counts is not None
    return Layout.of(shape, split, tuple(counts), xp.world())


def _laid_out(x: Any, split: int | None = None, counts: Sequence[int] | None = None) -> Any:
    return xp.redistribute(x, _layout(x.shape, split, counts))


def _saved(x: Any, name: str, split: int | None) -> Any:
    with shared_folder(xp.world()) as folder:
        if name == "checkpoint":
            xp.io.save_checkpoint(folder / name, {"x": x})
            return xp.io.load_checkpoint(folder / name)["x"]
        xp.io.save(x, folder / name)
        return xp.io.load(folder / name, split=split)


def _grad(f: Callable[..., Any], x: Any, *others: Any) -> Any:
    return xp.autograd.grad(lambda x: f(xp, x, *others))(x)


def _compiled(f: Callable[..., Any], *arrays: Any) -> Any:
    function = xp.compile(partial(f, xp), backend="eager", show_progress=False)
    function(*arrays)
    return function(*arrays)  # the captured graph


OURS = {
    "xp": xp,
    "np": np,
    "numbers": numbers,
    "array": _array,
    "laid_out": _laid_out,
    "saved": _saved,
    "grad": _grad,
    "compiled": _compiled,
}


def _copy(x: Any, *_: Any) -> Any:
    return np.array(x)


def _grad_by_torch(f: Callable[..., Any], x: np.ndarray, *others: np.ndarray) -> np.ndarray:
    t = torch.tensor(x.copy(), requires_grad=True)
    loss = f(torch_namespace, t, *(torch.tensor(other.copy()) for other in others))
    return torch.autograd.grad(loss, t)[0].numpy()


def _sort(x: np.ndarray, *, axis: int, descending: bool = False) -> np.ndarray:
    x = np.sort(x, axis=axis)
    return np.flip(x, axis=axis) if descending else x


def _argsort(x: np.ndarray, *, axis: int, descending: bool = False) -> np.ndarray:
    if not descending:
        return np.argsort(x, axis=axis, stable=True)
    places = np.argsort(np.flip(x, axis=axis), axis=axis, stable=True)
    return np.flip(x.shape[axis] - 1 - places, axis=axis)


class NumPy:
    """NumPy with the names of ours that it lacks."""

    resplit = redistribute = rebalance = staticmethod(_copy)
    sort, argsort = staticmethod(_sort), staticmethod(_argsort)
    unique_values = staticmethod(np.unique)  # NumPy's own is not sorted

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


NUMPY = NumPy()
THEIRS = {
    "xp": NUMPY,
    "np": np,
    "numbers": numbers,
    "array": _copy,
    "laid_out": _copy,
    "saved": _copy,
    "grad": _grad_by_torch,
    "compiled": lambda f, *arrays: f(NUMPY, *arrays),
}


# ---------------------------------------------------------------- running


class Program:
    """A program that grows by a line at a time. All ranks take the same lines.

    Attributes
    ----------
    lines : list of Line
        Those that were taken.
    model : dict
        NumPy's arrays by name.
    """

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.arrays: dict[str, Any] = {}
        self.model: dict[str, np.ndarray] = {}
        ranks().state = self  # shown where a line hangs

    def __format__(self, spec: str) -> str:
        return f"is running the last of these lines:\n{self}"

    def __str__(self) -> str:
        return "\n".join(line.text for line in self.lines)

    def take(self, line: Line) -> bool:
        """Run a line and compare; return whether it was run. Raises on all ranks alike."""
        __tracebackhide__ = True
        try:
            refused = self._in_numpy(line)
        except Untame:
            return False
        self.lines.append(line)
        ranks().state = self
        problem, seen = self._in_ours(line, refused)
        self._agree(line, problem, seen)
        if refused is None and not line.exact and line.kind in ("new", "write"):
            self._keep_bits(line.name)
        return True

    def _in_numpy(self, line: Line) -> Exception | None:
        """Run a line on NumPy's arrays, unless its values would be wild; return its error."""
        name, copies = line.name, self.model
        if line.kind == "write":
            copies = {name: a.copy() for name, a in self.model.items()}
        elif line.kind in ("new", "view"):
            copies = dict(self.model)
        try:
            with np.errstate(all="raise", under="ignore"), warnings.catch_warnings():
                warnings.simplefilter("error")  # of empty slices
                exec(line.text, dict(THEIRS), copies)
                check_tame(copies.get(name))
                if line.kind == "write":
                    exec(line.text, dict(THEIRS), self.model)
        except REFUSALS as error:
            if "negative integer powers" in str(error):  # depends on values: not refused
                raise Untame from error
            return error
        except (
            FloatingPointError,
            RuntimeWarning,
            NameError,
        ) as error:
            raise Untame from error
        if line.kind in ("new", "view"):
            a = copies[name]
            is_view = line.kind == "view" and isinstance(a, np.ndarray)
            self.model[name] = a if is_view else np.array(a, order="C")
        return None

    def _in_ours(self, line: Line, refused: Exception | None) -> tuple[str | None, str]:
        """Run a line on our arrays; return what is wrong, and what all ranks must see alike."""
        try:
            exec(line.text, dict(OURS), self.arrays)
        except Exception as error:
            if refused is not None and isinstance(error, REFUSALS):
                return None, repr(error)
            return f"raises\n{traceback.format_exc()}", repr(error)
        if refused is not None:
            return f"goes through, but NumPy raises {refused!r}", ""
        if line.kind == "drop":
            return None, ""
        x, a = self.arrays[line.name], self.model[line.name]
        if not isinstance(x, xp.Array):
            return f"makes {x!r}, not an Array", ""
        if line.kind == "view" or (line.kind == "write" and line.exact):  # may be stale: not yet
            return _metadata(x, a), ""
        return found_in(x, a, exact=line.exact or line.kind == "look")

    def _agree(self, line: Line, problem: str | None, seen: str) -> None:
        """Raise on all ranks if one has a problem, or they see different things."""
        __tracebackhide__ = True
        codes = ranks().exchange("a line", (problem is not None) | checksum(seen) << 1)
        ranks().state = self
        wrong = [rank for rank, code in enumerate(codes) if code & 1]
        if problem is None and wrong:
            problem = f"is wrong on ranks {wrong}"
        if problem is None and len(set(codes)) > 1:
            problem = f"differs from rank to rank: {seen if len(seen) < 2000 else 'the copies'}"
        if problem is not None:
            raise Failed(f"{line.text}\n{problem}", self)

    def _keep_bits(self, name: str) -> None:
        """Take the bits of our results for NumPy's, so that roundings do not add up."""
        self.model[name][...] = np.asarray(self.arrays[name])


class Failed(AssertionError):
    """A line went wrong."""

    def __init__(self, problem: str, program: Program) -> None:
        super().__init__(problem)
        self.lines = list(program.lines)


def check_tame(a: Any) -> None:
    """Raise `Untame` where values are not finite, too large, or too many."""
    if a is None:
        return
    a = np.asarray(a)
    if a.size > LARGEST or a.ndim > 5:
        raise Untame
    if a.dtype.kind in "fc" and a.size:
        highest = np.abs(a).max()
        if not highest <= HIGHEST.get(a.dtype.name, 1e6):
            raise Untame


def found_in(x: Any, a: np.ndarray, *, exact: bool) -> tuple[str | None, str]:
    """Compare this rank's shard; return what is wrong, and what all ranks must see alike."""
    problem, layout = _metadata(x, a), x.layout
    seen = repr((layout.shape, layout.split, layout.counts, str(x.dtype)))
    if problem is None and tuple(x.local.shape) != layout.local_shape:
        problem = f"shard {tuple(x.local.shape)}, but the layout is {layout}"
    if problem is None:
        atol, rtol = _tolerances(a, exact)
        problem = difference(shard_of(x), a[rows_of(layout)], rtol, atol)
    if layout.split is None:
        seen += shard_of(x).tobytes().decode("latin-1")
    return problem, seen


def _metadata(x: Any, a: np.ndarray) -> str | None:
    if x.shape == a.shape and x.dtype == a.dtype:
        return None
    return f"is {x.shape} {x.dtype}, NumPy's is {a.shape} {a.dtype}"


def _tolerances(a: np.ndarray, exact: bool) -> tuple[float, float]:
    if exact or a.dtype.kind in "biu":
        return 0.0, 0.0
    tolerance = TOLERANCE.get(a.dtype.name, 1e-10)
    return tolerance * (1 + float(np.abs(a).max(initial=0))), tolerance


# ---------------------------------------------------------------- shorter programs


def shortest(lines: Sequence[Line], attempts: int = 300) -> list[Line]:
    """Return a program that fails, without the lines that it does not need. Collective."""
    lines, size = list(lines), max(len(lines) // 2, 1)
    while True:
        start = len(lines)
        while start > 0:
            start -= size
            shorter = lines[: max(start, 0)] + lines[max(start, 0) + size :]
            attempts -= 1
            if attempts >= 0 and fails(shorter) is not None:
                lines = shorter
        if size == 1:
            return lines
        size = max(size // 2, 1)


def fails(lines: Sequence[Line]) -> Failed | None:
    """Run a program; return its failure. Collective."""
    program = Program()
    try:
        for line in lines:
            program.take(line)
    except Failed as failed:
        return failed
    return None


def report(failed: Failed) -> str:
    """Return a failing program as short as it can be, and what goes wrong in it. Collective."""
    lines = shortest(failed.lines)
    last = fails(lines)
    text = "\n".join(repr_of(line) for line in lines)
    size = xp.world().size
    return (
        f"\nA program to reproduce it on {size} ranks, its last line being wrong:\n\n{text}\n\n"
        f"Put it into a file; mpirun -n {size} python tests/support/programs.py FILE\n\n{last}"
    )


def repr_of(line: Line) -> str:
    """Return a line of a printed program."""
    return f"{line.text}  # {line.kind}{', exact' if line.exact else ''}"


def lines_of(text: str) -> list[Line]:
    """Return the lines of a printed program."""
    lines = []
    for each in text.splitlines():
        statement, _, kind = each.rpartition("  # ")
        if statement:
            ast.parse(statement.strip())
            lines.append(Line(statement.strip(), kind.split(",")[0], kind.endswith("exact")))
    return lines


def main() -> None:
    """Run a printed program on the ranks of the job."""
    import _harness

    _harness.RANKS = _harness.Ranks()
    failed = fails(lines_of(Path(sys.argv[1]).read_text("utf-8")))
    if xp.world().rank == 0:
        print("it goes through" if failed is None else failed)


if __name__ == "__main__":
    main()
