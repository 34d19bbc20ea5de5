"""Encoding for NetCDF: packed values and fill values by the CF conventions.

What is said about a variable's storage becomes a `Packing`, which is checked from metadata alone;
`packed` then turns values into those that are stored. What is stored is what readers decode into
the same values again, or an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .._core.array import Array
from .._data_type import astype
from .._elementwise import isnan
from .._elementwise import round as round_
from .._errors import shown
from .._searching import where
from .._statistical import max as max_
from .._statistical import min as min_
from .._utility import any as any_
from ._agreement import optional_package
from ._metadata import (
    ENCODING,
    LIMITS,
    MARKS,
    PACKS,
    same_value,
    short,
    stored_attributes,
)


class Packing(NamedTuple):
    """How the values of a variable are stored."""

    dtype: np.dtype[Any]
    boolean: bool = False
    """Whether the numbers stand for False and True."""
    unsigned: bool = False
    scale: float | None = None
    offset: float | None = None
    missing: tuple[int | float, ...] = ()
    """The numbers that readers take for missing values."""
    absent: int | float | None = None
    """The number that stands for NaN."""
    low: int | float | None = None
    high: int | float | None = None
    fill: Any = None
    attributes: Mapping[str, Any] = {}

    @property
    def values(self) -> np.dtype[Any]:
        """The dtype of the numbers that readers see in what is stored."""
        return np.dtype(f"u{self.dtype.itemsize}") if self.unsigned else self.dtype


def packing(
    func: str, name: str, x: Array, attributes: dict[str, Any], encoding: Mapping[str, Any]
) -> Packing:
    """Return how to store an array, from its attributes and its encoding.

    Attributes that mark missing values belong to the encoding. Those that pack values (or say that
    numbers are bool) must be in the encoding, too: beside values that are not packed so they would
    turn them into others.
    """
    if not isinstance(encoding, Mapping):
        raise TypeError(f"{func}: encoding of {name!r} is {short(encoding)}; expected a mapping")
    unknown = [str(key) for key in encoding if key not in ("dtype", *ENCODING)]
    if unknown:
        raise ValueError(f"{func}: encoding of {name!r} has {unknown}, which is unknown")
    given = {key: value for key, value in encoding.items() if value is not None}
    dtype = given.pop("dtype", None)
    own = stored_attributes(func, "netcdf", {name: given}, "encoding")[name]
    for key in (*PACKS, *MARKS):
        if key in attributes and key in encoding:
            if not same_value(attributes[key], own.get(key)):
                raise ValueError(
                    f"{func}: {key} of {name!r} is {short(attributes[key])} in attributes, but "
                    f"{short(encoding[key])} in encoding"
                )
        elif key in attributes and key in PACKS:
            raise ValueError(
                f"{func}: attributes of {name!r} has {key!r}, by which readers change the stored "
                "values; leave it out, or have the values stored so: pass it in encoding"
            )
    own = {key: attributes[key] for key in MARKS if key in attributes} | own
    plain = {key: value for key, value in attributes.items() if key not in ENCODING}
    return _checked(_Case(func, name), x.dtype, plain, dtype, own)


class _Case(NamedTuple):
    """The function and the variable, for messages."""

    func: str
    name: str

    def error(self, key: str, value: Any, expected: str) -> ValueError:
        return ValueError(f"{self.func}: {key} of {self.name!r} is {short(value)}{expected}")


def _checked(
    case: _Case, own: np.dtype[Any], attributes: dict[str, Any], dtype: Any, given: dict[str, Any]
) -> Packing:
    target, boolean = _target(case, own, attributes, dtype)
    if boolean:
        attributes = {**attributes, "dtype": "bool"}
    described = [*given, *(key for key in LIMITS if key in attributes)]
    if described and (boolean or target.kind == "c"):
        kind = "bool" if boolean else str(target)
        raise ValueError(f"{case.func}: {case.name!r} is {kind}, which has no {described[0]}")
    unsigned = _unsigned(case, target, given.get("_Unsigned"))
    plan = Packing(target, boolean, unsigned)
    missing: list[int | float] = []
    for key in MARKS:
        if key in given:
            numbers = _numbers(case, key, given[key], plan)
            if key == "_FillValue" and len(numbers) != 1:
                raise case.error(key, given[key], "; expected one number")
            missing += numbers
            given[key] = _as_stored(given[key], numbers, plan)
    limits = {k: _numbers(case, k, attributes[k], plan) for k in LIMITS if k in attributes}
    for key, numbers in limits.items():
        if len(numbers) != 1 + (key == "valid_range"):
            raise case.error(key, attributes[key], "; expected two numbers or, of others, one")
        attributes = {**attributes, key: _as_stored(attributes[key], numbers, plan)}
    low, high = limits.get("valid_range", (None, None))
    low = limits.get("valid_min", [None])[0] if low is None else low
    high = limits.get("valid_max", [None])[0] if high is None else high
    return plan._replace(
        scale=_factor(case, "scale_factor", given),
        offset=_factor(case, "add_offset", given),
        absent=missing[0] if missing else None,
        missing=(*missing, *_default_fill(plan, given, limits)),
        low=low,
        high=high,
        fill=given.pop("_FillValue", None),
        attributes=attributes | given,
    )


def _target(
    case: _Case, own: np.dtype[Any], attributes: Mapping[str, Any], dtype: Any
) -> tuple[np.dtype[Any], bool]:
    """Return the dtype to store values of a dtype in, and whether it stands for bool."""
    try:
        target = own if dtype is None else np.dtype(dtype).newbyteorder("=")
    except TypeError:
        raise TypeError(
            f"{case.func}: dtype of {case.name!r} is {shown(dtype)}; expected a dtype"
        ) from None
    says = same_value(attributes.get("dtype"), "bool")
    boolean = own.kind == "b" and (target.kind == "b" or says)
    if says and not boolean:
        raise ValueError(
            f"{case.func}: attributes of {case.name!r} has dtype = 'bool', but the values are "
            f"{own}; leave it out"
        )
    if target.kind == "b" and own.kind == "b":
        target = np.dtype("int8")
    if target == np.float16:
        target = np.dtype("float32")
    if own.kind == "c" and target.kind == "f":  # of its real and imaginary parts
        target = np.dtype(f"c{2 * target.itemsize}")
    wrong = (own.kind == "c") != (target.kind == "c") or (boolean and target.kind not in "iu")
    if wrong or target.kind not in "iufc" or target.itemsize > 8 * (1 + (target.kind == "c")):
        raise TypeError(
            f"{case.func}: dtype of {case.name!r} is {shown(dtype)}; NetCDF cannot store {own} so"
        )
    return target, boolean


def _unsigned(case: _Case, target: np.dtype[Any], given: Any) -> bool:
    if given is None:
        return False
    said = given.lower() if isinstance(given, str) else None
    if said not in ("true", "false"):
        raise case.error("_Unsigned", given, "; expected 'true' or 'false'")
    if target.kind not in "iu" or (said == "false" and target.kind == "u"):
        raise case.error("_Unsigned", given, f", but it is stored as {target}")
    return said == "true" and target.kind == "i"


def _factor(case: _Case, key: str, given: Mapping[str, Any]) -> float | None:
    if key not in given:
        return None
    found = np.asarray(given[key])
    if found.size == 1 and found.dtype.kind in "iuf":
        number = float(found.reshape(-1)[0])
        if math.isfinite(number) and (number or key == "add_offset"):
            return number
    expected = "a number" if key == "add_offset" else "a number other than 0"
    shown_as = found.astype(float) if found.size == 1 and found.dtype.kind in "iuf" else given[key]
    raise case.error(key, shown_as, f"; expected {expected}")


def _numbers(case: _Case, key: str, given: Any, plan: Packing) -> list[int | float]:
    """Return numbers of an attribute as readers compare them with the stored ones."""
    found = np.asarray(given).reshape(-1)
    if found.dtype.kind not in "iuf" or not found.size:
        raise case.error(key, given, "; expected numbers")
    values = plan.values
    if values.kind == "f":
        with np.errstate(over="ignore"):
            cast = found.astype(values)
        if np.any(np.isinf(cast) & ~np.isinf(found)):
            raise case.error(key, given, f", which {values} cannot hold")
        return [float(n) for n in cast]
    limits, bits = np.iinfo(values), 8 * values.itemsize
    numbers: list[int | float] = []
    for n in found.tolist():
        whole = int(n) if math.isfinite(n) and n == int(n) else None
        # GOES-16 and others give unsigned numbers as the signed ones that have the same bits.
        if whole is not None and plan.unsigned and -(2 ** (bits - 1)) <= whole < 0:
            whole += 2**bits
        if whole is None or not limits.min <= whole <= limits.max:
            raise case.error(key, given, f", which {values} cannot hold")
        numbers.append(whole)
    return numbers


def _as_stored(given: Any, numbers: list[int | float], plan: Packing) -> Any:
    """Return the numbers of an attribute in the variable's stored dtype, as readers expect them."""
    stored = np.asarray(numbers, plan.values).view(plan.dtype).reshape(np.shape(given))
    return stored[()]


def _default_fill(plan: Packing, given: Mapping[str, Any], limits: Any) -> tuple[int, ...]:
    """Return the number of cells never written, which readers look for in marked integers."""
    if plan.dtype.kind not in "iu" or plan.dtype.itemsize == 1 or "_FillValue" in given:
        return ()
    if not limits and not {*PACKS[:2], *MARKS} & given.keys():
        return ()
    kind = f"{plan.dtype.kind}{plan.dtype.itemsize}"
    default = int(optional_package("netCDF4").default_fillvals[kind])
    return (default % 2 ** (8 * plan.dtype.itemsize) if plan.unsigned else default,)


# ---------------------------------------------------------------------- values


def packed(func: str, name: str, x: Array, plan: Packing) -> Array:
    """Pack values: (x - add_offset) / scale_factor, with a fill value for missing values.

    Sends nothing, except one allreduce each: of the minimum and the maximum if values may not fit
    into integers, and of whether readers would take any for missing.
    """
    real, values = x.dtype.kind == "f", plan.values
    missing = isnan(x) if real and plan.absent is not None else None
    if plan.offset is not None:
        x = x - plan.offset
    if plan.scale is not None:
        x = x / plan.scale
    real = x.dtype.kind == "f"
    if values.kind in "iu" and real:
        x = round_(x)
    elif values != x.dtype:
        _check_fits(func, name, x, values)
        x = astype(x, values)
    _check_seen(func, name, x, plan)
    if missing is not None and plan.absent is not None:
        x = where(missing, float(plan.absent), x)
    if values != x.dtype:
        _check_fits(func, name, x, values)
        x = astype(x, values)
    return astype(x, plan.dtype) if plan.unsigned else x


def _check_seen(func: str, name: str, x: Array, plan: Packing) -> None:
    """Raise if readers would take stored values for missing ones."""
    tests = [x == n for n in plan.missing if n == n]
    tests += [x < plan.low] if plan.low is not None else []
    tests += [x > plan.high] if plan.high is not None else []
    if not tests or not x.size:
        return
    seen = tests[0]
    for test in tests[1:]:
        seen = seen | test
    if any_(seen).item():
        marks = {**plan.attributes, "_FillValue": plan.fill}
        said = ", ".join(
            f"{k} {short(marks[k])}" for k in (*MARKS, *LIMITS) if marks.get(k) is not None
        )
        raise ValueError(
            f"{func}: {name!r} has values that readers would take for missing ({said}); leave "
            "these attributes out, or choose others"
        )


def _check_fits(func: str, name: str, x: Array, dtype: np.dtype[Any]) -> None:
    """Raise if values would overflow the integers of `dtype`."""
    if dtype.kind not in "iu" or x.dtype.kind not in "iuf" or not x.size:
        return
    low, high = min_(x).item(), max_(x).item()
    limits = np.iinfo(dtype)
    if not (limits.min <= low and high <= limits.max):
        raise ValueError(
            f"{func}: {name!r} would be stored as numbers from {low} to {high}, which {dtype} "
            "cannot hold; choose another dtype, scale_factor or add_offset, or a _FillValue for NaN"
        )
