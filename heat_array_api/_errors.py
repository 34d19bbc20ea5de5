"""The exceptions that the standard's own vocabulary (TypeError, ValueError, ...) lacks."""

from __future__ import annotations

__all__ = [
    "CollectiveMismatchError",
    "CommunicatorMismatchError",
    "CompileWarning",
    "GatherError",
    "GatherWarning",
    "LauncherMismatchError",
    "MPIUnavailableError",
]


class MPIUnavailableError(ImportError):
    """MPI cannot be loaded: mpi4py is not installed, or it finds no MPI library."""


class LauncherMismatchError(RuntimeError):
    """The launcher started several ranks, but MPI sees one: they belong to different MPIs.

    Without this error every rank would do the whole job alone, and silently.
    """


class CollectiveMismatchError(RuntimeError):
    """The ranks made different collective calls, or one rank made none.

    Raised in debug mode (``HEAT_ARRAY_API_DEBUG=1``) on every rank of the communicator,
    before the call that would have hung or mixed up data.
    """


class CommunicatorMismatchError(ValueError):
    """Arrays that live on different communicators met in one operation."""


class GatherError(ValueError):
    """A whole split array was asked for, and ``set_options(on_gather="error")`` is in force.

    Raised on every rank, before the gather.
    """


class GatherWarning(UserWarning):
    """Code outside the package asked for a whole split array, and every rank now holds it."""


class CompileWarning(UserWarning):
    """A function given to `compile` runs eagerly, for the reason that the warning tells."""
