"""Programs of any operations on any layouts do on our arrays what they do on NumPy's.

``HEAT_ARRAY_API_TEST_STEPS`` is how many steps each machine takes (300; `make state-machine` sets
it), in parts, each with a seed of its own: ``-k "part7"`` runs one of them again.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings
from hypothesis.stateful import get_state_machine_test

from _harness import compared_over_ranks
from machine import ArrayMachine, ViewMachine

STEPS = int(os.environ.get("HEAT_ARRAY_API_TEST_STEPS", "300"))
PART, PROGRAM = 300, 25


@pytest.mark.parametrize("part", range(-(-STEPS // PART)), ids="part{}".format)
@pytest.mark.parametrize("machine", [ViewMachine, ArrayMachine])
def test_state_machine(machine, part):
    test = get_state_machine_test(
        machine, settings=settings(max_examples=PART // PROGRAM, stateful_step_count=PROGRAM)
    )
    test.hypothesis.inner_test = compared_over_ranks(test.hypothesis.inner_test)
    test._hypothesis_internal_use_seed = part
    before = machine.steps
    test()
    assert machine.steps - before >= 0.9 * PART
