"""A frozen encoder over images, once: a set's representations, a source's embeddings."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vicinal import cores
from vicinal.encoder.pretrained import encoder_file
from vicinal.encoder.saved import Preparation, fingerprint, load_encoder
from vicinal.images import MOST_PIXELS, Part, load_parts, named
from vicinal.images.image_set import ImageSet
from vicinal.images.labels_and_parts import class_of_each
from vicinal.progress import counted
from vicinal.representations.representations import Representations, concatenated
from vicinal.training.device import resolve_device
from vicinal.views import normalise

_PIXELS = 512 * 96 * 96
"""Pixels at a time, on all cores: the maps of larger images would take gigabytes."""
_LEAST, _CACHED = 16, 32 * 32 * 32
"""Images, and pixels, at a time on a core: the maps of more leave its cache, and take up to 2.4
times as long (EfficientNet-Lite0 at 224 pixels, 94 and 16 images at a time)."""


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
        preparation: The mean and standard deviation that the encoder was trained with, and
            whether representations are brought to unit length.
        device: Where to compute.
        bf16: Whether the network runs in bfloat16; the result is float32 either way.
        batch_size: Images at a time, at most; on a CPU so few that its cache holds their maps.
        progress: Called with the number of images after each batch of them.

    Returns:
        Representations (N, F) in the order of the images.
    """
    encoder, place = encoder.to(device).eval(), torch.device(device)
    at_once = cores.most() if place.type == "cpu" else 1
    batch_size = max(1, min(batch_size, _PIXELS // preparation.size**2 // at_once))
    if place.type == "cpu":
        batch_size = min(batch_size, max(_LEAST, _CACHED // preparation.size**2))

    def embedded(start: int) -> NDArray[np.float32]:
        pixels = torch.from_numpy(np.array(images.pixels[start : start + batch_size]))
        view = normalise(pixels.to(place), preparation.mean, preparation.std)
        with torch.autocast(place.type, torch.bfloat16, enabled=bf16):
            rows: Tensor = encoder(view).float()
        if preparation.unit_length:
            rows = functional.normalize(rows)
        array: NDArray[np.float32] = rows.cpu().numpy()
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


def embed_source(
    data: str,
    encoder: Path,
    *,
    device: str = "auto",
    data_dir: Path | None = None,
    exclude: Sequence[str] = (),
    max_pixels: int = MOST_PIXELS,
) -> Representations:
    """Embeds every image of a source that can be used; training part first where it has parts."""
    file = encoder_file(encoder)
    _, preparation = load_encoder(file)
    how = preparation.decoding(max_pixels=max_pixels)
    parts = load_parts(data, how, data_dir=data_dir, exclude=exclude)
    return embed_parts(parts, file, data, device=device, data_dir=data_dir)


@cores.shared()
def embed_parts(
    parts: Sequence[Part],
    encoder: Path,
    data: str,
    *,
    device: str = "auto",
    data_dir: Path | None = None,
) -> Representations:
    """Embeds every image of a source that is loaded already, as `embed_source` does."""
    network, preparation = load_encoder(encoder)
    place = resolve_device(device)
    with counted("embed", sum(len(part.images) for part in parts)) as advance:
        arrays = [
            embed(network, part.images, preparation, device=place, progress=advance).array
            for part in parts
        ]
    where = None if data_dir is None else os.path.abspath(data_dir)
    origin = {"source": named(data), "data_dir": where} | made_with(encoder, preparation)
    return from_parts(parts, np.concatenate(arrays), origin | _span(parts))


def made_with(encoder: Path, preparation: Preparation) -> dict[str, Any]:
    """What the origin of representations says of their encoder, its file and its preparation."""
    compared = {} if preparation.neighbours == "L2" else {"neighbours": preparation.neighbours}
    return {
        "size": preparation.size,
        "channels": preparation.channels,
        "whole": preparation.whole,
        **compared,
        "encoder": str(encoder),
        "encoder_sha256": fingerprint(encoder),
    }


def from_parts(
    parts: Sequence[Part], array: NDArray[np.float32], origin: dict[str, Any]
) -> Representations:
    """Representations (N, F) of all parts together, with what is known of each picture."""
    ends = np.cumsum([len(part.images) for part in parts])[:-1]
    return concatenated(
        [
            Representations(
                rows,
                part.images.ids,
                _label_names(part),
                paths=None if part.paths is None else np.array(part.paths),
                splits=None if part.split is None else np.full(len(part.images), part.split),
                sizes=part.images.sizes,
                skipped=part.images.skipped,
            )
            for part, rows in zip(parts, np.split(array, ends), strict=True)
        ],
        array=array,
        origin=origin,
    )


def _span(parts: Sequence[Part]) -> dict[str, Any]:
    """How pictures of more than 8 bits were scaled, if there are any."""
    span = next((part.images.span for part in parts if part.images.span is not None), None)
    return {} if span is None else {"span": list(span)}


def _label_names(part: Part) -> Any:
    """The class of each image, as text, empty for none; None without labels."""
    images = part.images
    return None if images.labels is None else class_of_each(images.labels, images.class_names)
