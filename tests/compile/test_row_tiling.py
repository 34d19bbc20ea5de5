"""Regions of compiled functions that run tile by tile: equal to eager; what is tiled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_compile import messages

import heat_array_api as xp
from heat_array_api._compile import inductor as _inductor
from heat_array_api._compile import row_tiling
from heat_array_api._compile.inductor import no_compiler
from layouts import assert_consistent, assert_equal, layouts, make
from strategies import layouts_of

COMM = xp.world()
N = 23
RNG = np.random.default_rng(0)
MATRIX, VECTOR, WEIGHTS, MORE = (RNG.standard_normal(s) for s in ((N, 3), (N,), (3,), (3, 2)))
LABELS = RNG.integers(0, 2, N)


def tile_small_arrays(monkeypatch):
    for name, value in {"LEAST_BYTES_FOR_TILES": 0, "TILE_BYTES": 0, "LEAST_ROWS": 2}.items():
        monkeypatch.setattr(row_tiling, name, value)


@pytest.fixture
def found(monkeypatch):
    """Tile small arrays, too; return the regions that are found."""
    regions = []
    original = _inductor.tiled

    def spied(*args):
        graph, new = original(*args)
        regions.extend(new)
        return graph, new

    tile_small_arrays(monkeypatch)
    monkeypatch.setattr(_inductor, "tiled", spied)
    return regions


def logistic(x, y, w, v, labels):
    return xp.autograd.value_and_grad(lambda w: _loss(x, y, w))(w)


def _loss(x, y, w):
    z = x @ w
    return xp.mean(xp.logaddexp(z, xp.zeros_like(z)) - y * z)


def softmax(x, y, w, v, labels):
    def loss(v):
        z = x @ v
        z = z - xp.max(z, axis=1, keepdims=True)
        chosen = labels[:, None] == xp.arange(2)[None, :]
        right = xp.sum(xp.where(chosen, z, 0.0), axis=1)
        return xp.mean(xp.log(xp.sum(xp.exp(z), axis=1)) - right)

    return xp.autograd.grad(loss)(v)


def kmeans(x, y, w, v, labels):
    distances = xp.sum(v * v, axis=0)[None, :] - 2 * x @ v
    nearest = xp.argmin(distances, axis=1)
    mask = xp.astype(nearest[:, None] == xp.arange(2)[None, :], x.dtype)
    return nearest, mask.T @ x, xp.sum(mask, axis=0), xp.sum(xp.min(distances, axis=1))


def linear(x, y, w, v, labels):
    return x.T @ (x @ w - y)


def newton(x, y, w, v, labels):
    p = 1 / (1 + xp.exp(-(x @ w)))
    return x.T @ (p - y), (x * (p * (1 - p))[:, None]).T @ x


def extremes(x, y, w, v, labels):
    z = x @ v
    return xp.max(z, axis=0), xp.min(z), xp.sum(z * z, axis=0), z, xp.max(z * y[:, None])


def centered(x, y, w, v, labels):
    """Two passes: the second needs a sum of the first."""
    z = xp.tanh(x @ v)
    z = z - xp.mean(z, axis=0)
    return z.T @ z, x.T @ z, xp.cumulative_sum(z, axis=0)


def twice(x, y, w, v, labels):
    """The result of a pass is used by the next one with the same rows."""
    u = x.T @ xp.tanh(x @ w)
    return x.T @ xp.tanh(x @ u), xp.sum(x @ u)


def pairs(x, y, w, v, labels):
    z = (x @ v) * xp.ones((x.shape[0], 1))
    return xp.sum(xp.min(z, axis=1) * y), xp.sum((z[:, 0] > 0) & (y > 0))


def columns(x, y, w, v, labels):
    """A column of ones beside the matrix: an intercept."""
    z = xp.concat([x, xp.ones_like(x[:, :1])], axis=1)
    u = xp.concat([w, xp.ones((1,))])
    return z.T @ (xp.stack([z @ u, y], axis=1) - x[:, 1:] @ v[1:])


def beside(x, y, w, v, labels):
    """Values that all ranks share stay the same, whatever tiles the shards of some ranks have."""
    r = xp.asarray(MATRIX, split=None)
    same = r.T @ xp.tanh(r @ xp.asarray(WEIGHTS)), xp.tanh(r @ xp.asarray(MORE))
    return *same, x.T @ xp.tanh(x @ w), xp.sum(xp.tanh(r @ xp.asarray(MORE)), axis=0)


def stacks(x, y, w, v, labels):
    outer = x[:, :, None] * x[:, None, :]
    return xp.sum(outer @ v, axis=0), xp.einsum("na,nb,n->ab", x, x, x @ w)


PROGRAMS = (logistic, softmax, kmeans, linear, newton, extremes, centered, twice, pairs)
PROGRAMS = (*PROGRAMS, columns, beside, stacks)


def compiled(f, backend="aot_eager"):
    return xp.compile(f, fullgraph=True, backend=backend, show_progress=False)


def arguments(layout, dtype=np.float64):
    """Return operands: with rows where the matrix has them, if it is split along them."""
    rows = xp.Layout.of((N,), 0, layout.counts, COMM) if layout.split == 0 else None
    x = make(MATRIX.astype(dtype), layout)
    y, labels = make(VECTOR.astype(dtype), rows), make(LABELS, rows)
    return x, y, xp.asarray(WEIGHTS.astype(dtype)), xp.asarray(MORE.astype(dtype)), labels


def check(f, args, backend="aot_eager", rtol=1e-12):
    expected = f(*args)
    step = compiled(f, backend)
    for _ in range(2):
        result = step(*args)
        both = (result, expected) if isinstance(result, tuple) else ((result,), (expected,))
        for mine, theirs in zip(*both, strict=True):
            assert mine.layout == theirs.layout
            assert_equal(mine, np.asarray(theirs), rtol=rtol, atol=10 * rtol)
            assert_consistent(mine)
    return step


@pytest.mark.some_cases(6)
@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_as_eager(found, f):
    for layout in layouts((N, 3), few=True):
        check(f, arguments(layout))


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_what_is_tiled(found, f):
    layout = xp.Layout.balanced((N, 3), 0, COMM)
    step = compiled(f)
    step(*arguments(layout))
    assert len(found) == {twice: 2}.get(f, 1)
    # No message is in a region, and none is lost.
    args = arguments(layout)
    with xp.trace() as eager:
        f(*args)
    assert len(messages(step, *args)) <= eager.count()


def test_the_matrix_is_read_once(found):
    compiled(logistic)(*arguments(xp.Layout.balanced((N, 3), 0, COMM)))
    (region,) = found
    products = [node for node in region.members if node.target in row_tiling.PRODUCTS]
    assert len(products) == 2
    assert [tuple(node.meta["val"].shape) for node in region.outputs] == [(), (3, 1)]


@pytest.mark.parametrize("dtype", ["float32", "complex64", "complex128"])
def test_dtypes(found, dtype):
    args = arguments(xp.Layout.balanced((N, 3), 0, COMM), np.dtype(dtype))
    check(linear, args, rtol=1e-12 if dtype == "complex128" else 1e-4)
    assert found


def test_half_precision_is_not_tiled(found):
    """The sum of each tile would be rounded."""
    compiled(linear)(*arguments(xp.Layout.balanced((N, 3), 0, COMM), np.float16))
    assert not found


def test_integers(found):
    x = make((MATRIX * 5).astype(np.int32), xp.Layout.balanced((N, 3), 0, COMM))
    w = xp.asarray([1, -2, 3], dtype=xp.int32)
    step = check(lambda x, w: (x.T @ (x @ w), xp.sum(x @ w), xp.max(x @ w)), (x, w))
    assert step.captures == 1
    assert found


def test_nan(found):
    args = list(arguments(xp.Layout.balanced((N, 3), 0, COMM)))
    args[0] = args[0] * 1.0
    args[0][7, 1] = xp.nan
    check(extremes, args)


def test_large_results_are_not_added_up(monkeypatch, found):
    monkeypatch.setattr(row_tiling, "MOST_RESULT_BYTES", 8)
    compiled(linear)(*arguments(xp.Layout.balanced((N, 3), 0, COMM)))
    assert not found


def test_small_arrays_are_not_tiled(monkeypatch, found):
    monkeypatch.setattr(row_tiling, "LEAST_BYTES_FOR_TILES", 1 << 20)
    compiled(logistic)(*arguments(xp.Layout.balanced((N, 3), 0, COMM)))
    assert not found


def test_another_number_of_rows_compiles_no_further_tile(found):
    """The code of a tile does not depend on the number of tiles."""
    step = compiled(linear)
    for n in (16, 24, 40, 55):
        x = make(RNG.standard_normal((n, 3)), xp.Layout.balanced((n, 3), 0, COMM))
        y = make(RNG.standard_normal(n), xp.Layout.balanced((n,), 0, COMM))
        w = xp.asarray(WEIGHTS)
        assert_equal(step(x, y, w, None, None), np.asarray(linear(x, y, w, None, None)), rtol=1e-12)
    # The tile, the graph around it for the first number of rows, and for any number.
    assert step.compilations == 3


@pytest.mark.skipif(no_compiler() is not None, reason=f"{no_compiler()}")
@pytest.mark.some_cases(1)
@pytest.mark.parametrize("f", [logistic, kmeans, newton], ids=lambda f: f.__name__)
def test_machine_code(found, f):
    check(f, arguments(xp.Layout.balanced((N, 3), 0, COMM)), "inductor")
    assert found


# ---------------------------------------------------------------- random programs

UNARY = {
    "tanh": xp.tanh,
    "square": lambda a: xp.tanh(a) ** 2,
    "sum 0": lambda a: xp.sum(a, axis=0) / 10,
    "sum 1": lambda a: xp.sum(a, axis=1),
    "keep": lambda a: xp.sum(a, axis=0, keepdims=True) / 10,
    "max 0": lambda a: xp.max(a, axis=0),
    "min 1": lambda a: xp.min(a, axis=1, keepdims=True),
    "column": lambda a: a[:, None],
    "row": lambda a: a[None, :],
    "first": lambda a: a[:, 0],
    "transpose": lambda a: a.T,
    "softmax": lambda a: xp.special.softmax(a, axis=1),
    "running": lambda a: xp.cumulative_sum(a, axis=0) / 10,
    "nearest": lambda a: xp.astype(
        xp.argmin(a, axis=1)[:, None] == xp.arange(a.shape[1])[None, :], xp.float64
    ),
    "gradient": xp.autograd.grad(lambda a: xp.sum(xp.tanh(a.T @ a))),
    "flat": lambda a: xp.reshape(a, (-1,)),
    "stack": lambda a: xp.reshape(a, (a.shape[0], a.shape[1], 1)) * xp.ones((1, 1, 2)),
}
BINARY = {
    "add": lambda a, b: a + b,
    "multiply": lambda a, b: xp.tanh(a) * b,
    "where": lambda a, b: xp.where(a > 0.1234, a, b),
    "matmul": lambda a, b: xp.tanh(a) @ xp.tanh(b),
    "product": lambda a, b: xp.tanh(a).T @ xp.tanh(b),
    "outer": lambda a, b: a[:, None] * b[None, :],
}


def apply(step, arrays):
    name, *operands = step
    return (UNARY.get(name) or BINARY[name])(*(arrays[i] for i in operands))


def program(steps, x, y, w, v):
    arrays = [x, y, w, v]
    for step in steps:
        arrays.append(apply(step, arrays))
    return tuple(arrays[4:])


def drawn(n, random):
    """Draw steps that work on arrays of ones; the first is a product row by row."""
    arrays = [xp.ones(s, split=None) for s in ((n, 3), (n,), (3,), (3, 2))]
    steps = [("matmul", 0, random.choice([2, 3]))]
    arrays.append(apply(steps[0], arrays))
    names = [*UNARY, *BINARY, *["sum 0", "max 0", "matmul", "product", "product"] * 2]
    for _ in range(40):
        name = random.choice(names)
        operands = random.choices(range(len(arrays)), k=1 + (name in BINARY))
        step = (name, *operands)
        try:
            made = apply(step, arrays)
        except (AttributeError, ValueError, IndexError, TypeError):
            continue
        if made.ndim <= 3 and made.size < 2000:
            steps.append(step)
            arrays.append(made)
        if len(steps) > 9:
            break
    return steps


@given(st.data())
def test_random_programs(data):
    n = data.draw(st.sampled_from([3, 8, 13, 20]))
    steps = drawn(n, data.draw(st.randoms(use_true_random=False)))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    x = make(rng.standard_normal((n, 3)), data.draw(layouts_of((n, 3))))
    y = make(rng.standard_normal(n), data.draw(layouts_of((n,))))
    w, v = xp.asarray(WEIGHTS), xp.asarray(MORE)
    expected = program(steps, x, y, w, v)
    with pytest.MonkeyPatch.context() as patched:
        tile_small_arrays(patched)
        result = compiled(program)(steps, x, y, w, v)
    for mine, theirs in zip(result, expected, strict=True):
        assert mine.layout == theirs.layout
        assert_equal(mine, np.asarray(theirs), rtol=1e-9, atol=1e-9)
