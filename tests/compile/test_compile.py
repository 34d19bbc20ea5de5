"""Compiled functions do what the eager ones do, with the messages that they should send.

Most of this runs the captured graph as it is (``backend="eager"``): capture, schedule, messages,
derivatives are the same for every compiler. `test_inductor` tests machine code.
"""

from __future__ import annotations

import warnings
from collections import namedtuple

import numpy as np
import pytest

import heat_array_api as xp
from differentiated import FUNCTIONS, SHAPE
from heat_array_api._compile import compiled as _compiled
from heat_array_api._compile import inductor as _inductor
from heat_array_api._core import moments
from heat_array_api.demo._kmeans import kmeans
from layouts import agree, assert_equal, describe, layouts, make

SIZE = xp.world().size
VALUES = np.random.default_rng(0).standard_normal(SHAPE)
# These have no static layout, or run outside torch.
EAGER = {
    *("mask", "row mask", "mask of elements", "setitem by mask", "setitem by a mask of values"),
    *("nanmedian", "quantile", "quantile of all", "nanquantile"),  # they sort
    *("median", "median of all", "sort 0", "sort 1", "sort of all", "sort, descending"),
    *("argsort, take", "take_along_axis", "bincount", "repeat unevenly", "setitem by pairs"),
    *("cholesky of a stack", "det of a stack", "eigvalsh of a stack", "inv of a stack"),
    *("inv of split matrices", "solve of a stack", "svdvals of a stack"),
    # The messages depend on the index, unless it is replicated and small.
    *("integers", "split integers", "a matrix of integers", "take of rows", "pairs of integers"),
    *("setitem", "take"),
}


def compiled(f, **options):
    options.setdefault("backend", "eager")
    options.setdefault("show_progress", False)
    return xp.compile(f, **options)


def random(shape, split=0, seed=0, dtype="float64"):
    values = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return xp.asarray(values, split=split)


def messages(f, *args):
    with xp.trace() as t:
        f(*args)
    return t.collectives


def kmeans_step(x, centers):
    distances = xp.sum((x[:, None, :] - centers[None, :, :]) ** 2, axis=2)
    labels = xp.argmin(distances, axis=1)
    means = []
    for k in range(centers.shape[0]):
        mask = xp.astype(labels == k, x.dtype)[:, None]
        means.append(xp.sum(x * mask, axis=0) / xp.sum(mask))
    return xp.stack(means)


def zscore(x):
    return (x - xp.mean(x, axis=0)) / xp.std(x, axis=0)


def logistic(w, x, y):
    z = xp.matmul(x, w)
    return xp.mean(xp.logaddexp(z, xp.zeros_like(z)) - y * z)


# ---------------------------------------------------------------------- all operations


@pytest.mark.some_cases(60)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_eager(name, check):
    """The table of differentiable functions covers the namespace."""
    f = FUNCTIONS[name]
    g = compiled(f, fullgraph=name not in EAGER)
    for layout in layouts(SHAPE, few=True):
        x = make(VALUES, layout)
        expected = f(x)
        for _ in range(2):
            result = g(x)
            assert result.layout == expected.layout
            check(result, np.asarray(expected), (name, layout.split, layout.counts))


def test_qr_of_a_tall_matrix(check):
    values = np.random.default_rng(3).standard_normal((20, 3))
    g = compiled(lambda x: tuple(xp.linalg.qr(x)), fullgraph=True)
    for layout in layouts((20, 3), few=True):
        if layout.split != 1:
            x = make(values, layout)
            for _ in range(2):
                q, r = g(x)
                check(q @ r, values)
                check(r, np.asarray(xp.linalg.qr(x).R))


def test_creation_inside(check):
    def f(n):
        a = xp.arange(n, dtype=xp.float64, split=0)
        return a + xp.ones((n,), split=0) * xp.linspace(0.0, 1.0, n) + xp.eye(n, split=0)[0]

    g = compiled(f, fullgraph=True)
    for n in (7, 7, 4):
        check(g(n), np.arange(n) + np.linspace(0, 1, n) + np.eye(n)[0])


# ---------------------------------------------------------------------- arguments and results


def test_nested_arguments_and_results(check):
    point = namedtuple("point", ["u", "v"])

    @compiled
    def f(tree, *, scale, flag=False):
        u, v = tree["point"]
        total = xp.sum(u) * scale
        rest = [v, None, 3, "x", xp.float32, u.dtype]
        return {"point": point(u + v, total), "rest": rest, "flag": flag}

    u, v = random((6, 2)), random((6, 2), split=1, seed=1)
    for _ in range(2):
        result = f({"point": point(u, v)}, scale=2.0)
        assert type(result["point"]) is point
        assert result["rest"][0] is v
        assert result["rest"][1:] == [None, 3, "x", np.float32, np.dtype("float64")]
        assert result["flag"] is False
        check(result["point"].u, np.asarray(u) + np.asarray(v))
        check(result["point"].v, 2 * np.sum(np.asarray(u)))
    assert f.captures == 1
    assert f({"point": point(u, v)}, scale=2.0, flag=True)["flag"] is True
    assert f.captures == 2


def test_decorator_and_repr():
    @xp.compile(backend="eager")
    def double(x):
        """Twice x."""
        return x * 2

    assert double.__name__ == "double"
    assert double.__doc__ == "Twice x."
    assert "double" in repr(double)
    assert_equal(double(random((3,))), 2 * np.asarray(random((3,))))


def test_methods(check):
    class Model:
        def __init__(self, w):
            self.w = w

        @xp.compile(backend="eager")
        def predict(self, x):
            return x * self.w

    x = random((5,))
    for w in (2.0, 3.0, random((5,), seed=2), random((5,), seed=3)):
        check(Model(w).predict(x), np.asarray(x) * np.asarray(w))


def test_variables_around_are_inputs(check):
    """Arrays of enclosing functions and the module are read in each call, and other values too."""
    w, scale = random((4,)), 2.0

    def helper(x):
        return x * w * scale

    g = compiled(lambda x: helper(x) + 1)
    x = random((4,), seed=1)
    check(g(x), np.asarray(x) * np.asarray(w) * 2 + 1)
    w = random((4,), seed=5)
    check(g(x), np.asarray(x) * np.asarray(w) * 2 + 1)
    assert g.captures == 1
    scale = 3.0
    check(g(x), np.asarray(x) * np.asarray(w) * 3 + 1)
    assert g.captures == 2


def test_numpy_variables_are_compared_by_value(check):
    values = np.arange(4.0)
    g = compiled(lambda x: x + xp.asarray(values))
    x = random((4,))
    check(g(x), np.asarray(x) + values)
    values += 1
    check(g(x), np.asarray(x) + values)


def test_options_are_part_of_the_key():
    g = compiled(lambda: xp.zeros((4,)))
    assert g().split is xp.get_options()["default_split"]
    with xp.set_options(default_split=0, default_dtype=xp.float32):
        assert g().split == 0
        assert g().dtype == xp.float32


def test_the_same_array_twice(check):
    g = compiled(lambda x, y: x * 2 + y)
    x, y = random((4,)), random((4,), seed=1)
    check(g(x, x), 3 * np.asarray(x))
    check(g(x, y), 2 * np.asarray(x) + np.asarray(y))


def test_strides_do_not_matter(check):
    g = compiled(lambda x: xp.reshape(x, (-1,)) * 2)
    x = random((4, 6))
    for y in (x, xp.permute_dims(random((6, 4), split=1), (1, 0)), x):
        check(g(y), np.asarray(y).reshape(-1) * 2)


# ---------------------------------------------------------------------- writing


def test_writing_to_an_argument(check):
    @compiled
    def f(x, y):
        x += y
        x[1:3] = 7.0
        return xp.sum(x)

    for _ in range(2):
        x, y = random((6,)), random((6,), seed=1)
        expected = np.asarray(x) + np.asarray(y)
        expected[1:3] = 7
        view = x[:2]
        check(f(x, y), expected.sum())
        check(x, expected)
        check(view, expected[:2])


def test_a_replicated_argument_that_becomes_split(check):
    def f(x, y):
        x += y
        return xp.sum(x)

    g = compiled(f, fullgraph=True)
    for _ in range(3):
        x, z, y = xp.ones((6,), split=None), xp.ones((6,), split=None), xp.ones((6,), split=0)
        check(g(x, y), np.asarray(f(z, y)))
        assert x.layout == z.layout
        check(x, 2 * np.ones(6))


def test_writing_an_array_to_a_part_of_an_argument(check):
    """Views show it, others that share its memory keep their values."""

    @compiled
    def f(x):
        x[0] = xp.sum(x)
        x[2:3] = x[1:2]

    for split in (None, 0):
        for _ in range(3):
            x = xp.ones((6,), split=split)
            views, flipped = (x[:3], xp.reshape(x, (2, 3))), xp.flip(x)
            f(x)
            check(x, np.asarray([6.0, 1, 1, 1, 1, 1]))
            check(views[0] * 1, np.asarray([6.0, 1, 1]))
            check(views[1], np.asarray([[6.0, 1, 1], [1, 1, 1]]))
            check(flipped * 1, np.ones(6))


def test_arguments_that_are_views_of_each_other(check):
    """A program is made for them as they are related, and another where they are not."""

    def f(a, b):
        a += 1.0
        b *= 2.0
        return xp.sum(a, axis=0) + b[0]

    for layout in layouts((4, 4), few=True):
        g = compiled(f)
        for _ in range(2):
            for pick in (
                lambda x: (x, x * 1.0),
                lambda x: (x, x.T),
                lambda x: (x.T, x),
                lambda x: (x[1:3], x[2:]),
                lambda x: (x[1:], x.T[:, 1:].T),
                lambda x: (x[:3], x[1:] * 1.0),
            ):
                x, y = (make(np.arange(16.0).reshape(4, 4), layout) for _ in range(2))
                inputs, expected = pick(x), pick(np.asarray(y).copy())
                source = expected[0].base if expected[0].base is not None else expected[0]
                check(g(*inputs), f_of_numpy(*expected), describe(layout))
                for one, other in zip(inputs, expected, strict=True):
                    check(one, other, describe(layout))
                check(x, source, describe(layout))


def f_of_numpy(a, b):
    a += 1.0
    b *= 2.0
    return np.sum(a, axis=0) + b[0]


def test_views_of_an_argument(check):
    """A view made before the call, and written after it, knows what was written in it."""

    @compiled
    def double(x):
        x *= 2

    for _ in range(3):
        x = xp.ones((6,), split=0)
        view = x[:3]
        double(x)
        view += 1
        check(x, np.asarray([3.0, 3, 3, 2, 2, 2]))


def test_writing_to_a_variable_around(check):
    total = xp.zeros((4,), split=0)

    @compiled
    def add(x):
        total[...] = total + x

    x = random((4,))
    for _ in range(3):
        assert add(x) is None
    check(total, 3 * np.asarray(x))


def test_views_held_outside_show_what_is_written(check):
    """In the first call, which is captured while there are views, and in later ones."""

    def add(x):
        x += 1.0
        x[0] = xp.sum(x, axis=0)
        return x * 2.0

    expected = np.arange(12.0).reshape(4, 3)
    after = expected + 1.0
    after[0] = after.sum(axis=0)
    for layout in layouts(expected.shape, few=True):
        f = xp.compile(add, backend="eager", show_progress=False)
        for held in (True, False, True):
            x = make(expected, layout)
            views = [x.T, x[1:]] if held else []
            check(f(x), after * 2.0, f"result, {describe(layout)}")
            check(x, after, f"argument, {describe(layout)}")
            if held:
                check(views[0], after.T, f"transpose, {describe(layout)}")
                views[1] += 0.0
                check(views[1], after[1:], f"selection, {describe(layout)}")


def test_a_result_is_no_view_that_shows_writes(check):
    g = compiled(lambda x: (x, x[1:]))
    x = random((5,))
    values = np.asarray(x).copy()
    same, rest = g(x)
    assert same is x
    x[...] = 0.0
    check(rest, values[1:])


def test_lists_and_attributes_are_not_left_changed(check):
    """Python's own state is not captured: such a function runs eagerly, each time."""
    seen = []

    @compiled
    def f(x):
        seen.append(x * 2)
        return x + 1

    x = random((4,))
    for n in range(1, 3):
        check(f(x), np.asarray(x) + 1)
        assert len(seen) == n
        check(seen[-1], np.asarray(x) * 2)


# ---------------------------------------------------------------------- what cannot be captured


def test_small_arrays_run_eagerly(check):
    """A function that needs values runs without error or warning; see `test_graph_breaks`."""
    f = compiled(lambda x: x[x > 0] * 2)
    x = random((9,))
    for _ in range(2):
        check(f(x), 2 * np.asarray(x)[np.asarray(x) > 0])
    assert f.captures == 1
    assert not f.breaks


def test_control_flow_by_values(check):
    f = compiled(lambda x: x * 2 if float(xp.sum(x)) > 0 else x * 3)
    check(f(xp.ones((4,), split=0)), 2 * np.ones(4))
    check(f(-xp.ones((4,), split=0)), -3 * np.ones(4))


def test_fullgraph():
    f = compiled(lambda x: x[x > 0], fullgraph=True)
    for _ in range(_compiled.MOST_FAILURES + 1):
        with pytest.raises(RuntimeError, match="cannot be compiled as a whole"):
            f(random((5,)))


def test_random_numbers_are_drawn_in_each_call():
    rng = xp.random.default_rng(3)
    f = compiled(lambda x: x + rng.random((4,), split=0))
    x = random((4,))
    first = np.asarray(f(x))
    assert not np.array_equal(np.asarray(f(x)), first)


def test_random_numbers_of_the_module():
    f = compiled(lambda x: x + xp.random.default_rng(2).random((4,)), fullgraph=True)
    with pytest.raises(RuntimeError, match="draws random numbers"):
        f(random((4,)))


def test_capture_is_given_up(check):
    f = compiled(lambda x, n: x[x > n])
    x = random((9,))
    for n in range(10):
        check(f(x, n), np.asarray(x)[np.asarray(x) > n])
    assert f.captures == _compiled.MOST_FAILURES


def test_errors_are_the_functions_own():
    f = compiled(xp.matmul)
    for _ in range(2):
        with pytest.raises(ValueError, match="matmul"):
            f(random((4, 3)), random((4, 3)))


@pytest.mark.parametrize("split", [None, 0])
def test_indices_out_of_range(split):
    f = compiled(lambda x, i: xp.take(x, i, axis=1), fullgraph=True)
    x = random((40, 3))
    assert_equal(f(x, xp.asarray([0, -1], split=split)), np.asarray(x)[:, [0, -1]])
    with pytest.raises(IndexError, match="out of range"):
        f(x, xp.asarray([0, 3], split=split))
    assert f.captures == 1


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1), ()])
def test_variance(check, axis):
    """Computed from each rank's moments: with empty shards, and without loss of digits."""
    values = 1e6 + np.random.default_rng(0).standard_normal((7, 3))

    def moments(x):
        return xp.var(x, axis=axis), xp.std(x, axis=axis, keepdims=True, correction=1)

    f = compiled(moments, fullgraph=True)
    gradient = compiled(xp.autograd.grad(lambda x: xp.sum(moments(x)[0])), fullgraph=True)
    if axis == ():  # nothing to divide by: NumPy's NaN, without its warning
        expected = values * 0, values * np.nan
    else:
        expected = values.var(axis=axis), values.std(axis=axis, keepdims=True, ddof=1)
    for layout in layouts((7, 3), few=True):
        x = make(values, layout)
        for mine, theirs in zip(f(x), expected, strict=True):
            check(mine, theirs, rtol=1e-8)
        slope = xp.autograd.grad(lambda x: xp.sum(moments(x)[0]))(x)
        check(gradient(x), np.asarray(slope), rtol=1e-6, atol=1e-9)


def test_of_several_errors_the_first_is_raised():
    def columns(x, y, i, j):
        return xp.take(x, i, axis=1), xp.take(y, j, axis=1)

    f = compiled(columns, fullgraph=True)
    x, y = random((40, 3)), random((40, 5))
    inside, outside = xp.asarray([0, 1]), xp.asarray([7, 7])
    for i, length in ((outside, 3), (inside, 5)):
        with pytest.raises(IndexError, match=f"of length {length}") as eager:
            columns(x, y, i, outside)
        with pytest.raises(IndexError) as raised:
            f(x, y, i, outside)
        assert str(raised.value) == str(eager.value)


def test_replicated_indices_along_the_split_axis(check):
    f = compiled(lambda x, i: x[i], fullgraph=True)
    values = np.random.default_rng(0).standard_normal((60, 2))
    values[7] = -0.0
    index = np.asarray([7, 59, 0, -1, 7])
    for layout in layouts((60, 2), few=True):
        found = f(make(values, layout), xp.asarray(index, split=None))
        check(found, values[index])
        agree(None if np.all(np.signbit(np.asarray(found)[0])) else "-0.0 lost its sign")


def test_no_compiler(monkeypatch, check):
    monkeypatch.setattr(_inductor, "no_compiler", lambda: "there is no C++ compiler")
    f = compiled(lambda x: x * 2, backend="inductor")
    x = random((4,))
    with pytest.warns(xp.CompileWarning, match="no C\\+\\+ compiler"):
        check(f(x), 2 * np.asarray(x))
    check(f(x), 2 * np.asarray(x))


def test_who_compiles_first_on_a_communicator(monkeypatch):
    """One rank of each node: these stand for two nodes."""
    comm = xp.world().split(0, SIZE - xp.world().rank)
    node = comm.rank // 2
    monkeypatch.setattr(_inductor.socket, "gethostname", lambda: f"node {node}")
    assert _inductor._compiles_first(comm) is (comm.rank % 2 == 0)
    with xp.trace() as t:
        _inductor._compiles_first(comm)
    assert t.count() == 0


def no_space_on_the_last_rank(backend, module, fakes):
    """Replace the compiler of `_inductor`."""
    if xp.world().rank == SIZE - 1:
        raise OSError("no space left")
    return module


def test_a_compiler_that_fails_on_one_rank(monkeypatch, check):
    monkeypatch.setattr(_inductor, "_compile", no_space_on_the_last_rank)
    f = compiled(xp.sum, backend="aot_eager")
    with pytest.warns(xp.CompileWarning, match="no space left"):
        check(f(random((4,))), np.asarray(random((4,))).sum())


def test_arguments_of_compile():
    with pytest.raises(TypeError, match="expected a function"):
        xp.compile(3)
    with pytest.raises(ValueError, match="backend"):
        xp.compile(abs, backend="fast")


def test_progress(capsys):
    f = compiled(lambda x: x * 2, show_progress=True)
    f(random((4,)))
    text = capsys.readouterr().err
    assert ("compiling" in text) is (xp.world().rank == 0)


def test_ranks_that_would_run_different_programs(monkeypatch):
    if SIZE == 1:
        pytest.skip("one rank is always in step")
    monkeypatch.setattr(_compiled, "DEBUG", True)
    f = compiled(lambda x, n: x * n)
    x = random((4,))
    f(x, 1)
    with pytest.raises(xp.CollectiveMismatchError, match="different programs"):
        f(x, 1 + (xp.world().rank == 0))


# ---------------------------------------------------------------------- messages


def test_kmeans_sends_one_message(check):
    x, centers = random((50, 3)), random((8, 3), split=None, seed=1)
    f = compiled(kmeans_step, fullgraph=True)
    check(f(x, centers), np.asarray(kmeans_step(x, centers)))
    assert len(messages(kmeans_step, x, centers)) == (16 if SIZE > 1 else 0)
    assert messages(f, x, centers) == ["allreduce"] * (SIZE > 1)


def test_zscore_sends_one(check):
    x = random((30, 3))
    f = compiled(zscore, fullgraph=True)
    check(f(x), np.asarray(zscore(x)))
    assert messages(zscore, x) == ["allreduce"] * (3 * (SIZE > 1))
    assert messages(f, x) == ["allreduce"] * (SIZE > 1)


def test_variances_of_many_columns_send_two(monkeypatch, check):
    """The moments of all ranks would be larger than one rank's shard."""
    monkeypatch.setattr(moments, "SMALL_MESSAGE", 8)
    x = random((30, 3))
    f = compiled(lambda x: xp.var(x, axis=0), fullgraph=True)
    check(f(x), np.asarray(x).var(axis=0))
    assert messages(f, x) == ["allreduce"] * (2 * (SIZE > 1))


def test_gradients_of_many_parameters_travel_together(check):
    def loss(parameters, x):
        for w, b in parameters:
            x = xp.tanh(x @ w + b)
        return xp.mean(x * x)

    parameters = [(random((3, 3), None, i), random((3,), None, 10 + i)) for i in range(4)]
    x = random((20, 3))
    both = xp.autograd.value_and_grad(loss)
    f = compiled(both, fullgraph=True)
    value, gradients = f(parameters, x)
    expected, wanted = both(parameters, x)
    check(value, np.asarray(expected))
    for mine, theirs in zip(gradients, wanted, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            check(one, np.asarray(other))
    assert len(messages(both, parameters, x)) == (9 if SIZE > 1 else 0)
    assert messages(f, parameters, x) == ["allreduce"] * (SIZE > 1)


def test_unused_messages_are_left_out():
    x, w = random((20, 3)), random((3,), None)
    f = compiled(lambda x, w: (xp.sum(x), xp.sum(x * 2))[1])
    f(x, w)
    assert messages(f, x, w) == ["allreduce"] * (SIZE > 1)


def test_big_sums_travel_alone(check):
    x = random((4, 20_000))
    f = compiled(lambda x: (xp.sum(x, axis=0), xp.sum(x * x, axis=0)), fullgraph=True)
    check(f(x), (np.asarray(x).sum(axis=0), (np.asarray(x) ** 2).sum(axis=0)))
    assert len(messages(f, x)) == len(messages(f._f, x))


def test_messages_of_different_kinds_keep_their_order(check):
    def f(x):
        a = xp.sum(x, axis=0)
        b = xp.max(x, axis=0)
        c = xp.cumulative_sum(x, axis=0)
        d = xp.resplit(x * a, 1)
        return a, b, c, d, xp.sum(d, axis=1), xp.sum(xp.astype(x > 0, xp.int64))

    g = compiled(f, fullgraph=True)
    for layout in layouts((9, 4)):
        x = make(np.random.default_rng(2).standard_normal((9, 4)), layout)
        expected = tuple(np.asarray(y) for y in f(x))
        check(g(x), expected)
        assert len(messages(g, x)) <= len(messages(f, x))


def test_a_trace_names_operations_and_lines():
    f = compiled(lambda x: (xp.sum(x), xp.mean(x)))
    x = random((6,))
    f(x)
    with xp.trace() as t:
        f(x)
    assert [event.operation for event in t.events] == ["sum + mean"] * (SIZE > 1)
    assert all("test_compile.py" in event.line for event in t.events)


def test_the_demo_s_iteration(check):
    x = random((60, 2))
    kwargs = {"seed": 1, "max_iterations": 10}
    eager = kmeans(x, 3, **kwargs)
    fast = kmeans(x, 3, **kwargs, compiler=lambda f: compiled(f, fullgraph=True))
    assert fast[2:] == pytest.approx(eager[2:])
    check(fast.centroids, np.asarray(eager.centroids))
    check(fast.labels, np.asarray(eager.labels))


# ---------------------------------------------------------------------- how often it compiles


def test_sizes_become_variables():
    f = compiled(zscore, backend="aot_eager", fullgraph=True)
    for n in (40, 60, 80, 100, 45, 1000):
        x = random((n, 3))
        assert_equal(f(x), np.asarray(zscore(x)))
    assert f.captures == 6
    assert f.compilations == 2


def test_numbers_become_variables():
    f = compiled(lambda x, rate: x * rate + 1.5, backend="aot_eager", fullgraph=True)
    x = random((8,))
    for rate in (0.1, 0.2, 0.3, 0.4):
        assert_equal(f(x, rate), np.asarray(x) * rate + 1.5)
    assert f.compilations == 2


def test_zeros_of_both_signs():
    f = compiled(lambda x, y: x * y, backend="aot_eager", fullgraph=True)
    x = xp.ones((8,), split=0)
    for y in (0.0, -0.0, 0.0):
        negative = np.signbit(np.asarray(f(x, y)))
        agree(None if np.all(negative == np.signbit(y)) else f"{y}: {negative}")


@pytest.mark.filterwarnings("ignore::heat_array_api.CompileWarning")
def test_layouts_and_dtypes_compile_anew():
    f = compiled(lambda x: xp.sum(x * 2, axis=0), backend="aot_eager")
    for count, x in enumerate(
        [random((8, 4)), random((8, 4), dtype="float32"), random((8, 4), split=1)], 1
    ):
        for _ in range(2):
            assert_equal(f(x), 2 * np.asarray(x).sum(axis=0), rtol=1e-5)
        assert f.captures == count
        assert f.compilations <= count


def test_uneven_and_empty_shards():
    """Ranks with shards of 0, 1 and more rows run the same messages, whatever each compiled."""
    f = compiled(kmeans_step, backend="aot_eager")
    centers = random((2, 3), None, 1)
    for layout in layouts((11, 3)):
        x = make(np.random.default_rng(0).standard_normal((11, 3)), layout)
        assert_equal(f(x, centers), np.asarray(kmeans_step(x, centers)))
        most = len(messages(kmeans_step, x, centers)) if layout.split == 1 else 1
        assert len(messages(f, x, centers)) <= most


def test_the_number_of_compilations_is_bounded(monkeypatch, check):
    monkeypatch.setattr("heat_array_api._compile.dynamic_shapes.MOST_COMPILATIONS", 3)
    f = compiled(lambda x, n: x**n, backend="aot_eager")
    x = random((4,))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(2, 9):
            check(f(x, str(n) and n), np.asarray(x) ** n)
    assert f.compilations <= 3
    assert len(caught) <= 1


# ---------------------------------------------------------------------- derivatives


def data():
    x = random((20, 3))
    return random((3,), None, 1), x, xp.astype(x[:, 0] > 0, xp.float64)


def test_gradients_inside(check):
    w, x, y = data()
    f = compiled(xp.autograd.value_and_grad(logistic), fullgraph=True)
    value, gradient = f(w, x, y)
    expected, wanted = xp.autograd.value_and_grad(logistic)(w, x, y)
    check(value, np.asarray(expected))
    check(gradient, np.asarray(wanted))
    assert messages(f, w, x, y) == ["allreduce"] * (SIZE > 1)


def test_gradients_outside(check):
    w, x, y = data()
    f = compiled(logistic, fullgraph=True)
    for argnums in (0, 1, (0, 1)):
        mine = xp.autograd.grad(f, argnums)(w, x, y)
        theirs = xp.autograd.grad(logistic, argnums)(w, x, y)
        as_tuples = [g if isinstance(g, tuple) else (g,) for g in (mine, theirs)]
        for one, other in zip(*as_tuples, strict=True):
            assert one.layout == other.layout
            check(one, np.asarray(other))


def test_second_derivatives(check):
    w, x, y = data()
    check(
        xp.autograd.hessian(compiled(logistic))(w, x, y),
        np.asarray(xp.autograd.hessian(logistic)(w, x, y)),
    )
    f = compiled(xp.autograd.hessian(logistic), fullgraph=True)
    check(f(w, x, y), np.asarray(xp.autograd.hessian(logistic)(w, x, y)))


def test_the_tape(check):
    """`backward` through a compiled function, one of whose inputs is a variable around it."""
    w, x, y = data()
    f = compiled(lambda x, y: logistic(w, x, y), fullgraph=True)
    w.requires_grad_()
    f(x, y).backward()
    mine = np.asarray(w.grad)
    w.grad = None
    logistic(w, x, y).backward()
    check(w.grad, mine)


def test_forward_mode_runs_eagerly(check):
    w, x, y = data()
    f = compiled(logistic)
    mine = xp.autograd.jvp(lambda w: f(w, x, y), (w,), (w,))
    theirs = xp.autograd.jvp(lambda w: logistic(w, x, y), (w,), (w,))
    check(mine[1], np.asarray(theirs[1]))


@pytest.mark.parametrize(
    "name", ["std", "max", "prod", "cumulative_prod", "matmul", "resplit", "in place", "roll"]
)
def test_gradients_of_functions(name, check):
    f = FUNCTIONS[name]
    g = compiled(f)

    def loss_of(f):
        return lambda x: xp.sum(xp.sin(f(x)))

    for layout in layouts(SHAPE, few=True):
        x = make(VALUES, layout)
        expected = np.asarray(xp.autograd.grad(loss_of(f))(x))
        check(xp.autograd.grad(loss_of(g))(x), expected, name)
        check(compiled(xp.autograd.grad(loss_of(f)))(x), expected, name)
