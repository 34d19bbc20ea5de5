"""Every public name says what it takes, returns, sends and raises, with an example that runs."""

from __future__ import annotations

import doctest
import inspect

import numpy as np
import pytest

import heat_array_api as xp
from docstrings import lacks, methods, public_names
from files import shared_folder

NAMES = dict(public_names())
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

one = pytest.mark.skipif(xp.world().size > 1, reason="of texts: one process reads them")


@pytest.fixture
def folder(comm):
    """Return an empty folder, which the ranks share: examples write files into it."""
    with shared_folder(comm) as path:
        yield path


def test_there_are_names():
    assert len(NAMES) > 250


@one
@pytest.mark.parametrize("name", NAMES)
def test_a_docstring_is_complete(name):
    value = NAMES[name]
    missing = {name: lacks(value)}
    if inspect.isclass(value):
        missing |= {f"{name}.{m}": lacks(f, method=True) for m, f in methods(value)}
    missing = {key: what for key, what in missing.items() if what}
    assert not missing, f"docstrings lack: {missing}"


@pytest.mark.skipif(xp.world().size > 2, reason="examples run on one rank and on two")
@pytest.mark.parametrize("name", NAMES)
def test_examples_run(name, folder, monkeypatch):
    """As in the text, after ``import heat_array_api as xp`` and ``import numpy as np``."""
    monkeypatch.chdir(folder)
    space = {"xp": xp, "np": np}
    found = doctest.DocTestFinder(exclude_empty=True, recurse=inspect.isclass(NAMES[name]))
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    report: list[str] = []
    for test in found.find(NAMES[name], name, module=False, globs=dict(space)):
        runner.run(test, out=report.append, clear_globs=False)
    assert not runner.failures, "".join(report)
