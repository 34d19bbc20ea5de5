"""SciPy's Fourier transforms and signal processing on distributed arrays.

In `CASES` the samples stay distributed. Functions in `THROUGH_NUMPY` are compiled code or
recursions, for which SciPy itself converts any array to NumPy's and back: right, but each
gathers its signal, which shows in the trace. `WINDOWS` and `DESIGNS` make and take short arrays.
"""

# ruff: noqa: PLW0108 - the parameters of a case name its samples

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import fft, signal
from scipy._lib._array_api import array_namespace
from scipy.signal import windows

import heat_array_api as xp
from agnostic import capable, compare, layout_of, samples
from consumers import W, consumer, entries, rows, stays_distributed
from layouts import make

N = 4_096


def data(n: int, dtype: Any = np.float64) -> dict[str, np.ndarray]:
    """Return signals by the names that the cases call them."""
    rng = np.random.default_rng(10)
    values = {
        "x": rng.normal(size=(n, 2)),
        "v": rng.normal(size=n),
        "w": rng.uniform(0.1, 3, size=n),
        "image": rng.normal(size=(n // 4, 12)),
        "square": rng.normal(size=(40, 40)),
        "block": rng.normal(size=(n // 16, 4, 6)),
        "taps": np.linspace(1, 2, 9),
        "patch": rng.normal(size=(3, 3)),
        "poles": np.asarray([0.5, -0.3, 0.1]),
    }
    values = {name: value.astype(dtype) for name, value in values.items()}
    return values | {"c": values["v"] + 1j * values["x"][:, 0]}


def sections(like: Any) -> Any:
    """Return a filter in second-order sections, of `like`'s kind."""
    return array_namespace(like).asarray(signal.butter(3, 0.2, output="sos"))


CASES = {
    "fft.fft": lambda c, x: (fft.fft(c), fft.fft(x, axis=0, norm="ortho"), fft.fft(c, 3000)),
    "fft.ifft": lambda c, x: (fft.ifft(c), fft.ifft(x, axis=0), fft.ifft(x)),
    "fft.rfft": lambda v, x: (fft.rfft(v), fft.rfft(x, axis=0, norm="forward")),
    "fft.irfft": lambda c: (fft.irfft(c), fft.irfft(c, n=2 * c.shape[0] - 1)),
    "fft.hfft": lambda c: (fft.hfft(c), fft.hfft(c, norm="ortho")),
    "fft.ihfft": lambda v: fft.ihfft(v),
    "fft.fft2": lambda image: fft.fft2(image),
    "fft.ifft2": lambda image: fft.ifft2(image),
    "fft.rfft2": lambda image: fft.rfft2(image),
    "fft.irfft2": lambda image: fft.irfft2(image + 1j, s=image.shape),
    "fft.hfft2": lambda image: fft.hfft2(image + 1j),
    "fft.ihfft2": lambda image: fft.ihfft2(image),
    "fft.fftn": lambda block: (fft.fftn(block), fft.fftn(block, axes=(0, 2))),
    "fft.ifftn": lambda block: (fft.ifftn(block), fft.ifftn(block, s=(20, 8), axes=(0, 1))),
    "fft.rfftn": lambda block: (fft.rfftn(block), fft.rfftn(block, norm="ortho")),
    "fft.irfftn": lambda block: fft.irfftn(block + 2j, s=block.shape),
    "fft.hfftn": lambda block: fft.hfftn(block + 2j, axes=(0, 1)),
    "fft.ihfftn": lambda block: fft.ihfftn(block, axes=(0, 1)),
    "fft.fftshift": lambda x: (fft.fftshift(x), fft.fftshift(x, axes=0)),
    "fft.ifftshift": lambda x: fft.ifftshift(x, axes=(0, 1)),
    "fft.fht": lambda v, x: (fft.fht(v, 0.1, 0.5), fft.fht(x.T, 0.1, 0.5, bias=0.1)),
    "fft.ifht": lambda v, x: (fft.ifht(v, 0.1, 0.5), fft.ifht(x.T, 0.1, 0.5, bias=0.1)),
    "signal.fftconvolve": lambda v, x, taps, image, patch: (
        signal.fftconvolve(v, taps, mode="same"),
        signal.fftconvolve(x, taps[:, None], axes=0),
        signal.fftconvolve(image, patch, mode="valid"),
        signal.fftconvolve(v, v),
    ),
    "signal.convolve": lambda v, taps: signal.convolve(v, taps, method="fft"),
    "signal.correlate": lambda v, w: signal.correlate(v, w, mode="same", method="fft"),
    "signal.choose_conv_method": lambda v, taps: signal.choose_conv_method(v, taps),
    "signal.hilbert": lambda v, x: (signal.hilbert(v), signal.hilbert(x, axis=0)),
    "signal.hilbert2": lambda image: signal.hilbert2(image),
    "signal.envelope": lambda v, x: (
        signal.envelope(v, (1, 20)),
        signal.envelope(x, (None, 30), axis=0, squared=True),
    ),
    "signal.resample": lambda x, c, v: (
        signal.resample(x, x.shape[0] * 3 // 4),
        signal.resample(c, c.shape[0] * 5 // 4),
        signal.resample(v, v.shape[0] // 2, window="hann"),
    ),
    "signal.vectorstrength": lambda v, w: (
        signal.vectorstrength(v, 2.0),
        signal.vectorstrength(w, array_namespace(w).asarray([1.0, 2.0])),
    ),
    "signal.gauss_spline": lambda v: signal.gauss_spline(v, 3),
    "signal.freqz": lambda taps, w: signal.freqz(taps, taps + 1, worN=w),
    "signal.freqs": lambda taps, w: signal.freqs(taps, taps + 1, worN=w),
    "signal.freqz_zpk": lambda poles, w: signal.freqz_zpk(poles + 1, poles, 2.0, worN=w),
    "signal.freqs_zpk": lambda poles, w: signal.freqs_zpk(poles + 1, poles, 2.0, worN=w),
    "signal.freqz_sos": lambda w: signal.freqz_sos(sections(w), worN=w),
    "signal.sosfreqz": lambda w: signal.sosfreqz(sections(w), worN=w),
}

THROUGH_NUMPY = {
    "fft.dct": lambda v: fft.dct(v),
    "fft.idct": lambda v: fft.idct(v),
    "fft.dst": lambda v: fft.dst(v),
    "fft.idst": lambda v: fft.idst(v),
    "fft.dctn": lambda image: fft.dctn(image),
    "fft.idctn": lambda image: fft.idctn(image),
    "fft.dstn": lambda image: fft.dstn(image),
    "fft.idstn": lambda image: fft.idstn(image),
    "signal.convolve2d": lambda image, patch: signal.convolve2d(image, patch),
    "signal.correlate2d": lambda image, patch: signal.correlate2d(image, patch),
    "signal.cspline1d": lambda v: signal.cspline1d(v),
    "signal.cspline1d_eval": lambda v, w: signal.cspline1d_eval(v, w),
    "signal.qspline1d": lambda v: signal.qspline1d(v),
    "signal.qspline1d_eval": lambda v, w: signal.qspline1d_eval(v, w),
    "signal.spline_filter": lambda square: signal.spline_filter(square),
    "signal.deconvolve": lambda v, taps: signal.deconvolve(v, taps),
    "signal.detrend": lambda x: (signal.detrend(x, axis=0), signal.detrend(x, type="constant")),
    "signal.lfilter": lambda v, taps: signal.lfilter(taps, taps[:1], v),
    "signal.filtfilt": lambda v, taps: signal.filtfilt(taps, taps[:1], v),
    "signal.sosfilt": lambda v: signal.sosfilt(sections(v), v),
    "signal.sosfiltfilt": lambda v: signal.sosfiltfilt(sections(v), v),
    "signal.savgol_filter": lambda v: signal.savgol_filter(v, 11, 3),
    "signal.medfilt": lambda v: signal.medfilt(v, 5),
    "signal.medfilt2d": lambda image: signal.medfilt2d(image, 3),
    "signal.order_filter": lambda v: signal.order_filter(v, array_namespace(v).ones(3), 1),
    "signal.wiener": lambda v: signal.wiener(v, 5),
    "signal.upfirdn": lambda v, taps: signal.upfirdn(taps, v, 2, 3),
    "signal.resample_poly": lambda x: signal.resample_poly(x, 3, 2),
    "signal.group_delay": lambda taps, w: signal.group_delay((taps, taps + 1), w=w),
}

EXCLUDED = {
    "signal.oaconvolve": "see `test_overlap_and_add`",
    **{
        f"signal.{name}": "returns NumPy arrays, whatever it is given"
        for name in ("bode", "cspline2d", "impulse", "place_poles")
    },
}

WINDOWS = {
    f"signal.windows.{name}": (name, ())
    for name in windows.__all__
    if name not in ("dpss", "general_cosine")
} | {
    "signal.windows.chebwin": ("chebwin", (100,)),
    "signal.windows.exponential": ("exponential", (None, 3.0)),
    "signal.windows.gaussian": ("gaussian", (7,)),
    "signal.windows.general_gaussian": ("general_gaussian", (1.5, 7)),
    "signal.windows.general_hamming": ("general_hamming", (0.6,)),
    "signal.windows.kaiser": ("kaiser", (8.0,)),
    "signal.windows.kaiser_bessel_derived": ("kaiser_bessel_derived", (4.0,)),
}


@entries("scipy", CASES)
def test_samples_stay_distributed(case):
    values = samples(case, data(N))
    expected = case(*values)
    given = [rows(v) if len(v) > 9 else make(v) for v in values]
    with stays_distributed(N):
        result = case(*given)
    compare(result, expected, rtol=1e-8, atol=1e-8)


@entries("scipy", CASES)
def test_values_in_all_layouts(case):
    for dtype, tolerance in ((np.float64, 1e-8), (np.float32, 1e-3)):
        values = samples(case, data(160, dtype))
        expected = case(*values)
        for way in range(3):
            given = [make(v, layout_of(v.shape, way)) for v in values]
            compare(case(*given), expected, rtol=tolerance, atol=tolerance)


@entries("scipy", {f"{name} (gathers)": case for name, case in THROUGH_NUMPY.items()})
def test_what_scipy_does_by_numpy_is_in_the_trace(case):
    values = samples(case, data(160))
    expected = case(*values)
    given = [rows(v) if len(v) > 9 else make(v) for v in values]
    with xp.trace() as t:
        result = case(*given)
    assert bool(t.gathers) == (W.size > 1)
    compare(result, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.filterwarnings("ignore:This window is not suitable:UserWarning")
@entries("scipy", WINDOWS)
def test_windows(case):
    name, args = case
    function = getattr(windows, name)
    if name == "get_window":
        compare(function("hann", 16, xp=xp), function("hann", 16))
        return
    for m in (16, 64):
        compare(function(m, *args, xp=xp), function(m, *args), atol=1e-12)
    x = rows(data(64)["v"])
    compare(x * function(64, *args, xp=xp), data(64)["v"] * function(64, *args), atol=1e-12)


@consumer("scipy", "signal.windows.general_cosine")
def test_windows_of_given_coefficients():
    coefficients = np.asarray([1.0, 0.5, 0.2])
    found = windows.general_cosine(16, make(coefficients))
    compare(found, windows.general_cosine(16, coefficients))


@consumer("scipy", "fft.fftfreq")
@consumer("scipy", "fft.rfftfreq")
def test_frequencies():
    compare(fft.fftfreq(9, 0.5, xp=xp), fft.fftfreq(9, 0.5))
    compare(fft.rfftfreq(9, 0.5, xp=xp), fft.rfftfreq(9, 0.5))


def test_every_array_agnostic_transform_is_here():
    here = {name for name in [*CASES, *THROUGH_NUMPY] if name.startswith("fft.")}
    assert capable(fft, "fft") == here | {"fft.fftfreq", "fft.rfftfreq"}


@consumer("scipy", "signal.oaconvolve")
def test_overlap_and_add():
    values = data(160)
    found = signal.oaconvolve(rows(values["v"]), make(values["taps"]))
    compare(found, signal.oaconvolve(values["v"], values["taps"]), rtol=1e-8, atol=1e-8)
