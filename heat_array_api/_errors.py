"""The exceptions and warnings that Python's own (TypeError, ValueError, ...) do not cover."""

from __future__ import annotations

from typing import Any

import numpy as np


class MPIUnavailableError(ImportError):
    """A launcher started the program, and MPI cannot be loaded: mpi4py finds no MPI library.

    Without a launcher the program runs as one rank.

    Examples
    --------
    >>> try:
    ...     import heat_array_api as xp
    ... except ImportError as error:  # an MPIUnavailableError, which says what to install
    ...     print(error)
    """


class LauncherMismatchError(RuntimeError):
    """The launcher started several ranks, but MPI sees one: they belong to different MPIs.

    Without this error every rank would do the whole job alone, and silently.

    Examples
    --------
    >>> issubclass(xp.LauncherMismatchError, RuntimeError)
    True
    """


class CollectiveMismatchError(RuntimeError):
    """The ranks made different collective calls, or one rank made none.

    Raised in debug mode (``HEAT_ARRAY_API_DEBUG=1``) on every rank of the communicator,
    before the call that would have hung or mixed up data.

    Examples
    --------
    >>> issubclass(xp.CollectiveMismatchError, RuntimeError)
    True
    """


class CommunicatorMismatchError(ValueError):
    """Arrays that live on different communicators met in one operation.

    Examples
    --------
    >>> try:
    ...     xp.ones(3) + xp.ones(3, comm=xp.world().split(0))
    ... except xp.CommunicatorMismatchError:
    ...     print("not on the same ranks")
    not on the same ranks
    """


class GatherError(ValueError):
    """A whole split array was asked for, and ``set_options(on_gather="error")`` is in force.

    Raised on every rank, before the gather.

    Examples
    --------
    >>> with xp.set_options(on_gather="error", gather_limit=1000):
    ...     np.asarray(xp.ones(3, split=0))  # 24 bytes: not an error
    array([1., 1., 1.])
    """


class GatherWarning(UserWarning):
    """Code outside the package asked for a whole split array, and every rank now holds it.

    Examples
    --------
    >>> with xp.set_options(on_gather="allow"):  # without this warning
    ...     np.asarray(xp.ones(3, split=0))
    array([1., 1., 1.])
    """


class CompileWarning(UserWarning):
    """A function given to `compile` runs eagerly; the warning tells the reason.

    Examples
    --------
    >>> import warnings
    >>> warnings.filterwarnings("ignore", category=xp.CompileWarning, append=True)
    """


class PlanError(RuntimeError):
    """What a dry run cannot plan, since it depends on values; or a plan that exceeds its limits.

    Examples
    --------
    >>> plan = xp.dry_run(lambda: xp.ones(10**9, split=0), ranks=64)
    >>> plan.check(memory="1 GB")
    """


# What is short and prints the same on every rank.
_PRINTED = (bool, int, float, complex, str, bytes, type, np.generic, type(None))


def shown(value: Any) -> str:
    """Return how errors show an argument, the same on every rank.

    An array is shown by its shape: ranks hold different parts of it, and to print it all would need
    messages. Other objects are shown by their type, for many print their address.
    """
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(shown, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
    if isinstance(value, np.dtype):
        return str(value)
    if isinstance(value, _PRINTED):
        return repr(value)
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"an array of shape {value.shape}" if value.shape else "a 0-d array"
    return type(value).__name__
