"""opt_einsum on distributed arrays: contractions in the orders that it finds."""

from __future__ import annotations

import numpy as np
import opt_einsum
import pytest

import heat_array_api as xp
from agnostic import layout_of
from consumers import W, consumer, entries, rows, stays_distributed
from layouts import assert_equal, make

SIZES = {"n": 4_000, "a": 5, "b": 4, "c": 3, "d": 6, "e": 2, "k": 300}
OPTIMIZERS = ("optimal", "greedy", "branch-2", "dp", "auto", "random-greedy", "auto-hq")

# Over the samples n, keeping them, and both.
CONTRACTIONS = {
    "na,ab,bc->nc": 3,
    "na,nb,bc->ac": 3,
    "na,nb->ab": 2,
    "na,ab,nb->n": 3,
    "nab,bcd,ad->nc": 3,
    "nab,ca,db->ncd": 3,
    "n,na,ab,nc,cb->": 5,
    "na->a": 1,
    "nab->nba": 1,
    "na,b->nab": 2,
    "nk,kab,bc,ac->n": 4,
}


def operands(formula: str, sizes: dict[str, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(len(formula))
    terms = formula.partition("->")[0].split(",")
    return [rng.normal(size=[sizes[letter] for letter in term]) for term in terms]


def arrays(values: list[np.ndarray], sizes: dict[str, int]) -> list[xp.Array]:
    return [rows(v) if v.shape[0] == sizes["n"] else make(v) for v in values]


@entries("opt_einsum", {f"contract ({name})": name for name in OPTIMIZERS})
def test_samples_stay_distributed(case):
    for formula in CONTRACTIONS:
        values = operands(formula, SIZES)
        expected = np.einsum(formula, *values, optimize=True)
        with stays_distributed(8 * SIZES["n"]):
            result = opt_einsum.contract(formula, *arrays(values, SIZES), optimize=case)
        assert_equal(result, expected, split=0 if "->n" in formula and W.size > 1 else ...)


@consumer("opt_einsum", "contract")
def test_values_in_all_layouts():
    sizes = SIZES | {"n": 11, "k": 5}
    for formula in CONTRACTIONS:
        for way in range(3):
            values = operands(formula, sizes)
            given = [make(v, layout_of(v.shape, way)) for v in values]
            assert_equal(opt_einsum.contract(formula, *given), np.einsum(formula, *values))


@consumer("opt_einsum", "contract")
def test_a_given_path_and_other_notations():
    formula = "na,ab,bc->nc"
    values = operands(formula, SIZES)
    given = arrays(values, SIZES)
    expected = np.einsum(formula, *values)
    for path in ([(1, 2), (0, 1)], [(0, 1), (0, 1)], [(0, 2), (0, 1)], [(0, 1, 2)]):
        with stays_distributed(8 * SIZES["n"]):
            assert_equal(opt_einsum.contract(formula, *given, optimize=path), expected)
    x, y, z = given
    assert_equal(opt_einsum.contract(x, [0, 1], y, [1, 2], z, [2, 3], [0, 3]), expected)
    assert_equal(opt_einsum.contract("...a,a...->...", x, xp.ones(5)), values[0].sum(axis=1))
    assert_equal(opt_einsum.contract(formula, x, y, z, memory_limit=20_000), expected)


@consumer("opt_einsum", "contract_path")
def test_paths_are_those_of_numpy():
    for formula in CONTRACTIONS:
        values = operands(formula, SIZES)
        path, info = opt_einsum.contract_path(formula, *arrays(values, SIZES))
        expected, of_numpy = opt_einsum.contract_path(formula, *values)
        assert path == expected
        assert info.opt_cost == of_numpy.opt_cost


@consumer("opt_einsum", "contract_expression")
def test_expressions():
    values = operands("na,ab,bc->nc", SIZES)
    x, y, z = arrays(values, SIZES)
    expected = np.einsum("na,ab,bc->nc", *values)
    plain = opt_einsum.contract_expression("na,ab,bc->nc", x.shape, y.shape, z.shape)
    constants = opt_einsum.contract_expression("na,ab,bc->nc", x.shape, y, z, constants=[1, 2])
    for _ in range(2):
        with stays_distributed(8 * SIZES["n"]):
            assert_equal(plain(x, y, z), expected)
            assert_equal(constants(x), expected)


@consumer("opt_einsum", "shared_intermediates")
def test_shared_intermediates():
    values = operands("na,ab,bc->nc", SIZES)
    x, y, z = arrays(values, SIZES)
    with opt_einsum.shared_intermediates(), stays_distributed(8 * SIZES["n"]):
        first = opt_einsum.contract("na,ab,bc->nc", x, y, z)
        second = opt_einsum.contract("na,ab,bc->nc", x, y, z)
    assert first is second
    assert_equal(first, np.einsum("na,ab,bc->nc", *values))


@consumer("opt_einsum", "gradients")
def test_gradients_flow_through_contractions():
    values = operands("na,ab,nb->n", SIZES | {"n": 7})
    x, y, z = arrays(values, SIZES | {"n": 7})

    def loss(y):
        return xp.sum(opt_einsum.contract("na,ab,nb->n", x, y, z) ** 2)

    forms = np.einsum("na,ab,nb->n", *values)
    expected = np.einsum("n,na,nb->ab", 2 * forms, values[0], values[2])
    assert_equal(xp.autograd.grad(loss)(y), expected)


@pytest.mark.parametrize("way", range(3))
def test_integers(way):
    values = [v.astype(np.int64) for v in operands("na,ab->nb", {"n": 9, "a": 3, "b": 4})]
    given = [make(v, layout_of(v.shape, way)) for v in values]
    assert_equal(opt_einsum.contract("na,ab->nb", *given), np.einsum("na,ab->nb", *values))
