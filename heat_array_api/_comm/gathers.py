"""Accounting of implicit gathers: whole split arrays that code outside the package asks for.

NumPy, DLPack and ``tolist`` need the whole array on every rank. That is a right of the caller's,
and a trap: a line of a library that turns a terabyte into a NumPy array. So each is noted
in traces, and above a size it warns or is refused.
"""

from __future__ import annotations

import warnings

from .._errors import GatherError, GatherWarning
from .._options import gather_policy
from .attribution import caller
from .trace import IMPLICIT_GATHER, note

__all__ = ["account", "quiet"]


_warned: set[str] = set()


def account(what: str, size: int, nranks: int) -> None:
    """Account for a gather that is about to be made; raise if the options forbid it.

    Parameters
    ----------
    what : str
        The function that gathers.
    size : int
        The bytes of the whole array.
    nranks : int
        How many ranks will hold it.

    Notes
    -----
    All ranks decide alike: from the array's metadata, the options, and the line of the program.
    """
    note(IMPLICIT_GATHER, size, nranks)
    policy, limit = gather_policy()
    if size <= limit or policy == "allow":
        return
    line = caller()[1]
    text = (
        f"{what}: a split array of {size} bytes is gathered on each of {nranks} ranks; compute "
        f"with the namespace's functions, or use set_options(on_gather=, gather_limit=)"
    )
    if policy == "error":
        raise GatherError(f"{text} (at {line})")
    if line not in _warned:
        _warned.add(line)
        path, _, number = line.rpartition(":")  # "?" where no frame is the user's
        number = number if number.isdecimal() else "0"
        warnings.warn_explicit(text, GatherWarning, path or "?", int(number), __name__)


def quiet(rank: int) -> None:
    """Show warnings of gathers on rank 0 only, unless filters of the user's say otherwise.

    All ranks warn, so that a filter that makes warnings errors does so on all of them.
    """
    if rank:
        warnings.filterwarnings("ignore", category=GatherWarning, append=True)
