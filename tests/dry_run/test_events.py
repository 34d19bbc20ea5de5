"""The messages of a dry run are those of the real run: operation, collective and bytes of each.

Every rank compares its own messages with those of its double in a dry run of as many ranks. What
depends on data is listed, with the reason.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import heat_array_api as xp
from arguments import calls
from differentiated import FUNCTIONS, SHAPE
from heat_array_api._dry_run.meter import Meter

W = xp.world()
VALUES = np.random.default_rng(3).standard_normal(SHAPE)

SORTED = "how many elements go to each rank depends on their order"
INDEXED = "how many rows go to each rank depends on the index"
TIES = "cut by their ranks: one exscan more where keys are there twice"
LONGEST = "the length of the result is the greatest element"
MASKED = "how many elements a mask selects: a number that the program has beforehand"
READS = "reads values of its own results"

# Bytes differ, while the operations and collectives are those of the real run.
BYTES_DEPEND = {
    "random.default_rng": "a seed from the machine's entropy, pickled",
    "nanmedian": SORTED,
    "nanquantile": SORTED,
    "bincount": LONGEST,
    "median of all": SORTED,
    "quantile of all": SORTED,
    "sort of all": SORTED,
    "argsort, take": SORTED,
    "take_along_axis": SORTED,
    "integers": INDEXED,
    "split integers": INDEXED,
    "pairs of integers": INDEXED,
    "a matrix of integers": INDEXED,
    "take": INDEXED,
    "quantile": INDEXED,
    "take of rows": INDEXED,
    "setitem": INDEXED,
    "setitem by pairs": INDEXED,
}
# Messages differ, but their kinds are among those of the real run.
MESSAGES_DEPEND = {
    "isin": TIES,
    "median": TIES,
    "unique_all": TIES,
    "unique_counts": TIES,
    "unique_inverse": TIES,
    "unique_values": TIES,
}
# The program itself knows a length that depends on values.
UNKNOWN_LENGTHS = {
    "setitem by a mask of values": MASKED,
}
# What cannot run without values.
NEEDS_VALUES = {
    "autograd.check_grads": READS,
}

CALLS = [call for call in calls() if not call.name.startswith("io.") and call.name != "dry_run"]


def facts(events: Any, bytes_too: bool = True) -> list[tuple[Any, ...]]:
    """Return what must be the same of messages."""
    return [(e.operation, e.collective, e.bytes if bytes_too else None) for e in events]


def both(name: str, f: Callable[[], Any]) -> tuple[list[Any], list[Any]]:
    """Run a function really and dry, and return the messages of both; the caller compares them.

    A rank that finds a difference must not leave the others alone with the next function.
    """
    with warnings.catch_warnings(), xp.trace() as real:
        warnings.simplefilter("ignore")  # implicit gathers
        f()
        before = len(real.events)
        try:
            plan = xp.dry_run(f, ranks=W.size, rank=W.rank)
        except Exception as error:
            return [error], []
        sent = [*real.events[before:], *(e for e in plan.events if e.nranks != W.size)]
    exact = name not in BYTES_DEPEND
    mine, theirs = facts(plan.events, exact), facts(real.events[:before], exact)
    if name in MESSAGES_DEPEND:
        kinds = {fact[:2] for fact in theirs}
        return sent + [fact for fact in mine if fact[:2] not in kinds], []
    return sent + mine, theirs


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_messages_of_every_function(call):
    def f():
        positional, named = call.arguments()
        call.function(*positional, **named)

    if call.name in NEEDS_VALUES:
        with pytest.raises((xp.PlanError, AssertionError)):
            xp.dry_run(f, ranks=W.size, rank=W.rank)
    elif call.name != "autograd.module_apply":
        dry, real = both(call.name, f)
        assert dry == real


@pytest.mark.skipif(W.size == 1, reason="nothing is sent on one rank")
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in UNKNOWN_LENGTHS])
def test_messages_of_functions_and_their_derivatives(name):
    function = FUNCTIONS[name]

    def loss(x):
        return xp.sum(xp.abs(function(x)))

    pairs = [
        both(name, lambda: function(xp.asarray(VALUES, split=0))),
        both(name, lambda: xp.autograd.grad(loss)(xp.asarray(VALUES, split=1))),
    ]
    for dry, real in pairs:
        assert dry == real


def test_the_lists_name_what_there_is():
    names = {call.name for call in CALLS} | set(FUNCTIONS)
    assert names >= {*BYTES_DEPEND, *MESSAGES_DEPEND, *UNKNOWN_LENGTHS, *NEEDS_VALUES}


# ---------------------------------------------------------------------- larger arrays

N = 60


def tall(columns: int = 8) -> Any:
    rows = xp.arange(4000, dtype="float64", split=0)[:, None]
    return xp.sin(rows * xp.arange(1, columns + 1))


def square() -> Any:
    x = xp.sin(xp.arange(N, dtype="float64", split=0)[:, None] ** 2 * xp.arange(1, N + 1))
    return x @ x.T + N * xp.eye(N, split=0)


def kmeans_step(x: Any) -> Any:
    centers = x[:4]
    distances = xp.sum((x[:, None, :] - centers[None]) ** 2, axis=2)
    nearest = xp.argmin(distances, axis=1)
    one_hot = xp.astype(nearest[:, None] == xp.arange(4), x.dtype)
    return one_hot.T @ x / xp.sum(one_hot, axis=0)[:, None]


LARGER = {
    "elementwise": lambda: xp.exp(tall()) + 1.0,
    "standardised": lambda: (tall() - xp.mean(tall(), axis=0)) / xp.std(tall(), axis=0),
    "x.T @ x": lambda: tall().T @ tall(),
    "matmul": lambda: square() @ square(),
    "transposed": lambda: xp.resplit(tall(), 1),
    "shifted": lambda: tall()[:-2] + tall()[2:],
    "reshape": lambda: xp.reshape(tall(), (8, 4000)),
    "fft": lambda: xp.fft.fft(tall(1)[:, 0]),
    "rfftn": lambda: xp.fft.rfftn(tall()),
    "cumulative_sum": lambda: xp.cumulative_sum(tall(), axis=0),
    "gradient": lambda: xp.gradient(tall(), axis=0),
    "concat": lambda: xp.concat([tall(), tall()], axis=0),
    "roll": lambda: xp.roll(tall(), 7, axis=0),
    "qr": lambda: xp.linalg.qr(tall()),
    "svd": lambda: xp.linalg.svd(tall(), full_matrices=False),
    "cholesky": lambda: xp.linalg.cholesky(square()),
    "solve": lambda: xp.linalg.solve(square(), square()[:, 0]),
    "inv": lambda: xp.linalg.inv(square()),
    "slogdet": lambda: xp.linalg.slogdet(square()),
    "eigvalsh": lambda: xp.linalg.eigvalsh(square()),
    "a step of k-means": lambda: kmeans_step(tall()),
    "einsum": lambda: xp.einsum("ij,ik,il->jkl", tall(3), tall(3), tall(3)),
}


@pytest.mark.parametrize("name", LARGER)
def test_messages_and_memory_of_larger_arrays(name):
    """Messages are equal, and so is, nearly, the most memory that tensors take."""
    f = LARGER[name]
    dry, real = both(name, f)
    with Meter() as meter:
        f()
    plan = xp.dry_run(f, ranks=W.size, rank=W.rank)
    assert dry == real
    assert plan.peak_bytes == pytest.approx(meter.peak, rel=0.1)
