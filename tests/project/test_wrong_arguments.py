"""A wrong argument anywhere in the namespace: the same good error on every rank, before a message.

Each parameter of each public function gets each of some thirty wrong values, while the other
arguments are right. A call may also succeed, where the value happens to make sense.
"""

from __future__ import annotations

import os
import re

import pytest

import heat_array_api as xp
from arguments import WRONG, calls, calls_it, fault, outcome, reads_values, too_lenient
from files import shared_folder
from heat_array_api import io
from layouts import agree

CALLS = {call.name: call for call in calls()}
# The functions that call what they are given only later, or pass arguments on to a torch module.
UNCHECKED = {"autograd.module_apply"}


@pytest.fixture(scope="module", autouse=True)
def folder(comm):
    """Work in a folder that has a file of each format."""
    before = os.getcwd()
    with shared_folder(comm) as path:
        os.chdir(path)
        try:
            x = xp.ones((4, 3), split=0)
            for suffix in ("h5", "nc", "zarr", "npy", "csv"):
                io.save(x, f"a.{suffix}")
            io.save_checkpoint("checkpoint", {"x": x, "n": 1})
            yield path
        finally:
            os.chdir(before)


@pytest.mark.parametrize("name", sorted(set(CALLS) - UNCHECKED))
def test_the_arguments_that_are_right(name):
    call = CALLS[name]
    positional, named = call.arguments()
    assert outcome(call.function, positional, named).error is None


@pytest.mark.parametrize("name", sorted(set(CALLS) - UNCHECKED))
def test_each_argument_wrong(name):
    call = CALLS[name]
    world = xp.world()
    # One rank takes all values; several take some each, other ones for each number of ranks.
    step = 1 if world.size == 1 else 4
    outcomes, faults = [], []
    for parameter in call.parameters:
        for wrong in WRONG[world.size % step :: step]:
            if calls_it(name, parameter.name, wrong.label):
                continue
            positional, named = call.arguments(parameter.name, wrong.make())
            found = outcome(call.function, positional, named)
            problem = fault(name, found, reads_values(name, parameter.name, wrong.label))
            if found.error is None and too_lenient(parameter.name, wrong.label):
                problem = "is accepted"
            if problem:
                faults.append(f"{parameter.name} = {wrong.label}: {problem}")
            text = re.sub("0x[0-9a-f]+", "0x", f"{type(found.error)} {found.error}")
            outcomes.append(f"{parameter.name} = {wrong.label}: {text}")
    everyone = world.allgather_object(outcomes)
    differing = [
        (a, b) for other in everyone for a, b in zip(everyone[0], other, strict=True) if a != b
    ]
    agree("\n".join(faults) or None)
    assert not differing
