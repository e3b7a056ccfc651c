"""An encoder from pictures: the training, what stands beside its network, and its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional

from vicinal import cores, distributed
from vicinal.encoder.layers import FlipAveraged
from vicinal.encoder.patches import WithPatches, fit_patches, patch_side, seen_side
from vicinal.encoder.pretrained import open_start, preparation_for
from vicinal.encoder.saved import Preparation, save_encoder
from vicinal.images.decoding import Span
from vicinal.images.image_stream import ImageStream
from vicinal.recipes.recipe import KEPT, Recipe
from vicinal.training.batches import ArrayBatches, BatchSource, StreamBatches
from vicinal.training.budget import Clock, most_epochs
from vicinal.training.device import Engine
from vicinal.training.fit_to_pictures import with_sides
from vicinal.training.log import opened_loggers
from vicinal.training.loop import pretrain
from vicinal.training.start import InitialWeights, stem_weights
from vicinal.views import Augment, GeneratedNeighbours, normalise

Choice = Callable[[nn.Module, NDArray[np.uint8], Recipe, Path, Engine], nn.Module]
"""Decides between the trained network, given here, and the one that training went on from."""

COMPARED = 500
"""Pictures that a `Choice` compares two networks on, at most."""
_EMBEDDED = 2 * 2 * COMPARED  # two views of each, by both networks
_PICTURES = 5_000  # more make no better axes
_FEWER = 2_000  # for a network of others, which takes ten times as long for a picture
_AT_ONCE = 64
_POWER = 0.25
"""The power of the axes' variances: 0 leaves a block as it is, 0.5 whitens it (docs/recipes.md)."""
# The mean square of the network's block where that of the patches is 1: after few steps it is worth
# less, and after many as much; a network of others is worth more, trained on or not
# (docs/recipes.md).
_NETWORK, _STARTED = 0.5, 2.0
_AXES = 1.2
"""How many times as long as the blocks of numbers it takes to find their axes too."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The images that an encoder is trained on, in memory or streamed, and their preparation."""

    train: BatchSource  # images that teach
    test: BatchSource  # images for the test curves; a single one gives none
    preparation: Preparation  # how images are prepared for the encoder


def data_of_arrays(
    recipe: Recipe,
    train: NDArray[np.uint8],
    test: NDArray[np.uint8] | None = None,
    *,
    span: Span | None = None,
    initial: InitialWeights | None = None,
) -> TrainingData:
    """Two augmented views of each picture (N, S, S, C) uint8 in memory."""
    if initial is not None:
        preparation = initial.prepared(span)
    else:
        preparation = preparation_for(train, recipe.encoder, span)
    pairs = _pairs(recipe, preparation)
    held_out = train[:1] if test is None else test
    return TrainingData(ArrayBatches(train, pairs), ArrayBatches(held_out, pairs), preparation)


def data_of_stream(
    recipe: Recipe, stream: ImageStream, initial: InitialWeights | None = None
) -> TrainingData:
    """Two augmented views of each picture of a stream, see `data_of_arrays`."""
    span = stream.span
    size, channels = recipe.views.size, stream.channels
    if initial is not None:
        preparation = initial.prepared(span)
    elif recipe.encoder.start:
        preparation = replace(open_start(recipe.encoder.start, channels).preparation, span=span)
    else:
        preparation = Preparation(size, channels, stream.mean, stream.std, span=span)
    preparation = replace(preparation, whole=stream.whole)
    pairs = _pairs(recipe, preparation)
    streamed = StreamBatches(stream, pairs, recipe.training.buffer)
    return TrainingData(streamed, ArrayBatches(stream.test, pairs), preparation)


def _pairs(recipe: Recipe, preparation: Preparation) -> GeneratedNeighbours:
    return GeneratedNeighbours(Augment(recipe.views, preparation.mean, preparation.std))


def train_encoder(
    data: TrainingData,
    recipe: Recipe,
    folder: Path,
    engine: Engine,
    *,
    epochs: int | None = None,
    minutes: float | None = None,
    settings: Sequence[str] = (),
    initial: InitialWeights | None = None,
    choose: Choice | None = None,
    log: str | None = None,
    title: str = "train",
    quiet: bool = False,
) -> nn.Module:
    """Trains an encoder and writes it, as every command and the estimator `VICReg` do.

    The training is `vicinal.training.loop.pretrain`. On the first rank its network is then held
    against the one that it went on from, gets the recipe's patches beside it, where the pictures
    are in memory, and is saved; the time of both is held back from the minutes. Leaves
    ``encoder.safetensors``, an encoder for each of ``training.keep_epochs``, and what `pretrain`
    writes.
    """
    preparation = data.preparation
    pixels = data.train.pixels if isinstance(data.train, ArrayBatches) else None
    if pixels is not None:
        recipe = with_sides(recipe, pixels)
    most = epochs or most_epochs(recipe.training, len(data.train), minutes, settings)
    # A run's encoder that is trained further is not held against the network behind it.
    compares = recipe.encoder.start and pixels is not None and initial is None
    chosen = choose if compares else None

    def save(encoder: nn.Module, file: Path) -> None:
        save_encoder(encoder, file, recipe=recipe.encoder, preparation=preparation)

    def seconds_afterwards(encoder: nn.Module, clock: Clock) -> float:
        assert pixels is not None
        compared = _EMBEDDED if chosen is not None else 0
        return estimate_seconds(encoder, pixels, recipe, preparation, clock, compared=compared)

    if initial is not None:
        start: Mapping[str, Tensor] | None = initial.weights
    elif pixels is not None:
        stem = stem_weights(recipe, pixels, preparation.std)
        start = {f"0.{name}": weights for name, weights in stem.items()}
    else:
        start = None
    does_more = pixels is not None and (chosen is not None or recipe.encoder.patches > 0)
    with opened_loggers(log if distributed.is_first() else None, folder, recipe) as loggers:
        encoder = pretrain(
            data.train,
            data.test,
            recipe,
            folder,
            engine.fabric,
            epochs=most,
            minutes=minutes,
            start=start,
            title=title,
            quiet=quiet,
            loggers=loggers,
            keep=lambda done, kept: save(as_seen(kept, recipe), kept_encoder(folder, done)),
            afterwards=seconds_afterwards if does_more else None,
        )
    if distributed.is_first():
        if chosen is not None and pixels is not None:
            encoder = chosen(encoder, pixels, recipe, folder, engine)
        if recipe.encoder.patches and pixels is not None:
            encoder = add_patches(encoder, pixels, recipe, preparation)
        else:
            encoder = as_seen(encoder, recipe)
        save(encoder, folder / "encoder.safetensors")
    return encoder


def kept_encoder(folder: Path, epochs: int) -> Path:
    """The file of the encoder that a training kept after so many epochs."""
    return folder / f"encoder-epoch-{epochs}.safetensors"


def as_seen(network: nn.Module, recipe: Recipe) -> nn.Module:
    """The network as it is used without patches: where the recipe says so, of both sides."""
    averaged = recipe.encoder.flip_averaged and recipe.views.flip > 0 and not recipe.encoder.start
    return FlipAveraged(network).train(network.training) if averaged else network


@torch.no_grad()
@cores.shared()
def add_patches(
    network: nn.Module, pixels: NDArray[np.uint8], recipe: Recipe, preparation: Preparation
) -> nn.Module:
    """The network with the recipe's patches beside it, fitted to ``pixels`` (N, S, S, C) uint8.

    Each block is brought to its principal axes, divided by the fourth root of their variances:
    neighbours by cosine then weigh common differences less and rare ones more (docs/recipes.md).
    """
    pictures, rng = _drawn(pixels, recipe)
    both = _beside(network, pictures, recipe, preparation, rng)
    parts = [
        both.blocks(_prepared(part, network, preparation))
        for part in torch.split(pictures, _AT_ONCE)
    ]
    blocks = [torch.cat(block).cpu() for block in zip(*parts, strict=True)]
    if (pictures == pictures[0]).all():  # a batch of another size rounds otherwise: no difference
        blocks = [block[:1].expand_as(block) for block in blocks]
    both.centres.copy_(torch.cat([block.double().mean(0) for block in blocks]))
    lengths = (_STARTED if recipe.encoder.start else _NETWORK, 1.0)
    axes = [_axes(block.numpy(), length) for block, length in zip(blocks, lengths, strict=True)]
    both.axes.copy_(torch.cat(axes))
    return both


@torch.no_grad()
def estimate_seconds(
    network: nn.Module,
    pixels: NDArray[np.uint8],
    recipe: Recipe,
    preparation: Preparation,
    clock: Clock,
    *,
    compared: int,
) -> float:
    """Seconds that a choice and `add_patches` will take on ``pixels`` (N, S, S, C), by a batch."""
    network.eval()
    pictures, rng = _drawn(pixels, recipe)
    images = _prepared(pictures[:_AT_ONCE], network, preparation)

    def timed(forward: Callable[[Tensor], Tensor]) -> float:
        forward(images)  # the first call chooses kernels
        began = clock()
        forward(images).cpu()
        return (clock() - began) / len(images)

    seconds = compared * timed(network) if compared else 0.0
    if recipe.encoder.patches:
        began = clock()
        both = _beside(network, pictures[:_AT_ONCE], recipe, preparation, rng)
        seconds += clock() - began
        seconds += _AXES * len(pictures) * timed(lambda some: torch.cat(both.blocks(some), 1))
    return seconds


def _beside(
    network: nn.Module,
    pictures: Tensor,
    recipe: Recipe,
    preparation: Preparation,
    rng: np.random.RandomState,
) -> WithPatches:
    """The network and filters from the pictures, whose axes are still to be found."""
    device = next(network.parameters()).device
    made, seen = recipe.encoder, seen_side(pictures.shape[1])
    small, side = _shrunk(pictures, pictures.shape[1] // seen), patch_side(seen)
    filters, coarse = fit_patches(small, made.patches, rng), None
    if made.coarse_patches and seen // 2 > side:  # else responses have no quarters
        coarse = fit_patches(_shrunk(torch.from_numpy(small), 2), made.patches, rng, side)
    both = WithPatches(
        network,
        filters,
        preparation.size,
        made.dimension,
        mirrored=made.mirrored and recipe.views.flip > 0,
        network_mirrored=not made.start,
        coarse=coarse,
    ).eval()
    both.mean[:, 0, 0], both.std[:, 0, 0] = torch.tensor([preparation.mean, preparation.std])
    return both.to(device)


def _drawn(pixels: NDArray[np.uint8], recipe: Recipe) -> tuple[Tensor, np.random.RandomState]:
    """The pictures (n, S, S, C) uint8 by which axes are found, and what draws their patches."""
    rng = np.random.RandomState(recipe.seed)
    most = _FEWER if recipe.encoder.start else _PICTURES
    drawn = np.sort(rng.permutation(len(pixels))[:most])
    return torch.from_numpy(np.ascontiguousarray(pixels[drawn])), rng


def _prepared(pictures: Tensor, network: nn.Module, preparation: Preparation) -> Tensor:
    return normalise(
        pictures.to(next(network.parameters()).device), preparation.mean, preparation.std
    )


def _shrunk(pictures: Tensor, by: int) -> NDArray[np.uint8]:
    """Pictures (N, S, S, C) uint8 at S // ``by`` pixels a side, each the mean of a square."""
    parts = [
        functional.avg_pool2d(part.movedim(3, 1).float(), by).round_().byte().movedim(1, 3)
        for part in torch.split(pictures, _AT_ONCE)
    ]
    found: NDArray[np.uint8] = torch.cat(parts).contiguous().numpy()
    return found


def _axes(block: NDArray[np.float32], length: float) -> Tensor:
    """Principal axes (F, `KEPT`) over the fourth roots of their variances; 0 beyond the last.

    All are divided by one number more, which brings the block's mean square to ``length``.
    """
    axes = torch.zeros(block.shape[1], KEPT)
    if (block == block[0]).all():
        return axes
    pca = PCA(min(KEPT, len(block) - 1, block.shape[1]), random_state=0).fit(block)
    variance = pca.explained_variance_
    used = variance > 1e-6 * variance[0]
    scaled = pca.components_[used] / variance[used, None] ** _POWER
    squares = (variance[used] ** (1 - 2 * _POWER)).sum() * (len(block) - 1) / len(block)
    scaled *= np.sqrt(length / squares)
    axes[:, : len(scaled)] = torch.from_numpy(scaled.T.astype(np.float32))
    return axes
