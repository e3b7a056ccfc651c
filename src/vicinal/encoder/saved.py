"""An encoder as a file: weights by safetensors, and what is needed to use them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from vicinal.encoder import build_encoder
from vicinal.errors import InputError
from vicinal.files import replacing
from vicinal.recipe import Encoder


@dataclass(frozen=True)
class Preparation:
    """How images are prepared for an encoder.

    Attributes:
        size: Height and width in pixels.
        channels: 1 (grey) or 3 (RGB).
        mean: Mean of each channel over the training set, pixels in [0, 1].
        std: Standard deviation of each channel, likewise.
    """

    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def save_encoder(
    encoder: nn.Module, path: str | Path, *, recipe: Encoder, preparation: Preparation
) -> None:
    """Writes weights with the recipe section and the preparation as metadata."""
    metadata = {
        "encoder": recipe.model_dump_json(),
        "preparation": json.dumps(asdict(preparation)),
    }
    weights = {name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}
    with replacing(Path(path)) as partial:
        save_file(weights, partial, metadata=metadata)


def load_encoder(path: str | Path) -> tuple[nn.Module, Preparation]:
    """Reads what `save_encoder` wrote: the encoder in evaluation mode, and its preparation.

    Raises:
        InputError: If the file is missing or is not such a file.
    """
    path = Path(path)
    recipe, preparation = read_metadata(path)
    encoder = build_encoder(recipe, channels=preparation.channels, size=preparation.size)
    try:
        encoder.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not the weights of its own recipe ({reason})") from error
    return encoder.eval(), preparation


def read_metadata(path: Path) -> tuple[Encoder, Preparation]:
    """The recipe section and the preparation in an encoder's file; its weights are not read.

    Raises:
        InputError: If the file is missing or is not such a file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no encoder there; train one, or name its encoder.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        recipe = Encoder.model_validate_json(metadata["encoder"])
        stored = json.loads(metadata["preparation"])
        preparation = Preparation(
            stored["size"], stored["channels"], tuple(stored["mean"]), tuple(stored["std"])
        )
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not an encoder that Vicinal wrote ({reason})") from error
    return recipe, preparation


def fingerprint(path: Path) -> str:
    """The SHA-256 of an encoder's file, by which embeddings say what made them."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
