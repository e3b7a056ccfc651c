"""Representations for benchmarks: real images through an untrained, seeded encoder.

What an evaluation costs hardly depends on how good the representations are, so nothing is
trained: 128 dimensions of the `small` encoder, its batch normalisation set by 2,048 images, each
dimension brought to mean 0 and deviation 1 over the training images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from data import source
from measuring import say
from vicinal import ImageSet, Representations, embed, load, load_anomalies
from vicinal.encoder import build_encoder
from vicinal.encoder.saved import Preparation
from vicinal.recipes.recipe import Encoder
from vicinal.views import channel_statistics, normalise

ENCODER = Encoder(backbone="small", widths=(16, 32, 64, 128), dimension=128)
DATA_NOTE = (
    "Data: CIFAR-10 (JPEG copy) and, as anomalies, MNIST's test images; representations of 128 "
    "dimensions by an untrained, seeded `small` encoder, standardised."
)


@dataclass(frozen=True, eq=False)
class Frozen:
    """Images and their representations."""

    train_images: ImageSet
    test_images: ImageSet
    preparation: Preparation
    train: Representations
    test: Representations
    anomalies: Representations

    def first(self, count: int) -> Frozen:
        """The same with at most ``count`` images in each set."""
        rows = np.arange(count)
        return replace(
            self,
            train_images=self.train_images.take(rows[: len(self.train)]),
            test_images=self.test_images.take(rows[: len(self.test)]),
            train=self.train.take(rows[: len(self.train)]),
            test=self.test.take(rows[: len(self.test)]),
            anomalies=self.anomalies.take(rows[: len(self.anomalies)]),
        )


def frozen(limit: int | None = None) -> Frozen:
    """Loads and embeds, at most ``limit`` images of each set."""
    splits = load(source("cifar10"), size=32)
    anomalies = load_anomalies(source("mnist"), size=32, channels=3)
    sets = [
        images.take(np.arange(min(limit or len(images), len(images))))
        for images in (splits.train, splits.test, anomalies)
    ]
    say(f"embedding {sum(map(len, sets)):,} images")
    mean, std = channel_statistics(splits.train.pixels)
    preparation = Preparation(32, 3, mean, std)
    encoder = small_encoder(splits.train.pixels[:2048], preparation)
    found = [embed(encoder, images, preparation) for images in sets]
    centre, spread = found[0].array.mean(axis=0), found[0].array.std(axis=0)
    scaled = [replace(one, array=(one.array - centre) / spread) for one in found]
    return Frozen(sets[0], sets[1], preparation, *scaled)


def small_encoder(pixels: NDArray[np.uint8], preparation: Preparation) -> nn.Module:
    """An untrained `small` encoder, batch normalisation set by ``pixels`` (N, H, W, C)."""
    torch.manual_seed(0)
    encoder = build_encoder(ENCODER, channels=preparation.channels, size=preparation.size)
    for layer in encoder.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.momentum = None  # plain averages over what is seen
    views = normalise(
        torch.from_numpy(np.ascontiguousarray(pixels)), preparation.mean, preparation.std
    )
    with torch.no_grad():
        encoder.train()(views)
    return encoder.eval()
