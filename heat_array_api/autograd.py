"""Derivatives of programs of the namespace, on any layout and number of ranks."""

from __future__ import annotations

from ._autograd import (
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    no_grad,
    stop_gradient,
    value_and_grad,
    vjp,
)
from ._interplay import ScipyProblem, check_grads, module_apply, to_scipy
from ._rules import CustomVjp, checkpoint, custom_vjp

__all__ = [
    "CustomVjp",
    "ScipyProblem",
    "check_grads",
    "checkpoint",
    "custom_vjp",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "module_apply",
    "no_grad",
    "stop_gradient",
    "to_scipy",
    "value_and_grad",
    "vjp",
]
