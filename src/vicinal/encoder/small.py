"""Small networks for training on CPUs: a residual one, and a plain one, the fastest to learn."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from vicinal.errors import InputError

LEAST_MAP = 4
"""Maps are halved while they are at least so many pixels high and wide."""


def small(channels: int, size: int, widths: tuple[int, ...], dimension: int) -> nn.Module:
    """A residual network of one basic block a stage, of random weights.

    The head is the study's (Linear, BatchNorm, ReLU, Linear), as `resnet18` has it: the
    representation is then unbounded and centred by the loss alone, where a ReLU's
    average would be positive throughout; beside the convolutions it costs nothing.
    """
    stem = max(1, widths[0] // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(channels, stem, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(stem),
        nn.ReLU(inplace=True),
    ]
    before, stride = stem, 1
    for width in widths:
        layers.append(Block(before, width, stride))
        size = -(-size // stride)
        before, stride = width, 2 if size >= LEAST_MAP else 1
    return nn.Sequential(
        *layers,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(before, before),
        nn.BatchNorm1d(before),
        nn.ReLU(inplace=True),
        nn.Linear(before, dimension),
    )


class Block(nn.Module):
    """The basic residual block of He et al. (arXiv 1512.03385, figure 2)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(after),
            )

    def forward(self, images: Tensor) -> Tensor:
        """Maps (B, before, H, W) to (B, after, ⌈H / stride⌉, ⌈W / stride⌉)."""
        output: Tensor = self.residual(images) + self.shortcut(images)
        return F.relu(output, inplace=True)


POOLED = 2
"""Side of the pooled maps whose numbers are the representation."""
LARGEST_MAP = 24
"""Side that no map exceeds: a larger picture has a stem of greater stride."""


def plain(channels: int, size: int, widths: tuple[int, ...], dimension: int) -> nn.Module:
    """Convolutions whose maps, each averaged over its quarters, are the representation.

    A 4×4 convolution of stride 2, then stages of two 3×3 convolutions, the first of stride 2,
    each with BatchNorm and ReLU. Pictures of more than 48 pixels have a stem of 8×8 and stride
    4, of more than 96 one of 16×16 and stride 8, and so on. No map is as large as the image:
    there convolutions are narrow, and BatchNorm and ReLU, bound by memory, cost as much as
    they do. Reading every stage gives the earlier ones a gradient of their own, which a short
    training needs, and where in the image something is helps to tell what it is; neither costs
    anything. There is no head; the projector serves as one. docs/recipes.md has what each of
    this is worth.
    """
    expected = POOLED**2 * sum(widths)
    if dimension != expected:
        raise InputError(
            f"encoder.dimension: a plain encoder has {POOLED**2} times the sum of its "
            f"widths, {expected}, found {dimension}"
        )
    stride = _stride(size)
    least = POOLED * stride * 2 ** (len(widths) - 1)
    if size < least:
        raise InputError(
            f"views.size: a plain encoder of {len(widths)} stages needs images of at least "
            f"{least} pixels, found {size}; use backbone 'small'"
        )
    return Plain(channels, widths, stride)


def _stride(size: int) -> int:
    """The least stride, a power of two from 2 on, after which no map exceeds `LARGEST_MAP`."""
    stride = 2
    while size > stride * LARGEST_MAP:
        stride *= 2
    return stride


class Plain(nn.Module):
    """See `plain`."""

    def __init__(self, channels: int, widths: tuple[int, ...], stride: int = 2) -> None:
        super().__init__()
        stem = _layer(channels, widths[0], 2 * stride, stride=stride, padding=stride // 2)
        self.stages = nn.ModuleList([nn.Sequential(*stem)])
        for before, after in pairwise(widths):
            layers = [*_layer(before, after, 3, stride=2), *_layer(after, after, 3)]
            self.stages.append(nn.Sequential(*layers))

    def forward(self, images: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, F)."""
        maps = [images]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return torch.cat([_pooled(m) for m in maps[1:]], dim=1)


def _pooled(maps: Tensor) -> Tensor:
    """Maps (B, C, H, W), averaged over their quarters (B, 4C)."""
    pooled = F.adaptive_avg_pool2d(maps, POOLED)
    if pooled.requires_grad and pooled.is_contiguous(memory_format=torch.channels_last):
        # Flattening lays the gradient out otherwise than the maps, which would have every
        # operation before the pooling copy its own.
        pooled.register_hook(_channels_last)  # type: ignore[no-untyped-call]
    return pooled.flatten(1)


def _channels_last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def _layer(
    before: int, after: int, kernel: int, *, stride: int = 1, padding: int = 1
) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, kernel, stride=stride, padding=padding, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    ]
