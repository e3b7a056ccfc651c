"""Batches of pairs of views: from an array on the training device, or from a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
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
    """The place within an epoch at which a checkpoint was written."""

    steps: int
    generator: Tensor  # state of the epoch's generator after them
    sums: Tensor  # the terms summed over them, (T,), the mean over the ranks


class BatchSource(Protocol):
    """Images to train on, without labels, so that none can reach training."""

    def __len__(self) -> int:
        """How many images there are."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""

    def to(self, device: torch.device) -> BatchSource:
        """The same images, whose views are made on a device."""

    def batches(
        self, generator: torch.Generator, steps: int, batch: int, after: Position | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the pairs of views of ``steps`` batches, of each those that are this rank's.

        Every image is seen at most once.

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
class ArrayBatches:
    """Batches of images in memory: the same on any number of ranks, each of which has them all.

    Attributes:
        pixels: Array (N, H, W, C) uint8.
        pairs: Where two views come from, given the pixels and positions in them.
        placed: The pixels as a tensor on the training device, once `to` has put them there.
    """

    pixels: NDArray[np.uint8]
    pairs: Pairs
    placed: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        height, width, channels = self.pixels.shape[1:]
        return height, width, channels

    def to(self, device: torch.device) -> ArrayBatches:
        """Puts all pixels on a device."""
        pixels = torch.from_numpy(np.ascontiguousarray(self.pixels))
        return replace(self, placed=pixels.to(device))

    def batches(
        self, generator: torch.Generator, steps: int, batch: int, after: Position | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """In an order drawn first, see `BatchSource`."""
        assert self.placed is not None, "call `to` first"
        order = torch.randperm(len(self), generator=generator)[: steps * batch]
        if after is not None:
            generator.set_state(after.generator)
            order = order[after.steps * batch :]
        for index in torch.split(order, batch):
            if distributed.world_size() == 1:
                yield self.pairs(self.placed, index, generator)
            else:
                yield self.pairs(self.placed, index, generator, distributed.share(batch))


@dataclass(frozen=True, eq=False)
class StreamBatches:
    """Batches of images that are never in memory at once: every rank reads a part from its front.

    The shards come in an order drawn anew each epoch and the ranks' parts divide that sequence
    evenly, so a shard at a border is read by two. Which images meet in a batch thus depends on
    the number of ranks; how their views are made does not.
    """

    stream: ImageStream
    pairs: GeneratedNeighbours  # how two views are made of each
    buffer: int  # images that wait in each rank's memory to be shuffled, at most
    device: torch.device | None = None  # where views are made; None for the CPU

    def __len__(self) -> int:
        return len(self.stream)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.stream.size, self.stream.size, self.stream.channels

    def to(self, device: torch.device) -> StreamBatches:
        """The same images; each batch is moved to the device."""
        return replace(self, device=device)

    def batches(
        self, generator: torch.Generator, steps: int, batch: int, after: Position | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled within the buffer, see `BatchSource`."""
        entropy = int(torch.randint(2**62, (1,), generator=generator))
        if after is not None:
            generator.set_state(after.generator)
        shards, mine = self.stream.shards, distributed.share(batch)
        order = np.random.default_rng([entropy]).permutation(len(shards.counts))
        images = shuffled_batches(
            Sequence(shards, tuple(order.tolist())),
            (steps * mine.start, steps * mine.stop),
            batch=mine.stop - mine.start,
            capacity=self.buffer,
            rng=np.random.default_rng([entropy, distributed.rank(), distributed.world_size()]),
            start=0 if after is None else after.steps,
        )
        # Where a row of the global batch lies among this rank's images.
        index = torch.arange(batch) - mine.start
        for pixels in images:
            (there,) = moved([torch.from_numpy(pixels)], self.device or torch.device("cpu"))
            yield self.pairs(there, index, generator, mine)
