"""Where a training begins; from weights it goes on gently, so that what they know is not lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vicinal.encoder import projector
from vicinal.encoder.pretrained import begun
from vicinal.recipe import Recipe, Training


def networks(
    recipe: Recipe, shape: tuple[int, int, int], start: Mapping[str, Tensor] | None = None
) -> tuple[nn.Module, nn.Sequential]:
    """The encoder, drawn or with its start's weights, and the encoder with its projector.

    Args:
        recipe: Every number of the run.
        shape: Height, width and channels of the images.
        start: Weights of the encoder (``0.…``) and of the projector (``1.…``) that an earlier
            training left; what is not in it stays.
    """
    # Where training goes on from weights, views may be smaller than the images.
    size = recipe.views.size if recipe.encoder.start else shape[0]
    encoder = begun(recipe.encoder, channels=shape[2], size=size)
    head = projector(recipe.encoder.dimension, recipe.projector.widths)
    model = nn.Sequential(encoder, head)
    model.load_state_dict(model.state_dict() | dict(start or {}))
    return encoder, model


def parameter_groups(encoder: nn.Module, model: nn.Module, training: Training) -> list[Any]:
    """The model's parameters for an optimiser; in two groups if the encoder's rate is another.

    Args:
        encoder: The part of the model whose rate is ``training.encoder_rate`` of the others'.
        model: The encoder with its projector.
        training: The recipe's section.
    """
    if training.encoder_rate == 1:
        return list(model.parameters())
    own = list(encoder.parameters())
    known = {id(parameter) for parameter in own}
    others = [parameter for parameter in model.parameters() if id(parameter) not in known]
    return [{"params": own, "share": training.encoder_rate}, {"params": others, "share": 1.0}]


def to_training(model: nn.Module, encoder: nn.Module, training: Training) -> None:
    """Puts the model into training mode, but for statistics of the encoder that are to be held."""
    model.train()
    if training.batchnorm == "held":
        for layer in encoder.modules():
            if isinstance(layer, _BatchNorm):
                layer.eval()
