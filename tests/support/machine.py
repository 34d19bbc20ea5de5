"""A state machine of arrays: Hypothesis chooses the rules, and each rule draws a line of a program.

A rule gets one number of Hypothesis, from which it draws all else: every rank draws the same, and
a long program takes few of Hypothesis's choices. What is drawn depends on NumPy's arrays alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

import heat_array_api as xp
from programs import LARGEST, Failed, Line, Program, report

SIZE = xp.world().size
DTYPES = (
    *("float64", "float64", "float64", "float32", "float16", "complex128", "complex64"),
    *("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool"),
)
MOST_ARRAYS = 8

UNARY = {
    "biufc": ["isfinite", "isnan", "positive", "square", "negative", "abs"],
    "iuf": ["floor", "ceil", "trunc", "round", "sign"],
    "fc": ["sin", "cos", "exp", "tanh", "sqrt", "log1p", "expm1", "atan", "log", "reciprocal"],
    "f": ["signbit", "sqrt", "log2", "asinh", "exp", "cos"],
    "bi": ["bitwise_invert"],
    "c": ["real", "imag", "conj", "abs"],
}  # fmt: skip
ARITHMETIC = ["+", "-", "*", "/", "//", "%", "**"]
COMPARISONS = ["<", "<=", ">", ">=", "==", "!="]
BITWISE = ["&", "|", "^"]
NAMED = ["maximum", "minimum", "hypot", "atan2", "copysign", "logaddexp", "nextafter"]
REDUCTIONS = {
    "iufc": ["sum", "prod", "mean", "count_nonzero"],
    "f": ["std", "var", "max", "min", "median", "nansum", "nanmax", "mean", "sum"],
    "iuf": ["max", "min", "argmax", "argmin"],
    "biufc": ["any", "all", "count_nonzero"],
}

# Functions of a float64 array X with axes, of W of the same shape, and of rows I of that shape.
PIECES = [
    "xp.sin(X)", "xp.tanh(X * W)", "X - xp.mean(X, axis=0)", "X * xp.sum(W, axis=0)", "X + W[:1]",
    "xp.flip(X, axis=0)", "xp.concat([X[1:], X[:1]], axis=0)", "xp.where(W > 0, X, 0.5 * X)",
    "xp.cumulative_sum(X, axis=0)", "xp.roll(X, 1, axis=0)", "xp.exp(-X * X)", "X / (1 + X * X)",
    "xp.sort(X, axis=0)", "xp.reshape(xp.reshape(X, (-1,)), X.shape)", "xp.abs(X) + 0.25 * W",
    "xp.permute_dims(xp.permute_dims(X, ORDER), ORDER)", "xp.take(X, ROWS, axis=0)",
    "X[..., :1] * X", "xp.take_along_axis(X, I, axis=0)", "xp.take_along_axis(X, I, axis=0) * W",
    "xp.square(X - W)", "xp.maximum(X, W)", "X - xp.max(X, axis=0, keepdims=True)",
]  # fmt: skip


SEEDS = st.integers(0, 2**32 - 1)


class ViewMachine(RuleBasedStateMachine):
    """Arrays of any layouts beside NumPy's of the same values: views of them, and writes."""

    steps = 0  # of all programs

    def __init__(self) -> None:
        super().__init__()
        self.program = Program()
        self.count = 0
        self.failed = False
        self.random = Random(0)

    # ------------------------------------------------------------ lines

    def take(self, text: str, kind: str, *, exact: bool = False) -> str | None:
        """Run a line; return the name of its array, None if it was left out."""
        line = Line(text, kind, exact)
        try:
            if not self.program.take(line):
                return None
        except Failed as failed:
            self.failed = True
            raise AssertionError(report(failed)) from None
        return line.name

    def make(self, expression: str, kind: str = "new", *, exact: bool = False) -> str | None:
        """Make an array, and drop one where there are too many."""
        self.count += 1
        made = self.take(f"v{self.count} = {expression}", kind, exact=exact)
        if len(self.model) > MOST_ARRAYS:
            self.take(f"del {self.random.choice(sorted(self.model))}", "drop")
        return made

    def write(self, text: str, *, exact: bool = False) -> None:
        """Write, and look at some arrays then: not at all, since views are made anew when used."""
        self.take(text, "write", exact=exact)
        self.look()

    def look(self) -> None:
        """Compare some arrays."""
        for name in sorted(self.model):
            if self.random.random() < 0.2:
                self.take(name, "look")

    def teardown(self) -> None:
        """Compare all of them, in the end."""
        if not self.failed:
            for name in sorted(self.model):
                self.take(name, "look")

    # ------------------------------------------------------------ draws

    @property
    def model(self) -> dict[str, np.ndarray]:
        return self.program.model

    def begin(self, seed: int) -> Random:
        """Start the draws of a rule."""
        type(self).steps += 1
        self.random = Random(seed + 1_000_003 * len(self.program.lines))
        return self.random

    def chance(self, p: float) -> bool:
        return self.random.random() < p

    def shape(self, most: int = 4) -> tuple[int, ...]:
        ndim = self.random.choice([0, 1, 1, 2, 2, 2, 3, 4][: 4 + most])
        shape = tuple(self.random.choice([0, 1, 1, 2, 3, 3, 4, 5, 7]) for _ in range(ndim))
        return shape if math.prod(shape) <= LARGEST else self.shape(most)

    def layout(self, shape: Sequence[int]) -> str:
        """Draw a layout, as the arguments of `array` and `laid_out`."""
        if not shape or self.chance(0.25):
            return "None"
        split = self.random.randrange(len(shape))
        n = shape[split]
        cuts = sorted(self.random.randint(0, n) for _ in range(SIZE - 1))
        if self.chance(0.4):
            cuts = [n * rank // SIZE for rank in range(1, SIZE)]
        return f"{split}, {[b - a for a, b in pairwise([0, *cuts, n])]}"

    def array(self, shape: Sequence[int], dtype: Any) -> str:
        """Draw an array, as an expression."""
        numbers = f"numbers({self.random.randrange(100)}, {tuple(shape)}, {str(dtype)!r})"
        return f"array({numbers}, {self.layout(shape)})"

    def some(self, kinds: str = "biufc", least: int = 0, most: int = 9, size: int = 0) -> str:
        """Draw an array of some kinds of dtypes and numbers of axes; make one if there is none."""
        found = [
            name
            for name, a in sorted(self.model.items())
            if a.dtype.kind in kinds and least <= a.ndim <= most and a.size >= size
        ]
        if found and self.chance(0.9):
            return self.random.choice(found)
        dtype = self.random.choice([d for d in DTYPES if np.dtype(d).kind in kinds])
        shape = self.shape()
        while not (least <= len(shape) <= most and math.prod(shape) >= size):
            shape = self.shape()
        made = self.make(self.array(shape, dtype), exact=True)
        assert made is not None
        if made not in self.model:  # dropped at once
            return self.some(kinds, least, most, size)
        return made

    def partner(self, a: np.ndarray, kinds: str, *, dtype: Any = None) -> str:
        """Draw an operand that broadcasts to an array: one there is, or a new one."""
        found = [
            other
            for other, b in sorted(self.model.items())
            if b.dtype.kind in kinds and _broadcast(a.shape, b.shape)
            if dtype is None or b.dtype == dtype
        ]
        if found and self.chance(0.7):
            return self.random.choice(found)
        extents = [1 if self.chance(0.2) else n for n in a.shape]
        shape = extents[self.random.randint(0, a.ndim) :] if self.chance(0.3) else extents
        if dtype is None:
            dtype = self.random.choice([d for d in DTYPES if np.dtype(d).kind in kinds])
        return self.array(shape, dtype)

    def number(self, dtype: np.dtype) -> Any:
        """Draw a Python number for arithmetic with a dtype."""
        if dtype.kind == "b":
            return self.chance(0.5)
        if dtype.kind == "u":
            return self.random.randint(0, 5)
        if dtype.kind == "i" or self.chance(0.3):
            return self.random.randint(-5, 5)
        if dtype.kind == "c" and self.chance(0.5):
            return self.random.choice([1j, 0.5 - 2j, -1j])
        return self.random.choice([-2.5, -0.5, 0.0, 0.5, 1.5, 3.25])

    def axis(self, a: np.ndarray) -> int:
        return self.random.randrange(-a.ndim, a.ndim)

    def slice(self, n: int) -> str:
        ends = ["" if self.chance(0.4) else str(self.random.randint(-n - 1, n + 1)) for _ in "ab"]
        return ":".join(ends) + self.random.choice(["", "", ":2", ":-1", ":-2", ":3"])

    def basic_key(self, shape: Sequence[int]) -> str:
        """Draw a basic key, as what stands between brackets."""
        axes, items = self.places(len(shape), 0)
        for i in axes:
            n = shape[i]
            integer = n and self.chance(0.25)
            items[i] = str(self.random.randrange(-n, n)) if integer else self.slice(n)
        key = list(items.values())
        if self.chance(0.2):
            key.insert(self.random.randint(0, len(key)), "None")
        return ", ".join(key)

    def places(self, ndim: int, least: int) -> tuple[list[int], dict[int, str]]:
        """Draw the axes that a key names, and the key in their order, with or without "..."."""
        named = self.random.randint(least, ndim)
        first = named if self.chance(0.6) else self.random.randint(0, named)
        axes = [*range(first), *range(ndim - named + first, ndim)]
        ellipsis = first < named or not named or self.chance(0.3)
        items = dict.fromkeys(axes[:first], "")
        if ellipsis:
            items[-1] = "..."
        return axes, items | dict.fromkeys(axes[first:], "")

    def indices(self, n: int, shape: Sequence[int], *, unique: bool = False) -> str:
        """Draw an array of integers, NumPy's or ours, as an expression."""
        count = math.prod(shape)
        if unique:
            values = self.random.sample(range(n), count)
        else:
            values = [self.random.randrange(-n, n) for _ in range(count)]
        text = f"np.reshape(np.asarray({values}, dtype='int64'), {tuple(shape)})"
        return text if self.chance(0.4) else f"array({text}, {self.layout(shape)})"

    def index_key(self, shape: Sequence[int]) -> str:
        """Draw a key with integer arrays, slices and integers."""
        index_shape = self.random.choice([(3,), (2, 2), (1,), (0,), (5,), (4,)])
        axes, items = self.places(len(shape), 1)
        arrays = 0
        for i in axes:
            n = shape[i]
            if n and (self.chance(0.6) or not arrays):
                items[i] = self.indices(n, index_shape)
                arrays += 1
            else:
                items[i] = self.slice(n)
        return ", ".join(items.values())

    def mask_key(self, name: str) -> str:
        """Draw a mask: of the array's own values, or of its first axes."""
        a = self.model[name]
        if a.dtype.kind in "iuf" and self.chance(0.5):
            return f"{name} > {self.number(np.dtype('uint8'))}"
        return self.array(a.shape[: self.random.randint(0, a.ndim)], "bool")

    # ------------------------------------------------------------ rules

    @rule(seed=SEEDS)
    def new_array(self, seed: int) -> None:
        self.begin(seed)
        self.make(self.array(self.shape(), self.random.choice(DTYPES)), exact=True)

    @rule(seed=SEEDS)
    def view_by_key(self, seed: int) -> None:
        self.begin(seed)
        name = self.some()
        shape = self.model[name].shape
        key = self.basic_key(shape)
        if shape and self.chance(0.03):  # an error, on all ranks
            key = self.random.choice([str(shape[0]), str(-shape[0] - 1), "0, " * (len(shape) + 1)])
        self.make(f"{name}[{key}]", "view", exact=True)
        self.look()

    @rule(seed=SEEDS)
    def view_of_other_shape(self, seed: int) -> None:
        random = self.begin(seed)
        name = self.some()
        a = self.model[name]
        order = random.sample(range(a.ndim), a.ndim)
        axes = [i for i, n in enumerate(a.shape) if n == 1]
        ways = [
            f"xp.reshape({name}, {self.new_shape(a)})",
            f"xp.expand_dims({name}, axis={random.randint(-a.ndim - 1, a.ndim)})",
            f"xp.permute_dims({name}, {tuple(order)})",
        ]
        if axes:
            ways.append(f"xp.squeeze({name}, axis={random.choice(axes)})")
        if a.ndim == 2:
            ways.append(f"{name}.T")
        if a.ndim >= 2:
            ways.append(f"{name}.mT")
            ways.append(f"xp.moveaxis({name}, {self.axis(a)}, {self.axis(a)})")
        self.make(random.choice(ways), "view", exact=True)
        self.look()

    def new_shape(self, a: np.ndarray) -> tuple[int, ...]:
        n = self.random.choice([n for n in range(1, a.size + 1) if a.size % n == 0] or [1])
        rest = a.size // n
        return self.random.choice([(-1,), (n, rest), (rest, 1, n), (1, a.size), a.shape])

    @rule(seed=SEEDS)
    def write_by_basic_key(self, seed: int) -> None:
        self.begin(seed)
        name = self.some()
        a = self.model[name]
        key = self.basic_key(a.shape)
        self.write(f"{name}[{key}] = {self.value_for(a, eval(f'a[{key}]'))}", exact=True)

    def value_for(self, a: np.ndarray, selected: np.ndarray) -> str:
        """Draw what may be written into a selection: a number, or an array that broadcasts."""
        if self.chance(0.3):
            return str(self.number(a.dtype))
        return self.partner(np.asarray(selected), a.dtype.kind, dtype=a.dtype)

    @rule(seed=SEEDS)
    def write_by_mask(self, seed: int) -> None:
        self.begin(seed)
        name = self.some(least=1)
        key = self.mask_key(name)
        self.write(f"{name}[{key}] = {self.number(self.model[name].dtype)}", exact=True)

    @rule(seed=SEEDS)
    def write_by_indices(self, seed: int) -> None:
        random = self.begin(seed)
        name = self.some(least=1)
        a = self.model[name]
        if self.chance(0.5) or not a.shape[0]:
            key, value = self.index_key(a.shape), str(self.number(a.dtype))
        else:
            count = random.randint(0, a.shape[0])
            key = self.indices(a.shape[0], (count,), unique=True)
            value = self.array((count, *a.shape[1:]), a.dtype)
        self.write(f"{name}[{key}] = {value}", exact=True)

    @rule(seed=SEEDS)
    def update_in_place(self, seed: int) -> None:
        random = self.begin(seed)
        name = self.some("iufc")
        a = self.model[name]
        operator = random.choice(
            ["+=", "-=", "*="] if a.dtype.kind in "iu" else ["+=", "-=", "*=", "/="]
        )
        key = f"[{self.basic_key(a.shape)}]" if self.chance(0.4) else ""
        if key or self.chance(0.4):
            value = str(self.number(a.dtype))
        else:
            value = self.partner(a, a.dtype.kind, dtype=a.dtype)
        self.write(f"{name}{key} {operator} {value}", exact=a.dtype.kind in "iu")

    @rule(seed=SEEDS)
    def update_bits_in_place(self, seed: int) -> None:
        random = self.begin(seed)
        name = self.some("iub")
        a = self.model[name]
        value = self.partner(a, a.dtype.kind, dtype=a.dtype)
        self.write(f"{name} {random.choice(BITWISE)}= {value}", exact=True)

    @rule(seed=SEEDS)
    def other_layout(self, seed: int) -> None:
        random = self.begin(seed)
        name = self.some()
        a = self.model[name]
        split = random.choice([None, *range(a.ndim)])
        ways = [
            f"laid_out({name}, {self.layout(a.shape)})",
            f"xp.resplit({name}, {split})",
            f"xp.rebalance({name})",
        ]
        self.make(random.choice(ways), exact=True)


class ArrayMachine(ViewMachine):
    """All functions besides."""

    @rule(seed=SEEDS)
    def unary(self, seed: int) -> None:
        random = self.begin(seed)
        kinds = random.choice(sorted(UNARY))
        name = self.some(kinds.replace("b", "") if kinds == "biufc" else kinds)
        function = random.choice(UNARY[kinds])
        self.make(f"xp.{function}({name})")

    @rule(seed=SEEDS)
    def binary(self, seed: int) -> None:
        random = self.begin(seed)
        name = self.some("iufc")
        a = self.model[name]
        operators = ARITHMETIC[:4] if a.dtype.kind == "c" else ARITHMETIC
        if self.chance(0.4):
            operands = [name, str(self.number(a.dtype))]
            random.shuffle(operands)
        else:
            kinds = {"i": "iu", "u": "u", "f": "f", "c": "fc"}[a.dtype.kind]
            operands = [name, self.partner(a, kinds)]
        operator = random.choice(operators)
        self.make(f"({operands[0]}) {operator} ({operands[1]})")

    @rule(seed=SEEDS)
    def comparison(self, seed: int) -> None:
        random = self.begin(seed)
        name = self.some()
        a = self.model[name]
        operators = COMPARISONS if a.dtype.kind in "iuf" else COMPARISONS[4:]
        if a.dtype.kind == "b" and self.chance(0.7):
            operators = BITWISE
        other = self.partner(a, {"i": "iu", "u": "u"}.get(a.dtype.kind, a.dtype.kind))
        if self.chance(0.4):
            other = str(self.number(a.dtype))
        self.make(f"{name} {random.choice(operators)} ({other})")

    @rule(seed=SEEDS)
    def named_binary(self, seed: int) -> None:
        random = self.begin(seed)
        name = self.some("f")
        other = self.partner(self.model[name], "f", dtype=self.model[name].dtype)
        if self.chance(0.3):
            self.make(f"xp.where({self.array(self.model[name].shape, 'bool')}, {name}, {other})")
        else:
            self.make(f"xp.{random.choice(NAMED)}({name}, {other})")

    @rule(seed=SEEDS)
    def product(self, seed: int) -> None:
        random = self.begin(seed)
        name = self.some("iufc", least=1)
        a = self.model[name]
        n = a.shape[-1]
        fitting = [
            other
            for other, b in sorted(self.model.items())
            if b.dtype == a.dtype and b.ndim and b.shape[max(b.ndim - 2, 0)] == n
        ]
        shape = random.choice([(n,), (n, random.randint(0, 4)), (*a.shape[:-2], n, 3)])
        other = (
            random.choice(fitting) if fitting and self.chance(0.5) else self.array(shape, a.dtype)
        )
        ways = [f"{name} @ ({other})"]
        if a.dtype.kind in "fc":
            vectors = self.array(a.shape, a.dtype)
            ways.append(f"xp.vecdot({name}, {vectors}, axis={-1})")
            ways.append(f"xp.tensordot({name}, {vectors}, axes={random.randint(0, a.ndim)})")
            if a.ndim == 2:
                ways.append(f"xp.einsum('ij,ij->j', {name}, {vectors})")
                ways.append(f"xp.einsum('ij,kj->ik', {name}, {vectors})")
        self.make(random.choice(ways))

    @rule(seed=SEEDS)
    def reduction(self, seed: int) -> None:
        random = self.begin(seed)
        kinds = random.choice(sorted(REDUCTIONS))
        name = self.some(kinds)
        a, function = self.model[name], random.choice(REDUCTIONS[kinds])
        axes = random.sample(range(a.ndim), random.randint(0, a.ndim))
        axis: Any = random.choice([None, tuple(axes)])
        if function in ("argmax", "argmin", "median") or (axis == () and self.chance(0.9)):
            axis = self.axis(a) if a.ndim else None
        options = f"axis={axis}, keepdims={self.chance(0.4)}"
        if function in ("std", "var") and self.chance(0.5):
            options += ", correction=1"
        self.make(f"xp.{function}({name}, {options})")

    @rule(seed=SEEDS)
    def scan(self, seed: int) -> None:
        random = self.begin(seed)
        name = self.some("iuf", least=1)
        axis = self.axis(self.model[name])
        way = random.choice(["cumulative_sum", "cumulative_sum", "cumulative_prod", "diff"])
        initial = ", include_initial=True" if way != "diff" and self.chance(0.3) else ""
        self.make(f"xp.{way}({name}, axis={axis}{initial})")

    @rule(seed=SEEDS)
    def index_by_arrays(self, seed: int) -> None:
        random = self.begin(seed)
        name = self.some(least=1)
        a = self.model[name]
        axis = self.axis(a)
        n = a.shape[axis]
        if self.chance(0.5) or not n:
            self.make(f"{name}[{self.index_key(a.shape)}]", exact=True)
        elif self.chance(0.5):
            rows = self.indices(n, (random.randint(0, 5),))
            self.make(f"xp.take({name}, {_ours(rows)}, axis={axis})", exact=True)
        else:
            shape = list(a.shape)
            shape[axis] = random.randint(0, 4)
            places = _ours(self.indices(n, shape))
            self.make(f"xp.take_along_axis({name}, {places}, axis={axis})", exact=True)

    @rule(seed=SEEDS)
    def index_by_mask(self, seed: int) -> None:
        self.begin(seed)
        name = self.some(least=1)
        key = self.mask_key(name)
        self.make(f"{name}[{key}]", exact=True)

    @rule(seed=SEEDS)
    def movement(self, seed: int) -> None:
        random = self.begin(seed)
        name = self.some(least=1)
        a = self.model[name]
        axis, i = self.axis(a), random.randint(-3, 9)
        ways = [
            f"xp.flip({name}, axis={axis})",
            f"xp.flip({name})",
            f"xp.roll({name}, {i}, axis={axis})",
            f"xp.roll({name}, {i})",
            f"xp.repeat({name}, {random.randint(0, 3)}, axis={axis})",
            f"xp.tile({name}, ({random.randint(0, 2)}, {random.randint(1, 2)}))",
            f"xp.broadcast_to({name}, {(random.randint(0, 3), *a.shape)})",
            f"xp.pad({name}, ({random.randint(0, 2)}, {random.randint(0, 2)}))",
        ]
        if a.shape[axis]:
            ways.append(f"xp.unstack({name}, axis={axis})[{random.randrange(a.shape[axis])}]")
        if a.ndim >= 2:
            ways.append(f"xp.{random.choice(['tril', 'triu'])}({name}, k={random.randint(-3, 3)})")
            ways.append(f"xp.linalg.diagonal({name}, offset={random.randint(-2, 2)})")
        self.make(random.choice(ways), exact=True)

    @rule(seed=SEEDS)
    def joining(self, seed: int) -> None:
        random = self.begin(seed)
        name = self.some(least=1)
        a = self.model[name]
        axis = self.axis(a)
        fitting = [
            other
            for other, b in sorted(self.model.items())
            if b.dtype == a.dtype and b.ndim == a.ndim
            if np.delete(b.shape, axis).tolist() == np.delete(a.shape, axis).tolist()
        ]
        if self.chance(0.3):
            shape = list(a.shape)
            shape[axis] = random.randint(0, 4)
            others = [name, self.array(shape, a.dtype)]
        else:
            others = [random.choice(fitting) for _ in range(random.randint(1, 3))]
        if self.chance(0.2):
            same = [other for other in fitting if self.model[other].shape == a.shape]
            pair = ", ".join([name, random.choice(same)])
            self.make(f"xp.stack([{pair}], axis={random.randint(-a.ndim - 1, a.ndim)})", exact=True)
        else:
            self.make(f"xp.concat([{', '.join(others)}], axis={axis})", exact=True)

    @rule(seed=SEEDS)
    def order(self, seed: int) -> None:
        random = self.begin(seed)
        name = self.some("biuf", least=1)
        a = self.model[name]
        axis, descending = self.axis(a), f"descending={self.chance(0.4)}"
        line = f"xp.reshape({name}, (-1,))"
        other = self.partner(a, a.dtype.kind, dtype=a.dtype)
        ways = [
            f"xp.sort({name}, axis={axis}, {descending})",
            f"xp.argsort({name}, axis={axis}, {descending})",
            f"xp.unique_values({name})",
            f"xp.unique_counts({name})[{random.randint(0, 1)}]",
            f"xp.unique_inverse({name})[{random.randint(0, 1)}]",
            f"xp.unique_all({name})[{random.randint(0, 3)}]",
            f"xp.nonzero({name})[{random.randrange(a.ndim)}]",
            f"xp.searchsorted(xp.sort({line}, axis=0), {other})",
            f"xp.isin({name}, {other})",
        ]
        self.make(random.choice(ways), exact=True)

    @rule(seed=SEEDS)
    def statistic(self, seed: int) -> None:
        random = self.begin(seed)
        name = self.some("f", least=1, size=1)
        axis = self.axis(self.model[name])
        q = random.choice([0.0, 0.25, 0.5, 0.9, 1.0])
        ways = [f"xp.quantile({name}, {q}, axis={axis})", f"xp.median({name}, axis={axis})"]
        if self.model[name].dtype == np.float64:
            ways.append(f"xp.fft.fft({name}, axis={axis})")
            ways.append(f"xp.linalg.vector_norm({name}, axis={axis})")
            ways.append(f"xp.gradient({name}, axis={axis})")
        self.make(random.choice(ways))

    @rule(seed=SEEDS)
    def cast(self, seed: int) -> None:
        random = self.begin(seed)
        name = self.some()
        kind = self.model[name].dtype.kind
        allowed = {"b": "biufc", "i": "ifcb", "u": "iufcb", "f": "fcb", "c": "cb"}[kind]
        dtype = random.choice([d for d in DTYPES if np.dtype(d).kind in allowed])
        way = "bool" if dtype == "bool" else dtype
        self.make(f"xp.astype({name}, xp.{way})", exact=True)

    @rule(seed=SEEDS)
    def save_and_load(self, seed: int) -> None:
        random = self.begin(seed)
        if self.chance(0.6):
            return  # files take long
        name = self.some("iufc")
        a = self.model[name]
        formats = ["x.npy", "x.h5", "x.zarr", "checkpoint"]
        if a.dtype != np.float16:
            formats.append("x.nc")
        split = random.choice([None, *range(a.ndim)])
        self.make(f"saved({name}, {random.choice(formats)!r}, {split})", exact=True)

    @rule(seed=SEEDS)
    def derivative(self, seed: int) -> None:
        self.begin(seed)
        name = self.float64()
        other = self.partner(self.model[name], "f", dtype=np.dtype("float64"))
        weights = f"{self.array(self.model[name].shape, 'float64')}, {self.rows(name)}"
        f = f"xp.sum({self.function(name)} * C)"
        self.make(f"grad(lambda xp, X, W, I, C: {f}, {name}, {weights}, {other})")

    @rule(seed=SEEDS)
    def compiled(self, seed: int) -> None:
        self.begin(seed)
        name = self.float64()
        weights = f"{self.array(self.model[name].shape, 'float64')}, {self.rows(name)}"
        self.make(f"compiled(lambda xp, X, W, I: {self.function(name)}, {name}, {weights})")

    def rows(self, name: str) -> str:
        shape = self.model[name].shape
        rows = [self.random.randrange(shape[0]) for _ in range(math.prod(shape))]
        return f"array(np.reshape(np.asarray({rows}), {shape}), {self.layout(shape)})"

    def float64(self) -> str:
        """Draw an array of float64 with axes, and elements."""
        found = [
            name
            for name, a in sorted(self.model.items())
            if a.dtype == np.float64 and a.ndim and a.size
        ]
        if found and self.chance(0.8):
            return self.random.choice(found)
        shape = tuple(self.random.randint(1, 5) for _ in range(self.random.randint(1, 3)))
        self.make(self.array(shape, "float64"), exact=True)
        name = f"v{self.count}"
        return name if name in self.model else self.float64()

    def function(self, name: str) -> str:
        """Draw a function of X and W, which have this array's shape."""
        a = self.model[name]
        text = "X"
        for _ in range(self.random.randint(1, 4)):
            text = self.random.choice(PIECES).replace("X", f"({text})" if text != "X" else "X")
        rows = [self.random.randrange(a.shape[0]) for _ in range(a.shape[0])]
        axes = tuple(reversed(range(a.ndim)))
        return text.replace("ORDER", str(axes)).replace("ROWS", f"xp.asarray({rows})")


def _ours(text: str) -> str:
    return text if text.startswith("array(") else f"array({text})"


def _broadcast(shape: Sequence[int], other: Sequence[int]) -> bool:
    try:
        return np.broadcast_shapes(tuple(shape), tuple(other)) == tuple(shape)
    except ValueError:
        return False
