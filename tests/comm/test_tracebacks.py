"""How uncaught exceptions are shown."""

from __future__ import annotations

import pytest

import heat_array_api as xp
from heat_array_api._comm.tracebacks import digest, formatted


def caught(f) -> BaseException:
    with pytest.raises(BaseException) as info:
        f()
    return info.value


def of_the_library():
    xp.sum(xp.ones(3), axis=7)


def test_the_frames_of_the_library_are_folded():
    error = caught(of_the_library)
    full, short = formatted(error, full=True), formatted(error, full=False)
    assert "_statistical.py" in full
    assert "_statistical.py" not in short
    assert "in of_the_library" in short
    assert short.count("of the library; set_options(tracebacks=") == 1
    assert short.splitlines()[-1] == full.splitlines()[-1] == f"IndexError: {error}"


def test_causes_and_groups_are_folded_too():
    def f():
        try:
            of_the_library()
        except IndexError as first:
            raise ExceptionGroup("both", [caught(of_the_library), ValueError("x")]) from first

    short = formatted(caught(f), full=False)
    assert "_statistical.py" not in short
    assert short.count("of the library; ") == 2
    assert "direct cause" in short
    assert "ValueError: x" in short


def test_a_callback_of_the_user_stays_between_folds():
    def callback(x):
        return xp.sum(x, axis=7)

    short = formatted(caught(lambda: xp.autograd.grad(callback)(xp.ones(3))), full=False)
    assert "in callback" in short
    assert short.count("of the library; ") == 2


def test_an_exception_without_the_users_frames_is_shown_in_full():
    error = caught(of_the_library)
    trace = error.__traceback__
    while "heat_array_api/_" not in trace.tb_frame.f_code.co_filename:
        trace = trace.tb_next
    error = error.with_traceback(trace)
    assert formatted(error, full=False) == formatted(error, full=True)
    assert formatted(ValueError("boom"), full=False) == "ValueError: boom\n"


def test_addresses_do_not_matter():
    assert digest("<object at 0x7f01>") == digest("<object at 0x7faa>") != digest("<object>")
