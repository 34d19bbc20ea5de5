"""scikit-learn's own tests of array-API support, with this namespace as the only one.

They ask scikit-learn which namespaces, devices and dtypes to test
(`yield_namespace_device_dtype_combinations`); here the answer is ours. Every array they make is
split along its first axis. They have few samples, so what they check is values, dtypes and
namespaces; `test_sklearn.py` looks at messages.

Of each test with many parameters some are run, those of all metrics apart; all of them, in
float32 too, with ``HEAT_ARRAY_API_ALL_SKLEARN=1``.
"""

from __future__ import annotations

import importlib
import os
import warnings
from typing import Any

import pytest
import sklearn.utils._array_api as support

import heat_array_api as xp
from consumers import consumer

ALL = os.environ.get("HEAT_ARRAY_API_ALL_SKLEARN", "") not in ("", "0")
MOST = 3
"""How many cases of one test are run if not all are."""

pytestmark = pytest.mark.filterwarnings("ignore")  # those of scikit-learn's tests are theirs

MODULES = {
    "_loss.tests.test_link": "losses",
    "_loss.tests.test_loss": "losses",
    "decomposition.tests.test_pca": "PCA",
    "linear_model._glm.tests.test_glm": "PoissonRegressor",
    "linear_model.tests.test_base": "linear models",
    "linear_model.tests.test_logistic": "LogisticRegression",
    "linear_model.tests.test_ridge": "Ridge, RidgeCV, RidgeClassifier, RidgeClassifierCV",
    "metrics.cluster.tests.test_common": "metrics.cluster",
    "metrics.cluster.tests.test_supervised": "metrics.cluster",
    "metrics.tests.test_classification": "metrics (classification)",
    "metrics.tests.test_common": "metrics (array_api_metric_checkers)",
    "metrics.tests.test_pairwise": "metrics.pairwise",
    "mixture.tests.test_gaussian_mixture": "GaussianMixture",
    "model_selection.tests.test_search": "GridSearchCV, RandomizedSearchCV",
    "model_selection.tests.test_split": "train_test_split",
    "model_selection.tests.test_validation": "cross_val_predict, cross_val_score",
    "preprocessing.tests.test_data": "preprocessing",
    "preprocessing.tests.test_label": "LabelEncoder, LabelBinarizer",
    "preprocessing.tests.test_polynomial": "PolynomialFeatures",
    "tests.test_calibration": "CalibratedClassifierCV(temperature)",
    "tests.test_kernel_approximation": "Nystroem",
    "tests.test_naive_bayes": "GaussianNB",
    "tests.test_pipeline": "Pipeline",
    "utils.tests.test_array_api": "utils",
    "utils.tests.test_extmath": "utils",
    "utils.tests.test_indexing": "utils",
    "utils.tests.test_multiclass": "utils",
    "utils.tests.test_optimize": "utils",
    "utils.tests.test_stats": "utils",
    "utils.tests.test_validation": "utils",
}
FIXTURES = ("two_features_degree3",)

LEFT_OUT = {
    # Threads on which parts of arrays are computed: messages would not match over the ranks.
    "pairwise_parallel_array_api": "n_jobs > 1",
    # Compares the signs of QR's columns with LAPACK's; the standard leaves them open.
    "randomized_range_finder_array_api_compliance": "signs of QR",
}


def combinations(include_numpy_namespaces: bool = True) -> list[tuple[str, None, str]]:
    """Return (namespace, device, dtype) as scikit-learn's tests take them."""
    dtypes = ("float64", "float32") if ALL else ("float64",)
    return [("heat_array_api", None, dtype) for dtype in dtypes]


def listed(mark: pytest.Mark) -> pytest.Mark:
    """Return a mark whose cases are a list: pytest will not take generators any more."""
    if mark.name != "parametrize":
        return mark
    names, cases = mark.args
    return pytest.mark.parametrize(names, list(cases), **mark.kwargs).mark


def own_tests(name: str) -> dict[str, Any]:
    """Return a module's tests of namespaces, by a name that tells the module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module(f"sklearn.{name}")
    found = {}
    for test, function in vars(module).items():
        marks = [mark for mark in getattr(function, "pytestmark", ()) if mark.name == "parametrize"]
        of_namespaces = any("array_namespace" in str(mark.args[0]) for mark in marks)
        if test.startswith("test_") and of_namespaces and test[5:] not in LEFT_OUT:
            function.pytestmark = [listed(mark) for mark in function.pytestmark]
            function = consumer("scikit-learn", f"its own tests: {MODULES[name]}")(function)
            if not (ALL or test == "test_array_api_compliance"):  # the latter: the metrics
                function = pytest.mark.some_cases(MOST)(function)
            module_name = name.replace(".tests.test_", "_").replace(".", "_")
            found[f"test_{module_name}_{test.removeprefix('test_')}"] = function
    globals().update({f: getattr(module, f) for f in FIXTURES if hasattr(module, f)})
    return found


support.yield_namespace_device_dtype_combinations = combinations
for _name in MODULES:
    globals().update(own_tests(_name))


@pytest.fixture(autouse=True)
def split_along_the_first_axis():
    with xp.set_options(default_split=0):
        yield


@pytest.fixture
def global_random_seed() -> int:
    """Return the seed that scikit-learn's conftest gives by default."""
    return 42
