"""The array and its layout, the lifts of local kernels, and the collectives with their adjoints."""

from __future__ import annotations

__all__: list[str] = []
