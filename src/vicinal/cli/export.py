"""`vicinal export`: an encoder for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import AsJson, complete_format
from vicinal.cli.output import answer


def export(
    run: Annotated[Path, typer.Argument(help="A run folder or an encoder.safetensors.")],
    to: Annotated[
        str,
        typer.Option(
            help="onnx, torchscript, torch.export, safetensors or timm.",
            autocompletion=complete_format,
        ),
    ],
    out: Annotated[Path, typer.Option(help="The file to write: .onnx, .pt, .pt2 or .safetensors.")],
    as_json: AsJson = False,
) -> None:
    r"""Write a trained encoder for other programs, checked against PyTorch.

    The first three take float32 images (B, C, S, S) in [0, 1], any B, and normalise them.

    \b
    vicinal export runs/photos --to onnx --out photos.onnx
    vicinal export runs/photos --to torch.export --out photos.pt2
    """
    from vicinal.encoder.export import export as write

    made = write(run, to, out)
    size, channels = made.preparation.size, made.preparation.channels
    images = "in [0, 1]" if made.prepares else "normalised by its mean and std"
    answer(
        as_json,
        made.to_json,
        f"float32 images (B, {channels}, {size}, {size}) {images} to (B, {made.dimensions}): {out}",
        f"loaded in a fresh process: at most {made.max_difference:.2g} from PyTorch's numbers, "
        f"which are up to {made.largest:.2g}",
    )
