"""uint8 batch to float views, batched on the batch's device, one set of parameters per image.

Parameters are drawn on the CPU for a whole batch and sorted there into groups that
need the same work, then moved to the device: nothing waits for the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal import cores
from vicinal.errors import InputError
from vicinal.recipe import Views
from vicinal.views.colour import blend, grey_level, solarise, turn_hue
from vicinal.views.geometry import blur, resized_crop, rotate
from vicinal.views.moving import moved
from vicinal.views.parameters import BLENDS, NO_HUE, Parameters, draw_parameters

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

        Args:
            pixels: Tensor (B, H, W, 1 or 3) uint8, on any device.
            generator: A CPU generator; the same state gives the same views.
            rows: Tensor (n,) bool with B true: the images are these rows of n, and what is done
                to them is drawn as for all n; None for all there are.

        Returns:
            Tensor (B, C, size, size) float32 on the device of ``pixels``, channels_last.
        """
        batch, height, width, channels = pixels.shape
        assert channels == len(self.mean) == len(self.std)
        drawn = draw_parameters(
            self.views,
            (height, width, channels),
            batch if rows is None else len(rows),
            generator,
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
        """Views (B, S, S, C) of pixels (B, H, W, C) sorted by ``hue_place``.

        Args:
            pixels: Tensor (B, H, W, C) uint8.
            drawn: What to do, on the CPU.
            there: The same on the device of ``pixels``.
        """
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
    """The test transform: images as they are, normalised.

    Args:
        pixels: Tensor (B, H, W, C) uint8, on any device.
        mean: Mean of each of the C channels, in units where white is 1.
        std: Standard deviation of each channel, in the same units, above 0.

    Returns:
        Tensor (B, C, H, W) float32 on the same device, channels_last.
    """
    batch, height, width, channels = pixels.shape
    # A row is as long as W · C numbers this way, where it would be C: much faster.
    rows = pixels.reshape(batch, height, width * channels).float().div_(255)
    centre, spread = moved([_numbers(mean), _numbers(std)], pixels.device)
    rows.sub_(centre.repeat(width)).div_(spread.repeat(width))
    return rows.view(batch, height, width, channels).permute(0, 3, 1, 2)


def channel_statistics(
    pixels: NDArray[np.uint8],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels of all images.

    Args:
        pixels: Array (N, H, W, C) uint8; a memory map is read block by block.

    Returns:
        Means and (population) standard deviations, C of each, in units where white
        is 1. A constant channel's is given as 1, so that one can divide by it.
    """
    channels = pixels.shape[3]
    total, squares = np.zeros(channels), np.zeros(channels)
    block = max(1, 2**22 // pixels[0].size)
    for start in range(0, len(pixels), block):
        values = pixels[start : start + block].reshape(-1, channels).astype(np.float64)
        total += values.sum(axis=0)
        squares += np.einsum("nc,nc->c", values, values)
    count = pixels.size // channels
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0)
    std = np.where(variance > 0, np.sqrt(variance), 255)
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def _numbers(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)
