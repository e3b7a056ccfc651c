"""A network that others have trained as an encoder's file, as every command takes one."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import platformdirs

from vicinal.encoder.pretrained import is_start, open_start
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


def encoder_file(path: Path) -> Path:
    """The file of the encoder that a user names.

    By its file; by its run, `train`'s or a study's, whose first learner is meant; or, where there
    is no such file or folder, by the name of weights that `open_start` takes.

    Raises:
        InputError: If it is a folder with no encoder in it, or the weights cannot be had.
    """
    if not path.exists() and is_start(str(path)):
        return cached_encoder(str(path))
    if not path.is_dir():
        return path
    for name in ("encoder.safetensors", "generated/encoder.safetensors"):
        if (path / name).is_file():
            return path / name
    raise InputError(f"{path}: no encoder.safetensors in it; name a finished run or the file")
