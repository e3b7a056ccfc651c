"""Is the encoder worth having? It is held against what needs no training, without labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from vicinal.encoder.pretrained import PRETRAINED, has_pretrained, open_start
from vicinal.encoder.saved import Preparation, load_encoder, read_metadata
from vicinal.estimators.patches import PatchFeatures
from vicinal.evaluations.own_view import own_view, views_of
from vicinal.images.imageset import ImageSet
from vicinal.images.in_memory import squares
from vicinal.representations.embed import embed
from vicinal.study.pictures import Pixels

MOST = 500
"""Pictures of which views are made: more would tell finer differences than matter here."""
PRETRAINED_RIVAL = "the pretrained network"
"""A rival where the extra ``pretrained`` is installed, unless the encoder began as it."""
_SIDE = 32  # of raw pixels, as `PatchFeatures` has it
_PRETRAINED_SIDE = 128  # its own 224 would take three times as long for small views

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def hold_against_rivals(pixels: Pixels, encoder: Path, *, device: str = "cpu") -> dict[str, Any]:
    """`own_view` of the encoder and of its rivals, over at most 500 pictures.

    Args:
        pixels: The pictures (N, S, S, C) uint8, N ≥ 2, of the encoder's size.
        encoder: The encoder's file.
        device: Where the encoder runs.

    Returns:
        Under ``encoder`` and the rivals' names a `Score` as plain data each; the network of the
        extra ``pretrained`` is a rival where it is installed.
    """
    rows = np.random.default_rng(0).permutation(len(pixels))[:MOST]
    pictures = np.stack([pixels[row] for row in np.sort(rows).tolist()])
    views = views_of(pictures)
    embedders = {"encoder": _by(*load_encoder(encoder), device)} | {
        name: make(pictures) for name, make in RIVALS.items()
    }
    if has_pretrained() and not read_metadata(encoder)[0].start:
        embedders[PRETRAINED_RIVAL] = _pretrained(pictures.shape[3], device)
    return {
        name: own_view(*(embedded(view) for view in views)).to_json()
        for name, embedded in embedders.items()
    }


def _by(network: nn.Module, preparation: Preparation, device: str) -> Embed:
    def embedded(views: NDArray[np.uint8]) -> NDArray[np.float32]:
        made = preparation
        found = squares(views, made.size, made.channels, interpolation=made.interpolation)
        assert found is not None  # an array of pictures is one
        images = ImageSet("views", found.pixels, np.arange(len(views)).astype(np.str_))
        return embed(network, images, made, device=device, batch_size=64).array

    return embedded


def _patches(pictures: NDArray[np.uint8]) -> Embed:
    features = PatchFeatures().fit(pictures)
    return lambda views: features.transform(views)


def _pixels(_: NDArray[np.uint8]) -> Embed:
    def embedded(views: NDArray[np.uint8]) -> NDArray[np.float32]:
        found = squares(views, min(_SIDE, views.shape[1]), None)
        assert found is not None  # an array of pictures is one
        small = found.pixels
        return small.reshape(len(small), -1).astype(np.float32) / np.float32(255)

    return embedded


def _pretrained(channels: int, device: str) -> Embed:
    start = open_start(PRETRAINED, channels)
    return _by(start.network(), replace(start.preparation, size=_PRETRAINED_SIDE), device)


RIVALS: dict[str, Callable[[NDArray[np.uint8]], Embed]] = {
    "raw pixels": _pixels,
    "patch features": _patches,
}
"""What needs no training here: pictures to what embeds pictures like them."""
