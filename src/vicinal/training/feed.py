"""Batches of pairs: from an array on the training device in random order, or from a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vicinal import distributed
from vicinal.images.image_stream import ImageStream, Sequence, shuffled_batches
from vicinal.views import GeneratedNeighbours, Pairs
from vicinal.views.augment import moved


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
            Two tensors (b, C, S, S) float32 at a time, b the rank's `vicinal.distributed.share`.
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
            if distributed.world_size() == 1:
                yield self.pairs(self.pixels, index, generator)
            else:
                yield self.pairs(self.pixels, index, generator, distributed.share(batch))


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


@dataclass(frozen=True, eq=False)
class StreamMaterial:
    """What is trained on, as `vicinal.training.loop.Material`, but never in memory at once.

    Attributes:
        stream: The images.
        pairs: How two views are made of each.
        buffer: Images that wait in each rank's memory to be shuffled, at most.
    """

    stream: ImageStream
    pairs: GeneratedNeighbours
    buffer: int

    def __len__(self) -> int:
        return len(self.stream)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.stream.size, self.stream.size, self.stream.channels

    def on(self, device: torch.device) -> Feed:
        """Batches of the stream, moved to a device one by one."""
        return StreamFeed(self, device)


@dataclass(frozen=True, eq=False)
class StreamFeed:
    """Batches of a stream: every rank reads a part of its own, from front to back.

    The shards come in an order drawn anew each epoch and the ranks' parts divide that sequence
    evenly, so a shard at a border is read by two. Which images meet in a batch thus depends on
    the number of ranks; how their views are made does not.

    Attributes:
        material: The images and what is made of them.
        device: Where views are made.
    """

    material: StreamMaterial
    device: torch.device

    def __len__(self) -> int:
        return len(self.material)

    def batches(
        self, generator: torch.Generator, steps: int, batch: int, after: Position | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image at most once, shuffled within a buffer, see `vicinal.training.feed.Feed`."""
        entropy = int(torch.randint(2**62, (1,), generator=generator))
        if after is not None:
            generator.set_state(after.generator)
        shards, mine = self.material.stream.shards, distributed.share(batch)
        order = np.random.default_rng([entropy]).permutation(len(shards.counts))
        images = shuffled_batches(
            Sequence(shards, tuple(order.tolist())),
            (steps * mine.start, steps * mine.stop),
            batch=mine.stop - mine.start,
            capacity=self.material.buffer,
            rng=np.random.default_rng([entropy, distributed.rank(), distributed.world_size()]),
            start=0 if after is None else after.steps,
        )
        # Where a row of the global batch lies among this rank's images.
        index = torch.arange(batch) - mine.start
        for pixels in images:
            (there,) = moved([torch.from_numpy(pixels)], self.device)
            yield self.material.pairs(there, index, generator, mine)
