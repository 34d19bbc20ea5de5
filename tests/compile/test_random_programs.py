"""Random programs, compiled against eager: any operations, any layouts, any order of messages.

Most programs run as captured graphs, which takes milliseconds; in every eighth one the graph
passes torch's own functionalisation and decompositions too ("aot_eager"), and machine code is
made of a few (`test_machine_code`): a second of a C++ compiler or more for each.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import heat_array_api as xp
from _harness import EXAMPLES
from heat_array_api._compile import compiled as _compiled
from heat_array_api._compile.inductor import no_compiler
from layouts import assert_equal, make
from strategies import layouts_of


def _written(x):
    y = x * 1.0
    y[0] = 2.0
    y[:, 0] = x[:, -1]
    return y


def _in_place(x):
    y = x * x
    y += x[:1]
    y *= 0.5
    return y


UNARY = {
    "sin": xp.sin,
    "tanh": xp.tanh,
    "square": xp.square,
    "negative": xp.negative,
    "flip": lambda x: xp.flip(x, axis=0),
    "roll": lambda x: xp.roll(x, 1, axis=0),
    "cumulative_sum": lambda x: xp.cumulative_sum(x, axis=0),
    "resplit 0": lambda x: xp.resplit(x, 0),
    "resplit 1": lambda x: xp.resplit(x, 1),
    "replicate": lambda x: xp.resplit(x, None),
    "rebalance": xp.rebalance,
    "center 0": lambda x: x - xp.mean(x, axis=0),
    "center 1": lambda x: x - xp.mean(x, axis=1, keepdims=True),
    "scale": lambda x: x / (1 + xp.std(x, axis=0)),
    "largest": lambda x: x - xp.max(x, axis=0),
    "softmax": lambda x: xp.special.softmax(x, axis=1),
    "clip": lambda x: xp.clip(x, -0.5, 0.5),
    "where": lambda x: xp.where(x > 0, x, 0.1 * x),
    "rows": lambda x: xp.concat([x[1:], x[:1]], axis=0),
    "reshape": lambda x: xp.reshape(xp.reshape(x, (-1,)), x.shape),
    "write": _written,
    "in place": _in_place,
    "fft": lambda x: xp.real(xp.fft.ifft(xp.fft.fft(x, axis=0), axis=0)),
    "gradient": xp.autograd.grad(lambda y: xp.sum(xp.sin(y) * xp.mean(y, axis=0))),
}
BINARY = {
    "add": xp.add,
    "multiply": xp.multiply,
    "maximum": xp.maximum,
    "hypot": xp.hypot,
    "matmul": lambda x, y: xp.tanh(x @ xp.matrix_transpose(y)) @ y,
    "gram": lambda x, y: xp.tanh(x) @ (xp.matrix_transpose(y) @ x / 10),
    "outer": lambda x, y: x * xp.sum(y, axis=0) + xp.sum(y * y),
}


SOME = 0.1234  # no sum comes close to it


def _masked_write(x):
    y = x * 1.0
    y[y > SOME] = xp.mean(x)
    y[0] = xp.max(x)
    return y


def _points_written(x):
    y = x * 1.0
    y[xp.arange(x.shape[0], split=0)] = x[::-1]
    return y


# These need values.
BREAKING = {
    "sort": lambda x: xp.sort(x, axis=0),
    "median": lambda x: x - xp.median(x, axis=0),
    "number": lambda x: x * float(xp.tanh(xp.sum(x))),
    "branch": lambda x: x * 2 if xp.sum(x) > SOME else xp.sin(x),
    "count": lambda x: x / (1 + x[x > SOME].shape[0]),
    "mask": lambda x: x + xp.sum(xp.cos(x[x > SOME])),
    "rows of a mask": lambda x: xp.concat([x[x[:, 0] > SOME] * 2, x], axis=0)[: x.shape[0]],
    "nonzero": lambda x: x + xp.sum(x[xp.nonzero(x > SOME)]),
    "masked write": _masked_write,
    "points written": _points_written,
    "split index": lambda x: x[xp.arange(x.shape[0] - 1, -1, -1, split=0)],
    "random": lambda x: x + xp.random.default_rng(2).random(x.shape, split=0),
    "pinv": lambda x: xp.tanh(xp.linalg.pinv(xp.eye(x.shape[0]) * 2) @ x),
    "gradient over a mask": xp.autograd.grad(lambda y: xp.sum(xp.sin(y)[y > SOME])),
}


@st.composite
def programs(draw, longest, unary):
    """Draw a list of (operation, operands); each result is appended to the arrays."""
    steps = []
    for count in range(2, 2 + draw(st.integers(1, longest))):
        if draw(st.booleans()):
            steps.append((draw(st.sampled_from(sorted(unary))), draw(st.integers(0, count - 1))))
        else:
            operands = draw(st.tuples(*[st.integers(0, count - 1)] * 2))
            steps.append((draw(st.sampled_from(sorted(BINARY))), *operands))
    return steps


def run(steps, x, y):
    arrays = [x, y]
    for name, *operands in steps:
        function = UNARY.get(name) or BREAKING.get(name) or BINARY[name]
        arrays.append(function(*(arrays[i] for i in operands)))
    return arrays[-1], xp.sum(arrays[-1], axis=0), xp.mean(arrays[len(arrays) // 2])


def compare(data, longest, backend, unary=UNARY, fullgraph=True):
    shape = data.draw(st.tuples(st.integers(1, 7), st.integers(1, 5)))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    steps = data.draw(programs(longest, unary))
    f = xp.compile(run, backend=backend, fullgraph=fullgraph, show_progress=False)
    for _ in range(2):
        x, y = (make(rng.standard_normal(shape), data.draw(layouts_of(shape))) for _ in range(2))
        with xp.trace() as before:
            expected = run(steps, x, y)
        for _ in range(2):  # captured, and run again
            result = f(steps, x, y)
            for mine, theirs in zip(result, expected, strict=True):
                assert mine.layout == theirs.layout
                assert_equal(mine, np.asarray(theirs), rtol=1e-9, atol=1e-9)
        with xp.trace() as after:
            f(steps, x, y)
        assert after.count() - after.count(operation="compile") <= before.count()


@given(st.data())
def test_random_programs(data):
    often = data.draw(st.integers(0, 7))
    compare(data, 6, "eager" if often else "aot_eager")


@given(st.data())
def test_random_programs_with_breaks(data):
    often = data.draw(st.integers(0, 7))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_compiled, "LEAST_BYTES_FOR_SUBGRAPHS", 0)
        compare(data, 6, "eager" if often else "aot_eager", {**UNARY, **BREAKING}, False)


@pytest.mark.skipif(no_compiler() is not None, reason=f"{no_compiler()}")
@settings(max_examples=max(2, EXAMPLES // 20))
@given(st.data())
def test_machine_code(data):
    compare(data, 2, "inductor")
