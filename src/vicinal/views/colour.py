"""Colour jitter and greyscale of whole batches, with parameters of its own for each image.

Brightness, contrast and saturation all blend an image with another and clamp:
with black, with its mean grey level, and with its own grey version. So one
operation, `blend`, does any of the three, chosen for each image by three numbers;
images that have them in different orders stay in one batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

GREY = (0.2989, 0.587, 0.114)
"""Luma of red, green and blue (ITU-R BT.601), as torchvision rounds it."""

BRIGHTNESS, CONTRAST, SATURATION = 0, 1, 2


def blend_weights(kind: Tensor, factor: Tensor) -> Tensor:
    """The weights that make `blend` adjust brightness, contrast or saturation.

    Args:
        kind: Tensor (...) int64 of BRIGHTNESS, CONTRAST or SATURATION.
        factor: Tensor (...) float32, at least 0; 1 changes nothing.

    Returns:
        Tensor (3, ...) float32: weights of the image, of its grey version and of its
        mean grey level.
    """
    rest = 1 - factor
    return torch.stack((factor, rest * (kind == SATURATION), rest * (kind == CONTRAST)))


def blend(images: Tensor, weights: Tensor) -> Tensor:
    """Blends each image with its grey version and its mean grey level, in place.

    With `blend_weights` it agrees with ``adjust_brightness``, ``adjust_contrast`` and
    ``adjust_saturation`` of ``torchvision.transforms.v2.functional`` on float tensors.

    Args:
        images: Tensor (B, 1 or 3, H, W) float32 in [0, 1]; changed.
        weights: Tensor (3, B) float32, see `blend_weights`.

    Returns:
        ``images``, clamped to [0, 1].
    """
    of_image, of_grey, of_mean = weights.view(3, -1, 1, 1, 1)
    grey = grey_level(images)
    other = grey.mean(dim=(2, 3), keepdim=True).mul_(of_mean)
    other = torch.addcmul(other, grey, of_grey)
    return images.mul_(of_image).add_(other).clamp_(0, 1)


def grey_level(images: Tensor) -> Tensor:
    """The grey level (B, 1, H, W) of images (B, 1 or 3, H, W) float32."""
    if images.shape[1] == 1:
        return images
    red, green, blue = torch.split(images, 1, dim=1)
    return (red * GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])


def solarise(images: Tensor, threshold: float) -> Tensor:
    """Inverts what is as bright as the threshold or brighter.

    Agrees with ``torchvision.transforms.v2.functional.solarize`` on float tensors.

    Args:
        images: Tensor (B, C, H, W) float32 in [0, 1].
        threshold: Where white is 1.

    Returns:
        Tensor (B, C, H, W) float32.
    """
    return torch.where(images >= threshold, 1 - images, images)


def turn_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turns the hue of each image, keeping the value and saturation of HSV, in place.

    Agrees with ``torchvision.transforms.v2.functional.adjust_hue`` on float tensors,
    without going through HSV or sectors. With M the greatest and m the least of a
    pixel's three numbers and c = M - m, the hue is a place on a circle of length 6 (red
    0, green 2, blue 4). It is ((g + b - r - m) / c + 1), negative where g < b: as the
    hue goes from red to cyan, first g rises by c, then r falls, then b rises. And back: a
    channel is M - c · clamp(its distance from the hue on the circle - 1, 0, 1).

    Args:
        images: Tensor (B, 3, H, W) float32 in [0, 1]; changed.
        turn: Tensor (B,) float32, shares of the colour circle, in [-0.5, 0.5].

    Returns:
        ``images``.
    """
    red, green, blue = torch.split(images, 1, dim=1)
    low = torch.minimum(torch.minimum(red, green), blue)
    high = torch.maximum(torch.maximum(red, green), blue)
    chroma = high - low
    # Where there is no chroma there is no hue, and any will do: 0 / tiny is 0.
    hue = (green + blue).sub_(red).sub_(low).div_(chroma.clamp(min=1e-12)).add_(1)
    hue.copysign_(green - blue)
    hue.mul_(1 / 6).add_(turn.view(-1, 1, 1, 1) + 1).frac_().mul_(6)
    # The clamped distance is written clamp(distance, 1, 2) - 1, and red's, which is
    # nearest to both 0 and 6, as 3 minus the distance to the far side: fewer passes.
    torch.addcmul(low - chroma, chroma, (hue - 3).abs_().clamp_(1, 2), out=red)
    ceiling = high.add_(chroma)
    torch.addcmul(ceiling, chroma, (hue - 2).abs_().clamp_(1, 2), value=-1, out=green)
    torch.addcmul(ceiling, chroma, hue.sub_(4).abs_().clamp_(1, 2), value=-1, out=blue)
    return images
