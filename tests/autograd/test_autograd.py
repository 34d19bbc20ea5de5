"""Derivatives on all layouts against those of replicated arrays, and these against differences."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

import heat_array_api as xp
from differentiated import FACTOR, FUNCTIONS, REAL, SHAPE
from heat_array_api._core.layout import Layout
from layouts import assert_equal, layouts, make

autograd = xp.autograd

VALUES = np.random.default_rng(0).standard_normal(SHAPE)
DIRECTION = np.random.default_rng(6).standard_normal(SHAPE)


def loss_of(function):
    """Return a scalar function that weighs every element of the result differently."""

    def loss(x):
        y = function(x)
        weights = xp.reshape(xp.arange(1.0, y.size + 1), y.shape)
        if np.dtype(y.dtype).kind == "c":
            return xp.sum(xp.sin(xp.real(y)) * weights + xp.sin(xp.imag(y)) * xp.cos(weights))
        return xp.sum(xp.sin(y) * weights)

    return loss


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients(name, dtype):
    """The gradient of replicated arrays is the slope; that of every other layout is the same."""
    loss = loss_of(FUNCTIONS[name])
    values, direction = VALUES, DIRECTION
    if dtype == "complex128":
        values, direction = VALUES + 1j * np.cos(VALUES), DIRECTION + 1j * np.sin(3 * VALUES)
    if dtype == "complex128" and name in REAL:
        with pytest.raises(TypeError, match="complex128"):
            autograd.grad(loss)(make(values))
        return
    expected = np.asarray(autograd.grad(loss)(make(values)))
    step = 1e-6
    ends = [float(loss(make(values + sign * step * direction))) for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * step)
    scale = np.linalg.norm(expected) * np.linalg.norm(direction)
    np.testing.assert_allclose(np.vdot(expected, direction).real, slope, atol=1e-6 * scale)
    for layout in layouts(SHAPE):
        x = make(values, layout)
        value, gradient = autograd.value_and_grad(loss)(x)
        assert_equal(gradient, expected, atol=1e-11 * scale)
        assert gradient.layout == layout
        assert not value.requires_grad
        assert not x.requires_grad


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_order(name):
    """Forward over reverse, reverse over reverse and reverse over forward agree, on all layouts."""
    loss = loss_of(FUNCTIONS[name])
    step = 1e-6
    ends = [
        np.asarray(autograd.grad(loss)(make(VALUES + sign * step * DIRECTION))) for sign in (1, -1)
    ]
    slope = (ends[0] - ends[1]) / (2 * step)
    x, v = make(VALUES), make(DIRECTION)
    expected = np.asarray(autograd.hvp(loss, (x,), (v,))[0])
    scale = max(np.abs(expected).max(), 1.0)
    np.testing.assert_allclose(expected, slope, atol=1e-5 * scale)

    def along(x):
        return xp.sum(autograd.grad(loss)(x) * v)

    def pushed(x):
        return autograd.jvp(loss, (x,), (v,))[1]

    for layout in layouts(SHAPE, few=True):
        x, v = make(VALUES, layout), make(DIRECTION, layout)
        product = autograd.hvp(loss, (x,), (v,))[0]
        assert product.layout == layout
        for one in (product, autograd.grad(along)(x), autograd.grad(pushed)(x)):
            assert_equal(one, expected, atol=1e-9 * scale)


def test_third_order():
    for layout in layouts((3,), few=True):
        x = make(np.asarray([0.5, -1.0, 2.0]), layout)

        def first(y):
            return xp.sum(autograd.grad(lambda z: xp.sum(z**4) * xp.sum(z))(y))

        def second(y):
            return xp.sum(autograd.grad(first)(y))

        t = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
        y = (t**4).sum() * t.sum()
        for _ in range(2):
            y = torch.autograd.grad(y, t, create_graph=True)[0].sum()
        assert_equal(autograd.grad(second)(x), torch.autograd.grad(y, t)[0].numpy())


def test_third_order_through_every_kind_of_message():
    def loss(x):
        y = xp.cumulative_sum(xp.resplit(xp.sin(x), 1), axis=0) @ xp.asarray(FACTOR)
        z = xp.roll(y * xp.mean(x, axis=1), 1, axis=0)[xp.asarray([3, 0, 0], split=0)]
        return xp.sum(z.T @ z) * xp.sum(x[2] ** 3) + xp.sum(xp.sort(x, axis=0) ** 4)

    u, v = np.cos(VALUES), np.sin(2 * VALUES)

    def third(layout):
        one, two = make(u, layout), make(v, layout)

        def second(x):
            return xp.sum(autograd.hvp(loss, (x,), (one,))[0] * two)

        return autograd.grad(second)(make(VALUES, layout))

    step = 1e-4
    ends = [autograd.hvp(loss, (make(VALUES + s * step * v),), (make(u),))[0] for s in (1, -1)]
    expected = (np.asarray(ends[0]) - np.asarray(ends[1])) / (2 * step)
    scale = np.abs(expected).max()
    for layout in layouts(SHAPE, few=True):
        assert_equal(third(layout), expected, atol=1e-6 * scale)


# ---------------------------------------------------------------------- ties and zeros


def test_extrema_share_ties_evenly_over_ranks(comm):
    values = np.asarray([[2.0, 1.0], [0.0, 1.0], [2.0, 1.0], [2.0, 0.0]])
    for layout in layouts(values.shape):
        gradient = autograd.grad(lambda x: xp.sum(xp.max(x, axis=0)))(make(values, layout))
        third = 1 / 3
        assert_equal(gradient, np.asarray([[third, third], [0, third], [third, third], [third, 0]]))


@pytest.mark.parametrize("zeros", [(), (1,), (1, 3)])
def test_products_with_zeros(zeros):
    values = np.asarray([2.0, 3.0, -1.0, 5.0, 0.5])
    values[list(zeros)] = 0.0
    expected = np.asarray([np.prod(np.delete(values, i)) for i in range(5)])
    for layout in layouts((5,)):
        assert_equal(autograd.grad(xp.prod)(make(values, layout)), expected)


def test_complex_gradients_are_torchs():
    values = np.asarray([1 + 2j, -0.5j, 3.0])
    for layout in layouts((3,)):
        gradient = autograd.grad(lambda z: xp.sum(xp.abs(z) ** 2))(make(values, layout))
        assert_equal(gradient, 2 * values)


# ---------------------------------------------------------------------- the interface


def test_trees_and_several_arguments():
    def loss(parameters, x, scale):
        hidden = xp.tanh(x @ parameters["w"] + parameters["b"][0])
        return scale * xp.sum(hidden**2), {"hidden": hidden}

    w, b = np.ones((4, 2)) / 3, np.asarray([0.1, -0.2])
    reference = None
    for layout in layouts(SHAPE, few=True):
        for split in (None, 0, 1):
            parameters = {"w": xp.asarray(w, split=split), "b": [xp.asarray(b)]}
            x = make(VALUES, layout)
            (value, aux), (gw, gx) = autograd.value_and_grad(loss, (0, 1), has_aux=True)(
                parameters, x, 2.0
            )
            assert set(gw) == {"w", "b"}
            assert gw["w"].split == split
            assert gw["b"][0].split is None
            results = [np.asarray(r) for r in (value, gw["w"], gw["b"][0], gx)]
            reference = reference or results
            for one, other in zip(results, reference, strict=True):
                np.testing.assert_allclose(one, other, atol=1e-12)
            assert "hidden" in aux


def test_vjp_and_jvp_are_transposes():
    def function(x, y):
        return xp.cumulative_sum(x, axis=0) @ y, xp.sort(x, axis=0) * 2.0

    rng = np.random.default_rng(3)
    values = [VALUES, FACTOR]
    directions = [rng.standard_normal(v.shape) for v in values]
    for one in layouts(SHAPE, few=True):
        for two in layouts((4, 5), few=True):
            primals = (make(VALUES, one), make(FACTOR, two))
            tangents = (make(directions[0], one), make(directions[1], two))
            y, pushed = autograd.jvp(function, primals, tangents)
            cotangents = tuple(xp.asarray(rng.standard_normal(r.shape)) for r in y)
            _, pullback = autograd.vjp(function, *primals)
            pulled = pullback(cotangents)
            left = sum(float(xp.sum(g * t)) for g, t in zip(cotangents, pushed, strict=True))
            right = sum(float(xp.sum(g * t)) for g, t in zip(pulled, tangents, strict=True))
            assert abs(left - right) < 1e-11 * max(abs(left), 1)


def test_jacobian_and_hessian():
    matrix = np.arange(12.0).reshape(3, 4)
    for split in (None, 0):
        x = xp.asarray([1.0, 2.0, -1.0, 0.5], split=split)
        jacobian = autograd.jacobian(lambda y, s=split: xp.asarray(matrix, split=s) @ y**2)(x)
        assert_equal(jacobian, matrix * 2 * np.asarray(x))
        assert jacobian.split is None
        hessian = autograd.hessian(lambda y: xp.sum(y**3) + y[0] * y[1])(x)
        expected = np.diag(6 * np.asarray(x))
        expected[0, 1] = expected[1, 0] = 1
        assert_equal(hessian, expected)
        both = autograd.jacobian(lambda p: {"y": p["a"] * p["b"][0], "z": xp.sum(p["a"])})(
            {"a": x, "b": (xp.asarray(3.0), xp.zeros(2, split=0))}
        )
        assert_equal(both["y"]["a"], 3 * np.eye(4))
        assert_equal(both["y"]["b"][0], np.asarray(x))
        assert_equal(both["y"]["b"][1], np.zeros((4, 2)))
        assert_equal(both["z"]["a"], np.ones(4))
    assert autograd.jacobian(lambda x: x[:0])(xp.ones(3, split=0)).shape == (0, 3)


def test_backward_accumulates_in_grad():
    for layout in layouts(SHAPE, few=True):
        x = make(VALUES, layout).requires_grad_()
        assert x.grad is None
        for _ in range(2):
            xp.sum(x * x[0]).backward()
        expected = 2 * np.tile(VALUES[0], (5, 1))
        expected[0] = 2 * (VALUES.sum(axis=0) + VALUES[0])
        assert_equal(x.grad, expected)
        assert x.grad.layout == layout
        x.grad = None
        assert x.grad is None
        assert not x.detach().requires_grad


def test_inputs_of_the_tape_are_written_to_as_optimisers_do():
    for layout in layouts(SHAPE, few=True):
        x = make(VALUES, layout).requires_grad_()
        for write in (partial(x.__setitem__, 0, 1.0), partial(x.__imul__, 2.0)):
            with pytest.raises(
                RuntimeError, match=r"requires_grad_\(\) is written to; do so under"
            ):
                write()
        xp.sum(x**2).backward()
        with autograd.no_grad():
            x -= 0.25 * x.grad
            x[0] = 1.0
            x[x < -0.5] = 0.0
            x[xp.asarray([2])] *= 3.0
        expected = VALUES * 0.5
        expected[0] = 1.0
        expected[expected < -0.5] = 0.0
        expected[2] *= 3.0
        assert_equal(x.detach(), expected)
        assert x.requires_grad
        x.grad = None
        xp.sum(x**2).backward()
        assert_equal(x.grad, 2 * expected)
        assert not x.requires_grad_(False).requires_grad


def test_functions_may_write_to_their_arguments():
    def function(x):
        y = xp.sum(x**2)
        x *= 3.0
        x[0] = 0.0
        return y + xp.sum(x)

    expected = 2 * VALUES + 3
    expected[0] -= 3
    for layout in layouts(SHAPE, few=True):
        x = make(VALUES, layout)
        assert_equal(autograd.grad(function)(x), expected)
        assert_equal(x, VALUES)


def test_gradients_of_other_layouts_are_refused(comm):
    x = make(VALUES, Layout.balanced(SHAPE, 0, comm)).requires_grad_()
    x.grad = xp.zeros(SHAPE, split=0)
    with pytest.raises(ValueError, match="grad: a gradient in"):
        x.grad = xp.zeros(SHAPE, split=None)
    for call in (lambda: xp.sum(xp.ones(3)).backward(), (x * 2).backward):
        with pytest.raises((RuntimeError, TypeError), match="backward: the array"):
            call()


def test_stop_gradient_and_no_grad():
    for layout in layouts(SHAPE, few=True):
        x = make(VALUES, layout)
        gradient = autograd.grad(lambda y: xp.sum(y * autograd.stop_gradient(y)))(x)
        assert_equal(gradient, VALUES)

        def constant(y):
            with autograd.no_grad():
                z = y * y
            assert not z.requires_grad
            return xp.sum(z) + xp.sum(y)

        assert_equal(autograd.grad(constant)(x), np.ones(SHAPE))


def test_derivatives_by_what_a_function_refers_to():
    """Nested derivatives by different arrays; the inner function takes one of them."""
    other = np.cos(VALUES)
    for layout in layouts(SHAPE, few=True):
        x, w = make(VALUES, layout), make(other, layout)

        def penalty(w, x=x):
            slope = autograd.grad(lambda x: xp.sum(w**3 * x**2))(x)  # 2 w**3 x
            return xp.sum(slope)

        assert_equal(autograd.grad(penalty)(w), 6 * other**2 * VALUES)

        def along(w, x=x):
            return xp.sum(autograd.jvp(lambda x: w**3 * x**2, (x,), (xp.ones_like(x),))[1])

        assert_equal(autograd.grad(along)(w), 6 * other**2 * VALUES)

        def towards(v, x=x):
            return xp.sum(autograd.hvp(lambda x: xp.sum(x**3), (x,), (v,))[0])

        assert_equal(autograd.grad(towards)(w), 6 * VALUES)
        w.requires_grad_()
        penalty(w).backward()
        assert_equal(w.grad, 6 * other**2 * VALUES)
        with autograd.no_grad():
            assert not penalty(w).requires_grad
        assert not autograd.grad(lambda x: xp.sum(x**2))(x).requires_grad


def test_an_input_without_influence_has_gradient_0():
    x, y = xp.ones((4, 3), split=0), xp.ones(5, split=0)
    gradients = autograd.grad(lambda a, b: xp.sum(a), (0, 1))(x, y)
    assert_equal(gradients[1], np.zeros(5))
    assert_equal(autograd.grad(lambda a: xp.asarray(1.0))(x), np.zeros((4, 3)))


def test_errors():
    x = xp.ones((4, 3), split=0)
    grad = autograd.grad
    for call, error, message in (
        (lambda: grad(lambda y: y * 2)(x), TypeError, r"grad: the function returns \(4, 3\)"),
        (lambda: grad(lambda y: xp.sum(y) * 1j)(x), TypeError, "grad: .* dtype complex128"),
        (lambda: grad(lambda y: 3.0)(x), TypeError, "grad: the function returns float"),
        (lambda: grad(xp.sum)(xp.ones(3, dtype="int64")), TypeError, "grad: an argument has dtype"),
        (lambda: grad(xp.sum)([1, 2]), TypeError, "grad: an argument is int; expected arrays"),
        (lambda: grad(lambda y: float(xp.sum(y)))(x), RuntimeError, r"item: .* x\.detach\(\)"),
        (lambda: autograd.jvp(xp.sin, x, x), TypeError, "jvp: primals is Array; expected a tuple"),
        (lambda: autograd.hvp(xp.sum, (x,), ()), ValueError, "hvp: 0 tangents for 1 primals"),
        (lambda: grad(np.asarray)(x), RuntimeError, "__array__: the array is being"),
        (lambda: xp.ones(3, dtype="int8").requires_grad_(), TypeError, "requires_grad_: the dtype"),
    ):
        with pytest.raises(error, match=message):
            call()
    for name in ("grad", "value_and_grad", "hessian"):
        with pytest.raises(TypeError, match=rf"^{name}: the function returns \(4, 3\)"):
            getattr(autograd, name)(lambda y: y * 2)(x)
    for name in ("grad", "value_and_grad", "hessian", "jacobian"):
        with pytest.raises(TypeError, match=f"^{name}: an argument is int; expected arrays"):
            getattr(autograd, name)(xp.sum)(3)
    with pytest.raises(TypeError, match=r"^hvp: the function returns \(4, 3\)"):
        autograd.hvp(lambda y: y * 2, (x,), (x,))
    for name in ("jvp", "hvp"):
        with pytest.raises(
            ValueError, match=rf"^{name}: tangent has shape \(3,\); expected \(4, 3"
        ):
            getattr(autograd, name)(xp.sum, (x,), (xp.ones(3),))
    _, pullback = autograd.vjp(lambda y: y * 2, x)
    with pytest.raises(ValueError, match=r"^vjp: cotangent is float; expected an array of shape"):
        pullback(1.0)
    with pytest.raises(ValueError, match=r"vjp: cotangent has shape \(3,\); expected \(4, 3\)"):
        pullback(xp.ones(3))


# ---------------------------------------------------------------------- messages


def count(call):
    with xp.trace() as t:
        call()
    return [event.collective for event in t.events]


def test_messages_of_a_backward_pass(comm):
    n = 6 * comm.size
    x = make(np.ones((n, 3)), Layout.balanced((n, 3), 0, comm))
    w = xp.ones((3,))
    many = comm.size > 1
    # One sum of the loss, one of the parameter's cotangent.
    loss = autograd.grad(lambda p: xp.sum((x @ p) ** 2))
    assert count(lambda: loss(w)) == ["allreduce"] * 2 * many
    # However often it is used.
    often = autograd.grad(lambda p: xp.sum(x @ p) + xp.sum(x * p + p * (x - p)))
    assert count(lambda: often(w)) == ["allreduce"] * 3 * many
    # The rows' own gradient needs no message.
    rows = autograd.grad(lambda y: xp.sum((y @ w) ** 2))
    assert count(lambda: rows(x)) == ["allreduce"] * many
    # The adjoint of an all-to-all is one.
    moved = autograd.grad(lambda y: xp.sum(xp.resplit(y, 1) ** 2))
    assert count(lambda: moved(x)) == ["alltoall", "allreduce", "alltoall"] * many


def test_nothing_is_sent_more_off_the_tape(comm):
    shape = (4 * comm.size, 3)
    x = make(np.ones(shape), Layout.balanced(shape, 0, comm))
    with xp.trace() as t:
        xp.sum(x * x[0])
        xp.resplit(x, 1)
    assert len(t.events) == 3 * (comm.size > 1)


def test_gradients_under_no_grad():
    """As torch.func's: what is asked for by name is not switched off."""
    x = xp.asarray(np.arange(5.0), split=0)
    with xp.autograd.no_grad():
        assert_equal(xp.autograd.grad(lambda x: xp.sum(x * x))(x), 2 * np.arange(5.0))
