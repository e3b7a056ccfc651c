"""Training on a stream: images in shards, larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vicinal import ranks
from vicinal.images.stream import ImageStream, Sequence, shuffled_batches
from vicinal.training.feed import Feed, Position
from vicinal.views import GeneratedNeighbours
from vicinal.views.moving import moved


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
        shards, mine = self.material.stream.shards, ranks.share(batch)
        order = np.random.default_rng([entropy]).permutation(len(shards.counts))
        images = shuffled_batches(
            Sequence(shards, tuple(order.tolist())),
            (steps * mine.start, steps * mine.stop),
            batch=mine.stop - mine.start,
            capacity=self.material.buffer,
            rng=np.random.default_rng([entropy, ranks.rank(), ranks.world_size()]),
            start=0 if after is None else after.steps,
        )
        # Where a row of the global batch lies among this rank's images.
        index = torch.arange(batch) - mine.start
        for pixels in images:
            (there,) = moved([torch.from_numpy(pixels)], self.device)
            yield self.material.pairs(there, index, generator, mine)
