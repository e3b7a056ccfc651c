"""What `plain` was on its way to what it is, so that each step of the way can be measured again.

A form is the encoder as it is but for what its name says; docs/recipes.md has them in the order
in which they were tried.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

import vicinal.encoder
from vicinal.encoder.small import POOLED, Plain, plain
from vicinal.recipes.recipe import Recipe


class Form(NamedTuple):
    """Side of each stage's pooled map (0: not read), and whether the stem has a second layer."""

    sides: tuple[int, ...] = (POOLED, POOLED, POOLED)
    second: bool = False


FORMS = {
    "last-mean": Form((0, 0, 1)),
    "last-quarters": Form((0, 0, POOLED)),
    "last-two": Form((0, POOLED, POOLED)),
    "first-mean": Form((1, POOLED, POOLED)),
    "two-layer-stem": Form(second=True),
}
PREFIX = "form="


class Earlier(Plain):
    """`Plain` of three stages in one of the forms, from (B, C, H, W) to (B, F) float32."""

    def __init__(self, channels: int, widths: tuple[int, ...], form: Form) -> None:
        super().__init__(channels, widths)
        self.sides = form.sides
        if form.second:
            width = widths[0]
            convolution = nn.Conv2d(width, width, 3, padding=1, bias=False)
            stem = [*self.stages[0], convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            self.stages[0] = nn.Sequential(*stem)

    def forward(self, images: Tensor) -> Tensor:
        """Reads of each stage as much as the form says."""
        maps, read = images, []
        for stage, side in zip(self.stages, self.sides, strict=True):
            maps = stage(maps)
            if side:
                read.append(F.adaptive_avg_pool2d(maps, side).flatten(1))
        return torch.cat(read, dim=1)


def split(settings: str) -> tuple[list[str], Form | None]:
    """The settings that the recipe takes, and the encoder's form, if there is a ``form=NAME``."""
    words = settings.split()
    named = [word.removeprefix(PREFIX) for word in words if word.startswith(PREFIX)]
    if unknown := sorted(set(named) - set(FORMS)):
        sys.exit(f"{PREFIX}{unknown[0]}: should be one of {', '.join(FORMS)}")
    form = FORMS[named[0]] if named else None
    return [word for word in words if not word.startswith(PREFIX)], form


def take(form: Form | None, recipe: Recipe) -> Recipe:
    """Makes `plain` build the form in this process; the recipe with the dimension it has."""
    vicinal.encoder.BACKBONES["plain"] = plain
    if form is None:
        return recipe
    if recipe.encoder.backbone != "plain" or len(recipe.encoder.widths) != len(form.sides):
        sys.exit(f"{PREFIX}: only a plain encoder of {len(form.sides)} stages has forms")
    vicinal.encoder.BACKBONES["plain"] = _builder(form)
    dimension = _dimension(recipe.encoder.widths, form.sides)
    return vicinal.override(recipe, [f"encoder.dimension={dimension}"])


def _dimension(widths: Sequence[int], sides: Sequence[int]) -> int:
    return sum(width * side**2 for width, side in zip(widths, sides, strict=True))


def _builder(form: Form) -> Callable[[int, int, tuple[int, ...], int], nn.Module]:
    def build(channels: int, size: int, widths: tuple[int, ...], dimension: int) -> nn.Module:
        return Earlier(channels, widths, form)

    return build
