"""Which differences between pictures should not count, in words: what views are made of.

Two views of a picture differ by what is done to them at random, and the encoder learns that
such differences do not matter. Where one does, a stain that is a brightness, an arrow that
points left, its views must leave it alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from vicinal.errors import InputError, option
from vicinal.recipes.recipe import Recipe, Views

OFF: dict[str, dict[str, object]] = {
    "colour": {"hue": 0.0, "saturation": 0.0, "grey": 0.0},
    "brightness": {"brightness": 0.0, "contrast": 0.0, "solarise": 0.0},
    "flip": {"flip": 0.0},
    # The place of the crop stays free: without any, two views would be one.
    "scale": {"crop_scale": (0.8, 1.0), "crop_ratio": (1.0, 1.0)},
    "blur": {"blur": 0.0},
    "rotation": {"rotation": 0.0},
}
"""By word: the fields of `Views` that make pictures differ so, and what leaves them alone."""
TURNED = 180.0
"""Degrees of a rotation that is to be ignored where the recipe has none."""


def ignoring(recipe: Recipe, words: Iterable[str]) -> Recipe:
    """The recipe with views that differ in what the words name, and in nothing else.

    A difference that the recipe has keeps its strength; another gets the study's.
    """
    wanted = {"colour" if word == "color" else word for word in words}
    if unknown := sorted(wanted - OFF.keys()):
        raise InputError(f"{option('ignore', unknown[0])}: the words are {', '.join(OFF)}")
    views = recipe.views
    had, usual = set(ignored(views)), Views(rotation=TURNED)
    changed: dict[str, object] = {}
    for word, fields in OFF.items():
        if word not in wanted:
            changed |= fields
        elif word not in had:
            changed |= {name: getattr(usual, name) for name in fields}
    if "colour" in wanted | had or "brightness" in wanted | had:
        changed["jitter"] = views.jitter or usual.jitter
    return recipe.model_copy(update={"views": views.model_copy(update=changed)})


def ignored(views: Views) -> tuple[str, ...]:
    """The words for what views of these settings differ in."""
    return tuple(
        word
        for word, fields in OFF.items()
        if any(getattr(views, name) != off for name, off in fields.items())
        and (views.jitter or word not in ("colour", "brightness") or _without_jitter(views, word))
    )


def _without_jitter(views: Views, word: str) -> bool:
    """Whether colour or brightness differ even where there is no colour jitter."""
    return bool(views.grey if word == "colour" else views.solarise)
