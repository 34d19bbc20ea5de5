"""Arrays in and out of the estimators: namespaces, validation, sample weights.

NumPy arrays, lists and data frames pass scikit-learn's own validation. Arrays of other
namespaces are checked here, without its ``array_api_dispatch``, which without being
switched on would turn them into NumPy arrays.
"""

from __future__ import annotations

from numbers import Real
from typing import Any

import array_api_compat
import numpy as np
from sklearn import get_config
from sklearn.utils.validation import check_array, validate_data


def foreign(x: Any) -> bool:
    """Whether `x` is an array of a namespace other than NumPy's."""
    return bool(array_api_compat.is_array_api_obj(x)) and not array_api_compat.is_numpy_array(x)


def namespace(x: Any) -> Any:
    """Return the namespace of an array, wrapped by array_api_compat where that is needed."""
    return array_api_compat.array_namespace(x)


def name_of(estimator: Any) -> str:
    """Return the name that error messages begin with."""
    return estimator if isinstance(estimator, str) else type(estimator).__name__


def rank_of(x: Any) -> int:
    """Return the rank of this process among those that hold `x`; 0 if it alone does."""
    return int(getattr(getattr(x, "comm", None), "rank", 0))


def host(x: Any) -> np.ndarray[Any, Any]:
    """Return a small array as a NumPy array that may be written to."""
    if not foreign(x):
        return np.array(x)
    x = x.detach() if hasattr(x, "detach") else x
    if array_api_compat.is_array_api_strict_namespace(namespace(x)):
        x = array_api_compat.to_device(x, namespace(x).Device("CPU_DEVICE"))
    elif array_api_compat.is_torch_array(x) or array_api_compat.is_cupy_array(x):
        x = array_api_compat.to_device(x, "cpu")
    return np.asarray(x).copy()


def from_host(values: Any, like: Any, dtype: Any = None) -> Any:
    """Return small host values, equal on all ranks, as an array beside `like`."""
    xp = namespace(like)
    return xp.asarray(np.asarray(values), dtype=dtype, device=array_api_compat.device(like))


def beside(x: Any, X: Any) -> Any:
    """Return an array, or what NumPy makes one of, in the namespace and on the device of X."""
    if not foreign(X):
        return host(x) if foreign(x) else np.asarray(x)
    if foreign(x) and _place(x) == _place(X):
        return x
    values = host(x) if foreign(x) else np.asarray(x)
    if values.dtype.kind not in "biufc":
        raise TypeError(
            f"expected numbers beside an array of {namespace(X).__name__}, not values of dtype "
            f"{values.dtype} (encode labels: sklearn.preprocessing.LabelEncoder)"
        )
    return from_host(values, X)


def _place(x: Any) -> tuple[Any, Any]:
    return namespace(x), array_api_compat.device(x)


def column_width(n: int, d: int, itemsize: int) -> int:
    """Return how many columns an intermediate of n rows may have.

    As many as the samples' own d, or what fits into scikit-learn's ``working_memory``. It
    does not depend on the number of ranks, so neither do results.
    """
    budget = int(get_config()["working_memory"] * 2**20)
    return max(d, 16, budget // (itemsize * max(n, 1)))


# ---------------------------------------------------------------- samples


def as_samples(
    estimator: Any,
    X: Any,
    *,
    fitted: tuple[str, Any] | None = None,
    reset: bool = True,
    min_samples: int = 1,
    min_features: int = 1,
) -> Any:
    """Return X as a matrix of finite real floating-point numbers, or raise on every rank.

    `fitted`, for methods of a fitted estimator, is the method's name and a fitted attribute: X
    must be of its namespace.
    """
    if fitted is not None:
        reset = False
        _check_place(estimator, X, *fitted)
    if not foreign(X):
        return validate_data(
            estimator,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_min_samples=min_samples,
            ensure_min_features=min_features,
        )
    X = _matrix(estimator, "X", X, min_samples, min_features)
    validate_data(estimator, X, reset=reset, skip_check_array=True)  # n_features_in_
    return X


def _check_place(estimator: Any, X: Any, method: str, attribute: Any) -> None:
    alike = foreign(X) == foreign(attribute)
    if alike and (not foreign(X) or _place(X) == _place(attribute)):
        return
    raise ValueError(
        f"Inputs passed to {name_of(estimator)}.{method}() must use the same namespace and the "
        f"same device as those passed to fit(): X is {type(X).__name__}, and the fit left "
        f"{type(attribute).__name__}"
    )


def as_matrix(estimator: Any, name: str, value: Any, like: Any) -> Any:
    """Return a parameter or argument as a matrix of the namespace and dtype of `like`."""
    if not foreign(value):
        value = check_array(value, dtype=[np.float64, np.float32], input_name=name)
        return from_host(value, like, like.dtype)
    value = _matrix(estimator, name, value, 1, 1)
    return namespace(like).astype(value, like.dtype)


def _matrix(estimator: Any, name: str, x: Any, min_samples: int, min_features: int) -> Any:
    xp, who = namespace(x), name_of(estimator)
    if x.ndim != 2:
        raise ValueError(f"{who}: {name} has {x.ndim} axes; expected 2D: (samples, features)")
    for axis, least, what in ((0, min_samples, "sample"), (1, min_features, "feature")):
        if x.shape[axis] < least:
            raise ValueError(
                f"{who}: {name} has shape {tuple(x.shape)}, {x.shape[axis]} {what}(s), "
                f"while a minimum of {least} is required"
            )
    return _finite(estimator, name, _floating(who, name, x, xp), xp)


def _floating(who: str, name: str, x: Any, xp: Any) -> Any:
    if xp.isdtype(x.dtype, "complex floating"):
        raise ValueError(f"{who}: {name} is {x.dtype}; complex data are not supported")
    if x.dtype in (xp.float64, xp.float32):
        return x
    if xp.isdtype(x.dtype, "real floating"):  # float16, bfloat16
        return xp.astype(x, xp.float32)
    info = xp.__array_namespace_info__()
    default = info.default_dtypes(device=array_api_compat.device(x))["real floating"]
    return xp.astype(x, default)


def _finite(estimator: Any, name: str, x: Any, xp: Any) -> Any:
    """Raise unless all of `x` is finite. A finite sum, of few bytes, is proof enough."""
    if get_config()["assume_finite"] or bool(xp.isfinite(xp.sum(x))):
        return x
    if not bool(xp.all(xp.isfinite(x))):
        raise ValueError(
            f"{name_of(estimator)}: Input {name} contains NaN or infinity; expected finite numbers"
        )
    return x


def samples_and_targets(
    estimator: Any, X: Any, y: Any, *, multi_output: bool = True
) -> tuple[Any, Any]:
    """Return X as `as_samples` does, and numeric targets y, laid out as its rows."""
    if not foreign(X):
        X, y = validate_data(
            estimator,
            X,
            beside(y, X) if foreign(y) else y,
            dtype=[np.float64, np.float32],
            multi_output=multi_output,
            y_numeric=True,
        )
        return X, np.asarray(y, dtype=X.dtype)
    who = name_of(estimator)
    X = _matrix(estimator, "X", X, 1, 1)
    y = beside(y, X)
    if y.ndim not in ((1, 2) if multi_output else (1,)):
        raise ValueError(f"{who}: y has {y.ndim} axes; expected 1{' or 2' * multi_output}")
    if y.shape[0] != X.shape[0]:
        raise ValueError(f"{who}: X has {X.shape[0]} samples but y has {y.shape[0]}")
    xp = namespace(X)
    y = xp.astype(_floating(who, "y", y, xp), X.dtype)
    validate_data(estimator, X, reset=True, skip_check_array=True)
    return X, align(_finite(estimator, "y", y, xp), X)


def align(x: Any, X: Any) -> Any:
    """Return x, of as many rows as X, laid out as the rows of X are."""
    xp = namespace(X)
    column = xp.zeros_like(X[:, 0], dtype=x.dtype)
    return (column if x.ndim == 1 else column[:, None]) + x


def sample_weights(estimator: Any, weight: Any, X: Any) -> Any:
    """Return sample weights in the dtype and layout of the rows of X; None if there are none."""
    if weight is None:
        return None
    xp, who = namespace(X), name_of(estimator)
    if isinstance(weight, Real):
        weight = xp.full_like(X[:, 0], float(weight))
    else:
        weight = beside(weight if foreign(weight) else np.asarray(weight, dtype=np.float64), X)
    if weight.ndim != 1:
        raise ValueError(f"{who}: sample_weight has {weight.ndim} axes; expected a 1D array")
    if weight.shape[0] != X.shape[0]:
        raise ValueError(
            f"{who}: sample_weight.shape == {tuple(weight.shape)}, expected {(X.shape[0],)}!"
        )
    weight = align(xp.astype(_floating(who, "sample_weight", weight, xp), X.dtype), X)
    _finite(estimator, "sample_weight", weight, xp)
    if bool(xp.any(weight < 0)):
        raise ValueError(f"{who}: Negative values in data passed to `sample_weight`")
    if not bool(xp.any(weight > 0)):
        raise ValueError(f"{who}: sample_weight is zero for every sample; expected some weight")
    return weight
