"""A plain convolutional network: the most learning a second on CPUs."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from vicinal.errors import InputError

POOLED = 2
"""Side of the pooled map whose numbers are the representation."""


def plain(channels: int, size: int, widths: tuple[int, ...], dimension: int) -> nn.Module:
    """Two convolutions a stage, each stage at half the side of the one before, random weights.

    The stem is a 4×4 convolution of stride 2, so that no map is as large as the image:
    there convolutions are narrow and batch norm and ReLU, bound by memory, cost as much as
    they do. The representation is the last map averaged over its four quarters: where in
    the image something is tells what it is, at no cost in training. There is no head; the
    projector serves as one.

    Args:
        channels: Channels of the images.
        size: Height and width of the images, in pixels.
        widths: Channels of each stage.
        dimension: Dimensions F of a representation, 4 times the last width.

    Returns:
        A module from (B, channels, size, size) float32 to (B, F) float32.

    Raises:
        InputError: If the dimension is another or the images are too small.
    """
    if dimension != POOLED**2 * widths[-1]:
        raise InputError(
            f"encoder.dimension: a plain encoder has {POOLED**2} times its last width, "
            f"{POOLED**2 * widths[-1]}, found {dimension}"
        )
    if size < POOLED * 2 ** len(widths):
        raise InputError(
            f"views.size: a plain encoder of {len(widths)} stages needs images of at least "
            f"{POOLED * 2 ** len(widths)} pixels, found {size}; use backbone 'small'"
        )
    layers = [*_layer(channels, widths[0], kernel=4, stride=2)]
    layers += _layer(widths[0], widths[0])
    for before, after in pairwise(widths):
        layers += _layer(before, after, stride=2)
        layers += _layer(after, after)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(POOLED), nn.Flatten())


def _layer(before: int, after: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, kernel, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    ]
