"""What is done to each image: drawn on the CPU for a whole batch, without a loop over images."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vicinal.recipe import Views
from vicinal.views.colour import blend_weights

CROP_ATTEMPTS = 10
BLENDS = 3
NO_HUE = BLENDS + 1


class Parameters(NamedTuple):
    """What is done to each of B images; the first dimension of each is B.

    Attributes:
        box: int64 (B, 4), the crop's top, left, height and width in pixels.
        flip: bool (B,), mirrored left to right.
        degrees: float32 (B,), the rotation's angle.
        blends: float32 (B, 3, 3), weights of three blends in their order, see `blend`.
        hue_place: int64 (B,), how many blends come before the hue is turned; NO_HUE: never.
        turn: float32 (B,), the hue's turn as a share of the colour circle.
        grey: bool (B,), turned grey.
        blurred: bool (B,), blurred.
        sigma: float32 (B,), the blur's standard deviation in pixels.
        solarised: bool (B,), solarised.
    """

    box: Tensor
    flip: Tensor
    degrees: Tensor
    blends: Tensor
    hue_place: Tensor
    turn: Tensor
    grey: Tensor
    blurred: Tensor
    sigma: Tensor
    solarised: Tensor


def draw_parameters(
    views: Views, shape: tuple[int, int, int], batch: int, generator: torch.Generator
) -> Parameters:
    """Draws what is done to each image, on the CPU.

    Args:
        views: The recipe's section.
        shape: Height, width and channels of the images.
        batch: How many images there are.
        generator: A CPU generator.
    """

    def uniform(low: float, high: float, *more: int) -> Tensor:
        drawn = torch.rand(batch, *more, generator=generator, dtype=torch.float64)
        return low + (high - low) * drawn

    height, width, channels = shape
    coloured = channels == 3
    box = _boxes(views, height, width, uniform(0, 1, CROP_ATTEMPTS, 2), uniform(0, 1, 2))
    flip = uniform(0, 1) < views.flip
    degrees = uniform(-views.rotation, views.rotation)
    jittered = uniform(0, 1) < views.jitter
    strengths = (views.brightness, views.contrast, views.saturation if coloured else 0.0)
    factor = torch.stack([uniform(max(0, 1 - s), 1 + s) for s in strengths], dim=1)
    factor = torch.where(jittered[:, None], factor, 1.0)
    kinds = torch.argsort(uniform(0, 1, 3), dim=1)
    hue_place = torch.floor(uniform(0, BLENDS + 1)).long()
    hue_place = torch.where(jittered & (coloured and views.hue > 0), hue_place, NO_HUE)
    turn = uniform(-views.hue, views.hue)
    grey = (uniform(0, 1) < views.grey) & coloured
    blurred = uniform(0, 1) < views.blur
    sigma = uniform(*views.blur_sigma).float()
    # Drawn last, and only where asked for: recipes without it keep their random numbers.
    solarised = torch.zeros(batch, dtype=torch.bool)
    if views.solarise:
        solarised = uniform(0, 1) < views.solarise
    return Parameters(
        box=box,
        flip=flip,
        degrees=degrees.float(),
        blends=blend_weights(kinds, factor.gather(1, kinds)).permute(1, 2, 0).float(),
        hue_place=hue_place,
        turn=turn.float(),
        grey=grey,
        blurred=blurred,
        sigma=sigma,
        solarised=solarised,
    )


def _boxes(views: Views, height: int, width: int, shapes: Tensor, places: Tensor) -> Tensor:
    """Crop boxes (B, 4) int64 as torchvision's ``RandomResizedCrop`` draws them.

    Of a number of random shapes the first that fits into the image is taken; where
    none does, the largest box in the middle with a permitted ratio.

    Args:
        views: The recipe's section.
        height: Height of the images.
        width: Width of the images.
        shapes: Tensor (B, attempts, 2) float64 uniform in [0, 1), for area and ratio.
        places: Tensor (B, 2) float64 uniform in [0, 1), for top and left.
    """
    (least, most), (narrow, broad) = views.crop_scale, views.crop_ratio
    area = height * width * (least + (most - least) * shapes[..., 0])
    log_ratio = math.log(narrow) + (math.log(broad) - math.log(narrow)) * shapes[..., 1]
    ratio = torch.exp(log_ratio.float())  # float64's is slow
    tried = torch.stack(((area / ratio).sqrt(), (area * ratio).sqrt()), dim=2).round().long()
    whole = torch.tensor([height, width])
    fits = ((tried > 0) & (tried <= whole)).all(dim=2)
    first = fits.int().argmax(dim=1)  # 0 where none fits
    sides = tried[torch.arange(len(tried)), first]
    middle = torch.tensor([min(height, round(width / narrow)), min(width, round(height * broad))])
    any_fits = fits.any(dim=1, keepdim=True)
    sides = torch.where(any_fits, sides, middle)
    free = whole - sides
    corner = torch.where(any_fits, torch.floor(places * (free + 1)).long(), free // 2)
    return torch.cat((corner, sides), dim=1)
