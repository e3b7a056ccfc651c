"""Small tensors from the host to the training device, without waiting for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def moved(values: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The CPU tensors on the device; on CUDA by one copy that nothing waits for.

    Dozens of small parameters a step would be dozens of copies, and a copy from memory that is
    not pinned makes the host wait. So their bytes are laid end to end in one pinned tensor.

    Args:
        values: CPU tensors of any shapes and dtypes.
        device: Where to; on the CPU they are returned as they are.
    """
    if device.type != "cuda":
        return [value.to(device) for value in values]
    there = packed(values).pin_memory().to(device, non_blocking=True)
    return unpacked(there, values)


def packed(values: Sequence[Tensor]) -> Tensor:
    """The bytes of all values end to end, as (bytes,) uint8, wide numbers before narrow ones."""
    return torch.cat([values[i].contiguous().view(-1).view(torch.uint8) for i in _order(values)])


def unpacked(there: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The values in ``there``, which `packed` made of tensors of such shapes and dtypes."""
    found: dict[int, Tensor] = {}
    start = 0
    for i in _order(like):
        stop = start + like[i].numel() * like[i].element_size()
        found[i] = there[start:stop].view(like[i].dtype).view(like[i].shape)
        start = stop
    return [found[i] for i in range(len(like))]


def _order(values: Sequence[Tensor]) -> list[int]:
    # Eight-byte numbers first, then four, then one: each begins where its type may begin.
    return sorted(range(len(values)), key=lambda i: -values[i].element_size())
