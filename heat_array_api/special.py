"""Special functions of distributed arrays, element by element, by SciPy's names.

SciPy looks here for a namespace's own functions before it converts arrays to NumPy, so
its distributions, statistics and losses keep split arrays split. Every elementwise
function of `scipy.special` that is not listed is found, too, where SciPy is installed: its
own kernel then runs on each rank's shard.

Nothing is sent, but for operands of different layouts (as in `add`) and by `logsumexp`,
`softmax` and `log_softmax`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from ._special import (
    digamma,
    entr,
    erf,
    erfc,
    erfcx,
    erfinv,
    exp2,
    expit,
    gammainc,
    gammaincc,
    gammaln,
    i0,
    i0e,
    i1,
    i1e,
    k0,
    k0e,
    k1,
    k1e,
    kl_div,
    log_ndtr,
    log_softmax,
    logit,
    logsumexp,
    multigammaln,
    ndtr,
    ndtri,
    polygamma,
    psi,
    rel_entr,
    scipy_function,
    sinc,
    softmax,
    xlog1py,
    xlogy,
    zeta,
)

__all__ = [
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exp2",
    "expit",
    "gammainc",
    "gammaincc",
    "gammaln",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "k0",
    "k0e",
    "k1",
    "k1e",
    "kl_div",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "rel_entr",
    "sinc",
    "softmax",
    "xlog1py",
    "xlogy",
    "zeta",
]


@cache
def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"special: no function {name!r}")
    return scipy_function(name)
