"""A network that others have trained as an encoder's file, as every command takes one."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import platformdirs

from vicinal.encoder.pretrained import open_start
from vicinal.encoder.saved import fingerprint, save_encoder
from vicinal.errors import InputError


@cache
def cached_encoder(start: str) -> Path:
    """Writes the network with its weights into the user's cache, under their fingerprint.

    Args:
        start: What `vicinal.encoder.pretrained.open_start` takes.

    Raises:
        InputError: As `open_start`, or if the cache cannot be written.
    """
    found = open_start(start)
    network = found.network()
    folder = platformdirs.user_cache_path("vicinal") / "encoders"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / "encoder.safetensors"
            save_encoder(network, made, recipe=found.encoder, preparation=found.preparation)
            name = found.encoder.backbone.partition(":")[2]
            return made.replace(folder / f"{name}-{fingerprint(made)[:16]}.safetensors")
    except OSError as error:
        raise InputError(
            f"{folder}: the encoder cannot be kept there ({error.strerror}); make it writable, or "
            "name another cache by XDG_CACHE_HOME"
        ) from None
