"""The machine of a dry run's model: four numbers, assumed, or measured by `probe`."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .._comm.dry import Carried


@dataclass(frozen=True)
class Machine:
    """What a rank of a machine does in a second.

    Attributes
    ----------
    latency : float
        Seconds of a short message between two ranks.
    bandwidth : float
        Bytes a second of a long message between two ranks.
    flop_rate : float
        Floating-point operations a second of a rank, in a product of matrices.
    memory_bandwidth : float
        Bytes a second that a rank copies.
    origin : str
        Where the numbers come from.

    Notes
    -----
    The defaults are round numbers of a core of a cluster's node: 5 us, 2 GB/s, 20 Gflop/s, 5 GB/s.
    """

    latency: float = 5e-6
    bandwidth: float = 2e9
    flop_rate: float = 2e10
    memory_bandwidth: float = 5e9
    origin: str = "assumed"

    def message(self, sent: Carried) -> float:
        """Return the seconds of a message, without waiting: of its rounds, and of its bytes."""
        if sent.size == 1:
            return 0.0
        rounds = math.ceil(math.log2(sent.size)) if sent.partners is None else sent.partners
        nbytes = max(sent.nbytes, sent.result)
        if sent.collective == "allreduce":
            nbytes *= 2  # a reduce-scatter, and an allgather
        return rounds * self.latency + nbytes / self.bandwidth

    def work(self, flops: float, traffic: float) -> float:
        """Return the seconds of local operations: of their flops, or of their memory traffic."""
        return max(flops / self.flop_rate, traffic / self.memory_bandwidth)


def path() -> Path:
    """Return the file of the numbers: ``HEAT_ARRAY_API_MACHINE``, or one in the user's cache."""
    given = os.environ.get("HEAT_ARRAY_API_MACHINE")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "heat_array_api" / "machine.json"


def load() -> Machine:
    """Return the numbers of the file, or the defaults if there is none.

    Raises
    ------
    ValueError
        If the file holds something else.
    """
    file = path()
    try:
        text = file.read_text("utf-8")
    except OSError:
        return Machine()
    names = [field.name for field in fields(Machine) if field.name != "origin"]
    try:
        values = json.loads(text)
        numbers = {name: float(values[name]) for name in names}
    except (ValueError, TypeError, KeyError):
        numbers = {}
    if not numbers or not all(math.isfinite(n) and n > 0 for n in numbers.values()):
        raise ValueError(
            f"dry_run: {file} does not hold {', '.join(names)}; make it again by "
            "python -m heat_array_api.probe, or remove it"
        )
    return Machine(**numbers, origin=f"measured, {file}")


def save(machine: Machine) -> Path:
    """Write the numbers to the file that `load` reads."""
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True)
    values = asdict(machine)
    del values["origin"]
    file.write_text(json.dumps(values, indent=1) + "\n", "utf-8")
    return file
