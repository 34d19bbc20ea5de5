"""Functions with graph breaks run as subgraphs, compiled before and after lines that need values.

The subgraphs run as they were recorded (``backend="eager"``), except in a few tests at the end.
"""

from __future__ import annotations

import numpy as np
import pytest
from test_compile import EAGER, VALUES, compiled, no_space_on_the_last_rank, random

import heat_array_api as xp
from differentiated import FUNCTIONS, SHAPE
from files import shared_folder
from heat_array_api import ml
from heat_array_api._compile import compiled as _compiled
from heat_array_api._compile import inductor as _inductor
from heat_array_api._compile.inductor import no_compiler
from layouts import agree, assert_equal, layouts, make

SIZE = xp.world().size


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Let arrays of any size be large enough for subgraphs."""
    monkeypatch.setattr(_compiled, "LEAST_BYTES_FOR_SUBGRAPHS", 0)


def sent(f, *args):
    """Return the function's own messages, as "operation: collective"."""
    with xp.trace() as t:
        f(*args)
    return [f"{e.operation}: {e.collective}" for e in t.events if e.operation != "compile"]


# ---------------------------------------------------------------------- all operations

FIRST = {
    **{name: FUNCTIONS[name] for name in sorted(EAGER)},
    "nonzero": lambda x: xp.nonzero(x > 0),
    "where": lambda x: xp.where(x > 0.2),
    "unique_values": lambda x: xp.unique_values(xp.round(x)),
    "unique_all": lambda x: tuple(xp.unique_all(xp.round(x))),
    "unique_counts": lambda x: tuple(xp.unique_counts(xp.round(x))),
    "unique_inverse": lambda x: tuple(xp.unique_inverse(xp.round(x))),
    "argsort": lambda x: xp.argsort(x, axis=0),
    "isin": lambda x: xp.isin(xp.round(x), xp.round(x[:2])),
    "searchsorted": lambda x: xp.searchsorted(xp.sort(x[:, 0]), x[:, 1]),
    "float": lambda x: x * float(xp.sum(x)),
    "int": lambda x: x[: int(xp.count_nonzero(x > 0)) % 4],
    "bool": lambda x: x * 2 if xp.any(x > 0) else x * 3,
    "complex": lambda x: x * complex(xp.sum(x)),
    "index": lambda x: x[xp.argmax(x[:, 0])],
    "format": lambda x: x * len(f"{xp.sum(x):.3f}"),
    "repr": lambda x: x * len(repr(x)),
    "str": lambda x: x * len(str(x)),
    "item": lambda x: x * xp.sum(x).item(),
    "tolist": lambda x: x * xp.sum(x, axis=0).tolist()[0],
    "numpy": lambda x: x * np.asarray(xp.sum(x, axis=0)),
    "dlpack": lambda x: xp.from_dlpack(xp.sum(x, axis=0)) * x,
    "contains": lambda x: x * (3.0 in x),
    "iteration": lambda x: xp.stack([xp.median(row) for row in x]),
    "random": lambda x: x + xp.random.default_rng(1).random(x.shape),
    "normal": lambda x: x + xp.random.default_rng(1).normal(xp.mean(x), 2.0, x.shape),
    "permutation": lambda x: xp.random.default_rng(1).permutation(x),
    "choice": lambda x: xp.random.default_rng(1).choice(x, 3, p=xp.asarray([0.2] * 5)),
    "inv": lambda x: xp.linalg.inv(x[:4] + 9 * xp.eye(4)),
    "inv of a product": lambda x: xp.linalg.inv(x.T @ x),
    "solve": lambda x: xp.linalg.solve(x.T @ x, x.T),
    "det": lambda x: xp.linalg.det(x.T @ x) * x,
    "slogdet": lambda x: tuple(xp.linalg.slogdet(x.T @ x)),
    "cholesky": lambda x: xp.linalg.cholesky(x.T @ x),
    "eigh": lambda x: xp.linalg.eigh(x.T @ x).eigenvalues,
    "eigvals": lambda x: xp.linalg.eigvals(x[:4] * 0 + xp.asarray(np.diag([1.0, 2.0, 3.0, 4.0]))),
    "svd": lambda x: xp.linalg.svd(x, full_matrices=False).S,
    "pinv": xp.linalg.pinv,
    "matrix_rank": lambda x: x * xp.linalg.matrix_rank(x),
    "matrix_norm": lambda x: xp.linalg.matrix_norm(x, ord=2) * x,
    "matrix_power": lambda x: xp.linalg.matrix_power(x.T @ x, -1),
    "qr": lambda x: xp.linalg.qr(x).R,
    "split index": lambda x: x[xp.asarray([4, 0, 0, 2], split=0)],
    "split index of columns": lambda x: x[:, xp.asarray([3, 0, 0], split=0)],
    "take, split": lambda x: xp.take(x, xp.asarray([4, 0, 0, 2], split=0), axis=0),
    "index out of a mask": lambda x: x[xp.nonzero(x[:, 0] > 0)[0]],
    "mask and slice": lambda x: x[x[:, 0] > 0, 1:3],
    "gradient over a mask": xp.autograd.grad(lambda y: xp.sum(xp.sin(y[y > 0]))),
    "gradient over a sort": xp.autograd.grad(lambda y: xp.sum(xp.sort(y, axis=0)[1:] ** 2)),
    "gradient": xp.autograd.grad(lambda y: xp.sum(xp.sin(y) * xp.mean(y, axis=0))),
    "jvp": lambda x: xp.autograd.jvp(xp.median, (x,), (x,)),
    "vjp": lambda x: (lambda y, back: (y, back(y * 2)))(*xp.autograd.vjp(xp.sin, x)),
    "from_local": lambda x: xp.from_local(np.ones((2, 4)) * xp.world().rank, split=0),
}


@pytest.mark.some_cases(40)
@pytest.mark.parametrize("name", FIRST)
def test_as_eager(name, check):
    """An operation that needs values, between others, on all layouts and without a warning."""

    def f(x):
        y = xp.tanh(x) * 2 + xp.sum(x, axis=0) / 10
        z = FIRST[name](y)
        arrays = z if isinstance(z, tuple) else (z,)
        return [*(w * 2 + 1 for w in arrays if isinstance(w, xp.Array)), y - xp.mean(y), z]

    g = compiled(f)
    for layout in layouts(SHAPE, few=True):
        expected = f(make(VALUES, layout))
        for _ in range(2):
            compare(g(make(VALUES, layout)), expected, check, (name, layout.split, layout.counts))


def compare(mine, theirs, check, *note):
    if isinstance(theirs, xp.Array):
        assert mine.layout == theirs.layout
        assert mine.dtype == theirs.dtype
        check(mine, np.asarray(theirs), note)
    elif isinstance(theirs, (list, tuple)):
        assert len(mine) == len(theirs)
        for one, other in zip(mine, theirs, strict=True):
            compare(one, other, check, *note)
    else:
        assert mine == theirs


# ---------------------------------------------------------------------- where it breaks


def test_breaks_are_counted():
    f = compiled(lambda x: xp.sort(x[x > 0] * 2) + float(xp.sum(x)))
    assert f.breaks == {}
    for n in (1, 2):
        f(random((9,)))
        assert list(f.breaks.values()) == [n, n, n]
    places = [place.rpartition(":")[0] for place in f.breaks]
    assert places == [f"{name} at {__file__}" for name in ("__getitem__", "sort", "__float__")]
    assert f.captures == 1


def test_small_arrays_are_not_worth_it(monkeypatch, check):
    f = compiled(lambda x: x[x > 0] * 2)
    x = random((8 * SIZE, 4))
    share = 8 * 4 * x.itemsize
    for least, breaks in ((share + 1, 0), (share, 1)):
        monkeypatch.setattr(_compiled, "LEAST_BYTES_FOR_SUBGRAPHS", least)
        check(f(x), 2 * np.asarray(x)[np.asarray(x) > 0])
        assert len(f.breaks) == breaks


def test_fullgraph():
    f = compiled(lambda x: x[x > 0], fullgraph=True)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="cannot be compiled as a whole"):
            f(random((5,)))


def test_what_can_be_recorded_breaks_nothing(check):
    """Some operations need values in some layouts only: the ranks agree once on which."""

    def f(x):
        y = xp.take(x * 2, xp.asarray([2, 0, -1]), axis=1)
        return xp.sum(y, axis=0) + float(xp.sum(x))

    g = compiled(f)
    x = random((30, 3))
    for _ in range(2):
        check(g(x), np.asarray(f(x)))
    assert [place.partition(" ")[0] for place in g.breaks] == ["__float__"]
    with xp.trace() as t:
        g(x)
    # The ranks synchronise at the break and at the end, and no more about `take`.
    assert t.count("allgather_ints") == 2 * (SIZE > 1)


# ---------------------------------------------------------------------- messages


def before_and_after(x):
    a, b, c = xp.sum(x), xp.mean(x), xp.sum(x * x)
    y = x[x > 0] * a
    return xp.sum(y) + xp.sum(y * y) + b, xp.mean(y) + c


def test_messages_on_either_side_travel_together(check):
    x = random((40,))
    f = compiled(before_and_after)
    for _ in range(3):
        check(f(x), tuple(np.asarray(y) for y in before_and_after(x)))
    one, mask, other = "sum + mean: allreduce", "__getitem__: allgather_ints", "sum + mean"
    assert sent(f, x) == [one, mask, f"{other}: allreduce"] * (SIZE > 1)
    assert len(sent(before_and_after, x)) == 7 * (SIZE > 1)


def test_a_trace_names_lines_and_the_compiler_s_own_messages():
    f = compiled(before_and_after)
    x = random((40,))
    for _ in range(2):
        f(x)
    with xp.trace() as t:
        f(x)
    own = [e for e in t.events if e.operation == "compile"]
    assert [e.collective for e in own] == ["allgather_ints"] * 2 * (SIZE > 1)
    assert all(e.bytes == 24 for e in own)
    assert all("test_graph_breaks.py" in e.line for e in t.events)


def test_a_break_with_nothing_before_it_sends_no_more(check):
    f = compiled(lambda x: xp.sort(x)[::2] * 2)
    x = random((12,))
    check(f(x), 2 * np.sort(np.asarray(x))[::2])
    f(x)
    assert sent(f, x) == sent(lambda x: xp.sort(x)[::2] * 2, x)


def test_unused_messages_are_left_out():
    def f(x):
        xp.sum(x)
        y = x[x > 0]
        xp.sum(y)
        return y

    g = compiled(f)
    x = random((12,))
    g(x)
    assert sent(g, x) == ["__getitem__: allgather_ints"] * (SIZE > 1)


# ---------------------------------------------------------------------- control flow


def test_loops_until_a_value(check):
    def root(x):
        y, steps = x * 0 + 1, 0
        while float(xp.max(xp.abs(y * y - x))) > 1e-12:
            y = (y + x / y) / 2
            steps += 1
        return y, steps

    f = compiled(root)
    for n in (5, 9):
        x = xp.abs(random((n,))) + 0.1
        for _ in range(2):
            y, steps = f(x)
            expected = root(x)
            check(y, np.asarray(expected[0]))
            assert steps == expected[1]


def test_branches(check):
    f = compiled(lambda x: x * 2 if xp.sum(x) > 0 else xp.exp(x) - 3)
    for _ in range(2):
        check(f(xp.ones((4,), split=0)), 2 * np.ones(4))
        check(f(-xp.ones((4,), split=0)), np.exp(-np.ones(4)) - 3)
    assert f.captures == 1


def test_python_runs_in_each_call(capsys, check):
    calls = []

    @compiled
    def f(x):
        y = x * 2
        calls.append(y)
        print("largest", xp.max(y), flush=True)
        return y[y > 0] + 1

    x = random((7,))
    for n in range(1, 4):
        values = 2 * np.asarray(x)
        check(f(x), values[values > 0] + 1)
        assert len(calls) == n
        for y in calls:
            check(y * 1, values)
    lines = [line for line in capsys.readouterr().out.splitlines() if "largest" in line]
    # The first call is captured before it is made.
    agree(None if len(lines) >= 3 and len(set(lines)) <= 2 else f"printed {lines}")


def test_compiled_functions_call_each_other(check):
    inner = compiled(lambda x: x[x > 0] * 2)
    outer = compiled(lambda x: inner(x * 3) + float(xp.sum(x)))
    x = random((9,))
    for _ in range(2):
        values = np.asarray(x)
        check(outer(x), values[values > 0] * 6 + values.sum())
    assert not inner.breaks


def test_random_numbers_go_on(check):
    mine, theirs = xp.random.default_rng(3), xp.random.default_rng(3)

    def noisy(x, rng):
        return x * 2 + rng.random(x.shape, split=0), rng.normal(size=(3,))

    f = compiled(noisy)
    x = random((6,))
    for _ in range(3):
        for one, other in zip(f(x, mine), noisy(x, theirs), strict=True):
            check(one, np.asarray(other))


def test_files(check):
    def through(x, path):
        xp.io.save(x * 2, path)
        return xp.io.load(path, split=0) + xp.sum(x)

    f = compiled(through)
    x = random((9, 2))
    with shared_folder(xp.world()) as folder:
        for _ in range(2):
            check(f(x, folder / "x.npy"), 2 * np.asarray(x) + np.asarray(x).sum())


def test_arrays_where_they_are_not_found(check):
    class Hidden:
        __slots__ = ("w",)

    hidden = Hidden()
    hidden.w = random((6,), seed=1)
    values = np.asarray(hidden.w).copy()

    @compiled
    def f(x):
        y = x * hidden.w
        hidden.w = hidden.w + 1
        hidden.w += y
        return y[y > 0]

    x = random((6,))
    for _ in range(2):
        expected = np.asarray(x) * values
        check(f(x), expected[expected > 0])
        values = values + 1 + expected
        check(hidden.w, values)


def test_raw_tensors_of_the_user_s(check):
    import torch

    weights = torch.arange(4.0, dtype=torch.float64)
    f = compiled(lambda x: xp.from_local(x.local * weights, split=None)[xp.asarray([1, 0])])
    g = compiled(lambda x: x * float(xp.sum(x)) + xp.asarray(np.arange(4.0)))
    x = random((4,), split=None)
    with pytest.warns(xp.CompileWarning, match="shard"):
        check(f(x), (np.asarray(x) * np.arange(4.0))[[1, 0]])
    check(g(x), np.asarray(x) * np.asarray(x).sum() + np.arange(4.0))


# ---------------------------------------------------------------------- writing


def test_writing_on_either_side(check):
    def f(x, y):
        x += y
        x[1:3] = 7.0
        x[x > 0] = 0.5
        x[0] = xp.sum(x)
        y *= 2
        x[xp.asarray([2, 4], split=0)] = xp.asarray([9.0, 8.0])
        return xp.median(x), x

    g = compiled(f)
    for layout in layouts((6,)):
        for _ in range(2):
            a, b = (make(np.asarray(random((6,), None, i)), layout) for i in (0, 1))
            x, y = (make(np.asarray(random((6,), None, i)), layout) for i in (0, 1))
            view = x[:2]
            expected = f(a, b)
            result = g(x, y)
            assert result[1] is x
            assert x.layout == a.layout
            for one, other in ((result[0], expected[0]), (x, a), (y, b), (view, a[:2])):
                check(one, np.asarray(other), (layout.split, layout.counts))


def test_writing_through_views(check):
    def f(x):
        rows = x[1:3]
        rows *= 2.0
        x[x < 0] = 0.0
        column = x[:, 0]
        column += float(xp.sum(rows))
        rows[...] = 4.0
        return xp.sort(x, axis=0)

    g = compiled(f)
    for layout in layouts((5, 3)):
        values = np.random.default_rng(1).standard_normal((5, 3))
        for _ in range(2):
            x, y = make(values, layout), make(values, layout)
            check(g(x), np.asarray(f(y)))
            check(x, np.asarray(y))


def test_writing_to_a_variable_around(check):
    total = xp.zeros((4,), split=0)

    @compiled
    def add(x):
        total[...] = total + x
        total[total > 2] = 2.0

    x = random((4,))
    values = np.zeros(4)
    for _ in range(3):
        assert add(x) is None
        values = np.minimum(values + np.asarray(x), 2.0)
        check(total, values)


def test_replicated_arrays_that_become_split(check):
    def f(x):
        z = xp.zeros(x.shape, split=None)
        z[...] = x * 2
        z[x > 0] = 1.0
        return z + float(xp.sum(z))

    g = compiled(f)
    for layout in layouts((8, 3), few=True):
        x = make(np.random.default_rng(2).standard_normal((8, 3)), layout)
        for _ in range(2):
            compare(g(x), f(x), check)


# ---------------------------------------------------------------------- errors


def test_matrices_that_are_refused(check):
    def factor(x):
        y = x @ x.T + xp.eye(3)
        return xp.linalg.cholesky(y - 5 * xp.max(x))

    f = compiled(factor)
    for split in (None, 0, 1):
        x = xp.asarray(np.eye(3), split=split)
        for _ in range(2):
            with pytest.raises(np.linalg.LinAlgError, match="cholesky"):
                f(x)
            check(f(-x), np.linalg.cholesky(2 * np.eye(3)))


def test_errors_that_the_function_handles(check):
    @compiled
    def f(x):
        y = x * 2
        try:
            xp.linalg.inv(y * 0)
        except np.linalg.LinAlgError:
            y = y + 1
        return y * 2

    x = xp.asarray(np.eye(3), split=0)
    for _ in range(2):
        check(f(x), 4 * np.eye(3) + 2)


def test_errors_of_the_function_s_own(check):
    """What was written before the error stays written, as it does eagerly."""

    @compiled
    def f(x):
        x += 1
        if float(xp.sum(x)) > 0:
            x *= 2
            raise KeyError("too big")
        return x

    x = xp.zeros((5,), split=0)
    for expected in (2.0, 6.0):
        with pytest.raises(KeyError, match="too big"):
            f(x)
        check(x, np.full(5, expected))
    check(f(x - 20), np.full(5, -13.0))


def test_an_error_on_one_rank_is_one_on_all(check):
    @compiled
    def f(x, bad):
        x += 1
        total = float(xp.sum(x))
        if total > 0 and bad and xp.world().rank == SIZE - 1:
            raise KeyError("here")
        return xp.sum(x) + xp.median(x)

    x = xp.zeros((5,), split=0)
    check(f(x, False), 6.0)
    kind = KeyError if xp.world().rank == SIZE - 1 else RuntimeError
    for _ in range(2):
        with pytest.raises(kind):
            f(x, True)
    check(f(x * 0, False), 6.0)


def test_indices_out_of_range_write_nothing(check):
    @compiled
    def f(x, i):
        x += 1
        y = float(xp.sum(x))
        x *= y
        return xp.take(x, i, axis=1) + float(xp.sum(x))

    x = xp.ones((4, 3), split=0)
    index = xp.asarray([0, 2])
    check(f(x, index), np.full((4, 2), 48.0 + 12 * 48))
    with pytest.raises(IndexError, match="out of range"):
        f(x, xp.asarray([0, 3]))
    check(x, np.full((4, 3), 49.0))


# ---------------------------------------------------------------------- what cannot be broken


def test_what_only_some_ranks_can_record_runs_eagerly_on_all(check):
    @compiled
    def f(x):
        y = xp.sum(x[x > 0])
        if xp.world().rank == SIZE - 1:
            x.local.numpy()
        return y + xp.sum(x)

    x = random((9,))
    values = np.asarray(x)
    with pytest.warns(xp.CompileWarning, match="runs eagerly"):
        check(f(x), values[values > 0].sum() + values.sum())
    check(f(x), values[values > 0].sum() + values.sum())


def test_eagerly_from_the_start(check):
    """A function that cannot go on as subgraphs begins again: nothing is done twice."""
    seen = []
    state = {"n": 0}

    @compiled
    def f(x):
        seen.append(x * 2)
        state["n"] += 1
        x += 1
        x[x > 0] = 0.0
        x.local.numpy()
        return xp.sum(x)

    x = random((9,))
    expected = np.asarray(x) + 1
    expected[expected > 0] = 0
    with pytest.warns(xp.CompileWarning, match="outside torch"):
        check(f(x), expected.sum())
    check(x, expected)
    assert len(seen) == 1
    assert state["n"] == 1


def test_views_from_the_start(check):
    """What is written through a view is put back with it."""

    @compiled
    def f(view):
        view += 1
        view[view > 1] *= float(xp.sum(view))
        view.local.numpy()

    x = xp.ones((8,), split=0)
    with pytest.warns(xp.CompileWarning, match="outside torch"):
        f(x[2:5])
    expected = np.ones(8)
    expected[2:5] = 12.0
    check(x, expected)


def test_interrupts(check):
    """Interrupts leave the arguments as they were before the call."""

    @compiled
    def f(x):
        x += 1
        x[x > 1] = 5.0
        if float(xp.sum(x)) > 0:
            raise KeyboardInterrupt
        return x

    x = xp.ones((8,), split=0)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            f(x)
        check(x * 1, np.ones(8))


def test_several_communicators():
    """Ranks that have called a function before stay in step with those that have not."""
    world = xp.world()
    part = world.split(min(world.rank, 1))
    f = compiled(before_and_after)
    wrong = []

    def run(comm):
        for seed in range(2):
            values = np.random.default_rng(seed).standard_normal(40)
            x = xp.asarray(values, split=0, comm=comm)
            for mine, theirs in zip(f(x), before_and_after(x), strict=True):
                if not np.isclose(float(mine), float(theirs), rtol=1e-12):
                    wrong.append((comm.size, seed, mine, theirs))

    if world.rank == 0:
        run(part)
    run(world)
    if world.rank != 0:
        run(part)
    run(world)
    agree(str(wrong) if wrong else None)


def loss(w, x):
    return xp.sum(xp.sin(x * w)[x > 0])


def test_derivatives_inside(check):
    w, x = random((3,), None, 1), random((9, 3))

    def step(w, x):
        value, g = xp.autograd.value_and_grad(loss)(w, x * 2)
        return value + xp.sum(x), w - 0.1 * g, xp.median(g)

    f = compiled(step)
    for _ in range(2):
        for one, other in zip(f(w, x), step(w, x), strict=True):
            check(one, np.asarray(other))
    assert [place.partition(" ")[0] for place in f.breaks] == ["value_and_grad", "median"]


def test_derivatives_that_are_recorded(check):
    """The gradient of a function without breaks is a part of a subgraph."""
    w, x = random((3,), None, 1), random((9, 3))

    def step(w, x):
        value, g = xp.autograd.value_and_grad(lambda w: xp.mean(xp.tanh(x * w) ** 2))(w)
        return w - g / float(value)

    f = compiled(step)
    for _ in range(3):
        check(f(w, x), np.asarray(step(w, x)))
    assert len(f.breaks) == 1
    # The gradient needs no mean: both sums travel as one.
    assert len(sent(f, w, x)) == (SIZE > 1)


def test_what_a_differentiated_function_does_besides(check):
    seen = []

    def noted(w, x):
        y = loss(w, x)
        seen.append(y.detach())
        return y + 0 * float(y.detach())

    w, x = random((3,), None, 1), random((9, 3))
    f = compiled(lambda w, x: xp.autograd.grad(noted)(w, x) * 2)
    expected = 2 * np.asarray(xp.autograd.grad(noted)(w, x))
    for n in range(2, 5):
        check(f(w, x), expected)
        assert len(seen) == n
        for y in seen:
            check(y * 1, np.asarray(loss(w, x)))


def test_inputs_of_the_tape(check):
    def gradient(w, x):
        w.requires_grad_()
        y = xp.sum(x * w)
        print(y)
        y.backward()
        return w.grad

    f = compiled(gradient)
    x = random((9, 3))
    for n in range(2):
        w = random((3,), None, 1)
        if n:
            check(f(w, x), np.asarray(x).sum(axis=0))
        else:
            with pytest.warns(xp.CompileWarning, match="derivatives are taken"):
                check(f(w, x), np.asarray(x).sum(axis=0))
        assert w.requires_grad


def test_derivatives_outside_run_eagerly(check):
    w, x = random((3,), None, 1), random((9, 3))
    f = compiled(loss)
    with pytest.warns(xp.CompileWarning, match="depends on values"):
        mine = xp.autograd.grad(f)(w, x)
    check(mine, np.asarray(xp.autograd.grad(loss)(w, x)))
    check(f(w, x), np.asarray(loss(w, x)))
    assert len(f.breaks) == 1


def test_the_tape_across_a_break_runs_eagerly(check):
    def gradient(w, x):
        w = w * 1
        w.requires_grad_()
        y = xp.sum(x * w)
        y = y * float(y.detach())
        y.backward()
        return w.grad

    w, x = random((3,), None, 1), random((9, 3))
    f = compiled(gradient)
    with pytest.warns(xp.CompileWarning, match="derivatives are taken"):
        check(f(w, x), np.asarray(gradient(w, x)))
    check(f(w, x), np.asarray(gradient(w, x)))


def test_debug_mode(monkeypatch, check):
    monkeypatch.setattr(_compiled, "DEBUG", True)
    f = compiled(before_and_after)
    x = random((40,))
    for _ in range(_compiled.MOST_FAILURES + 2):
        check(f(x), tuple(np.asarray(y) for y in before_and_after(x)))


# ---------------------------------------------------------------------- how often it compiles


def positive(x):
    y = xp.exp(-x * x) + x
    z = y[y > 0]
    return xp.sum(z * z + 1) / xp.mean(xp.sqrt(z)), xp.cumulative_sum(z * 2)


def test_counts_that_change_compile_nothing_new():
    f = compiled(positive, backend="aot_eager")
    for seed in range(8):
        x = random((40 * SIZE,), seed=seed)
        for one, other in zip(f(x), positive(x), strict=True):
            assert_equal(one, np.asarray(other))
    assert f.compilations <= 3
    assert f.captures == 1


def test_many_ways_to_call_it(check):
    """A function that was never captured as a whole is not tried any more."""
    f = compiled(lambda x, n: x[x > n] * 2)
    x = random((9,))
    for n in range(10):
        check(f(x, n / 10), 2 * np.asarray(x)[np.asarray(x) > n / 10])
    assert f.captures == _compiled.MOST_FAILURES
    assert sum(f.breaks.values()) == 10


def test_uneven_and_empty_shards(check):
    f = compiled(positive)
    for layout in layouts((9,)):
        for seed in range(3):
            x = make(np.random.default_rng(seed).standard_normal(9), layout)
            for one, other in zip(f(x), positive(x), strict=True):
                assert one.layout == other.layout
                check(one, np.asarray(other))


@pytest.mark.skipif(no_compiler() is not None, reason=f"{no_compiler()}")
def test_machine_code():
    f = compiled(positive, backend="inductor")
    for seed in range(4):
        x = random((60 * SIZE,), seed=seed)
        for one, other in zip(f(x), positive(x), strict=True):
            assert_equal(one, np.asarray(other))
    assert f.compilations <= 3


def test_a_compiler_that_fails_on_one_rank(monkeypatch, check):
    monkeypatch.setattr(_inductor, "_compile", no_space_on_the_last_rank)
    f = compiled(before_and_after, backend="aot_eager")
    x = random((40,))
    with pytest.warns(xp.CompileWarning, match="no space left"):
        check(f(x), tuple(np.asarray(y) for y in before_and_after(x)))
    check(f(x), tuple(np.asarray(y) for y in before_and_after(x)))


# ---------------------------------------------------------------------- estimators

ESTIMATORS = {
    "KMeans": lambda: ml.KMeans(2, init=VALUES[:2], max_iter=3),
    "MiniBatchKMeans": lambda: ml.MiniBatchKMeans(
        2, init=VALUES[:2], batch_size=4, max_iter=3, random_state=0
    ),
    "LinearRegression": ml.LinearRegression,
    "Lasso": lambda: ml.Lasso(alpha=0.01, max_iter=20),
    "TruncatedSVD": lambda: ml.TruncatedSVD(2, random_state=0),
    "IncrementalPCA": lambda: ml.IncrementalPCA(2, batch_size=8),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators(name):
    """Methods of estimators can be compiled: fits, too, which set attributes and iterate."""
    rng = np.random.default_rng(0)
    values, targets = rng.standard_normal((24, 4)), rng.standard_normal(24)
    expected = ESTIMATORS[name]().fit(values, targets)
    use = "transform" if hasattr(expected, "transform") else "predict"
    for layout in layouts(values.shape, few=True):
        if layout.split == 1:
            continue
        x = make(values, layout)
        y = xp.asarray(targets) if layout.split is None else xp.asarray(targets, split=0)
        found = ESTIMATORS[name]()
        assert compiled(found.fit)(x, y) is found
        apply = compiled(getattr(found, use))
        for _ in range(2):
            result = apply(x)
            assert_equal(result, getattr(expected, use)(values), rtol=1e-6, atol=1e-6)
            assert result.split == layout.split
