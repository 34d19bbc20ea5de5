"""SciPy's filter designs from short distributed arrays: coefficients, poles, sections, windows.

They are as small as their arguments, and some find them by NumPy (roots of polynomials).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import test_scipy_signal
from scipy import signal
from scipy._lib._array_api import np_compat
from scipy.signal import windows

import heat_array_api as xp
from agnostic import capable, compare
from consumers import entries

# SciPy's own: filters of these orders are badly conditioned.
pytestmark = pytest.mark.filterwarnings("ignore:Badly conditioned filter")

B, A = [0.5, 0.4, 0.3, 0.1], [2.0, 0.3, 0.2, 0.1]
Z, P = [0.2 + 0.5j, 0.2 - 0.5j], [0.5, -0.3]
SOS = [[0.1, 0.2, 0.1, 1.0, -0.5, 0.2], [1.0, 0.5, 0.0, 1.0, -0.3, 0.1]]
BAND = [0.2, 0.5]


def in_order(s: Any, roots: Any) -> Any:
    """Return roots by their real parts: eigenvalues come in any order."""
    return roots[s.argsort(s.real(roots) + 1e-3 * s.imag(roots))]


# Of a namespace `s` and its `asarray`.
CASES: dict[str, Any] = {
    "abcd_normalize": lambda s, a: signal.abcd_normalize(a([[1.0]]), a([[2.0]]), a([[3.0]])),
    "bessel": lambda s, a: signal.bessel(3, a(0.3)),
    "besselap": lambda s, a: signal.besselap(4, xp=s),
    "bilinear": lambda s, a: signal.bilinear(a(B), a(A), fs=2.0),
    "bilinear_zpk": lambda s, a: signal.bilinear_zpk(a(Z), a(P), 2.0, fs=2.0),
    "buttap": lambda s, a: signal.buttap(4, xp=s),
    "butter": lambda s, a: (
        signal.butter(3, a(BAND), btype="band"),
        signal.butter(3, a(BAND), btype="band", output="sos"),
    ),
    "buttord": lambda s, a: signal.buttord(a(0.2), a(0.4), 3, 40),
    "cheb1ap": lambda s, a: signal.cheb1ap(4, 1, xp=s),
    "cheb1ord": lambda s, a: signal.cheb1ord(a(0.2), a(0.4), 3, 40),
    "cheb2ap": lambda s, a: signal.cheb2ap(4, 30, xp=s),
    "cheb2ord": lambda s, a: signal.cheb2ord(a(0.2), a(0.4), 3, 40),
    "cheby1": lambda s, a: signal.cheby1(3, 1, a(0.3)),
    "cheby2": lambda s, a: signal.cheby2(3, 30, a(0.3), output="zpk"),
    "ellip": lambda s, a: signal.ellip(3, 1, 30, a(0.3)),
    "ellipap": lambda s, a: signal.ellipap(4, 1, 30, xp=s),
    "ellipord": lambda s, a: signal.ellipord(a(0.2), a(0.4), 3, 40),
    "firls": lambda s, a: signal.firls(11, a([0, 0.3, 0.5, 1]), a([1.0, 1.0, 0.0, 0.0])),
    "firwin": lambda s, a: signal.firwin(11, a(BAND), pass_zero=False),
    "firwin2": lambda s, a: signal.firwin2(11, a([0.0, 0.5, 1.0]), a([1.0, 1.0, 0.0])),
    "gammatone": lambda s, a: signal.gammatone(440, "iir", fs=16000, xp=s),
    "get_window": lambda s, a: signal.get_window(("kaiser", 4.0), 9, xp=s),
    "iircomb": lambda s, a: signal.iircomb(0.2, 30, xp=s),
    "iirdesign": lambda s, a: signal.iirdesign(a(0.2), a(0.4), 1, 40),
    "iirfilter": lambda s, a: signal.iirfilter(3, a(BAND)),
    "iirnotch": lambda s, a: signal.iirnotch(0.3, 30, xp=s),
    "iirpeak": lambda s, a: signal.iirpeak(0.3, 30, xp=s),
    "lfilter_zi": lambda s, a: signal.lfilter_zi(a(B), a(A)),
    "lfiltic": lambda s, a: signal.lfiltic(a(B), a(A), a([1.0, 2.0, 3.0]), a([1.0, 0.5])),
    "lp2bp": lambda s, a: signal.lp2bp(a(B), a(A), 2.0, 0.5),
    "lp2bp_zpk": lambda s, a: signal.lp2bp_zpk(a(Z), a(P), 2.0, 2.0, 0.5),
    "lp2bs": lambda s, a: signal.lp2bs(a(B), a(A), 2.0, 0.5),
    "lp2bs_zpk": lambda s, a: signal.lp2bs_zpk(a(Z), a(P), 2.0, 2.0, 0.5),
    "lp2hp": lambda s, a: signal.lp2hp(a(B), a(A), 2.0),
    "lp2hp_zpk": lambda s, a: signal.lp2hp_zpk(a(Z), a(P), 2.0, 2.0),
    "lp2lp": lambda s, a: signal.lp2lp(a(B), a(A), 2.0),
    "lp2lp_zpk": lambda s, a: signal.lp2lp_zpk(a(Z), a(P), 2.0, 2.0),
    "minimum_phase": lambda s, a: signal.minimum_phase(a(np.hanning(11) + 0.01)),
    "normalize": lambda s, a: signal.normalize(a(B), a(A)),
    "remez": lambda s, a: signal.remez(11, a([0, 0.1, 0.2, 0.5]), a([1.0, 0.0])),
    "savgol_coeffs": lambda s, a: signal.savgol_coeffs(7, 2, xp=s),
    "sos2tf": lambda s, a: signal.sos2tf(a(SOS)),
    "sos2zpk": lambda s, a: signal.sos2zpk(a(SOS)),
    "sosfilt_zi": lambda s, a: signal.sosfilt_zi(a(SOS)),
    "tf2sos": lambda s, a: signal.tf2sos(a(B), a(A)),
    "tf2zpk": lambda s, a: [in_order(s, roots) for roots in signal.tf2zpk(a(B), a(A))[:2]],
    "zpk2sos": lambda s, a: signal.zpk2sos(a(Z), a(P), 2.0),
    "zpk2tf": lambda s, a: signal.zpk2tf(a(Z), a(P), 2.0),
}


@entries("scipy", {f"signal.{name}": case for name, case in CASES.items()})
def test_designs(case):
    expected = case(np_compat, np.asarray)
    for split in (None, 0):
        with xp.set_options(default_split=split):
            result = case(xp, xp.asarray)
        compare(result, expected, rtol=1e-7, atol=1e-9)


def test_every_array_agnostic_function_is_here():
    signals = test_scipy_signal
    here = {f"signal.{name}" for name in CASES} | set(signals.EXCLUDED)
    here |= {n for n in [*signals.CASES, *signals.THROUGH_NUMPY] if n.startswith("signal.")}
    assert capable(signal, "signal") == here
    assert capable(windows, "signal.windows") == {*signals.WINDOWS, "signal.windows.general_cosine"}
