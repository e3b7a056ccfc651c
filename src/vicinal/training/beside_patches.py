"""What a training ends with: its network beside patch features of the same pictures."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn import functional

from vicinal import cores
from vicinal.encoder.patches import Joined, fit_patches, seen_side
from vicinal.encoder.saved import Preparation
from vicinal.recipes.recipe import KEPT, Recipe
from vicinal.views import normalise

_PICTURES = 5_000  # more make no better axes
_AT_ONCE = 64
_POWER = 0.25
"""Of the axes' variances: 0 would leave a block as it is, 0.5 whiten it. docs/recipes.md."""


@torch.no_grad()
@cores.shared()
def join(
    network: nn.Module, pixels: NDArray[np.uint8], recipe: Recipe, made: Preparation
) -> nn.Module:
    """The network with the recipe's patches beside it, or as it is where there are none.

    Each block is brought to its principal axes, divided by the fourth root of their variances:
    neighbours by cosine then weigh common differences less and rare ones more. docs/recipes.md
    has what it is worth.

    Args:
        network: Normalised images (B, C, S, S) float32 to numbers (B, F), on any device.
        pixels: Array (N, S, S, C) uint8, what it was trained on.
        recipe: The recipe.
        made: How images are prepared for it.
    """
    if not recipe.encoder.patches:
        return network
    device = next(network.parameters()).device
    rng = np.random.RandomState(recipe.seed)
    drawn = np.sort(rng.permutation(len(pixels))[:_PICTURES])
    pictures = torch.from_numpy(np.ascontiguousarray(pixels[drawn]))
    filters = fit_patches(_small(pictures), recipe.encoder.patches, rng)
    mirrored = recipe.encoder.mirrored and recipe.views.flip > 0
    width = recipe.encoder.dimension
    joined = Joined(network.cpu(), filters, made.size, width, mirrored=mirrored).eval()
    joined.mean[:, 0, 0], joined.std[:, 0, 0] = torch.tensor([made.mean, made.std])
    joined.to(device)
    parts = [
        joined.blocks(normalise(part.to(device), made.mean, made.std))
        for part in torch.split(pictures, _AT_ONCE)
    ]
    blocks = [torch.cat(block).cpu() for block in zip(*parts, strict=True)]
    joined.centres.copy_(torch.cat([block.double().mean(0) for block in blocks]))
    joined.axes.copy_(torch.cat([_axes(block.numpy()) for block in blocks]))
    return joined


def _small(pictures: Tensor) -> NDArray[np.uint8]:
    """Pictures (N, S, S, C) uint8 as patches see them."""
    shrink = pictures.shape[1] // seen_side(pictures.shape[1])
    parts = [
        functional.avg_pool2d(part.movedim(3, 1).float(), shrink).round_().byte().movedim(1, 3)
        for part in torch.split(pictures, _AT_ONCE)
    ]
    found: NDArray[np.uint8] = torch.cat(parts).numpy()
    return found


def _axes(block: NDArray[np.float32]) -> Tensor:
    """Principal axes (F, `KEPT`) over the fourth roots of their variances; 0 beyond the last."""
    axes = torch.zeros(block.shape[1], KEPT)
    if (block == block[0]).all():
        return axes
    pca = PCA(min(KEPT, len(block) - 1, block.shape[1]), random_state=0).fit(block)
    variance = pca.explained_variance_
    used = variance > 1e-6 * variance[0]
    scaled = pca.components_[used] / variance[used, None] ** _POWER
    axes[:, : len(scaled)] = torch.from_numpy(scaled.T.astype(np.float32))
    return axes
