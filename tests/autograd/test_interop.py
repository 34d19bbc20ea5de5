"""`xp.autograd` with SciPy, torch's modules and optimisers; rules of one's own; checkpoints."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

import heat_array_api as xp
from heat_array_api._core.layout import Layout
from layouts import assert_equal, divide, layouts, make, same_everywhere

autograd = xp.autograd

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((11, 3))
LABELS = (ROWS @ [1.0, -2.0, 0.5] + 0.3 * RNG.standard_normal(11) > 0).astype(float)


def split_rows(values, comm, weights=None):
    """Return an array split along axis 0, unevenly: the last rank has nothing, if it can."""
    weights = weights or ([2, *[1] * (comm.size - 2), 0] if comm.size > 1 else [1])
    counts = divide(len(values), weights)
    return make(values, Layout.of(values.shape, 0, counts, comm))


def logistic(parameters, x, y):
    z = x @ parameters["w"] + parameters["b"]
    return xp.mean(xp.logaddexp(z, 0.0) - y * z) + 0.1 * xp.sum(parameters["w"] ** 2)


# ---------------------------------------------------------------------- SciPy


@pytest.mark.parametrize("method", ["L-BFGS-B", "Newton-CG"])
def test_logistic_regression_by_scipy(method, comm):
    def reference(vector):
        w, b = vector[:3], vector[3]
        z = ROWS @ w + b
        residual = 1 / (1 + np.exp(-z)) - LABELS
        value = np.mean(np.logaddexp(z, 0.0) - LABELS * z) + 0.1 * w @ w
        return value, np.append(ROWS.T @ residual / 11 + 0.2 * w, residual.mean())

    expected = minimize(
        reference, np.zeros(4), jac=True, method="L-BFGS-B", options={"gtol": 1e-10, "ftol": 1e-15}
    )
    x, y = split_rows(ROWS, comm), split_rows(LABELS, comm)
    for split in (None, 0):
        start = {"w": xp.zeros(3, split=split), "b": xp.asarray(0.0)}
        problem = autograd.to_scipy(lambda p: logistic(p, x, y), start)
        value, gradient = problem.fun(np.ones(4))
        assert isinstance(value, float)
        np.testing.assert_allclose(value, reference(np.ones(4))[0])
        np.testing.assert_allclose(gradient, reference(np.ones(4))[1])
        hessp = problem.hessp if method == "Newton-CG" else None
        found = minimize(
            problem.fun,
            problem.x0,
            jac=True,
            hessp=hessp,
            method=method,
            options={"gtol": 1e-10, "ftol": 1e-15} if hessp is None else {"xtol": 1e-10},
        )
        np.testing.assert_allclose(found.x, expected.x, atol=1e-6)
        same_everywhere("SciPy's result", f"{found.x.tolist()} {found.nfev} {found.nit}")
        best = problem.unflatten(found.x)
        assert best["w"].split == split
        assert_equal(best["w"], found.x[:3])


def test_to_scipy_takes_rank_0s_vector(comm):
    problem = autograd.to_scipy(lambda w: xp.sum(w**2), xp.zeros(2))
    value, gradient = problem.fun(np.asarray([1.0, 2.0]) + 1e-16 * comm.rank + comm.rank)
    assert value == 5.0
    assert gradient.tolist() == [2.0, 4.0]


def test_to_scipy_refuses_other_parameters():
    for wrong in (xp.ones(3, dtype="int64"), xp.ones(3, dtype="complex128"), 1.0):
        with pytest.raises(TypeError, match="to_scipy: a parameter is"):
            autograd.to_scipy(xp.sum, wrong)


# ---------------------------------------------------------------------- torch


def test_adam_on_replicated_parameters(comm):
    x, y = split_rows(ROWS, comm), split_rows(LABELS, comm)
    w = xp.zeros(3).requires_grad_()
    b = xp.asarray(0.0).requires_grad_()
    optimizer = torch.optim.Adam([w.local, b.local], lr=0.1)
    t = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    c = torch.zeros((), dtype=torch.float64, requires_grad=True)
    reference = torch.optim.Adam([t, c], lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        logistic({"w": w, "b": b}, x, y).backward()
        optimizer.step()
        reference.zero_grad()
        z = torch.from_numpy(ROWS) @ t + c
        loss = (torch.logaddexp(z, torch.zeros_like(z)) - torch.from_numpy(LABELS) * z).mean()
        (loss + 0.1 * (t**2).sum()).backward()
        reference.step()
    assert_equal(w.detach(), t.detach().numpy(), rtol=1e-10)
    assert_equal(b.detach(), c.detach().numpy(), rtol=1e-10)


def network(seed=0):
    torch.manual_seed(seed)
    layers = nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 2)
    return nn.Sequential(*layers).to(torch.float64)


def test_a_module_on_a_split_batch(comm):
    expected = network()
    rows = torch.from_numpy(ROWS).requires_grad_()
    (expected(rows) ** 2).mean().backward()
    weights = [[1] * comm.size, [2] + [0] * (comm.size - 1), [0] * (comm.size - 1) + [1], None]
    for weight in weights:
        module = network()
        x = split_rows(ROWS, comm, weight).requires_grad_()
        y = autograd.module_apply(module, x)
        assert y.split == 0
        assert y.layout.counts == x.layout.counts
        with xp.trace() as t:
            xp.mean(y**2).backward()
        many = comm.size > 1
        assert [event.collective for event in t.events] == ["allreduce"] * 2 * many
        assert_equal(x.grad, rows.grad.numpy())
        for ours, theirs in zip(module.parameters(), expected.parameters(), strict=True):
            found = xp.from_local(ours.grad, split=None)
            assert_equal(found, theirs.grad.numpy())


def test_a_module_is_trained(comm):
    expected, module = network(), network()
    x, y = split_rows(ROWS, comm), split_rows(LABELS, comm)
    pairs = [(m, torch.optim.SGD(m.parameters(), lr=0.3)) for m in (expected, module)]
    for _ in range(4):
        for m, optimizer in pairs:
            optimizer.zero_grad()
            if m is module:
                xp.mean((autograd.module_apply(m, x)[:, 0] - y) ** 2).backward()
            else:
                (
                    (m(torch.from_numpy(ROWS))[:, 0] - torch.from_numpy(LABELS)) ** 2
                ).mean().backward()
            optimizer.step()
    for ours, theirs in zip(module.parameters(), expected.parameters(), strict=True):
        assert_equal(xp.from_local(ours.detach(), split=None), theirs.detach().numpy(), rtol=1e-9)


def test_a_module_of_replicated_arrays_and_of_trees():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 2, dtype=torch.float64)

        def forward(self, x, *, scale, name):
            assert name == "n"
            return {"y": self.inner(x) * scale}, x.sum(dim=1)

    torch.manual_seed(0)
    module = Two()
    scale = np.asarray([2.0, 3.0])
    expected = module(torch.from_numpy(ROWS), scale=torch.from_numpy(scale), name="n")
    for layout in layouts(ROWS.shape):
        if layout.split == 1:
            continue
        x, s = make(ROWS, layout), xp.asarray(scale)
        found = autograd.module_apply(module, x, scale=s, name="n")
        assert_equal(found[0]["y"].detach(), expected[0]["y"].detach().numpy())
        assert_equal(found[1], ROWS.sum(axis=1))
        gradient = autograd.grad(
            lambda s, x=x: xp.sum(autograd.module_apply(module, x, scale=s, name="n")[0]["y"])
        )(s)
        assert gradient.requires_grad  # it depends on the module's parameters
        assert_equal(gradient.detach(), (expected[0]["y"].detach().numpy() / scale).sum(axis=0))


def test_module_apply_refuses(comm):
    x = split_rows(ROWS, comm)
    batch = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).to(torch.float64)
    with pytest.raises(TypeError, match="module_apply: 1 is BatchNorm1d, which takes its statist"):
        autograd.module_apply(batch, x)
    expected = batch.eval()(torch.from_numpy(ROWS)).detach().numpy()
    assert_equal(autograd.module_apply(batch, x).detach(), expected)
    with pytest.raises(TypeError, match="module_apply: no argument is an array"):
        autograd.module_apply(batch, 1.0)
    if comm.size > 1:
        with pytest.raises(ValueError, match="module_apply: an array is split along axis 1"):
            autograd.module_apply(batch, xp.resplit(x, 1))
        with pytest.raises(ValueError, match="module_apply: arrays with counts"):
            autograd.module_apply(nn.Bilinear(3, 3, 1).double(), x, xp.rebalance(x))

        class Sum(nn.Module):
            def forward(self, x):
                return x.sum(dim=0)

        with pytest.raises(ValueError, match="module_apply: the module makes a tensor of shape"):
            autograd.module_apply(Sum(), xp.ones((4 * comm.size, 2), split=0))


def test_a_module_that_fails_on_one_rank(comm):
    """What a module makes of one rank's rows is raised on all, which then go on together."""

    class Fails(nn.Module):
        def __init__(self, what):
            super().__init__()
            self.what = what

        def forward(self, x):
            if comm.rank < comm.size - 1:
                return x * 2
            if self.what == "kind":
                return x.float()
            return x[:1] if self.what == "rows" else x @ x

    x = xp.ones((2 * comm.size, 3), split=0)
    where = rf" \(on rank {comm.size - 1} of {comm.size}\)" if comm.size > 1 else ""
    with pytest.raises(RuntimeError, match=rf"^module_apply: mat1 and mat2 .*{where}$"):
        autograd.module_apply(Fails("raise"), x)
    with pytest.raises(ValueError, match=rf"^module_apply: the module makes .* each{where}$"):
        autograd.module_apply(Fails("rows"), x)
    if comm.size > 1:
        with pytest.raises(ValueError, match="module_apply: the rows' shapes and dtypes are"):
            autograd.module_apply(Fails("kind"), x)
    with xp.trace() as t:
        doubled = autograd.module_apply(nn.Identity(), x)
    assert [event.collective for event in t.events] == ["allgather_object"] * (comm.size > 1)
    assert_equal(doubled, np.ones((2 * comm.size, 3)))


# ---------------------------------------------------------------------- rules of one's own


def test_custom_vjp_replaces_the_rule():
    @autograd.custom_vjp
    def rounded(x):
        """Round, straight through."""
        return xp.round(x)

    rounded.defvjp(lambda x: (xp.round(x), None), lambda _, g: (g * 2,))
    for layout in layouts(ROWS.shape, few=True):
        x = make(ROWS, layout)
        assert_equal(rounded(x), np.round(ROWS))
        gradient = autograd.grad(lambda x: xp.sum(rounded(x) * xp.asarray(ROWS)))(x)
        assert_equal(gradient, 2 * ROWS)
        assert gradient.layout == layout
    assert rounded.__doc__ == "Round, straight through."


def test_custom_vjp_of_trees_and_to_any_order():
    @autograd.custom_vjp
    def product(pair, scale):
        return {"p": pair[0] * pair[1] * scale, "q": xp.sum(pair[0])}

    def forward(pair, scale):
        return product.function(pair, scale), (pair, scale)

    def backward(kept, g):
        (a, b), scale = kept
        inner = g["p"] * scale
        return (inner * b + g["q"], inner * a), None

    product.defvjp(forward, backward)

    def ours(a, b):
        found = product((a, b), 3.0)
        return xp.sum(found["p"] ** 2) + found["q"] ** 2

    def plain(a, b):
        return xp.sum((a * b * 3.0) ** 2) + xp.sum(a) ** 2

    other = RNG.standard_normal(ROWS.shape)
    direction = (RNG.standard_normal(ROWS.shape), RNG.standard_normal(ROWS.shape))
    for layout in layouts(ROWS.shape, few=True):
        a, b = make(ROWS, layout), make(other, layout)
        for one, two in zip(
            autograd.grad(ours, (0, 1))(a, b), autograd.grad(plain, (0, 1))(a, b), strict=True
        ):
            assert_equal(one, np.asarray(two))
        v = tuple(make(d, layout) for d in direction)
        for one, two in zip(
            autograd.hvp(ours, (a, b), v), autograd.hvp(plain, (a, b), v), strict=True
        ):
            assert_equal(one, np.asarray(two))
        square = autograd.grad(
            lambda a: product((a, a), 2.0)["q"] + xp.sum(product((a, a), 2.0)["p"])
        )
        assert_equal(square(a), 4 * ROWS + 1)


def test_custom_vjp_errors():
    @autograd.custom_vjp
    def bare(x):
        return x * 2

    x = xp.ones(3, split=0)
    assert_equal(bare(x), 2 * np.ones(3))
    with pytest.raises(TypeError, match="custom_vjp: the function has no rule yet"):
        autograd.grad(lambda y: xp.sum(bare(y)))(x)
    bare.defvjp(lambda x: (x * 2, None), lambda _, g: g)
    with pytest.raises(
        TypeError, match="custom_vjp: the rule returns Array; expected a tuple of 1"
    ):
        autograd.grad(lambda y: xp.sum(bare(y)))(x)
    bare.defvjp(lambda x: (x * 2, None), lambda _, g: (xp.sum(g),))
    with pytest.raises(ValueError, match=r"^custom_vjp: cotangent has shape \(\); expected \(3,\)"):
        autograd.grad(lambda y: xp.sum(bare(y)))(x)


# ---------------------------------------------------------------------- checkpoints


def test_checkpoint_computes_again(comm):
    calls = []
    w = make(ROWS[0] + 1)

    def block(x, scale=1.0):
        calls.append(1)
        return xp.cumulative_sum(xp.tanh(x * w) - xp.mean(x, axis=0), axis=0) * scale

    def loss(function):
        return lambda x: xp.sum(function(function(x), scale=2.0) ** 2)

    kept, again = autograd.checkpoint(block), block
    for layout in layouts(ROWS.shape, few=True):
        x = make(ROWS, layout)
        expected = autograd.grad(loss(again))(x)
        calls.clear()
        assert_equal(autograd.grad(loss(kept))(x), np.asarray(expected))
        assert len(calls) == 4
        v = make(np.cos(ROWS), layout)
        assert_equal(
            autograd.hvp(loss(kept), (x,), (v,))[0],
            np.asarray(autograd.hvp(loss(again), (x,), (v,))[0]),
        )


def test_checkpoint_reaches_what_the_function_refers_to(comm):
    x = split_rows(ROWS, comm)
    w = xp.asarray(ROWS[0]).requires_grad_()
    xp.sum(autograd.checkpoint(lambda x: xp.exp(x * w))(x)).backward()
    assert_equal(w.grad, (ROWS * np.exp(ROWS * ROWS[0])).sum(axis=0))


# ---------------------------------------------------------------------- a check of gradients


def test_check_grads():
    def smooth(x, y):
        return {"s": xp.sin(x) @ y["w"], "t": xp.cumulative_sum(x**2, axis=0)}

    for layout in layouts(ROWS.shape, few=True):
        args = (make(ROWS, layout), {"w": xp.asarray(RNG.standard_normal(3))})
        autograd.check_grads(smooth, args, order=2)
        z = make(ROWS + 1j * np.cos(ROWS), layout)
        autograd.check_grads(lambda z: xp.fft.fft(z, axis=0) * z, (z,))


def test_check_grads_finds_a_wrong_rule():
    @autograd.custom_vjp
    def wrong(x):
        return xp.sin(x)

    wrong.defvjp(lambda x: (xp.sin(x), x), lambda x, g: (g * xp.sin(x),))
    x = xp.asarray([0.5, 1.0, 2.0], split=0)
    for modes in (("fwd",), ("fwd", "rev")):
        with pytest.raises(AssertionError, match="check_grads: the jvp of order 1"):
            autograd.check_grads(wrong, (x,), modes=modes)
    with pytest.raises(TypeError, match=r"^check_grads: an argument has dtype int64"):
        autograd.check_grads(xp.sin, (xp.ones(3, dtype="int64"),))
    with pytest.raises(TypeError, match=r"^check_grads: the function returns float"):
        autograd.check_grads(lambda x: 3.0, (x,))
    with pytest.raises(ValueError, match="check_grads: modes is"):
        autograd.check_grads(xp.sin, (x,), modes=("back",))
