"""What the docstring of a public name must say, and what it lacks."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import heat_array_api as xp

SUBMODULES = ("autograd", "fft", "io", "lib.stride_tricks", "linalg", "ml", "random", "special")
PRIVATE = re.compile(r"`_\w+|module's notes|notes of the module")


def public_names() -> Iterator[tuple[str, Any]]:
    """Yield every public function and class with its dotted name, each once."""
    seen = set()
    for module in ("", *SUBMODULES):
        space = xp
        for part in module.split("."):
            space = getattr(space, part) if part else space
        for name in space.__all__:
            value = getattr(space, name)
            documented = inspect.isclass(value) or callable(value)
            if not documented or isinstance(value, (ModuleType, xp.Device)) or id(value) in seen:
                continue
            if (getattr(value, "__module__", "") or "").partition(".")[0] != "heat_array_api":
                continue  # NumPy's dtypes
            seen.add(id(value))
            yield f"{module}.{name}".lstrip("."), value


def methods(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield a class's own public methods, static and class methods too."""
    for name in vars(cls):
        value = getattr(cls, name)
        if not name.startswith("_") and callable(value) and not inspect.isclass(value):
            yield name, value


def sections(text: str) -> dict[str, str]:
    """Return the sections of a numpydoc docstring by their titles."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", inspect.cleandoc(text), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def parameters(function: Any) -> list[str]:
    """Return the names of a function's parameters."""
    names = inspect.signature(function).parameters
    return [name for name in names if name not in ("self", "cls") and not name.startswith("_")]


def undescribed(function: Any, section: str) -> list[str]:
    """Return the parameters that a section does not describe."""
    heads = re.findall(r"^(\S.*?)(?: :.*)?$", section, flags=re.MULTILINE)
    described = {name.strip().lstrip("*") for head in heads for name in head.split(",")}
    return [name for name in parameters(function) if name not in described]


def lacks(value: Any, *, method: bool = False) -> list[str]:
    """Return what a function's or a class's docstring lacks."""
    text = value.__doc__ or ""
    if not text:
        return ["a docstring"]
    found = sections(text)
    missing = []
    if PRIVATE.search(text):
        missing.append(f"a public reference instead of {PRIVATE.search(text)[0]!r}")
    if inspect.isclass(value):
        needed = ["Examples"]
    else:
        takes = bool(parameters(value))
        returns = inspect.signature(value).return_annotation not in ("None", None, "NoReturn")
        needed = ["Parameters"] * takes + ["Returns"] * returns
        if takes and (unsaid := undescribed(value, found.get("Parameters", ""))):
            missing.append(f"parameters {', '.join(unsaid)}")
        if not method:
            needed += ["Raises"] * takes + ["Examples"]
        if "Yields" in found:
            needed = [section for section in needed if section != "Returns"]
    missing += [f"a section {section}" for section in needed if section not in found]
    if not method and ">>>" not in found.get("Examples", ">>>"):
        missing.append("an example that runs")
    return missing
