"""Every communication has its adjoint, and stays in step with the other ranks."""

from __future__ import annotations

import itertools
import re
import threading

import numpy as np
import pytest
import torch

import heat_array_api as xp
from heat_array_api._comm.division import Division
from heat_array_api._comm.table import TABLE
from heat_array_api._core import collectives as p
from heat_array_api._core.layout import Layout
from jobs import alone, run
from layouts import agree, divide, layouts, make

autograd = xp.autograd
linalg = xp.linalg

DTYPES = [torch.float64, torch.complex128]


def normal(shape, dtype, seed):
    """Return normal numbers that depend on `seed`, on this rank too if it does."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=dtype, generator=generator)


def weights(comm):
    """Yield ways to divide rows: evenly, unevenly, all on one rank, none on the first."""
    yield [1] * comm.size
    yield list(range(1, comm.size + 1))
    yield [0] * (comm.size - 1) + [1]
    yield [1] + [0] * (comm.size - 1)


# ---------------------------------------------------------------- pairs of adjoints
#
# Each case is (kind of the argument, its local shape, kind of the result, function): R tensors
# are one value and count once in an inner product, S and V tensors are each rank's own.


def cases(comm, counts):
    size, rank = comm.size, comm.rank
    n = sum(counts)
    own, rows = counts[rank], Division.of(counts)
    layout0 = Layout.of((n, 3), 0, counts, comm)
    layout1 = Layout.of((3, n), 1, counts, comm)
    back = counts[::-1]
    table = [[(i + 2 * j) % 3 for j in range(size)] for i in range(size)]
    sends, receives = table[rank], [row[rank] for row in table]
    goes = tuple((r, n) for r, n in enumerate(sends) if n and r != rank)
    comes = tuple((r, n) for r, n in enumerate(receives) if n and r != rank)
    nearer = counts[(rank - 1) % size]
    return {
        "preduce": ("V", (4, 2), "R", lambda t: p.preduce(t, "sum", comm)),
        "pvary": ("R", (4, 2), "V", lambda t: p.pvary(t, comm)),
        "gather 0": ("S", (own, 3), "R", lambda t: p.gather(t, layout0)),
        "gather 1": ("S", (3, own), "R", lambda t: p.gather(t, layout1)),
        "shard 0": ("R", (n, 3), "S", lambda t: p.shard(t, layout0)),
        "shard 1": ("R", (3, n), "S", lambda t: p.shard(t, layout1)),
        "reduce_scatter": ("V", (n, 3), "S", lambda t: p.reduce_scatter(t, rows, comm)),
        "gather_varying": ("S", (own, 3), "V", lambda t: p.gather_varying(t, rows, comm)),
        "broadcast_rows": (
            "S",
            (3, 2) if rank == size - 1 else (0, 2),
            "R",
            lambda t: p.broadcast_rows(t, (3, 2), size - 1, comm),
        ),
        "exchange": ("S", (sum(sends),), "S", lambda t: p.exchange(t, sends, receives, comm)),
        "exchange_parts": (
            "S",
            (sum(n for _, n in goes),),
            "S",
            lambda t: p.exchange_parts(t, goes, comes, comm),
        ),
        "ring_shift": ("S", (own, 2), "S", lambda t: p.ring_shift(t, (nearer, 2), comm)),
        "ring_shift back": (
            "S",
            (back[rank], 2),
            "S",
            lambda t: p.ring_shift(t, (back[(rank + 1) % size], 2), comm, -1),
        ),
    }


def inner(kind, a, b, comm):
    """Return the real part of the inner product of two global tensors."""
    own = torch.real(torch.sum(a.conj() * b))
    return own if kind == "R" else comm.allreduce(own.detach(), "sum")


def seed_of(kind, comm, seed):
    return seed if kind == "R" else 100 * seed + comm.rank


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_adjoints(dtype, comm):
    """<f(x), v> = <x, f*(v)>, and the adjoint's adjoint is the function."""
    for weight in weights(comm):
        counts = divide(7, weight)
        for name, (source, shape, target, function) in cases(comm, counts).items():
            x = normal(shape, dtype, seed_of(source, comm, 1)).requires_grad_()
            y = function(x)
            v = normal(y.shape, dtype, seed_of(target, comm, 2)).requires_grad_()
            with torch.autograd.set_multithreading_enabled(False):
                (g,) = torch.autograd.grad(y, x, v, create_graph=True)
                left = inner(target, y, v, comm)
                right = inner(source, x, g, comm)
                u = normal(shape, dtype, seed_of(source, comm, 3))
                (again,) = torch.autograd.grad(g, v, u)
            with torch.no_grad():
                expected = function(u)
            problem = None
            if not torch.allclose(left, right, rtol=1e-12):
                problem = f"{name}, counts {counts}: {left} is not {right}"
            if not torch.equal(again, expected):
                problem = f"{name}, counts {counts}: the adjoint's adjoint is another function"
            agree(problem)


# torch's forward mode compiles its own rules so.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_forward_mode_and_vmap(dtype, comm):
    """Tangents are sent like values, batches at once; both also inside a backward pass."""
    for weight in weights(comm):
        counts = divide(7, weight)
        for name, (source, shape, target, function) in cases(comm, counts).items():
            x = normal(shape, dtype, seed_of(source, comm, 1))
            v = normal(shape, dtype, seed_of(source, comm, 2))
            expected = [function(x), function(v)]
            y, pushed = torch.func.jvp(function, (x,), (v,))
            with xp.trace() as t:
                both = torch.func.vmap(function, in_dims=1, out_dims=1)(torch.stack([x, v], dim=1))
            events = [event.collective for event in t.events]
            with xp.trace() as t:
                function(x)
            _, pull = torch.func.vjp(function, x)
            cotangents = [normal(y.shape, dtype, seed_of(target, comm, seed)) for seed in (4, 5, 6)]
            pulled = [pull(c)[0] for c in cotangents]
            batch = torch.func.vmap(lambda c, pull=pull: pull(c)[0])(torch.stack(cotangents))
            right = (
                torch.equal(y, expected[0])
                and torch.equal(pushed, expected[1])
                and all(torch.equal(both[:, i], expected[i]) for i in range(2))
                and torch.allclose(batch, torch.stack(pulled), rtol=1e-12)
                and events == [event.collective for event in t.events]
            )
            agree(None if right else f"{name}, counts {counts}")


# ---------------------------------------------------------------- factorisations of split matrices


def positive(x):
    other = xp.conj(x).mT if np.dtype(x.dtype).kind == "c" else x.mT
    return x @ other + 3 * xp.eye(x.shape[0], dtype=x.dtype)


def hermitian_of(x):
    return x + (xp.conj(x).mT if np.dtype(x.dtype).kind == "c" else x.mT)


SQUARE = (6, 6)
FACTORISATIONS = {
    "cholesky": (SQUARE, lambda x: linalg.cholesky(positive(x))),
    "cholesky, upper": (SQUARE, lambda x: linalg.cholesky(positive(x), upper=True)),
    "cholesky of the lower triangle": (SQUARE, lambda x: linalg.cholesky(x + 20 * xp.eye(6))),
    "inv": (SQUARE, linalg.inv),
    "det": (SQUARE, linalg.det),
    "slogdet": (SQUARE, lambda x: linalg.slogdet(x)[0] * linalg.slogdet(x)[1]),
    "solve": (SQUARE, lambda x: linalg.solve(x, xp.cos(x[:, :2]))),
    "solve of a vector": (SQUARE, lambda x: linalg.solve(x, xp.cos(x[0]))),
    "solve of many": (SQUARE, lambda x: linalg.solve(x, xp.concat([xp.cos(x), x * x], axis=1))),
    "qr, tall": ((13, 3), lambda x: tuple(linalg.qr(x))),
    "R": ((13, 3), lambda x: linalg.qr(x).R),
    "Q": ((13, 3), lambda x: linalg.qr(x).Q),
    "qr": (SQUARE, lambda x: tuple(linalg.qr(x))),
    "qr, of no shape": ((7, 5), lambda x: tuple(linalg.qr(x))),
    "qr, wide": ((4, 7), lambda x: tuple(linalg.qr(x))),
    "R, wide": ((4, 7), lambda x: linalg.qr(x).R),
    "qr, complete": ((4, 7), lambda x: tuple(linalg.qr(x, mode="complete"))),
    "svdvals": ((13, 3), linalg.svdvals),
    "svd": ((5, 5), lambda x: tuple(map(xp.abs, linalg.svd(x)))),
    "svd, tall": ((13, 3), lambda x: tuple(map(xp.abs, linalg.svd(x, full_matrices=False)))),
    "svd, wide": ((3, 13), lambda x: tuple(map(xp.abs, linalg.svd(x, full_matrices=False)))),
    "svd, whole": ((7, 4), lambda x: tuple(xp.abs(y[:, :4]) for y in linalg.svd(x)[::2])),
    "eigh": ((5, 5), lambda x: tuple(map(abs, linalg.eigh(hermitian_of(x))))),
    "eigvalsh": ((5, 5), lambda x: linalg.eigvalsh(hermitian_of(x))),
    "eigvals": ((5, 5), lambda x: xp.sum(xp.abs(linalg.eigvals(x)) ** 3)),
    "eig": ((5, 5), lambda x: xp.sum(xp.abs(linalg.eig(x)[1]) ** 3)),
    "pinv": ((13, 3), linalg.pinv),
    "pinv, wide": ((3, 8), linalg.pinv),
    "norms": ((5, 5), lambda x: (linalg.matrix_norm(x, ord=2), linalg.matrix_norm(x, ord="nuc"))),
    "matrix_power": ((5, 5), lambda x: linalg.matrix_power(x * 0.3 + xp.eye(5), -2)),
}  # fmt: skip


def loss_of(function):
    def loss(x):
        total = xp.asarray(0.0)
        results = function(x)
        for i, y in enumerate(results if isinstance(results, tuple) else (results,)):
            w = xp.sin(xp.reshape(xp.arange(1.0, y.size + 1), y.shape) * (3.0 + i))
            part = y * w if np.dtype(y.dtype).kind != "c" else xp.real(y) * w + xp.imag(y) * (1 - w)
            total = total + xp.sum(xp.sin(part))
        return total

    return loss


@pytest.mark.some_cases(31)
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", FACTORISATIONS)
def test_factorisations(name, dtype):
    """The gradient on all layouts is torch's, which differences confirm; and so is its own."""
    shape, function = FACTORISATIONS[name]
    rng = np.random.default_rng(7)
    values, direction = (
        rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if dtype != "float64" else 0)
        for _ in range(2)
    )
    defined = np.asarray
    if name == "cholesky of the lower triangle":
        defined = hermitian_part
        values = values + values.conj().T  # only its derivatives along such matrices are defined
        direction = direction + direction.conj().T
    loss = loss_of(function)
    whole = make(values)
    expected = np.asarray(autograd.grad(loss)(whole))
    second = np.asarray(autograd.hvp(loss, (whole,), (make(direction),))[0])
    step = 1e-6
    ends = [float(loss(make(values + sign * step * direction))) for sign in (1, -1)]
    slope = np.vdot(expected, direction).real
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), slope, rtol=1e-5, atol=1e-6)
    for layout in layouts(shape, few=True):
        x, v = make(values, layout), make(direction, layout)
        gradient = autograd.grad(loss)(x)
        assert gradient.layout == layout
        close(gradient, expected)
        close(autograd.hvp(loss, (x,), (v,))[0], second)
        found = np.asarray(autograd.grad(pushed_along(loss, v))(x))
        close(defined(found), defined(second))


def hermitian_part(a):
    return (a + a.conj().T) / 2


def pushed_along(loss, v):
    """Return the slope of a loss along `v`, as a function: by the forward mode."""
    return lambda x: autograd.jvp(loss, (x,), (v,))[1]


def close(x, expected):
    found = np.asarray(x)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())


def test_the_determinant_of_a_singular_matrix():
    values = np.asarray([[1.0, 2, 3, 0], [2, 4, 6, 0], [0, 1, 1, 5], [2, 0, 1, 1]])
    expected = np.zeros((4, 4))
    for i, j in itertools.product(range(4), repeat=2):
        minor = np.delete(np.delete(values, i, 0), j, 1)
        expected[i, j] = (-1) ** (i + j) * np.linalg.det(minor)
    for layout in layouts((4, 4)):
        gradient = np.asarray(autograd.grad(linalg.det)(make(values, layout)))
        np.testing.assert_allclose(gradient, expected, atol=1e-7)
    stack = np.stack([np.eye(4) * 2, values, np.zeros((4, 4))])
    expected = np.stack([np.eye(4) * 8, expected, np.zeros((4, 4))])
    for layout in layouts((3, 4, 4), few=True):
        gradient = autograd.grad(lambda x: xp.sum(linalg.det(x)))(make(stack, layout))
        np.testing.assert_allclose(np.asarray(gradient), expected, atol=1e-7)


def test_qr_of_arbitrary_columns_has_no_derivative(comm):
    x = xp.asarray(np.random.default_rng(0).standard_normal((6, 2)), split=0)
    message = "mode 'complete'|mode='complete'"  # ours or torch's
    with pytest.raises((NotImplementedError, RuntimeError), match=message):
        autograd.grad(lambda x: xp.sum(linalg.qr(x, mode="complete").Q))(x)


def test_messages_of_factorisations(comm):
    """The adjoint of TSQR sums one small matrix, and solves with R where the rows are."""
    n = 8 * comm.size
    x = make(np.random.default_rng(0).standard_normal((n, 3)), Layout.balanced((n, 3), 0, comm))
    with xp.trace() as t:
        _, pullback = autograd.vjp(lambda x: tuple(linalg.qr(x)), x)
    cotangent = (xp.ones((n, 3), split=0), xp.ones((3, 3), split=None))
    with xp.trace() as t:
        pullback(cotangent)
    many = comm.size > 1
    sums = [event for event in t.events if event.collective == "allreduce"]
    words = [event.bytes // 8 for event in t.events]
    assert all(event.operation == "adjoint of qr" for event in t.events)
    assert len(sums) == len([event for event in sums if event.bytes <= 72])
    assert sum(words) <= 40 * many, [(event.collective, event.bytes) for event in t.events]


# ---------------------------------------------------------------- order


def test_random_graphs_keep_the_ranks_in_step(comm):
    """Programs of random operations on random layouts, some shards empty, to second order."""
    rng = np.random.default_rng(11)
    unary = [
        lambda x: xp.roll(x, 1, axis=0),
        lambda x: xp.resplit(x, 1),
        lambda x: xp.resplit(x, None),
        xp.rebalance,
        xp.sin,
        lambda x: xp.cumulative_sum(x, axis=0),
        lambda x: xp.cumulative_sum(x, axis=1),
        lambda x: xp.flip(x, axis=0),
        lambda x: x - xp.mean(x, axis=0),
        lambda x: x / (1.0 + xp.sum(x * x, axis=1, keepdims=True)),
        lambda x: xp.concat([x[2:], x[:2]], axis=0),
        lambda x: xp.sort(x, axis=0),
        lambda x: xp.take(x, xp.asarray([4, 0, 0, 2, 1]), axis=0),
    ]
    binary = [lambda x, y: x * y, lambda x, y: x + y, lambda x, y: xp.where(x > y, x, y * 0.5)]
    shape = (5, 3)
    for _ in range(12):
        steps = [(int(rng.integers(4)), int(rng.integers(13)), rng.integers(100)) for _ in range(9)]

        def program(x, steps=steps):
            stack = [x]
            for kind, which, place in steps:
                one = stack[int(place) % len(stack)]
                if kind:
                    stack.append(unary[which](one))
                else:
                    stack.append(binary[which % 3](one, stack[-1]))
            return xp.sum(xp.tanh(stack[-1] + stack[len(stack) // 2]))

        values, direction = rng.standard_normal(shape), rng.standard_normal(shape)
        whole = make(values)
        expected = np.asarray(autograd.grad(program)(whole))
        second = np.asarray(autograd.hvp(program, (whole,), (make(direction),))[0])
        for layout in layouts(shape, few=True):
            x = make(values, layout)
            close(autograd.grad(program)(x), expected)
            v = make(direction, layout)
            close(autograd.hvp(program, (x,), (v,))[0], second)
            close(autograd.grad(pushed_along(program, v))(x), second)


def test_backward_passes_run_in_the_callers_thread(comm):
    """Messages of another thread are refused, also those of a function that is differentiated."""
    found = []
    x = make(np.arange(5.0), Layout.balanced((5,), 0, comm))

    def work():
        try:
            found.append(np.asarray(autograd.grad(lambda x: xp.sum(x * xp.mean(x)) ** 2)(x)))
        except RuntimeError as error:
            found.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    expected = np.asarray(autograd.grad(lambda x: xp.sum(x * xp.mean(x)) ** 2)(x))
    if comm.size == 1:
        np.testing.assert_array_equal(found[0], expected)
    else:
        assert "another thread" in found[0]


# ---------------------------------------------------------------- faults


@alone
def test_a_rank_that_leaves_the_tape_is_named():
    job = run(
        """
        import heat_array_api as xp
        from heat_array_api import world
        x = xp.ones((4, 3), split=0).requires_grad_()
        w = xp.ones(3).requires_grad_()
        y = x * w
        if world().rank == 1:
            y = y.detach()
        z = xp.sum(y * w + xp.resplit(y, 1) * 0 + x)
        z.backward()
        """,
        ranks=2,
        HEAT_ARRAY_API_DEBUG="1",
    )
    assert job.returncode != 0
    assert "the ranks make different collective calls" in job.stderr
    assert re.search(r"rank 0: adjoint of __add__: alltoall.*\n.* at <string>:9", job.stderr)
    assert re.search(r"rank 1: adjoint of __mul__: allreduce.*\n.* at <string>:6", job.stderr)


@alone
def test_an_exception_in_a_backward_pass_ends_all_ranks():
    job = run(
        """
        import heat_array_api as xp
        from heat_array_api import world

        @xp.autograd.custom_vjp
        def faulty(x):
            return x * 2

        def backward(_, g):
            if world().rank == 1:
                raise ArithmeticError("only here")
            return (g * 2,)

        faulty.defvjp(lambda x: (x * 2, None), backward)
        x = xp.ones((4, 3), split=0)
        xp.autograd.grad(lambda x: xp.sum(faulty(x) * xp.mean(xp.sin(x))))(x)
        """,
        ranks=2,
    )
    assert job.returncode != 0
    assert "ArithmeticError: only here" in job.stderr


def test_a_write_after_use_raises():
    for layout in layouts((4, 3), few=True):
        x = make(np.ones((4, 3)), layout).requires_grad_()
        y = x * 1.0
        z = xp.exp(y)
        y[0] = 5.0  # arrays are values: this is another tensor
        xp.sum(z * y).backward()
        u = xp.exp(x * 2.0)
        u.local.mul_(2.0)
        loss = xp.sum(u)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


# ---------------------------------------------------------------- what is sent


def written(x, v):
    y = x * 1.0
    y[1:4] = v
    return y


def rng_array(shape, split):
    return xp.asarray(np.random.default_rng(3).standard_normal(shape), split=split)


# Per rank of at least two: operands as (shape in units of (32 P, others), split), and the
# collectives of the forward and of the backward pass, as docs/gradients.md has them.
ROW, ROWS, COLUMN = ((16,), None), (("n", 16), 0), (("n", 1), None)
MESSAGES = {
    "x * x": (lambda x: x * x, [ROWS], "", ""),
    "x * row": (lambda x, w: x * w, [ROWS, ROW], "", "allreduce"),
    "x * column": (lambda x, c: x * c, [ROWS, COLUMN], "", "allgather"),
    "x * split row": (lambda x, r: x * r, [ROWS, ((1, 16), 0)], "allgather", "reduce_scatter"),
    "other split": (lambda x, y: x * y, [ROWS, (("n", 16), 1)], "alltoall", "alltoall"),
    "sum": (lambda x: xp.sum(x, axis=0), [ROWS], "allreduce", ""),
    "sum, kept axis": (lambda x: xp.sum(x, axis=1), [ROWS], "", ""),
    "mean": (xp.mean, [ROWS], "allreduce", ""),
    "var": (lambda x: xp.var(x, axis=0), [ROWS], "allreduce allreduce", "allreduce"),
    "max": (lambda x: xp.max(x, axis=0), [ROWS], "allreduce allreduce allreduce", ""),
    "prod": (lambda x: xp.prod(x, axis=0), [ROWS], "allgather", ""),
    "cumulative_sum": (lambda x: xp.cumulative_sum(x, axis=0), [ROWS], "allgather", "allreduce"),
    "resplit": (lambda x: xp.resplit(x, 1), [ROWS], "alltoall", "alltoall"),
    "replicate": (lambda x: xp.resplit(x, None), [ROWS], "allgather", ""),
    "concat": (lambda x: xp.concat([x, x]), [ROWS], "exchange", "exchange"),
    "stack": (lambda x: xp.stack([x, x], axis=1), [ROWS], "", ""),
    "roll": (lambda x: xp.roll(x, 1, axis=0), [ROWS], "exchange", "exchange"),
    "repeat": (lambda x: xp.repeat(x, 2, axis=0), [ROWS], "", ""),
    "slice": (lambda x: x[1:-1:2], [ROWS], "", ""),
    "backwards": (lambda x: x[::-1], [ROWS], "exchange", "exchange"),
    "row": (lambda x: x[3], [ROWS], "bcast", ""),
    "mask": (lambda x: x[x[:, 0] > 0], [ROWS], "allgather_ints", ""),
    "write": (written, [ROWS, ((3, 16), None)], "", "allgather"),
    "write of a split value": (written, [ROWS, ((3, 16), 0)], "exchange", "exchange"),
    "sort": (lambda x: xp.sort(x, axis=0), [ROWS], "alltoall alltoall", "alltoall alltoall"),
    "x @ matrix": (lambda x, m: x @ m, [ROWS, ((16, 3), None)], "", "allreduce"),
    "x.T @ x": (lambda x: x.T @ x, [ROWS], "allreduce", ""),
    "square @ x": (lambda s, x: s @ x, [(("n", "n"), 0), ROWS], "allgather", "reduce_scatter"),
    "fft": (lambda x: xp.fft.fft(x, axis=0), [ROWS], "alltoall alltoall", "alltoall alltoall"),
    "fft, kept axis": (lambda x: xp.fft.fft(x, axis=1), [ROWS], "", ""),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name, comm):
    function, operands, forward, backward = MESSAGES[name]
    arrays = [
        rng_array([32 * comm.size if m == "n" else m for m in shape], split)
        for shape, split in operands
    ]
    with xp.trace() as t:
        y, pullback = autograd.vjp(function, *arrays)
    there = [event.collective for event in t.events]
    with xp.trace() as t:
        pullback(xp.ones_like(y))
    back = [event.collective for event in t.events]
    many = comm.size > 1
    assert (there, back) == (forward.split() * many, backward.split() * many)


def test_a_parameter_used_often_crosses_once(comm):
    """Products, sums and matrix products by it, also where it is used again in another pass."""
    x = rng_array((8 * comm.size, 6), 0)
    w = rng_array((6,), None).requires_grad_()
    for _ in range(2):
        loss = xp.sum((x * w + w) @ w) + xp.sum(x @ w)
        with xp.trace() as t:
            loss.backward()
        assert [event.collective for event in t.events] == ["allreduce"] * (comm.size > 1)
    gradient = np.asarray(w.grad)
    whole = make(np.asarray(x))
    v = make(np.asarray(w.detach())).requires_grad_()
    for _ in range(2):
        (xp.sum((whole * v + v) @ v) + xp.sum(whole @ v)).backward()
    np.testing.assert_allclose(gradient, np.asarray(v.grad), rtol=1e-12)


def test_adjoint_messages_are_those_of_the_table(comm):
    """Where every rank has a cotangent of its own, as the results here are not replicated."""
    size, counts = comm.size, Division.of((2,) * comm.size)
    after = (((comm.rank + 1) % size, 2 * size),) * (size > 1)
    before = (((comm.rank - 1) % size, 2 * size),) * (size > 1)
    functions = {
        "allreduce": lambda t: p.pvary(p.preduce(t, "sum", comm), comm),
        "reduce_scatter": lambda t: p.reduce_scatter(t, counts, comm),
        "allgather": lambda t: p.gather_varying(t, Division.of((2 * size,) * size), comm),
        "alltoall": lambda t: p.exchange(t, counts, counts, comm),
        "exchange": lambda t: p.exchange_parts(t, after, before, comm),
        "sendrecv": lambda t: p.ring_shift(t, (2 * size,), comm),
    }
    assert set(functions) == {name for name, row in TABLE.items() if row.adjoint}
    for name, function in functions.items():
        t = torch.ones(2 * size, requires_grad=True)
        with xp.trace() as there:
            y = function(t)
        with xp.trace() as back:
            torch.autograd.grad(y.sum(), t)
        assert there.collectives == [name] * (size > 1)
        assert back.collectives == [TABLE[name].adjoint] * (size > 1)
