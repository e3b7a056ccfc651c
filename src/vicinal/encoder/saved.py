"""An encoder as a file: weights by safetensors, and what is needed to use them."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from vicinal.encoder import build_encoder
from vicinal.encoder.layers import FlipAveraged
from vicinal.encoder.patches import PatchFilters, WithPatches, patch_side, seen_side
from vicinal.errors import InputError
from vicinal.files import replacing
from vicinal.images.decoding import INTERPOLATIONS, Decoding
from vicinal.images.file_formats import MOST_PIXELS
from vicinal.recipes.recipe import Encoder

NEIGHBOURS_BY = ("L2", "cosine")
LARGEST = 4096
"""Pixels a side that an encoder's file may ask for."""


@dataclass(frozen=True)
class Preparation:
    """How images are prepared for an encoder, and what becomes of its representations."""

    size: int  # height and width in pixels
    channels: int  # 1 (grey) or 3 (RGB)
    mean: tuple[float, ...]  # mean of each channel over the training set, pixels in [0, 1]
    std: tuple[float, ...]  # standard deviation of each channel, likewise
    interpolation: str = "bilinear"  # how pictures are scaled, one of `INTERPOLATIONS`
    # whether all of a picture is squeezed into the square, as `Decoding` has it
    whole: bool = True
    # the values of pictures of more than 8 bits that become 0 and 255, as they did in the
    # training set; None if it had none such
    span: tuple[float, float] | None = None
    # whether representations are brought to unit length, so that L2 ranks as cosine does
    unit_length: bool = False
    # by what neighbours, maps and groups compare representations, one of `NEIGHBOURS_BY`; oddness
    # is by L2 always
    neighbours: str = "L2"

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes one that was pickled before pictures were seen whole as what it was."""
        self.__dict__.update({"whole": False} | state)

    def decoding(self, *, max_pixels: int = MOST_PIXELS, no_deep: str = "") -> Decoding:
        """How pictures are decoded for the encoder; the options are those of `Decoding`."""
        return Decoding(
            self.size,
            self.channels,
            whole=self.whole,
            interpolation=self.interpolation,
            span=self.span,
            max_pixels=max_pixels,
            no_deep=no_deep,
        )


def save_encoder(
    encoder: nn.Module, path: str | Path, *, recipe: Encoder, preparation: Preparation
) -> None:
    """Writes weights with the recipe section and the preparation as metadata."""
    preparation = prepared_for(encoder, preparation)
    recipe = Encoder.model_validate(recipe.model_dump())  # one pickled before a field was added
    averaged = isinstance(encoder, FlipAveraged)
    # Whose weights they were, not where somebody's file lies; files without a start say nothing.
    said = {"start": recipe.start.partition("@")[0], "flip_averaged": averaged}
    public = recipe.model_copy(update=said)
    joined = isinstance(encoder, WithPatches)  # one that is kept during a training is not
    if isinstance(encoder, WithPatches):
        beside = {"mirrored": encoder.mirrored, "coarse_patches": encoder.coarse is not None}
        public = public.model_copy(update=beside)
    parts = {
        "start": bool(public.start),
        "patch_stem": public.patch_stem,
        "patches": joined,
        "coarse_patches": joined and public.coarse_patches,
        "mirrored": joined,
        "flip_averaged": averaged,
    }
    absent = {name for name, there in parts.items() if not there}
    metadata = {
        "encoder": public.model_dump_json(exclude=absent),
        "preparation": json.dumps(_said(preparation)),
    }
    weights = {name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}
    with replacing(Path(path)) as partial:
        partial.write_bytes(_ordered(save(weights, metadata=metadata)))


def prepared_for(encoder: nn.Module, preparation: Preparation) -> Preparation:
    """The preparation with what becomes of the encoder's rows where patches stand beside it.

    How far such a row lies from the middle tells odd pictures, so it keeps its length.
    """
    if not isinstance(encoder, WithPatches):
        return preparation
    by = "L2" if encoder.unit_blocks else "cosine"
    return replace(preparation, neighbours=by, unit_length=False)


def _said(preparation: Preparation) -> dict[str, Any]:
    """The preparation as plain data; what there is not is not said."""
    said = asdict(preparation)
    if preparation.neighbours == "L2":
        del said["neighbours"]
    return {name: value for name, value in said.items() if value is not None and value is not False}


def _ordered(file: bytes) -> bytes:
    """The safetensors file with its metadata in order: the library's own order is by chance."""
    size = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + file[8 + size :]


def load_encoder(path: str | Path) -> tuple[nn.Module, Preparation]:
    """Reads what `save_encoder` wrote: the encoder in evaluation mode, and its preparation.

    Raises:
        InputError: If the file is missing or is not such a file.
    """
    path = Path(path)
    recipe, preparation = read_metadata(path)
    try:
        weights = load_file(path)
        with torch.device("meta"):  # what a stranger's file claims must not fill the memory
            claimed = _built(recipe, preparation).state_dict()
    except (SafetensorError, RuntimeError, TypeError) as error:  # TypeError: a size beyond 64 bits
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not an encoder that Vicinal wrote ({reason})") from error
    if {name: w.shape for name, w in claimed.items()} != {n: w.shape for n, w in weights.items()}:
        raise InputError(
            f"{path}: not an encoder that Vicinal wrote (its weights are not those of the encoder "
            "it describes)"
        )
    encoder = _built(recipe, preparation)
    encoder.load_state_dict(weights)
    return encoder.eval(), preparation


def _built(recipe: Encoder, preparation: Preparation) -> nn.Module:
    """The network that a file's numbers belong to."""
    size, channels = preparation.size, preparation.channels
    network = build_encoder(recipe, channels=channels, size=size)
    if not recipe.patches:
        return FlipAveraged(network) if recipe.flip_averaged else network
    side = patch_side(seen_side(size))
    filters = torch.zeros(recipe.patches, channels, side, side)
    fine, coarse = (PatchFilters(filters, torch.zeros(len(filters))) for _ in range(2))
    return WithPatches(
        network,
        fine,
        size,
        recipe.dimension,
        mirrored=recipe.mirrored,
        network_mirrored=not recipe.start,
        coarse=coarse if recipe.coarse_patches else None,
        unit_blocks=preparation.neighbours == "L2",
    )


def read_metadata(path: Path) -> tuple[Encoder, Preparation]:
    """The recipe section and the preparation in an encoder's file; its weights are not read."""
    if not path.is_file():
        raise InputError(f"{path}: no encoder there; train one, or name its encoder.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        recipe = Encoder.model_validate_json(metadata["encoder"])
        preparation = _checked(json.loads(metadata["preparation"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not an encoder that Vicinal wrote ({reason})") from error
    return recipe, preparation


def _checked(stored: dict[str, Any]) -> Preparation:
    """A preparation that pictures can be prepared by, from what a file says."""
    span = stored.get("span")
    found = Preparation(
        size=int(stored["size"]),
        channels=int(stored["channels"]),
        mean=tuple(stored["mean"]),
        std=tuple(stored["std"]),
        interpolation=stored.get("interpolation", "bilinear"),  # older files do not say
        whole=stored.get("whole") is True,  # older files do not say, and theirs saw the centre
        span=None if span is None else tuple(span),
        unit_length=stored.get("unit_length") is True,
        neighbours=stored.get("neighbours", "L2"),
    )
    numbers = (*found.mean, *found.std, *(found.span or ()))
    if (
        not 1 <= found.size <= LARGEST
        or found.channels not in (1, 3)
        or not len(found.mean) == len(found.std) == found.channels
        or not all(isinstance(x, float | int) and math.isfinite(x) for x in numbers)
        or min(found.std) <= 0
        or found.interpolation not in INTERPOLATIONS
        or found.neighbours not in NEIGHBOURS_BY
        or (found.span is not None and len(found.span) != 2)
    ):
        raise ValueError("its preparation makes no sense")
    return found


def fingerprint(path: Path) -> str:
    """The SHA-256 of an encoder's file, by which embeddings say what made them."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
