"""Training that went on from weights: the better of before and after is kept, without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from vicinal.encoder.pretrained import open_start, preparation_for
from vicinal.encoder.saved import Preparation
from vicinal.evaluations.own_view import own_view, views_of
from vicinal.files import read_json, write_json
from vicinal.images import ImageSet
from vicinal.recipe import Recipe
from vicinal.representations.embed import embed
from vicinal.training.device import Engine

KEPT = "kept.json"
"""Of a run that went on from weights: which network was kept, and by what figures."""
MARGIN = 0.01
"""By how much the trained network must be better: a smaller difference may be chance, and going
on without need can only lose what the weights knew."""
_PICTURES = 500


def keep_better(
    trained: nn.Module, pixels: NDArray[np.uint8], recipe: Recipe, run: Path, engine: Engine
) -> nn.Module:
    """The trained network, or that which it began as, unless training made it better.

    The measure is `own_view` over at most 500 pictures, by `MARGIN`. Writes `KEPT`; without a
    start there is nothing to choose and nothing to write.

    Args:
        trained: The network after the training.
        pixels: Array (N, S, S, C) uint8, the pictures it was trained on.
        recipe: The recipe; its encoder's start is what the training began with.
        run: The run folder.
        engine: The device.
    """
    if not recipe.encoder.start:
        return trained
    made = preparation_for(pixels, recipe.encoder)
    before = open_start(recipe.encoder.start, made.channels).network()
    figures = {
        name: measured(network, pixels, made, engine.device)
        for name, network in (("before", before), ("after", trained))
    }
    better = "after" if figures["after"] - figures["before"] > MARGIN else "before"
    # Without the file's path: a page is passed on.
    start = recipe.encoder.start.partition("@")[0]
    kept = {"start": start, "kept": better, "measure": "own_view", **figures}
    write_json(run / KEPT, kept)
    return trained if better == "after" else before


def read_kept(run: Path) -> dict[str, Any] | None:
    """What `keep_better` wrote into a run; None where there was nothing to choose."""
    found: dict[str, Any] | None = read_json(run / KEPT) if (run / KEPT).is_file() else None
    return found


def told(kept: dict[str, Any]) -> str:
    """Which network was kept, and why, in a sentence."""
    after, before = (f"{kept[name]:.1%}" for name in ("after", "before"))
    if kept["kept"] == "after":
        return (
            f"training on from {kept['start']} was kept: own views found {after}, before {before}"
        )
    return (
        f"training on from {kept['start']} was not kept, its weights are as they were: own views "
        f"found {after} with it, {before} without"
    )


def measured(
    network: nn.Module, pixels: NDArray[np.uint8], preparation: Preparation, device: str
) -> float:
    """`own_view` of a network, by views of another kind than those of the training."""
    rows = np.random.default_rng(0).permutation(len(pixels))[:_PICTURES]
    first, second = (
        embed(
            network,
            ImageSet("views", views, np.arange(len(views)).astype(np.str_)),
            preparation,
            device=device,
        ).array
        for views in views_of(pixels[np.sort(rows)])
    )
    return own_view(first, second).value
