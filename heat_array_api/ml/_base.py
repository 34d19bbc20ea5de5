"""What the estimators share: checks of parameters, scores, progress."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np

from ._validation import beside, name_of, namespace, rank_of, sample_weights

# ---------------------------------------------------------------- parameters


def _refuse(estimator: Any, name: str, value: Any, expected: str, kind: type = ValueError) -> None:
    raise kind(f"{name_of(estimator)}: {name} is {value!r}; expected {expected}")


def whole(estimator: Any, name: str, low: int, *, none: bool = False) -> Any:
    """Return an integer parameter, at least `low`; None where that is allowed."""
    value = getattr(estimator, name)
    if value is None and none:
        return None
    expected = f"an integer of at least {low}{' or None' * none}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        _refuse(estimator, name, value, expected, TypeError)
    if value < low:
        _refuse(estimator, name, value, expected)
    return int(value)


def real(estimator: Any, name: str, low: float = 0.0) -> float:
    """Return a real parameter, at least `low`."""
    value = getattr(estimator, name)
    if isinstance(value, bool) or not isinstance(value, Real):
        _refuse(estimator, name, value, f"a number of at least {low:g}", TypeError)
    if not value >= low:
        _refuse(estimator, name, value, f"a number of at least {low:g}")
    return float(value)


def one_of(estimator: Any, name: str, choices: tuple[str, ...]) -> str:
    """Return a parameter that is one of a few strings."""
    value = getattr(estimator, name)
    if not isinstance(value, str) or value not in choices:
        _refuse(estimator, name, value, f"one of {', '.join(map(repr, choices))}")
    return str(value)


def flag(estimator: Any, name: str) -> bool:
    """Return a parameter that is true or false."""
    value = getattr(estimator, name)
    if not isinstance(value, (bool, np.bool_)):
        _refuse(estimator, name, value, "True or False", TypeError)
    return bool(value)


# ---------------------------------------------------------------- tags


class ArrayApiMixin:
    """Tells scikit-learn that an estimator takes any arrays of the standard, and keeps float32."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.array_api_support = True
        if tags.transformer_tags is not None:
            tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


# ---------------------------------------------------------------- scores


class R2Mixin:
    """The score of a regressor, computed where the rows are."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination R² of the prediction.

        Parameters
        ----------
        X : array, shape (n, d)
        y : array, shape (n,) or (n, targets)
            R² is the mean of the targets'.
        sample_weight : array, shape (n,), optional

        Returns
        -------
        float
            1.0 is best; equal on all ranks.
        """
        found = self.predict(X)  # type: ignore[attr-defined]
        xp = namespace(found)
        y = xp.astype(beside(y, found), found.dtype)
        if tuple(y.shape) != tuple(found.shape):
            raise ValueError(f"score: y has shape {y.shape}, the prediction {found.shape}")
        weight = sample_weights(self, sample_weight, found[:, None] if found.ndim == 1 else found)
        if y.ndim == 1:
            y, found = y[:, None], found[:, None]
        share = None if weight is None else (weight / xp.sum(weight))[:, None]
        mean = xp.mean(y, axis=0) if share is None else xp.sum(share * y, axis=0)
        off, spread = (y - found) ** 2, (y - mean) ** 2
        if share is not None:
            off, spread = off * share, spread * share
        lost, total = xp.sum(off, axis=0), xp.sum(spread, axis=0)
        # A constant target: perfect, or not at all (as scikit-learn's r2_score has it).
        constant = xp.astype(lost == 0, lost.dtype)
        ratio = lost / xp.where(total > 0, total, 1.0)
        return float(xp.mean(xp.where(total > 0, 1.0 - ratio, constant)))


class AccuracyMixin:
    """The score of a classifier, computed where the rows are."""

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the part of the samples whose label is predicted.

        Parameters
        ----------
        X : array, shape (n, d)
        y : array, shape (n,)
        sample_weight : array, shape (n,), optional

        Returns
        -------
        float
            Equal on all ranks.
        """
        found = self.predict(X)  # type: ignore[attr-defined]
        xp = namespace(found)
        y = beside(y, found)
        if tuple(y.shape) != tuple(found.shape):
            raise ValueError(f"score: y has shape {y.shape}, the prediction {found.shape}")
        X = self._fit_X  # type: ignore[attr-defined]
        right = xp.astype(y == found, X.dtype)
        weight = sample_weights(self, sample_weight, right[:, None])
        if weight is None:
            return float(xp.mean(right))
        return float(xp.sum(right * weight) / xp.sum(weight))


# ---------------------------------------------------------------- progress


class Report:
    """What a fit says of its progress, on rank 0: a bar, or lines where there is no tqdm.

    ``verbose=1`` shows the bar, ``verbose=2`` lines as scikit-learn prints them.
    """

    def __init__(self, title: str, speaks: bool, bar: Any) -> None:
        self._title = title
        self._speaks = speaks
        self._bar = bar

    def step(self, text: str, n: int = 1) -> None:
        """Go `n` steps on; `text` says where the fit is."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(n)
        else:
            self.line(text)

    def line(self, text: str) -> None:
        """Write a line, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(f"{self._title}: {text}")
        elif self._speaks:
            sys.stdout.write(f"{self._title}: {text}\n")


@contextmanager
def report(estimator: Any, X: Any, total: int, verbose: Any) -> Iterator[Report]:
    """Yield a `Report` for the length of a fit of at most `total` steps."""
    title, speaks, bar = name_of(estimator), bool(verbose) and rank_of(X) == 0, None
    if speaks and int(verbose) == 1:
        try:
            from tqdm import tqdm
        except ImportError:
            pass
        else:
            bar = tqdm(total=total, desc=title)
    try:
        yield Report(title, speaks, bar)
    finally:
        if bar is not None:
            bar.close()
