"""Streams: more images than fit into memory, in shards that are read from front to back.

Nothing is ever read at random: an epoch is the shards in a random order, each rank reads its
part of that sequence, and a buffer of bounded size shuffles what has been read.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from vicinal.images.decoding import Span
from vicinal.images.skipped import Skipped

T = TypeVar("T")

BLOCK = 256
"""Images read at once, at most."""


class Shards(Protocol):
    """Where the images of a stream lie."""

    @property
    def counts(self) -> tuple[int, ...]:
        """Images in each shard."""

    def read(self, shard: int, index: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Some images of a shard, in its order, as blocks (k, H, W, C) uint8, k ≤ ``BLOCK``.

        Args:
            shard: Its number.
            index: (K,) int64, ascending: which images of the shard.

        Raises:
            InputError: If the shard is missing, damaged or has fewer images.
        """


@dataclass(frozen=True, eq=False)
class ImageStream:
    """Equally sized images in shards, and what training needs to know of them before it starts."""

    name: str  # what people call the set
    shards: Shards  # where the images lie
    size: int  # height and width in pixels
    channels: int  # 1 (grey) or 3 (RGB)
    mean: tuple[float, ...]  # mean of each channel, in units where white is 1
    std: tuple[float, ...]  # standard deviation of each channel, likewise
    # array (T, H, W, C) uint8 in memory, images that are not in the shards; T may be 0
    test: NDArray[np.uint8]
    fingerprint: str  # 16 hexadecimal digits that change when the shards do
    # the values of pictures of more than 8 bits that became 0 and 255; None without such
    span: Span | None = None
    whole: bool = True  # False: the centre square of each picture, as shards of before hold them
    # pictures that cannot be used, by what people call them, as reading meets them; others of the
    # shard take their places
    bad: dict[str, Skipped] = field(default_factory=dict)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The bad pictures that were met so far, by name."""
        return tuple(self.bad[name] for name in sorted(self.bad))

    def __len__(self) -> int:
        return sum(self.shards.counts)


@dataclass(frozen=True, eq=False)
class Sequence:
    """All images of a stream, shard after shard in an order of their own."""

    shards: Shards  # where the images lie
    order: tuple[int, ...]  # the shards' numbers, each once

    def read(self, first: int, last: int) -> Iterator[NDArray[np.uint8]]:
        """The images from position ``first`` up to, but not with, ``last``, as blocks."""
        begin = 0
        for shard in self.order:
            count = self.shards.counts[shard]
            low, high = max(first - begin, 0), min(last - begin, count)
            if low < high:
                yield from self.shards.read(shard, np.arange(low, high))
            begin += count

    def pick(self, positions: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """The images at ``positions`` (K,) int64, ascending, as blocks."""
        begin = 0
        for shard in self.order:
            end = begin + self.shards.counts[shard]
            low, high = np.searchsorted(positions, [begin, end])
            if low < high:
                yield from self.shards.read(shard, positions[low:high] - begin)
            begin = end


class Shuffle:
    """Which image is in which slot of a shuffling buffer: integers alone, so quick to replay.

    The buffer is filled from the front of the images; every batch is a random draw of its slots,
    and the images that come next take their place.
    """

    def __init__(self, images: int, capacity: int, batch: int, rng: np.random.Generator) -> None:
        self._images, self._batch, self._rng = images, batch, rng
        self.head = min(images, max(capacity, batch))  # the position of the next image to read
        self.slots = np.arange(self.head)  # the position of the image in each slot
        self.live = np.arange(self.head)  # slots that hold an image not given out yet

    def draw(self) -> tuple[NDArray[np.int64], int]:
        """The slots of the next batch, and how many of them, from the first, are then refilled."""
        chosen = self._rng.choice(len(self.live), self._batch, replace=False)
        drawn = self.live[chosen]
        refilled = min(self._batch, self._images - self.head)
        self.slots[drawn[:refilled]] = np.arange(self.head, self.head + refilled)
        self.head += refilled
        if refilled < self._batch:
            self.live = np.delete(self.live, chosen[refilled:])
        return drawn, refilled


def shuffled_batches(
    sequence: Sequence,
    part: tuple[int, int],
    *,
    batch: int,
    capacity: int,
    rng: np.random.Generator,
    start: int = 0,
) -> Iterator[NDArray[np.uint8]]:
    """Batches (batch, H, W, C) uint8 of a part of a sequence, each image of it once.

    Started at a later batch it gives what it would have given there: the draws are repeated
    without images, and then only those that were waiting in the buffer are read again.
    """
    low, high = part
    plan = Shuffle(high - low, capacity, batch, rng)
    for _ in range(start):
        plan.draw()
    waiting = plan.live[np.argsort(plan.slots[plan.live])]
    buffer: NDArray[np.uint8] | None = None
    filled = 0
    for block in ahead(sequence.pick(low + plan.slots[waiting])):
        if buffer is None:
            buffer = np.empty((len(plan.slots), *block.shape[1:]), np.uint8)
        buffer[waiting[filled : filled + len(block)]] = block
        filled += len(block)
    if buffer is None:
        return
    following = _Taken(ahead(sequence.read(low + plan.head, high)))
    for _ in range(start, (high - low) // batch):
        drawn, refilled = plan.draw()
        yield buffer[drawn]
        following.into(buffer, drawn[:refilled])


class ChannelSums:
    """Sums of the pixels of each channel, block by block."""

    def __init__(self) -> None:
        self._pixels = 0
        self._total: NDArray[np.float64] = np.zeros(())
        self._squares: NDArray[np.float64] = np.zeros(())

    def add(self, images: NDArray[np.uint8]) -> None:
        """Adds images (n, H, W, C) uint8; C is 3 from the first that has colour on."""
        at_once = max(1, 2**22 // images[0].size) if len(images) else 1
        for start in range(0, len(images), at_once):
            some = images[start : start + at_once]
            values = some.reshape(-1, some.shape[3]).astype(np.float64)
            self._pixels += len(values)
            self._total = self._total + values.sum(axis=0)
            self._squares = self._squares + np.einsum("nc,nc->c", values, values)

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation of each channel, as `vicinal.views.channel_statistics` has them."""
        mean = self._total / self._pixels
        variance = np.maximum(self._squares / self._pixels - mean**2, 0)
        std = np.where(variance > 0, np.sqrt(variance), 255)
        return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


class _Taken:
    """Takes images from blocks, a slice at a time: faster than image by image."""

    def __init__(self, blocks: Iterator[NDArray[np.uint8]]) -> None:
        self._blocks = blocks
        self._block: NDArray[np.uint8] | None = None
        self._used = 0

    def into(self, buffer: NDArray[np.uint8], slots: NDArray[np.int64]) -> None:
        """Puts the next ``len(slots)`` images into these slots."""
        while len(slots):
            if self._block is None or self._used == len(self._block):
                self._block, self._used = next(self._blocks), 0
            some = self._block[self._used : self._used + len(slots)]
            buffer[slots[: len(some)]] = some
            self._used += len(some)
            slots = slots[len(some) :]


def ahead(items: Iterator[T], depth: int = 4) -> Iterator[T]:
    """The same items, the next few got by a thread while the caller works with one."""
    with ThreadPoolExecutor(1, "read-ahead") as pool:
        end = object()
        waiting = [pool.submit(next, items, end) for _ in range(depth)]
        try:
            while (item := waiting.pop(0).result()) is not end:
                waiting.append(pool.submit(next, items, end))
                yield item  # type: ignore[misc]
        finally:
            for future in waiting:
                future.cancel()
