"""How torch takes memory from Linux: on huge pages, and without giving it back after each use.

A new result costs a page fault for each of its pages: 65,000 for 256 MB on pages of 4 KiB, where
``x - y`` took 0.57 s; on pages of 2 MiB it took 0.037 s (torch 2.13, one thread).

The package imports this module first: torch decides on huge pages when it makes its first
tensor, and other modules make some.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

import torch

_LARGEST_LEARNT = 28 << 20
"""Bytes; glibc learns from blocks of up to 32 MiB, alignment included."""


def prefer_huge_pages(environ: MutableMapping[str, str]) -> None:
    """Let torch put CPU tensors of 2 MiB and more on huge pages, where Linux offers them.

    A value set by the user stands.
    """
    environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def keep_freed_memory() -> None:
    """Let smaller tensors take memory that was freed before, without asking Linux again.

    glibc gives blocks back to Linux at once if they are larger than any freed before: it is
    told of a large one, which is never touched. (mallopt(3), M_MMAP_THRESHOLD.)
    """
    torch.empty(_LARGEST_LEARNT, dtype=torch.uint8)


prefer_huge_pages(os.environ)

keep_freed_memory()
