"""How good is an encoder, without labels? What it makes of several views of each picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vicinal.encoder.pretrained import open_start, preparation_for
from vicinal.encoder.saved import Preparation
from vicinal.errors import InputError
from vicinal.evaluations.score import Score, checked
from vicinal.files import read_json, write_json
from vicinal.images import ImageSet
from vicinal.recipes.recipe import Recipe, Views
from vicinal.representations.embed import embed
from vicinal.representations.neighbours import nearest, unit_length
from vicinal.training.device import Engine
from vicinal.training.train_encoder import COMPARED
from vicinal.views import Augment

LIDAR_DELTA = 1e-4
"""δ of `lidar`, as in its paper."""

UNSEEN = Views(crop_scale=(0.6, 1.0), rotation=20.0, flip=0.0, jitter=0.0, grey=0.0, blur=0.0)
"""Views of a kind that trainings do not have: turned by up to 20°, and cropped a little."""
KEPT = "kept.json"
"""Of a run that went on from weights: which network was kept, and by what figures."""
MARGIN = 0.01
"""By how much the trained network must be better: a smaller difference may be chance, and going
on without need can only lose what the weights knew."""


def views_of(
    pixels: NDArray[np.uint8], kind: Views = UNSEEN, *, count: int = 2, seed: int = 0
) -> tuple[NDArray[np.uint8], ...]:
    """Views of pictures as pictures, so that any encoder can be asked for them.

    Args:
        pixels: Pictures (N, S, S, C) uint8.
        kind: Which views; their size becomes S.
        count: Views of each picture.
        seed: Of what is drawn.

    Returns:
        So many arrays (N, S, S, C) uint8.
    """
    size, channels = pixels.shape[1], pixels.shape[3]
    sized = kind.model_copy(update={"size": size, "blur_kernel": max(3, size // 10 | 1)})
    augment = Augment(sized, (0.0,) * channels, (1.0,) * channels)  # pictures, from 0 to 1
    pictures = torch.from_numpy(np.ascontiguousarray(pixels))
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        (augment(pictures, generator).movedim(1, 3).clamp_(0, 1) * 255)
        .round_()
        .byte()
        .contiguous()
        .numpy()
        for _ in range(count)
    )


def own_view(
    first: NDArray[np.float32], second: NDArray[np.float32], *, resamples: int = 1000, seed: int = 0
) -> Score:
    """How often a picture's own other view is the nearest of all pictures' other views.

    By cosine; a view that lies exactly as near as another's is not counted, so that a collapsed
    representation gets 0. It is the accuracy of the instance discrimination of Wu et al.,
    Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018, with
    one view to choose from a picture. `docs/choosing.md` says how far it follows labels.

    Args:
        first: Representations (N, F) float32 of one view of each picture, N ≥ 2.
        second: Of another view of the same pictures, in the same order.
        resamples: Bootstrap resamples of the pictures for the interval; at least 1.
        seed: Of these.

    Returns:
        A share, 0 to 1, chance 1/N, with a 95 % interval.

    Raises:
        InputError: If the shapes differ, there is one picture only, or a number is not finite.
    """
    checked(first, "own view")
    checked(second, "own view")
    _alike(first, second)
    found = nearest(unit_length(first), unit_length(second), 2)
    right = found.indices[:, 0] == np.arange(len(first))
    right &= found.distances[:, 0] < found.distances[:, 1]
    count, value = len(right), float(right.mean())
    drawn = np.random.default_rng(seed).binomial(count, value, resamples) / count
    low, high = np.percentile(drawn, [2.5, 97.5])
    interval = (float(low), float(high))
    return Score("own_view", value, 0.0, 1.0, "higher", 1 / count, count, seed, interval)


def neighbour_stability(
    first: NDArray[np.float32], second: NDArray[np.float32], *, k: int = 5
) -> Score:
    """The share of a picture's k nearest among one half of the views that the other half has too.

    Args:
        first: Representations (N, F) float32 of one view of each picture.
        second: Of another view of the same pictures, in the same order.
        k: Neighbours, by cosine, at most N − 1.

    Returns:
        A share, 0 to 1; chance is k / (N − 1).

    Raises:
        InputError: If the shapes differ, there are fewer than two pictures or k is out of range.
    """
    _alike(first, second)
    if not 1 <= k < len(first):
        raise InputError(f"neighbour stability: k={k} must be from 1 to {len(first) - 1}")
    one, other = (
        nearest(unit_length(half), unit_length(half), k, exclude_self=True).indices
        for half in (first, second)
    )
    shared = (one[:, :, None] == other[:, None, :]).any(axis=2)
    value, count = float(shared.mean()), len(first)
    return Score("neighbour_stability", value, 0.0, 1.0, "higher", k / (count - 1), count)


def lidar(views: NDArray[np.float32], *, delta: float = LIDAR_DELTA) -> Score:
    """LiDAR: the effective rank of what tells pictures apart, in units of how views of one differ.

    Thilak et al., LiDAR: Sensing Linear Probing Performance in Joint Embedding SSL
    Architectures, ICLR 2024, section 3: with Σ_b the covariance of the pictures' means, Σ_w
    that of views about their picture's mean (denominators N and N·q) plus δ·I, and λ the
    eigenvalues of Σ_w^−½ Σ_b Σ_w^−½, it is exp(−Σ p log p), p = λ / Σ λ.

    Args:
        views: Representations (N, q, F) float32 of q ≥ 2 views of each of N ≥ 2 pictures.
        delta: Above 0.

    Returns:
        From 0 (all pictures alike) to min(N − 1, F).

    Raises:
        InputError: If there are fewer views or pictures than that, or a number is not finite.
    """
    if views.ndim != 3 or min(views.shape[:2]) < 2 or not delta > 0:
        raise InputError(
            f"LiDAR needs (N, q, F) with N and q of 2 or more and delta above 0, found "
            f"{views.shape} and {delta}"
        )
    count, q, width = views.shape
    checked(views.reshape(-1, width), "LiDAR")
    exact = views.astype(np.float64)
    means = exact.mean(axis=1)
    within = (exact - means[:, None]).reshape(count * q, width) / np.sqrt(count * q)
    between = (means - means.mean(axis=0)) / np.sqrt(count)
    # Outside the span of `within`, Σ_w is δ·I; within it, its axes are the singular vectors.
    _, sizes, axes = np.linalg.svd(within, full_matrices=False)
    along = between @ axes.T
    rest = between - along @ axes
    gram = along / (sizes**2 + delta) @ along.T + rest @ rest.T / delta
    values = np.maximum(np.linalg.eigvalsh(gram), 0)
    share = values / values.sum() if values.sum() > 0 else np.zeros(0)
    share = share[share > 0]
    value = float(np.exp(-(share * np.log(share)).sum())) if len(share) else 0.0
    most = min(count - 1, width)
    return Score("lidar", value, 0.0, most, "higher", None, count)


def _alike(first: NDArray[np.float32], second: NDArray[np.float32]) -> None:
    if first.shape != second.shape or len(first) < 2:
        raise InputError(
            "views of the same two pictures or more are needed, found representations "
            f"{first.shape} and {second.shape}"
        )


def keep_better(
    trained: nn.Module, pixels: NDArray[np.uint8], recipe: Recipe, run: Path, engine: Engine
) -> nn.Module:
    """The trained network, or that which it began as, unless training made it better.

    The measure is `own_view` over at most `COMPARED` pictures, by `MARGIN`. Writes `KEPT`;
    without a start there is nothing to choose and nothing to write.

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


def kept_sentence(kept: dict[str, Any]) -> str:
    """Which network was kept, and why, in a sentence."""
    after, before = (f"{kept[name]:.1%}" for name in ("after", "before"))
    if kept["kept"] == "after":
        return (
            f"training on from {kept['start']} was kept: own views found {after}, before {before}"
        )
    return (
        f"training on from {kept['start']} was not kept, the network is as it was: own views "
        f"found {after} with it, {before} without"
    )


def measured(
    network: nn.Module, pixels: NDArray[np.uint8], preparation: Preparation, device: str
) -> float:
    """`own_view` of a network, by views of another kind than those of the training."""
    rows = np.random.default_rng(0).permutation(len(pixels))[:COMPARED]
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
