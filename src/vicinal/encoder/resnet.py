"""ResNet-18 with a stem for small images: the study's encoder, and the one of published figures."""

from __future__ import annotations

from torch import nn

from vicinal.errors import InputError

WIDTHS = (64, 128, 256, 512)


def resnet18(channels: int, size: int, widths: tuple[int, ...], dimension: int) -> nn.Module:
    """The study's encoder, of random weights.

    torchvision's ResNet-18 (He et al., CVPR 2016, arXiv 1512.03385, table 1), whose stem
    is one 3×3 convolution of stride 1 without padding and without pooling, and whose
    head is Linear 512→512, BatchNorm, ReLU, Linear 512→``dimension``.
    """
    network = _network(channels, size, widths, padding=0)
    network.fc = nn.Sequential(
        nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(inplace=True), nn.Linear(512, dimension)
    )
    return network


def resnet18_pooled(channels: int, size: int, widths: tuple[int, ...], dimension: int) -> nn.Module:
    """The encoder of published CIFAR-10 figures, of random weights: no head, 512 pooled features.

    As `resnet18`, but its stem is padded, so that maps keep the image's size, and the mean of
    the last map is the representation, as in solo-learn, lightly and eb_jepa.
    """
    if dimension != WIDTHS[-1]:
        raise InputError(
            f"encoder.dimension: a resnet18_pooled has {WIDTHS[-1]}, found {dimension}; "
            "use backbone 'resnet18' for another"
        )
    network = _network(channels, size, widths, padding=1)
    network.fc = nn.Identity()
    return network


def _network(channels: int, size: int, widths: tuple[int, ...], padding: int) -> nn.Module:
    """The ResNet-18 of torchvision with the stem for small images."""
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
    # Slow to import, and only this needs it.
    from torchvision.models.resnet import BasicBlock, ResNet

    network: nn.Module = ResNet(BasicBlock, [2, 2, 2, 2])
    network.conv1 = nn.Conv2d(channels, 64, kernel_size=3, stride=1, padding=padding, bias=False)
    network.maxpool = nn.Identity()
    return network
