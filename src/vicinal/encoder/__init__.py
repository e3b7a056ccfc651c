"""Encoders: images to representations; and the projector to embeddings."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from vicinal.encoder.projector import projector
from vicinal.encoder.resnet import resnet18, resnet18_pooled
from vicinal.encoder.small import plain, small
from vicinal.encoder.timm_backbone import PREFIX, timm_backbone
from vicinal.recipes import recipe

__all__ = [
    "BACKBONES",
    "PREFIX",
    "build_encoder",
    "plain",
    "projector",
    "resnet18",
    "resnet18_pooled",
    "small",
    "timm_backbone",
]

BACKBONES: dict[str, Callable[[int, int, tuple[int, ...], int], nn.Module]] = {
    "plain": plain,
    "resnet18": resnet18,
    "resnet18_pooled": resnet18_pooled,
    "small": small,
}
"""Each backbone: (channels, size, widths, dimension) to a network of random weights.

Beside these, ``timm:NAME`` is timm's network of that name, whose widths are its own.
"""


def build_encoder(encoder: recipe.Encoder, *, channels: int, size: int) -> nn.Module:
    """Builds the recipe's encoder, its weights drawn from torch's global generator."""
    if encoder.backbone.startswith(PREFIX):
        name = encoder.backbone.removeprefix(PREFIX)
        return timm_backbone(name, channels, size, encoder.dimension)
    build = BACKBONES[encoder.backbone]
    return build(channels, size, encoder.widths, encoder.dimension)
