"""Embedding: a frozen encoder over a set of images, once; every evaluation reads the result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vicinal import cores
from vicinal.encoder.saved import Preparation
from vicinal.images.imageset import ImageSet
from vicinal.representations.representations import Representations
from vicinal.views import normalise

_PIXELS = 512 * 96 * 96
"""Pixels at a time, on all cores: the maps of larger images would take gigabytes."""


@torch.inference_mode()
def embed(
    encoder: nn.Module,
    images: ImageSet,
    preparation: Preparation,
    *,
    device: torch.device | str = "cpu",
    bf16: bool = False,
    batch_size: int = 512,
    progress: Callable[[int], None] | None = None,
) -> Representations:
    """Runs an encoder over images, only normalised, and joins ids and labels to the result.

    Args:
        encoder: Images (B, C, H, W) float32 to representations (B, F).
        images: N images of the encoder's size and channels.
        preparation: The mean and standard deviation that the encoder was trained with.
        device: Where to compute.
        bf16: Whether the network runs in bfloat16; the result is float32 either way.
        batch_size: Images at a time; fewer where they are large.
        progress: Called with the number of images after each batch of them.

    Returns:
        Representations (N, F) in the order of the images.
    """
    encoder, place = encoder.to(device).eval(), torch.device(device)
    at_once = cores.most() if place.type == "cpu" else 1
    batch_size = max(1, min(batch_size, _PIXELS // preparation.size**2 // at_once))

    def embedded(start: int) -> NDArray[np.float32]:
        pixels = torch.from_numpy(np.ascontiguousarray(images.pixels[start : start + batch_size]))
        view = normalise(pixels.to(place), preparation.mean, preparation.std)
        with torch.autocast(place.type, torch.bfloat16, enabled=bf16):
            array: NDArray[np.float32] = encoder(view).float().cpu().numpy()
        return array

    starts = range(0, len(images), batch_size)
    parts = []
    for part in cores.side_by_side(embedded, starts) if at_once > 1 else map(embedded, starts):
        parts.append(part)
        if progress is not None:
            progress(len(part))
    return Representations(
        array=np.concatenate(parts),
        ids=images.ids,
        labels=images.labels,
        class_names=images.class_names,
    )
