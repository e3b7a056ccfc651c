"""uint8 batch to float views on the batch's device: parameters drawn for each image, then applied.

Parameters are drawn on the CPU for a whole batch and sorted there into groups that
need the same work, then moved to the device: nothing waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal import cores
from vicinal.errors import InputError
from vicinal.images.image_stream import ChannelSums
from vicinal.recipes.recipe import Views
from vicinal.views.colour import blend, blend_weights, grey_level, solarise, turn_hue
from vicinal.views.geometry import blur, resized_crop, rotate

CACHE_NUMBERS = 2**18
"""Numbers a thread augments at once on a CPU: with its scratch space they fit its cache."""
MEMORY_NUMBERS = 2**28
"""Numbers augmented at once elsewhere: 1 GiB, and a few times that in scratch space."""


@dataclass(frozen=True)
class Augment:
    """Random views of uint8 images, as torchvision's transforms of the same names make them.

    The order is crop, flip, rotation, colour jitter (its four parts in an order of
    each image's own), greyscale, blur, solarisation, normalisation. Images of one channel keep
    their hue and saturation, having none.

    Attributes:
        views: The recipe's section.
        mean: Mean of each channel, in units where white is 1.
        std: Standard deviation of each channel, in the same units, above 0.

    Raises:
        InputError: If a range of the recipe is empty or its blur does not fit.
    """

    views: Views
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        views = self.views
        for name in ("crop_scale", "crop_ratio", "blur_sigma"):
            low, high = getattr(views, name)
            if not 0 < low <= high:
                raise InputError(
                    f"views.{name}: needs 0 < least <= greatest, found {low:g} and {high:g}"
                )
        if views.blur_kernel % 2 == 0 or views.blur_kernel > 2 * views.size - 1:
            raise InputError(
                f"views.blur_kernel: needs an odd number of at most {2 * views.size - 1} "
                f"(twice the size less 1), found {views.blur_kernel}"
            )

    def __call__(
        self, pixels: Tensor, generator: torch.Generator, rows: Tensor | None = None
    ) -> Tensor:
        """Makes one view of each image.

        Shapes: pixels (B, H, W, 1 or 3) uint8; the result (B, C, size, size) float32.
        """
        batch, height, width, channels = pixels.shape
        assert channels == len(self.mean) == len(self.std)
        drawn = draw_parameters(
            self.views, (height, width, channels), batch if rows is None else len(rows), generator
        )
        if rows is not None:
            drawn = Parameters(*(values[rows] for values in drawn))
        # Images whose hue is turned at the same place become neighbours, so that a
        # group of them is a slice; the last line puts them back.
        order = torch.argsort(drawn.hue_place, stable=True)
        drawn = Parameters(*(values[order] for values in drawn))
        *sorted_, place, back = moved([*drawn, order, torch.argsort(order)], pixels.device)
        there = Parameters(*sorted_)
        at_once = CACHE_NUMBERS if pixels.device.type == "cpu" else MEMORY_NUMBERS
        size = self.views.size
        step = max(1, at_once // (channels * max(height * width, size * size)))
        views = torch.empty((batch, size, size, channels), device=pixels.device)

        def make(part: slice) -> None:
            with torch.no_grad(), torch.autocast(pixels.device.type, enabled=False):
                views[part] = self._views(
                    pixels.index_select(0, place[part]),
                    Parameters(*(values[part] for values in drawn)),
                    Parameters(*(values[part] for values in there)),
                )

        parts = [slice(start, start + step) for start in range(0, batch, step)]
        list(cores.side_by_side(make, parts) if pixels.device.type == "cpu" else map(make, parts))
        return views.index_select(0, back).permute(0, 3, 1, 2)

    def _views(self, pixels: Tensor, drawn: Parameters, there: Parameters) -> Tensor:
        """Views (B, S, S, C) of pixels (B, H, W, C) sorted by ``hue_place``."""
        planes = pixels.float().div_(255).permute(0, 3, 1, 2).contiguous()
        views = resized_crop(planes, there.box, self.views.size, there.flip)
        if self.views.rotation:
            views = rotate(views, there.degrees)
        if self.views.jitter:
            self._jitter(views, drawn, there)
        chosen = [switch.nonzero()[:, 0] for switch in (drawn.grey, drawn.blurred, drawn.solarised)]
        statistics = [_numbers(self.mean), _numbers(self.std)]
        grey, blurred, solarised, mean, std = moved([*chosen, *statistics], pixels.device)
        if len(grey):
            level = grey_level(views.index_select(0, grey))
            views.index_copy_(0, grey, level.expand(-1, views.shape[1], -1, -1))
        if len(blurred):
            sharp, sigma = views.index_select(0, blurred), there.sigma.index_select(0, blurred)
            views.index_copy_(0, blurred, blur(sharp, sigma, self.views.blur_kernel))
        if len(solarised):
            inverted = solarise(views.index_select(0, solarised), self.views.solarise_threshold)
            views.index_copy_(0, solarised, inverted)
        return views.sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1)).permute(0, 2, 3, 1)

    def _jitter(self, views: Tensor, drawn: Parameters, there: Parameters) -> None:
        """Three blends of all images, and the hue of each group in its place among them."""
        ends = torch.bincount(drawn.hue_place, minlength=NO_HUE).cumsum(0).tolist()
        blending = self.views.brightness or self.views.contrast or self.views.saturation
        start = 0
        for place in range(NO_HUE):
            if start < ends[place]:
                group = slice(start, ends[place])
                turn_hue(views[group], there.turn[group])
            start = ends[place]
            if blending and place < BLENDS:
                blend(views, there.blends[:, place].T)


def normalise(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Images (B, H, W, C) uint8 as they are, normalised: (B, C, H, W) float32."""
    batch, height, width, channels = pixels.shape
    # A row is as long as W · C numbers this way, where it would be C: much faster.
    rows = pixels.reshape(batch, height, width * channels).float().div_(255)
    centre, spread = moved([_numbers(mean), _numbers(std)], pixels.device)
    rows.sub_(centre.repeat(width)).div_(spread.repeat(width))
    return rows.view(batch, height, width, channels).permute(0, 3, 1, 2)


def channel_statistics(pixels: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels of all images.

    Args:
        pixels: Array (N, H, W, C) uint8; a memory map is read block by block.

    Returns:
        Means and (population) standard deviations, C of each, in units where white
        is 1. A constant channel's is given as 1, so that one can divide by it.
    """
    sums = ChannelSums()
    sums.add(pixels)
    return sums.statistics()


def _numbers(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


CROP_ATTEMPTS = 10
BLENDS = 3
NO_HUE = BLENDS + 1


class Parameters(NamedTuple):
    """The parameters of the views of B images; the first dimension of each is B."""

    box: Tensor  # int64 (B, 4), the crop's top, left, height and width in pixels
    flip: Tensor  # bool (B,), mirrored left to right
    degrees: Tensor  # float32 (B,), the rotation's angle
    blends: Tensor  # float32 (B, 3, 3), weights of three blends in their order, see `blend`
    hue_place: Tensor  # int64 (B,), how many blends come before the hue is turned; NO_HUE: never
    turn: Tensor  # float32 (B,), the hue's turn as a share of the colour circle
    grey: Tensor  # bool (B,), turned grey
    blurred: Tensor  # bool (B,), blurred
    sigma: Tensor  # float32 (B,), the blur's standard deviation in pixels
    solarised: Tensor  # bool (B,), solarised


def draw_parameters(
    views: Views, shape: tuple[int, int, int], batch: int, generator: torch.Generator
) -> Parameters:
    """Draws what is done to each image, on the CPU."""

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
    """Crop boxes (B, 4) int64 as torchvision's ``RandomResizedCrop`` draws them."""
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


def moved(values: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The CPU tensors on the device; on CUDA by one copy that nothing waits for.

    Dozens of small parameters a step would be dozens of copies, and a copy from memory that is
    not pinned makes the host wait. So their bytes are laid end to end in one pinned tensor.
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
