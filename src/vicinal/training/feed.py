"""Batches of pairs for `pretrain`: from an array on the training device, in random order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal import ranks
from vicinal.views import Pairs


@dataclass(frozen=True, eq=False)
class Position:
    """Where within an epoch a checkpoint was written.

    Attributes:
        steps: Steps taken.
        generator: State of the epoch's generator after them.
        sums: The terms summed over them, (4,), the mean over the ranks.
    """

    steps: int
    generator: Tensor
    sums: Tensor


class Feed(Protocol):
    """Where batches come from, on the training device."""

    def __len__(self) -> int:
        """How many images there are."""

    def batches(
        self, generator: torch.Generator, steps: int, batch: int, after: Position | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the pairs of views of ``steps`` batches, of each those that are this rank's.

        Args:
            generator: A CPU generator of the same state on every rank; order and views are
                drawn from it as they are needed.
            steps: How many batches.
            batch: Images in the global batch.
            after: Where to go on; the batches before are left out.

        Returns:
            Two tensors (b, C, S, S) float32 at a time, b the rank's `vicinal.ranks.share`.
        """


@dataclass(frozen=True, eq=False)
class ArrayFeed:
    """Batches of images in memory: the same on any number of ranks, each of which has them all.

    Attributes:
        pixels: Tensor (N, H, W, C) uint8 on the training device.
        pairs: Where two views come from.
    """

    pixels: Tensor
    pairs: Pairs

    def __len__(self) -> int:
        return len(self.pixels)

    def batches(
        self, generator: torch.Generator, steps: int, batch: int, after: Position | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image at most once, in an order drawn first, see `Feed`."""
        order = torch.randperm(len(self), generator=generator)[: steps * batch]
        if after is not None:
            generator.set_state(after.generator)
            order = order[after.steps * batch :]
        for index in torch.split(order, batch):
            if ranks.world_size() == 1:
                yield self.pairs(self.pixels, index, generator)
            else:
                yield self.pairs(self.pixels, index, generator, ranks.share(batch))


class Trainable(Protocol):
    """What can be trained on, without labels."""

    def __len__(self) -> int:
        """How many images there are."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""

    def on(self, device: torch.device) -> Feed:
        """The images on a device, as batches."""


@dataclass(frozen=True, eq=False)
class Material:
    """What is trained on: pixels and nothing else, so that no label can reach training.

    Attributes:
        pixels: Array (N, H, W, C) uint8.
        pairs: Where two views come from, given the pixels and positions in them.
    """

    pixels: NDArray[np.uint8]
    pairs: Pairs

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        height, width, channels = self.pixels.shape[1:]
        return height, width, channels

    def on(self, device: torch.device) -> Feed:
        """The images on a device, as batches."""
        pixels = torch.from_numpy(np.ascontiguousarray(self.pixels)).to(device)
        return ArrayFeed(pixels, self.pairs)
