"""Positive pairs of images: two views of one, or an image and a neighbour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vicinal.errors import InputError
from vicinal.views.augment import Augment, moved, normalise


class Pairs(Protocol):
    """Positive pairs of images, made on the device the images are on."""

    def __call__(
        self, pixels: Tensor, index: Tensor, generator: torch.Generator, rows: slice = slice(None)
    ) -> tuple[Tensor, Tensor]:
        """Makes the pairs of a batch, or of some of its rows.

        Shapes: pixels (N, H, W, C) uint8; index (B,) int64; the result (B, C, S, S) float32.
        """


@dataclass(frozen=True)
class GeneratedNeighbours:
    """Two views of the same image, drawn independently.

    Attributes:
        augment: What makes a view.
    """

    augment: Augment

    def __call__(
        self, pixels: Tensor, index: Tensor, generator: torch.Generator, rows: slice = slice(None)
    ) -> tuple[Tensor, Tensor]:
        """Makes the pairs of a batch, see `Pairs`."""
        made = None
        if rows != slice(None):
            made = torch.zeros(2, len(index), dtype=torch.bool)
            made[:, rows] = True
            made = made.flatten()
        batch = pixels.index_select(0, moved([index[rows]], pixels.device)[0])
        first, second = self.augment(batch.repeat(2, 1, 1, 1), generator, made).chunk(2)
        return first, second


@dataclass(frozen=True, eq=False)
class MinedNeighbours:
    """An image and one of its neighbours, drawn anew each time, neither augmented."""

    neighbours: Tensor  # tensor (N, k) int64 on the CPU, positions of each image's neighbours
    mean: tuple[float, ...]  # mean of each channel, in units where white is 1
    std: tuple[float, ...]  # standard deviation of each channel, in the same units, above 0

    def __post_init__(self) -> None:
        if self.neighbours.ndim != 2 or self.neighbours.shape[1] == 0:
            raise InputError(
                "mined neighbours must be (N, k) with k of at least 1, found "
                f"{tuple(self.neighbours.shape)}"
            )
        images = len(self.neighbours)
        if images and not 0 <= self.neighbours.min() <= self.neighbours.max() < images:
            raise InputError(
                f"mined neighbours must be positions of {images} images, found "
                f"{int(self.neighbours.min())} to {int(self.neighbours.max())}"
            )
        itself = (self.neighbours == torch.arange(images)[:, None]).any(dim=1)
        if itself.any():
            raise InputError(
                f"mined neighbours name image {int(itself.int().argmax())} as its own "
                "neighbour: leave each image out of its own search"
            )

    def __call__(
        self, pixels: Tensor, index: Tensor, generator: torch.Generator, rows: slice = slice(None)
    ) -> tuple[Tensor, Tensor]:
        """Makes the pairs of a batch, see `Pairs`."""
        if len(pixels) != len(self.neighbours):
            raise InputError(
                f"{len(self.neighbours)} rows of mined neighbours cannot serve "
                f"{len(pixels)} images: mine them from the same images"
            )
        one = torch.randint(self.neighbours.shape[1], index.shape, generator=generator)
        index, one = index[rows], one[rows]
        both = torch.cat((index, self.neighbours[index, one]))
        batch = pixels.index_select(0, moved([both], pixels.device)[0])
        first, second = normalise(batch, self.mean, self.std).chunk(2)
        return first, second
