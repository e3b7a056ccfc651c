"""Embedding: a frozen encoder over a set of images, once; every evaluation reads the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from numpy.typing import NDArray
from torch import Tensor, nn

from vicinal import cores
from vicinal.encoder.saved import Preparation
from vicinal.images.imageset import ImageSet
from vicinal.representations.representations import Representations
from vicinal.views import normalise

_PIXELS = 512 * 96 * 96
"""Pixels at a time, on all cores: the maps of larger images would take gigabytes."""

_LEAST_SIDE = 0.65
"""Side of the smallest crop, as a share of the picture's."""


@dataclass(frozen=True)
class Look:
    """A part of a picture, as shares of its height and width, and whether it is mirrored."""

    top: float = 0.0
    left: float = 0.0
    side: float = 1.0
    mirrored: bool = False

    def of(self, pictures: Tensor) -> Tensor:
        """That part of pictures (B, C, S, S), at their size."""
        size = pictures.shape[-1]
        top, left, side = (round(size * x) for x in (self.top, self.left, self.side))
        part = pictures[:, :, top : top + side, left : left + side]
        if side < size:
            part = F.interpolate(part, (size, size), mode="bilinear", align_corners=False)
        return part.flip(3) if self.mirrored else part


WHOLE = (Look(),)
"""A picture looked at once, as it is."""


def looks(crops: int, flip: bool) -> tuple[Look, ...]:
    """The picture and ``crops`` − 1 parts of it, with ``flip`` each mirrored too.

    The parts are the same for every picture, so what a picture gives does not depend on others:
    squares of 65 to 100 % of its side, a fixed draw, of which more crops only add more.

    Args:
        crops: At least 1.
        flip: Whether a picture means the same mirrored; text does not.
    """
    generator, parts = np.random.default_rng(0), [Look()]
    for _ in range(crops - 1):
        side, top, left = generator.uniform((_LEAST_SIDE, 0, 0), 1)
        parts.append(Look(top * (1 - side), left * (1 - side), side))
    mirrored = (False, True) if flip else (False,)
    return tuple(Look(p.top, p.left, p.side, m) for p in parts for m in mirrored)


@torch.inference_mode()
def embed(
    encoder: nn.Module,
    images: ImageSet,
    preparation: Preparation,
    *,
    device: torch.device | str = "cpu",
    bf16: bool = False,
    batch_size: int = 512,
    seen: Sequence[Look] = WHOLE,
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
        seen: Parts of each picture whose representations are averaged, see `looks`.
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
            found = torch.stack([encoder(look.of(view)).float() for look in seen])
        array: NDArray[np.float32] = found.mean(dim=0).cpu().numpy()
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
