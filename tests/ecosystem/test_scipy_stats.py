"""SciPy's statistics on distributed arrays: every array-agnostic function of `scipy.stats`."""

# ruff: noqa: PLW0108 - the parameters of a case name its samples

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special, stats
from scipy._lib._array_api import array_namespace

import heat_array_api as xp
from agnostic import attributes, capable, compare, layout_of, samples
from consumers import ROWS, W, consumer, entries, rows, stays_distributed
from layouts import make

# SciPy's own, in its own code.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning:scipy")


def data(n: int, dtype: Any = np.float64) -> dict[str, np.ndarray]:
    """Return samples by the names that the cases call them: n rows, two columns."""
    rng = np.random.default_rng(6)
    values = {
        "x": rng.normal(size=(n, 2)),
        "y": rng.normal(0.2, 1.1, size=(n, 2)),
        "z": rng.normal(-0.1, 0.9, size=(n, 2)),
        "p": rng.gamma(3.0, size=(n, 2)) + 0.01,
        "q": rng.gamma(2.0, size=(n, 2)) + 0.01,
        "u": rng.uniform(0.001, 1, size=(n, 2)),
        "t": rng.normal(1.0, 0.3, size=(n, 2)),
        "directions": rng.normal(0.5, 1.0, size=(n, 3)),
        "k": rng.integers(0, 9, size=(n, 2)).astype(np.float64),
        "v": rng.normal(size=n),
        "w": rng.normal(0.1, 1.2, size=n),
    }
    values = {name: value.astype(dtype) for name, value in values.items()}
    return values | {"i": rng.integers(0, 50, size=(n, 2))}


def mean(sample: Any, axis: int = -1) -> Any:
    return array_namespace(sample).mean(sample, axis=axis)


def difference(a: Any, b: Any, axis: int = -1) -> Any:
    return mean(a, axis) - mean(b, axis)


def normal(like: Any, seed: int = 3) -> Any:
    """Return a function that draws arrays of `like`'s kind: the same numbers, split by samples."""
    rng = np.random.default_rng(seed)

    def rvs(size: Any) -> Any:
        values = rng.normal(size=size).astype(str(like.dtype))
        if isinstance(like, np.ndarray):
            return values
        return xp.asarray(values, split=None if like.split is None else values.ndim - 1)

    return rvs


def bootstrap(v: Any, w: Any) -> Any:
    found = stats.bootstrap((v, w), difference, n_resamples=30, batch=10, method="basic", rng=1)
    return *found.confidence_interval, found.standard_error, found.bootstrap_distribution


def permutation(v: Any, w: Any) -> Any:
    found = stats.permutation_test((v, w), difference, n_resamples=20, batch=10, rng=1)
    return found.statistic, found.pvalue, found.null_distribution


def monte_carlo(v: Any) -> Any:
    found = stats.monte_carlo_test(v, normal(v), mean, n_resamples=20, batch=10)
    return found.statistic, found.pvalue, found.null_distribution


def power(v: Any) -> Any:
    space = array_namespace(v)
    n, significance = space.asarray(v.shape[0]), space.asarray([0.4])

    def test(sample: Any, axis: int) -> Any:
        return stats.ttest_1samp(sample, 0.001, axis=axis).pvalue

    found = stats.power(test, normal(v), n, n_resamples=20, batch=10, significance=significance)
    return found.power, found.pvalues


def from_summaries(x: Any, y: Any) -> Any:
    space = array_namespace(x)
    first = space.mean(x, axis=0), space.std(x, axis=0, correction=1), x.shape[0]
    second = space.mean(y, axis=0), space.std(y, axis=0, correction=1), y.shape[0]
    return stats.ttest_ind_from_stats(*first, *second)


# The names of a case's parameters are those of its samples in `data`.
CASES = {
    "stats.alexandergovern": lambda x, y, z: tuple(vars(stats.alexandergovern(x, y, z)).values()),
    "stats.ansari": lambda x, y: stats.ansari(x, y),
    "stats.bartlett": lambda x, y, z: stats.bartlett(x, y, z),
    "stats.bootstrap": bootstrap,
    "stats.boxcox_llf": lambda p: stats.boxcox_llf(0.3, p),
    "stats.brunnermunzel": lambda x, y: stats.brunnermunzel(x, y),
    "stats.chatterjeexi": lambda v, w: stats.chatterjeexi(v, w),
    "stats.chisquare": lambda p: stats.chisquare(p),
    "stats.circmean": lambda t: stats.circmean(t, axis=0),
    "stats.circstd": lambda t: stats.circstd(t, axis=0),
    "stats.circvar": lambda t: stats.circvar(t),
    "stats.combine_pvalues": lambda u, p: (
        stats.combine_pvalues(u),
        stats.combine_pvalues(u, method="stouffer", weights=p),
        stats.combine_pvalues(u, method="tippett"),
    ),
    "stats.cramervonmises": lambda x: attributes(
        stats.cramervonmises(x, special.ndtr, axis=0), "statistic", "pvalue"
    ),
    "stats.cramervonmises_2samp": lambda x, y: attributes(
        stats.cramervonmises_2samp(x, y, method="asymptotic"), "statistic", "pvalue"
    ),
    "stats.describe": lambda x: stats.describe(x),
    "stats.differential_entropy": lambda x: (
        stats.differential_entropy(x),
        stats.differential_entropy(x, method="correa"),
    ),
    "stats.directional_stats": lambda directions: attributes(
        stats.directional_stats(directions), "mean_direction", "mean_resultant_length"
    ),
    "stats.entropy": lambda p, q: (stats.entropy(p), stats.entropy(p, q)),
    "stats.epps_singleton_2samp": lambda x, y: stats.epps_singleton_2samp(x, y),
    "stats.f_oneway": lambda x, y, z: (
        stats.f_oneway(x, y, z),
        stats.f_oneway(x, y, z, equal_var=False),
    ),
    "stats.false_discovery_control": lambda v: stats.false_discovery_control(special.ndtr(v)),
    "stats.fligner": lambda x, y, z: stats.fligner(x, y, z),
    "stats.friedmanchisquare": lambda x, y, z: stats.friedmanchisquare(x, y, z),
    "stats.gmean": lambda p, q: (stats.gmean(p), stats.gmean(p, weights=q)),
    "stats.gstd": lambda p: stats.gstd(p),
    "stats.gzscore": lambda p: stats.gzscore(p),
    "stats.hmean": lambda p: stats.hmean(p),
    "stats.iqr": lambda x: stats.iqr(x, axis=0),
    "stats.jarque_bera": lambda x: stats.jarque_bera(x, axis=0),
    "stats.kruskal": lambda x, y, k: stats.kruskal(x, y, k),
    "stats.ks_1samp": lambda x: stats.ks_1samp(x, special.ndtr, method="asymp"),
    "stats.kstat": lambda x: tuple(stats.kstat(x, order, axis=0) for order in (1, 2, 3, 4)),
    "stats.kstatvar": lambda x: tuple(stats.kstatvar(x, order, axis=0) for order in (1, 2)),
    "stats.kurtosis": lambda x: (stats.kurtosis(x), stats.kurtosis(x, bias=False)),
    "stats.kurtosistest": lambda x: stats.kurtosistest(x),
    "stats.levene": lambda x, y, z: (stats.levene(x, y, z), stats.levene(x, y, center="mean")),
    "stats.lmoment": lambda x: stats.lmoment(x),
    "stats.mannwhitneyu": lambda x, y, k: (
        stats.mannwhitneyu(x, y, method="asymptotic"),
        stats.mannwhitneyu(k, x, alternative="less", method="asymptotic"),
    ),
    "stats.median_abs_deviation": lambda x: stats.median_abs_deviation(x),
    "stats.mode": lambda k: stats.mode(k),
    "stats.moment": lambda x: tuple(stats.moment(x, order) for order in (0, 1, 2, 3, 4)),
    "stats.monte_carlo_test": monte_carlo,
    "stats.mood": lambda x, y: stats.mood(x, y),
    "stats.normaltest": lambda x: stats.normaltest(x),
    "stats.pearsonr": lambda x, y: (
        *attributes(stats.pearsonr(x, y), "statistic", "pvalue"),
        *stats.pearsonr(x, y).confidence_interval(),
    ),
    "stats.permutation_test": permutation,
    "stats.pmean": lambda p, q: (stats.pmean(p, 2.5), stats.pmean(p, -1, weights=q)),
    "stats.power": power,
    "stats.power_divergence": lambda p: stats.power_divergence(p, lambda_="cressie-read"),
    "stats.quantile": lambda x: (
        stats.quantile(x, 0.3),
        stats.quantile(x, array_namespace(x).asarray([[0.05, 0.5], [0.5, 0.7], [0.99, 0.999]])),
        stats.quantile(x, 0.4, method="hazen"),
        stats.quantile(x, 0.4, method="round_outward"),
        stats.quantile(x, 0.4, method="harrell-davis"),
    ),
    "stats.rankdata": lambda k, x: (
        *(stats.rankdata(k, method, axis=0) for method in ("average", "min", "max", "dense")),
        stats.rankdata(x, "ordinal", axis=0),
    ),
    "stats.sem": lambda x: stats.sem(x),
    "stats.sigmaclip": lambda v: stats.sigmaclip(v, 2.0, 2.5),
    "stats.skew": lambda x: (stats.skew(x), stats.skew(x, bias=False)),
    "stats.skewtest": lambda x: stats.skewtest(x, alternative="greater"),
    "stats.spearmanrho": lambda x, y: stats.spearmanrho(x, y),
    "stats.tmax": lambda x: stats.tmax(x, 1.5),
    "stats.tmean": lambda x: stats.tmean(x, (-1, 2), axis=0),
    "stats.tmin": lambda x: stats.tmin(x, -1.5),
    "stats.trim_mean": lambda x: stats.trim_mean(x, 0.1),
    "stats.tsem": lambda x: stats.tsem(x, (-1, 2)),
    "stats.tstd": lambda x: stats.tstd(x, (-1, 2)),
    "stats.ttest_1samp": lambda x: (
        stats.ttest_1samp(x, 0.01),
        *stats.ttest_1samp(x, 0.01, alternative="less").confidence_interval(),
    ),
    "stats.ttest_ind": lambda x, y: (
        stats.ttest_ind(x, y),
        stats.ttest_ind(x, y, equal_var=False, alternative="less"),
        *stats.ttest_ind(x, y).confidence_interval(),
    ),
    "stats.ttest_ind_from_stats": from_summaries,
    "stats.ttest_rel": lambda x, y: stats.ttest_rel(x, y),
    "stats.tvar": lambda x: stats.tvar(x, (-1, 2)),
    "stats.variation": lambda p: (stats.variation(p), stats.variation(p, ddof=1)),
    "stats.wilcoxon": lambda x, y, k: (
        stats.wilcoxon(x, y, method="asymptotic"),
        stats.wilcoxon(k, x, zero_method="pratt", method="asymptotic"),
    ),
    "stats.yeojohnson_llf": lambda x: stats.yeojohnson_llf(0.3, x),
    "stats.zmap": lambda x, y: stats.zmap(x, y),
    "stats.zscore": lambda x: (stats.zscore(x), stats.zscore(x, ddof=1)),
}


SHORT = {CASES["stats.false_discovery_control"]: 300}
"""Samples of what SciPy goes through one by one in Python: see its own test, too."""

DOUBLE = {"rtol": 1e-9}
SINGLE = {"rtol": 2e-3, "atol": 1e-4}
"""Tolerances of float32: p-values are functions of differences."""


@entries("scipy", CASES)
def test_samples_stay_distributed(case):
    """No message has a column of 8 n bytes: the greatest of sorting two columns has 48 KiB."""
    n = SHORT.get(case, ROWS)
    values = samples(case, data(n))
    expected = case(*values)
    given = [rows(value) for value in values]
    with stays_distributed(6 * ROWS):
        result = case(*given)
    compare(result, expected, rtol=1e-9)


@entries("scipy", CASES)
def test_values_in_all_layouts(case):
    for dtype, ways, tolerances in ((np.float64, (0, 1, 2), DOUBLE), (np.float32, (2,), SINGLE)):
        values = samples(case, data(61, dtype))
        expected = case(*values)
        for way in ways:
            given = [make(value, layout_of(value.shape, way)) for value in values]
            compare(case(*given), expected, **tolerances)


@consumer("scipy", "stats.false_discovery_control")
def test_what_is_done_sample_by_sample_stays_split():
    with xp.trace() as t:
        result = stats.false_discovery_control(rows(data(300)["u"][:, 0]))
    assert result.split == 0 or W.size == 1
    assert all(event.result <= 8 for event in t.events if event.collective == "bcast")


def test_every_array_agnostic_function_is_here():
    assert capable(stats, "stats") == set(CASES)
