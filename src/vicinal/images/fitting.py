"""From listed images to ImageSets of the final pixels, ids and labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicinal.images import fit, store
from vicinal.images.classes import in_order
from vicinal.images.depth import Span, told
from vicinal.images.imageset import ImageSet, Splits
from vicinal.images.opened import MOST_PIXELS
from vicinal.images.squares import Facts
from vicinal.images.values import dim

Listed = ImageSet | store.Encoded
"""Images of which ids and labels are known, decoded or not."""


@dataclass(frozen=True, eq=False)
class Arrays:
    """An ImageSet as the store takes it, for when its pixels still have to be fitted.

    Attributes:
        images: The images.
    """

    images: ImageSet

    @property
    def name(self) -> str:
        """What people call the set."""
        return self.images.name

    @property
    def ids(self) -> NDArray[np.str_]:
        """(N,) strings, unique within the set."""
        return self.images.ids

    def stamp(self) -> Iterator[str]:
        """A line that changes when the images do."""
        yield self.images.fingerprint

    def pictures(self) -> Iterator[tuple[NDArray[np.uint8], str]]:
        """Each image's pixels, and what an error message calls it."""
        for pixels, number in zip(self.images.pixels, self.images.ids, strict=True):
            yield pixels, f"{self.images.name} {number}"


@dataclass(frozen=True)
class Fitting:
    """From listed images to an ImageSet of the final pixels and ids.

    Attributes:
        data: Folder for downloads and decoded images.
        size: Height and width in pixels.
        source: Pictures in all parts together.
        pad: Whether what fits into the square is centred instead of scaled.
        interpolation: How pictures are scaled, one of `fit.INTERPOLATIONS`.
        most_pixels: Pixels of a picture that may be decoded.
        whole: Whether all of a picture is squeezed into the square, and nothing cut off.
    """

    data: Path
    size: int
    source: int
    pad: bool = False
    interpolation: str = "bilinear"
    most_pixels: int = MOST_PIXELS
    whole: bool = False

    def __call__(
        self,
        images: Listed,
        part: str | None,
        *,
        channels: int | None,
        span: Span | None = None,
    ) -> tuple[ImageSet, NDArray[np.int64]]:
        """The good images, and their positions (K,) int64 among all.

        Args:
            images: What to fit.
            part: What the ids begin with; None for nothing.
            channels: 1 or 3; None for 1 if every picture is grey and 3 otherwise.
            span: The values of pictures of more than 8 bits that become 0 and 255; None for the
                least and the greatest of these images.
        """
        ids, good = images.ids, np.arange(len(images.ids))
        if part is not None:
            ids = np.array([f"{part}/{number}" for number in ids.tolist()])
        if isinstance(images, ImageSet):
            if images.pixels.shape[1:] == (self.size, self.size, channels or images.channels):
                return replace(images, ids=ids), good
            channels = channels or images.channels
        found = store.stored(
            Arrays(images) if isinstance(images, ImageSet) else images,
            lambda picture, where, asked: fit.square(
                picture,
                where,
                size=self.size,
                channels=asked,
                pad=self.pad,
                interpolation=self.interpolation,
                span=span,
                most_pixels=self.most_pixels,
                whole=self.whole,
            ),
            size=self.size,
            channels=channels,
            rule=f"{fit.RULE} pad={self.pad} span={span} most={self.most_pixels}{self._scaling()}",
            folder=self.data / "store",
            source=self.source,
        )
        good = np.setdiff1d(good, found.bad)
        labels = images.labels
        kept = ImageSet(
            name=images.name,
            pixels=found.pixels,
            ids=ids[good],
            labels=None if labels is None else labels[good],
            class_names=images.class_names,
            skipped=(*images.skipped, *found.skipped),
            sizes=images.sizes if isinstance(images, ImageSet) else found.sizes,
            span=span or found.facts.span,
            notes=(*images.notes, *facts_told(images.name, found.facts)),
        )
        return kept, good

    def _scaling(self) -> str:
        """How pictures are scaled, unless as they always were: those are in the store already."""
        whole = " whole" if self.whole else ""
        return whole if self.interpolation == "bilinear" else f" {self.interpolation}{whole}"


def facts_told(name: str, facts: Facts) -> tuple[str, ...]:
    """Lines for the user: what should be known of the pixels."""
    span = () if facts.span is None else (told(name, facts.deep, facts.span),)
    return (*span, dim(name, facts.brightest)) if facts.is_dim else span


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
                labels=np.array([position[n] for n in part.class_names], np.int64)[part.labels],
                class_names=tuple(names),
            )
            for part in (train, test)
            if part.labels is not None
        )
    )
