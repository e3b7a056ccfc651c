"""The weights that a training begins with: new ones, an earlier run's, or those of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vicinal.encoder import build_encoder, projector
from vicinal.encoder.layers import FlipAveraged
from vicinal.encoder.patches import WithPatches, patch_stem
from vicinal.encoder.pretrained import initial_encoder
from vicinal.encoder.saved import Preparation, fingerprint, load_encoder, read_metadata
from vicinal.errors import InputError, begun_by, option
from vicinal.images.decoding import Span
from vicinal.progress import say
from vicinal.recipes.recipe import Encoder, Recipe, Training

_LARGEST_STEM = 16  # pixels a side


@dataclass(frozen=True, eq=False)
class InitialWeights:
    """An encoder that is trained further."""

    file: Path
    fingerprint: str  # the file's SHA-256
    preparation: Preparation  # how pictures are prepared for it
    # of the encoder (``0.…``) and, where they were found, of its projector (``1.…``)
    weights: Mapping[str, Tensor]
    projector: str  # where the projector comes from, in words

    def prepared(self, span: Span | None) -> Preparation:
        """Its preparation; ``span`` is that of the pictures trained on now, if any are deep."""
        return replace(self.preparation, span=span or self.preparation.span, whole=True)

    def check_channels(self, data: str, channels: int) -> None:
        """Refuses pictures that it was not made for."""
        if channels != self.preparation.channels:
            kinds = {1: "grey", 3: "colour"}
            taken = kinds[self.preparation.channels]
            raise InputError(
                f"{option('start', self.file)}: its encoder takes {taken} "
                f"pictures, and those of {data} are {kinds[channels]}; start with another run"
            )


def read_initial_weights(file: Path, recipe: Recipe) -> InitialWeights:
    """Reads an encoder's file and, if it is there, the checkpoint beside it.

    The projector is the checkpoint's, unless there is none or the recipe has another; then it is
    drawn, as for a new training.
    """
    held, preparation = read_metadata(file)
    _check_same(file, held, recipe.encoder)
    # Of an encoder that itself went on from weights, views may be smaller than the images.
    if preparation.size != recipe.views.size and not recipe.encoder.start:
        raise InputError(
            f"{option('start', file)}: its encoder takes pictures of {preparation.size} pixels a "
            f"side, not views.size = {recipe.views.size}; leave {option('recipe')} out, or "
            "set views.size"
        )
    encoder, _ = load_encoder(file)
    if isinstance(encoder, WithPatches):  # the rows of the network alone are compared otherwise
        preparation = replace(preparation, neighbours="L2", unit_length=bool(held.start))
    trained = encoder.network if isinstance(encoder, WithPatches | FlipAveraged) else encoder
    weights = {f"0.{name}": value for name, value in trained.state_dict().items()}
    head, origin = _projector(file.with_name("checkpoint.pt"), recipe)
    return InitialWeights(file, fingerprint(file), preparation, weights | head, origin)


def _check_same(file: Path, held: Encoder, wanted: Encoder) -> None:
    """Refuses a recipe whose encoder is another."""
    # Found anew, or written over by the weights.
    beside = {"patches", "coarse_patches", "mirrored", "flip_averaged", "patch_stem"}
    for name, value in held.model_dump(exclude=beside).items():
        other = getattr(wanted, name)
        if name == "start":  # an encoder's file does not say where somebody's weights lay
            other = other.partition("@")[0]
        if value != other:
            raise InputError(
                f"{option('start', file)}: its encoder has encoder.{name} = {value!r}, "
                f"not {other!r}; give its run's folder without {option('recipe')}, or a recipe "
                "with that encoder"
            )


def _projector(checkpoint: Path, recipe: Recipe) -> tuple[dict[str, Tensor], str]:
    """A projector's weights by their names in the training, none if there are none; and why."""
    if not checkpoint.is_file():
        return {}, "a new projector: no checkpoint.pt beside it"
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
        found = {name: value for name, value in state.items() if name.startswith("1.")}
    except Exception as error:  # torch.load raises nearly anything on a damaged file
        return {}, f"a new projector: {checkpoint.name} cannot be read ({begun_by(error)})"
    new = projector(recipe.encoder.dimension, recipe.projector.widths).state_dict()
    if {name: value.shape for name, value in found.items()} != {
        f"1.{name}": value.shape for name, value in new.items()
    }:
        return {}, "a new projector: projector.widths are others"
    return found, "and its projector"


def stem_weights(
    recipe: Recipe, pixels: NDArray[np.uint8], std: Sequence[float]
) -> dict[str, Tensor]:
    """The first layer's weights by their name, where the recipe has them from the pictures.

    There are none, and a line says so, where no first layer takes squares of the pictures of at
    most 16 pixels a side, for larger ones take minutes and gigabytes, and where all are blank.

    Shapes: pixels (N, S, S, C) uint8; std (C,), the deviation that images are divided by.
    """
    made = recipe.encoder
    if not made.patch_stem or made.start:
        return {}
    size, channels = pixels.shape[1], pixels.shape[3]
    with torch.device("meta"):
        network = build_encoder(made, channels=channels, size=size)
    layers = [(n, layer) for n, layer in network.named_modules() if isinstance(layer, nn.Conv2d)]
    for name, layer in layers[:1]:
        shape = layer.weight.shape
        if shape[1] == channels and shape[2] == shape[3] <= min(size, _LARGEST_STEM):
            weights = patch_stem(shape, pixels, std, np.random.RandomState(recipe.seed))
            if len(weights):
                return {f"{name}.weight": weights}
    say("the first layer starts from random filters: patches of these pictures do not fit it")
    return {}


def networks(
    recipe: Recipe, shape: tuple[int, int, int], start: Mapping[str, Tensor] | None = None
) -> tuple[nn.Module, nn.Sequential]:
    """The encoder, drawn or with its start's weights, and the encoder with its projector."""
    # Where training goes on from weights, views may be smaller than the images.
    size = recipe.views.size if recipe.encoder.start else shape[0]
    encoder = initial_encoder(recipe.encoder, channels=shape[2], size=size)
    head = projector(recipe.encoder.dimension, recipe.projector.widths)
    model = nn.Sequential(encoder, head)
    model.load_state_dict(model.state_dict() | dict(start or {}))
    return encoder, model


def to_training(model: nn.Module, encoder: nn.Module, training: Training) -> None:
    """Puts the model into training mode, but for statistics of the encoder that are to be held."""
    model.train()
    if training.batchnorm == "held":
        for layer in encoder.modules():
            if isinstance(layer, _BatchNorm):
                layer.eval()
