"""A small residual network, for training on CPUs."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

LEAST_MAP = 4
"""Maps are halved while they are at least so many pixels high and wide."""


def small(channels: int, size: int, widths: tuple[int, ...], dimension: int) -> nn.Module:
    """A residual network of one basic block a stage, of random weights.

    The head is the study's (Linear, BatchNorm, ReLU, Linear), as `resnet18` has it: the
    representation is then unbounded and centred by the loss alone, where a ReLU's
    average would be positive throughout; beside the convolutions it costs nothing.

    Args:
        channels: Channels of the images.
        size: Height and width of the images, in pixels.
        widths: Channels of each stage; the stem has half the first's.
        dimension: Dimensions F of a representation.

    Returns:
        A module from (B, channels, size, size) float32 to (B, F) float32.
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
    """The basic residual block of He et al. (arXiv 1512.03385, figure 2).

    Args:
        before: Channels of its input.
        after: Channels of its output.
        stride: By how much it makes the map smaller.
    """

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
