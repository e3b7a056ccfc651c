"""ImageSet: decoded pixels, permanent ids and, kept beside them, optional labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.images.decoding import Span
from vicinal.images.labels_and_parts import in_order
from vicinal.images.skipped import Skipped


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A set of equally sized images.

    Attributes:
        name: What people call the set, such as ``cifar10``.
        pixels: Array (N, H, W, C) uint8, C = 1 (grey) or 3 (RGB); may be a memory map.
        ids: Array (N,) of unique strings that stay with an image for good.
        labels: Array (N,) int64 of positions in ``class_names``, −1 for an image without a label;
            or None.
        class_names: The names of the classes; empty without labels.
        skipped: Pictures of the source that are not among these because they cannot be used;
            `vicinal.images.skipped.keep_skipped` writes them as ``skipped.csv``. They stay with
            every part of the set and change no fingerprint.
        sizes: Array (N, 2) int32, width and height of each original, upright; or None.
        span: The values of pictures of more than 8 bits that became 0 and 255; None without such.
        notes: Lines for the user: where the labels are from, and what is not used.

    Raises:
        InputError: If shapes disagree, ids repeat or a label has no class name.
    """

    name: str
    pixels: NDArray[np.uint8]
    ids: NDArray[np.str_]
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    sizes: NDArray[np.int32] | None = None
    span: Span | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.shape[3] not in (1, 3):
            raise InputError(
                f"{self.name}: pixels must be (N, H, W, 1 or 3), found {self.pixels.shape}"
            )
        if self.pixels.dtype != np.uint8:
            raise InputError(f"{self.name}: pixels must be uint8, found {self.pixels.dtype}")
        if len(self.ids) != len(self.pixels):
            raise InputError(f"{self.name}: {len(self.pixels)} images but {len(self.ids)} ids")
        if len(np.unique(self.ids)) != len(self.ids):
            raise InputError(f"{self.name}: ids repeat; each image needs an id of its own")
        if self.labels is None:
            return
        if len(self.labels) != len(self.pixels):
            raise InputError(
                f"{self.name}: {len(self.pixels)} images but {len(self.labels)} labels"
            )
        if len(self.labels) and not -1 <= self.labels.min() <= self.labels.max() < len(
            self.class_names
        ):
            raise InputError(
                f"{self.name}: labels run from {self.labels.min()} to {self.labels.max()} "
                f"but there are {len(self.class_names)} class names"
            )

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return int(self.pixels.shape[3])

    @property
    def size(self) -> int:
        """The height in pixels; stored images are square."""
        return int(self.pixels.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when a pixel, an id or a label does."""
        digest = hashlib.sha256(repr((self.pixels.shape, self.class_names)).encode())
        for start in range(0, len(self), 4096):  # bounded memory on a memory map
            digest.update(np.ascontiguousarray(self.pixels[start : start + 4096]).tobytes())
        digest.update("\0".join(self.ids.tolist()).encode())
        if self.labels is not None:
            digest.update(self.labels.tobytes())
        return digest.hexdigest()[:16]

    def take(self, index: NDArray[np.int64]) -> ImageSet:
        """The images at ``index`` (K,) int64, in that order."""
        return replace(
            self,
            pixels=self.pixels[index],
            ids=self.ids[index],
            labels=None if self.labels is None else self.labels[index],
            sizes=None if self.sizes is None else self.sizes[index],
        )


@dataclass(frozen=True, eq=False)
class Splits:
    """The two parts of a data set: ``train`` teaches, ``test`` is looked at once."""

    train: ImageSet
    test: ImageSet

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Pictures of either part that cannot be used, each once."""
        return tuple(dict.fromkeys((*self.train.skipped, *self.test.skipped)))


class Sliceable(Protocol):
    """An `ImageSet` or a `vicinal.images.picture_list.PictureList`."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """(N,) int64, or None."""

    def __len__(self) -> int:
        """How many images there are."""

    def take(self, index: NDArray[np.int64]) -> Self:
        """The images at ``index`` (K,) int64, which ascends."""


S = TypeVar("S", bound=Sliceable)


def hold_out(images: ImageSet, share: float, seed: int) -> Splits:
    """Splits a set in two at random, see `held_out`."""
    return Splits(*held_out(images, share, seed))


def held_out(images: S, share: float, seed: int) -> tuple[S, S]:
    """Splits images in two at random, the same way for the same seed."""
    rank, class_size, shuffled = _ranks(images, seed)
    # Dividing by the class's size deals out every class at the same pace.
    order = np.argsort((rank + 0.5) / class_size, kind="stable")
    chosen = shuffled[order[: round(share * len(images))]]
    rest = np.setdiff1d(np.arange(len(images)), chosen)
    if len(chosen) == 0 or len(rest) == 0:
        raise InputError(
            f"{images.name}: {len(images)} images are too few to hold out {share:.0%} of them"
        )
    return images.take(rest), images.take(np.sort(chosen))


def limited(images: S, count: int, seed: int) -> S:
    """A part of ``count`` images, equally many of each class where there are labels."""
    if count >= len(images):
        return images
    rank, _, shuffled = _ranks(images, seed)
    return images.take(np.sort(shuffled[np.argsort(rank, kind="stable")[:count]]))


def _ranks(
    images: Sliceable, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """A seeded shuffle, and each shuffled image's rank within its class and that class's size."""
    shuffled = np.random.default_rng(seed).permutation(len(images))
    labels = np.zeros(len(images), np.int64)
    if images.labels is not None:
        labels = images.labels[shuffled] + 1  # those without a label are alike in that
    order = np.argsort(labels, kind="stable")
    rank = np.empty(len(labels), dtype=np.int64)
    rank[order] = np.arange(len(labels)) - np.searchsorted(labels[order], labels[order])
    return rank, np.bincount(labels)[labels], shuffled


def with_same_classes(train: ImageSet, test: ImageSet) -> Splits:
    """Labels of both parts as positions in one list of class names, joined by name."""
    if train.labels is None or test.labels is None or train.class_names == test.class_names:
        return Splits(train=train, test=test)
    names = list(dict.fromkeys((*train.class_names, *test.class_names)))
    if all(name.isdecimal() for name in names):
        names = in_order(names)
    position = {name: number for number, name in enumerate(names)}
    return Splits(
        *(
            replace(
                part,
                labels=np.array([*(position[n] for n in part.class_names), -1])[part.labels],
                class_names=tuple(names),
            )
            for part in (train, test)
            if part.labels is not None
        )
    )
