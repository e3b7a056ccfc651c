"""An encoder as a file: weights by safetensors, and what is needed to use them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
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
        partial.write_bytes(save(weights, metadata=metadata))  # a full disk is then an OSError


def load_encoder(path: str | Path) -> tuple[nn.Module, Preparation]:
    """Reads what `save_encoder` wrote: the encoder in evaluation mode, and its preparation.

    Raises:
        InputError: If the file is missing or is not such a file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no encoder there; train one, or name its encoder.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        recipe = Encoder.model_validate_json(metadata["encoder"])
        stored = json.loads(metadata["preparation"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path}: not an encoder that Vicinal wrote ({error})") from error
    preparation = Preparation(
        stored["size"], stored["channels"], tuple(stored["mean"]), tuple(stored["std"])
    )
    encoder = build_encoder(recipe, channels=preparation.channels, size=preparation.size)
    encoder.load_state_dict(weights)
    return encoder.eval(), preparation


def fingerprint(path: Path) -> str:
    """The SHA-256 of an encoder's file, by which embeddings say what made them."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
