"""embed: all images of a source through a trained encoder, into one file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vicinal import cores
from vicinal.encoder.saved import fingerprint, load_encoder
from vicinal.images import Part, load_parts
from vicinal.progress import counted
from vicinal.representations.embed import embed
from vicinal.representations.embeddings import Embeddings
from vicinal.study.folder import encoder_file
from vicinal.training.device import resolve_device


def embed_source(
    data: str, encoder: Path, *, device: str = "auto", data_dir: Path | None = None
) -> Embeddings:
    """Embeds every image of a source that can be used; training part first where it has parts.

    Args:
        data: Source of the images, as `vicinal.images.load` takes it.
        encoder: What `vicinal.study.folder.encoder_file` takes.
        device: ``auto``, ``cpu`` or ``cuda``; float32 on each, so that files can be compared.
        data_dir: Where downloads and decoded images are kept.

    Raises:
        InputError: If the source or the encoder cannot be used.
    """
    file = encoder_file(encoder)
    _, preparation = load_encoder(file)
    parts = load_parts(
        data,
        size=preparation.size,
        channels=preparation.channels,
        data_dir=data_dir,
        interpolation=preparation.interpolation,
    )
    return embed_parts(parts, file, data, device=device, data_dir=data_dir)


@cores.shared()
def embed_parts(
    parts: Sequence[Part],
    encoder: Path,
    data: str,
    *,
    device: str = "auto",
    data_dir: Path | None = None,
) -> Embeddings:
    """Embeds every image of a source that is loaded already, as `embed_source` does.

    Args:
        parts: What `vicinal.images.load_parts` gave for the encoder's size and channels.
        encoder: The encoder's file.
        data: The source, to be noted in the file.
        device: As in `embed_source`.
        data_dir: As in `embed_source`.

    Raises:
        InputError: If the encoder or the device cannot be used.
    """
    network, preparation = load_encoder(encoder)
    place = resolve_device(device)
    with counted("embed", sum(len(part.images) for part in parts)) as advance:
        arrays = [
            embed(network, part.images, preparation, device=place, progress=advance).array
            for part in parts
        ]
    paths = [part.paths for part in parts if part.paths is not None]
    splits = [np.full(len(part.images), part.split) for part in parts if part.split is not None]
    labels = [_labels(part) for part in parts]
    return Embeddings(
        np.concatenate(arrays),
        np.concatenate([part.images.ids for part in parts]),
        paths=np.concatenate(paths) if len(paths) == len(parts) else None,
        labels=np.concatenate(labels) if any((part != "").any() for part in labels) else None,
        splits=np.concatenate(splits) if splits else None,
        origin={
            "source": data,
            "data_dir": None if data_dir is None else os.path.abspath(data_dir),
            "size": preparation.size,
            "channels": preparation.channels,
            "encoder": str(encoder),
            "encoder_sha256": fingerprint(encoder),
        },
        skipped=tuple(dict.fromkeys(one for part in parts for one in part.images.skipped)),
    )


def _labels(part: Part) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    """The class name of each image, empty where the part has no labels."""
    images = part.images
    if images.labels is None:
        return np.full(len(images), "", dtype=np.str_)
    return np.array(images.class_names, dtype=np.str_)[images.labels]
