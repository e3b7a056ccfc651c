"""ResNet-18 with a stem for small images: the study's encoder."""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from vicinal.errors import InputError

WIDTHS = (64, 128, 256, 512)


def resnet18(channels: int, size: int, widths: tuple[int, ...], dimension: int) -> nn.Module:
    """The study's encoder, of random weights.

    torchvision's ResNet-18 (He et al., CVPR 2016, arXiv 1512.03385, table 1), whose stem
    is one 3×3 convolution of stride 1 without padding and without pooling, and whose
    head is Linear 512→512, BatchNorm, ReLU, Linear 512→``dimension``.

    Args:
        channels: Channels of the images.
        size: Height and width of the images, in pixels.
        widths: Channels of each stage, which for a ResNet-18 are 64, 128, 256 and 512.
        dimension: Dimensions F of a representation.

    Returns:
        A module from (B, channels, size, size) float32 to (B, F) float32.

    Raises:
        InputError: If ``widths`` are another network's or the images are too small.
    """
    if tuple(widths) != WIDTHS:
        raise InputError(
            f"encoder.widths: a resnet18 has {list(WIDTHS)}, found {list(widths)}; "
            "leave them out, or use backbone 'small'"
        )
    if size - 2 < 8:
        raise InputError(
            f"views.size: a resnet18 halves its map three times and needs images of at "
            f"least 10 pixels, found {size}; use backbone 'small'"
        )
    network: nn.Module = ResNet(BasicBlock, [2, 2, 2, 2])
    network.conv1 = nn.Conv2d(channels, 64, kernel_size=3, stride=1, padding=0, bias=False)
    network.maxpool = nn.Identity()
    network.fc = nn.Sequential(
        nn.Linear(512, 512),
        nn.BatchNorm1d(512),
        nn.ReLU(inplace=True),
        nn.Linear(512, dimension),
    )
    return network
