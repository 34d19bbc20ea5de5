"""Random arrays whose values do not depend on the number of ranks or on the split."""

from __future__ import annotations

from ._generator import Generator, default_rng
from ._global_state import seed_everything, share_generators

__all__ = ["Generator", "default_rng", "seed_everything", "share_generators"]


def __dir__() -> list[str]:
    return sorted(__all__)
