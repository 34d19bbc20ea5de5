"""Torch's dtypes in groups, for messages and for `_core.dtypes`."""

from __future__ import annotations

import torch

HALVES = (torch.float16, torch.bfloat16)
SIGNED = (torch.int8, torch.int16, torch.int32, torch.int64)
UNSIGNED = (torch.uint8, torch.uint16, torch.uint32, torch.uint64)
INTEGERS = (*SIGNED, *UNSIGNED)
