"""Functions of several arrays, for tests of their derivatives on layouts that differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

import heat_array_api as xp
from layouts import layouts

autograd, linalg, special = xp.autograd, xp.linalg, xp.special

_RNG = np.random.default_rng(17)


def _normal(*shape: int) -> np.ndarray:
    return _RNG.standard_normal(shape)


X, Y, ROW, COLUMN = _normal(5, 4), _normal(5, 4), _normal(4), _normal(5, 1)
LINE, NUMBER = _normal(5), _normal()
SQUARE = _normal(4, 4) + 4 * np.eye(4)
STACK = _normal(3, 4, 4) + 4 * np.eye(4)
POSITIVE, PROBABLE = np.abs(_normal(5, 4)) + 0.5, np.exp(-np.abs(_normal(5, 4)))
MASK, ROWS = _normal(5, 4) > 0, np.asarray([True, False, True, True, False])
INDEX = np.asarray([4, 0, 2, 2])
ALONG_0, ALONG_1 = np.asarray([[1, 0, 4, 4], [2, 2, 0, -1]]), np.asarray([[3], [0], [0], [1], [2]])
SORTED = np.cumsum(np.asarray([0.5, 1.0, 0.25, 2.0, 0.75]))


class Case(NamedTuple):
    """A function and the global values of its operands; those of floats are differentiated."""

    function: Callable[..., Any]
    operands: tuple[np.ndarray, ...]


def case(function: Callable[..., Any], *operands: np.ndarray) -> Case:
    """Return a case."""
    return Case(function, operands)


def written(key: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that writes its second operand into the first where `key` says."""

    def function(x: Any, value: Any, *index: Any) -> Any:
        y = x * 1.0
        y[key(*index)] = value
        return y * y

    return function


def added(x: Any, value: Any, *index: Any) -> Any:
    """Add to a selection in place."""
    y = x * 1.0
    y[index] += value
    return y * x


def written_view(x: Any, value: Any) -> Any:
    """Write into a view, and read its source."""
    y = x * 1.0
    y[1:4][:, 2] = value
    return y * y


def scaled(x: Any, y: Any) -> Any:
    """Change the first operand in place."""
    z = x * 1.0
    z *= y
    z += y
    return z * z


@autograd.custom_vjp
def by_rule(x: Any, w: Any) -> Any:
    """Return a product with a rule."""
    return x * x * w


by_rule.defvjp(
    lambda x, w: (by_rule(x, w), (x, w)),
    lambda kept, g: (2 * kept[0] * kept[1] * g, xp.sum(kept[0] ** 2 * g, axis=0)),
)

ELEMENTWISE = {
    "add": case(lambda x, y: (x + y) ** 2, X, Y),
    "multiply by a row": case(lambda x, w: x * w, X, ROW),
    "divide by a column": case(lambda x, w: x / (w * w + 1), X, COLUMN),
    "subtract from a number": case(lambda w, x: (w - x) ** 2, NUMBER, X),
    "outer sum": case(lambda w, v: (w + v) ** 2, ROW, COLUMN),
    "pow": case(lambda x, y: x**y, POSITIVE, Y),
    "atan2": case(xp.atan2, X, Y),
    "hypot": case(xp.hypot, X, ROW),
    "maximum": case(xp.maximum, X, ROW),
    "minimum": case(xp.minimum, COLUMN, Y),
    "logaddexp": case(xp.logaddexp, X, COLUMN),
    "copysign": case(xp.copysign, X, ROW),
    "remainder": case(xp.remainder, X, POSITIVE),
    "clip": case(lambda x, a, b: xp.clip(x, a, b) ** 2, X, ROW - 1, COLUMN + 1),
    "where": case(lambda m, x, y: xp.where(m, x, y) ** 2, MASK, X, ROW),
    "where of rows": case(lambda m, x, y: xp.where(m[:, None], x, y) ** 2, ROWS, X, Y),
    "xlogy": case(special.xlogy, X, POSITIVE),
    "xlog1py": case(special.xlog1py, ROW, POSITIVE),
    "kl_div": case(special.kl_div, PROBABLE, POSITIVE),
    "rel_entr": case(special.rel_entr, PROBABLE, POSITIVE[0]),
    "in place": case(scaled, X, ROW),
    "broadcast_arrays": case(
        lambda x, w: xp.broadcast_arrays(x, w)[0] * xp.broadcast_arrays(x, w)[1], X, ROW
    ),
    "meshgrid": case(lambda v, w: xp.meshgrid(v, w)[0] * xp.meshgrid(v, w)[1] ** 2, LINE, ROW),
    "complex": case(lambda x, y: xp.abs(x + 1j * y) ** 2, X, ROW),
    "linspace": case(lambda x, w: xp.sum(w) * xp.linspace(0.0, 1.0, 5, split=0) * x, LINE, ROW),
    "custom_vjp": case(by_rule, X, ROW),
    "checkpoint": case(autograd.checkpoint(lambda x, w: xp.sin(x * w) @ w), X, ROW),
    "stop_gradient": case(lambda x, w: xp.sin(x * w) + autograd.stop_gradient(x - w) * 0.0, X, ROW),
}

REDUCTIONS = {
    "standardise": case(lambda x, w: (x - xp.mean(x * w, axis=0)) / xp.std(x, axis=0), X, ROW),
    "softmax": case(lambda x, w: special.softmax(x * w, axis=0), X, COLUMN),
    "logsumexp": case(lambda x, w: special.logsumexp(x + w, axis=1), X, ROW),
    "max": case(lambda x, y: xp.max(x + y, axis=0), X, COLUMN),
    "prod": case(lambda x, y: xp.prod(x + y, axis=0), X, ROW),
    "cumulative_sum": case(lambda x, w: xp.cumulative_sum(x * w, axis=0) ** 2, X, ROW),
    "cumulative_prod": case(lambda x, w: xp.cumulative_prod(x + w, axis=0), X, ROW),
    "diff with ends": case(lambda x, a, b: xp.diff(x, axis=0, prepend=a, append=b) ** 2, X, Y, X),
    "gradient at places": case(lambda x: xp.gradient(x, SORTED, axis=0), X),
    "bincount": case(
        lambda i, w: xp.bincount(i, w, minlength=4) ** 2, np.asarray([0, 1, 0, 2, 1]), LINE
    ),
    "quantile": case(lambda x, w: xp.quantile(x * w, [0.3, 0.8], axis=0) ** 2, X, ROW),
    "quantile at": case(lambda x, q: xp.quantile(x, q, axis=0) ** 2, X, PROBABLE[0, :2]),
    "quantile at, along rows": case(lambda x, q: xp.quantile(x, q, axis=1), X, PROBABLE[:2, :2]),
    "quantile at, of all": case(lambda x, q: xp.quantile(x, q, method="hazen"), X, PROBABLE[:, 0]),
    "nanquantile at": case(
        lambda x, q: xp.nanquantile(xp.where(x > 1, xp.nan, x), q, axis=0), X, PROBABLE[0, :2]
    ),
    "unique_values": case(lambda x, w: xp.unique_values(x * w) ** 2, X, ROW),
    "unique_all": case(lambda x, w: xp.unique_all(x + w).values ** 2, X, COLUMN),
    "median of a sum": case(lambda x, w: xp.median(x + w, axis=0) ** 2, X, ROW),
    "sort of a product": case(lambda x, w: xp.sort(x * w, axis=0) ** 2, X, ROW),
}

INDEXING = {
    "take 0": case(lambda x, i: xp.take(x, i, axis=0) ** 2, X, INDEX),
    "take 1": case(lambda x, i: xp.take(x, i % 4, axis=1) ** 2, X, INDEX),
    "take_along_axis 0": case(lambda x, i: xp.take_along_axis(x, i, axis=0) ** 2, X, ALONG_0),
    "take_along_axis 1": case(lambda x, i: xp.take_along_axis(x, i, axis=1) ** 2, X, ALONG_1),
    "take_along_axis of a line": case(
        lambda x, i: xp.take_along_axis(x, i, axis=0) ** 2, LINE, INDEX
    ),
    "take_along_axis, broadcast": case(
        lambda x, i: xp.take_along_axis(x[:1], i, axis=1) ** 2, X, ALONG_1
    ),
    "take_along_axis, index broadcast": case(
        lambda x, i: xp.take_along_axis(x, i[:, :1], axis=0) ** 2, X, ALONG_0
    ),
    "index 0": case(lambda x, i: x[i] ** 2, X, INDEX),
    "index 1": case(lambda x, i: x[:, i % 4] ** 2, X, INDEX),
    "index of a slice": case(lambda x, i: x[1:, i % 4] ** 2, X, INDEX),
    "pairs": case(lambda x, i, j: x[i, j] ** 2, X, INDEX, np.asarray([3, 3, 1, 0])),
    "open mesh": case(lambda x, i, j: x[i[:, None], j] ** 2, X, INDEX, np.asarray([3, 0])),
    "matrix of indices": case(lambda x, i: x[i] ** 2, X, ALONG_0),
    "mask": case(lambda x, m: x[m] ** 2, X, MASK),
    "mask of rows": case(lambda x, m: x[m] ** 2, X, ROWS),
    "row by an index array": case(lambda x, i: x[i[1]] ** 2 * x, X, INDEX),
    "set a box": case(written(lambda: slice(1, 4)), X, ROW),
    "set backwards": case(written(lambda: slice(3, 0, -1)), X, Y[:3]),
    "set a row": case(written(lambda: 2), X, ROW),
    "set an element": case(written(lambda: (2, 1)), X, NUMBER),
    "set a column": case(written(lambda: (slice(None), 1)), X, LINE),
    "set all": case(written(lambda: Ellipsis), X, COLUMN),
    "set rows by index": case(written(lambda i: i), X, ROW, INDEX),
    "set rows by index, each": case(written(lambda i: i), X, Y[:3], np.asarray([4, 0, 2])),
    "set columns by index": case(
        written(lambda j: (slice(None), j)), X, COLUMN, np.asarray([3, 0])
    ),
    "set pairs": case(
        written(lambda i, j: (i, j)), X, LINE[:3], np.asarray([0, 3, 4]), np.asarray([1, 1, 2])
    ),
    "set by a mask": case(written(lambda m: m), X, NUMBER, MASK),
    "set by a mask, each": case(written(lambda m: m), X, _normal(int(MASK.sum())), MASK),
    "set rows by a mask": case(written(lambda m: m), X, ROW, ROWS),
    "set rows by a mask, each": case(written(lambda m: m), X, Y[:3], ROWS),
    "add to rows by index": case(added, X, Y[:3], np.asarray([4, 0, 2])),
    "set a view": case(written_view, X, LINE[:3]),
    "repeat": case(lambda x, n: xp.repeat(x, n, axis=0) ** 2, X, np.asarray([1, 0, 2, 1, 3])),
    "argsort of another": case(lambda x, y: xp.take(x, xp.argsort(y), axis=0) ** 2, X, LINE),
    "interpolate": case(
        lambda v, at, q: (lambda k: v[k] + (v[k + 1] - v[k]) * (q - at[k]))(
            xp.clip(xp.searchsorted(at, q) - 1, 0, 3)
        ),
        LINE,
        SORTED,
        np.asarray([0.6, 3.0, 1.6]),
    ),
}

JOINING = {
    "concat 0": case(lambda x, y: xp.concat([x, y], axis=0) ** 2, X, Y[:2]),
    "concat 1": case(lambda x, y: xp.concat([x, y], axis=1) ** 2, X, COLUMN),
    "concat of three": case(lambda x, y, z: xp.concat([x, y, z], axis=0) ** 2, X, Y[:1], Y[1:]),
    "concat of all": case(lambda x, y: xp.concat([x, y], axis=None) ** 2, X, ROW),
    "stack 0": case(lambda x, y: xp.stack([x, y], axis=0) ** 2, X, Y),
    "stack 2": case(lambda x, y, z: xp.stack([x, y, z], axis=2) ** 2, X, Y, X * Y),
    "blocks": case(
        lambda a, b: xp.concat([xp.concat([a, b], axis=1), xp.concat([b, a], axis=1)], axis=0) ** 2,
        X,
        Y,
    ),
    "roll of a sum": case(lambda x, w: xp.roll(x + w, 2, axis=0) * x, X, ROW),
    "pad of a sum": case(lambda x, w: xp.pad(x * w, ((1, 1), (0, 2))) ** 2, X, ROW),
    "reshape of a sum": case(lambda x, w: xp.reshape(x * w, (4, 5)) ** 2, X, ROW),
    "redistributed like another": case(lambda x, y: xp.redistribute(x, y.layout) * y, X, Y),
    "fft": case(lambda x, w: xp.abs(xp.fft.fft(x * w, axis=0)) ** 2, X, ROW),
}

PRODUCTS = {
    "matmul": case(lambda x, y: x @ y, X, SQUARE),
    "matmul, contracted over rows": case(lambda x, y: x.T @ y, X, Y),
    "matmul, transposed": case(lambda x, y: x @ y.T, X, Y),
    "matrix by vector": case(lambda x, w: x @ w, X, ROW),
    "vector by matrix": case(lambda w, x: w @ x, LINE, X),
    "vector by vector": case(lambda v, w: v @ w, LINE, SORTED),
    "matmul of a stack": case(lambda a, x: a @ x, STACK, SQUARE),
    "matmul of two stacks": case(lambda a, b: a @ b, STACK, STACK[:1] + 1),
    "vecdot": case(lambda x, y: xp.vecdot(x, y, axis=0), X, Y),
    "vecdot with a row": case(xp.vecdot, X, ROW),
    "tensordot": case(lambda a, x: xp.tensordot(a, x, axes=((1, 2), (0, 1))), STACK, SQUARE),
    "tensordot 1": case(lambda a, x: xp.tensordot(a, x, axes=1), STACK, SQUARE),
    "tensordot 0": case(lambda v, w: xp.tensordot(v, w, axes=0), LINE, ROW),
    "outer": case(linalg.outer, LINE, ROW),
    "cross": case(linalg.cross, X[:, :3], Y[:, :3]),
    "cross with a row": case(linalg.cross, X[:, :3], ROW[:3]),
    "einsum of three": case(lambda x, y, w: xp.einsum("ij,kj,j->ik", x, y, w), X, Y[:3], ROW),
    "einsum of three to a number": case(
        lambda v, x, w: xp.einsum("i,ij,j->", v, x, w), LINE, X, ROW
    ),
    "einsum of a stack": case(lambda a, x: xp.einsum("bij,ij->b", a, x), STACK, SQUARE),
    "einsum elementwise": case(lambda x, w: xp.einsum("ij,j->ij", x, w), X, ROW),
    "einsum of a diagonal": case(lambda a, w: xp.einsum("ii,i->i", a, w), SQUARE, ROW),
}

FACTORED = {
    "solve": case(linalg.solve, SQUARE, Y[:4]),
    "solve a vector": case(linalg.solve, SQUARE, ROW),
    "solve a stack": case(linalg.solve, STACK, Y[:4, :2]),
    "solve stacks": case(linalg.solve, STACK, STACK[:1, :, :2]),
    "least squares": case(lambda x, y: linalg.pinv(x) @ y, X, LINE),
    "normal equations": case(lambda x, y: linalg.solve(x.T @ x, x.T @ y), X, LINE),
    "qr, projected": case(lambda x, y: linalg.qr(x).Q.T @ y, X, LINE),
    "inv of a sum": case(lambda a, b: linalg.inv(a + b), SQUARE, ROW),
    "det of a product": case(lambda a, b: linalg.det(a * b) / 100, SQUARE, SQUARE[:, :1] + 3),
    "cholesky": case(lambda a, b: linalg.cholesky(a @ a.T + xp.eye(4) * (b @ b)), SQUARE, ROW),
    "svdvals": case(lambda x, w: linalg.svdvals(x * w), X, ROW),
    "eigvalsh": case(lambda a, w: linalg.eigvalsh(a + a.T + w * w[:, None]), SQUARE, ROW),
    "matrix_norm": case(lambda x, w: linalg.matrix_norm(x * w), X, ROW),
    "vector_norm": case(lambda x, w: linalg.vector_norm(x - w, axis=0), X, ROW),
}

CASES = ELEMENTWISE | REDUCTIONS | INDEXING | JOINING | PRODUCTS | FACTORED


def combined(shapes: Sequence[Sequence[int]]) -> Iterator[tuple[Any, ...]]:
    """Yield layouts of several operands such that any two of any two operands occur together."""
    choices = [list(layouts(shape, few=True)) for shape in shapes]
    if len(choices) <= 2:
        yield from product(*choices)
        return
    missing = {
        (i, a, j, b)
        for j in range(len(choices))
        for i in range(j)
        for a in range(len(choices[i]))
        for b in range(len(choices[j]))
    }
    everything = sorted(product(*(range(len(c)) for c in choices)))
    while missing:
        pairs = [{(i, p[i], j, p[j]) for j in range(len(p)) for i in range(j)} for p in everything]
        best = max(range(len(everything)), key=lambda k: len(pairs[k] & missing))
        missing -= pairs[best]
        yield tuple(c[k] for c, k in zip(choices, everything[best], strict=True))
