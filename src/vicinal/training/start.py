"""Where a training begins that goes on with an encoder of an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vicinal.encoder import projector
from vicinal.encoder.patches import Joined
from vicinal.encoder.saved import Preparation, fingerprint, load_encoder, read_metadata
from vicinal.errors import InputError, begun_by, option
from vicinal.images.depth import Span
from vicinal.recipe import Encoder, Recipe


@dataclass(frozen=True, eq=False)
class Start:
    """An encoder that is trained further.

    Attributes:
        file: Its file.
        fingerprint: The file's SHA-256.
        preparation: How pictures are prepared for it, which stays as it is.
        weights: Of the encoder (``0.…``) and, where they were found, of its projector (``1.…``).
        told: Where the projector comes from, in words.
    """

    file: Path
    fingerprint: str
    preparation: Preparation
    weights: Mapping[str, Tensor]
    told: str

    def prepared(self, span: Span | None) -> Preparation:
        """Its preparation; ``span`` is that of the pictures trained on now, if any are deep."""
        return replace(self.preparation, span=span or self.preparation.span)

    def check_channels(self, data: str, channels: int) -> None:
        """Refuses pictures that it was not made for.

        Raises:
            InputError: If their channels are others.
        """
        if channels != self.preparation.channels:
            kinds = {1: "grey", 3: "colour"}
            taken = kinds[self.preparation.channels]
            raise InputError(
                f"{option('start', self.file)}: its encoder takes {taken} "
                f"pictures, and those of {data} are {kinds[channels]}; start with another run"
            )


def read_start(file: Path, recipe: Recipe) -> Start:
    """Reads an encoder's file and, if it is there, the checkpoint beside it.

    The projector is the checkpoint's, unless there is none or the recipe has another; then it is
    drawn, as for a new training.

    Raises:
        InputError: If the file is no encoder's, or another encoder's than the recipe says.
    """
    held, preparation = read_metadata(file)
    _check_same(file, held, recipe.encoder)
    if preparation.size != recipe.views.size:
        raise InputError(
            f"{option('start', file)}: its encoder takes pictures of {preparation.size} pixels a "
            f"side, not views.size = {recipe.views.size}; leave {option('recipe')} out, or "
            "set views.size"
        )
    encoder, _ = load_encoder(file)
    trained = encoder.network if isinstance(encoder, Joined) else encoder
    weights = {f"0.{name}": value for name, value in trained.state_dict().items()}
    known, told = _projector(file.with_name("checkpoint.pt"), recipe)
    return Start(file, fingerprint(file), preparation, weights | known, told)


def _check_same(file: Path, held: Encoder, asked: Encoder) -> None:
    """Refuses a recipe whose encoder is another."""
    for name, value in held.model_dump(exclude={"patches", "mirrored"}).items():
        other = getattr(asked, name)
        if value != other:
            raise InputError(
                f"{option('start', file)}: its encoder has encoder.{name} = {value!r}, "
                f"not {other!r}; leave {option('recipe')} out, or set it so"
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
