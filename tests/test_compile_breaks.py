"""Functions with lines that need values run in pieces: compiled before and after each such line.

The pieces run as they were recorded (``backend="eager"``), but for a few tests at the end.
"""

from __future__ import annotations

import numpy as np
import pytest

import heat_array_api as xp
from differentiated import FUNCTIONS, SHAPE
from heat_array_api import _compiled
from layouts import agree, assert_equal, layouts, make
from test_compile import EAGER, VALUES, compiled, messages, random

SIZE = xp.world().size


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Let arrays of any size be big enough."""
    monkeypatch.setattr(_compiled, "LEAST_BYTES", 0)


def sent(f, *args):
    """Return what is sent but by the compiler, as "operation: collective"."""
    with xp.trace() as t:
        f(*args)
    return [f"{e.operation}: {e.collective}" for e in t.events if e.operation != "compile"]


# ---------------------------------------------------------------------- everything there is

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


@pytest.mark.parametrize("name", FIRST)
def test_as_eager(name, check):
    """What needs values, between things that do not, on all layouts and with no warning."""

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
        check(mine, np.asarray(theirs), *note)
    elif isinstance(theirs, (list, tuple)):
        assert len(mine) == len(theirs)
        for one, other in zip(mine, theirs, strict=True):
            compare(one, other, check, *note)
    else:
        assert mine == theirs
