"""An encoder in the formats that other programs load, and the programs that load them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vicinal.encoder import PREFIX
from vicinal.errors import InputError, option

EXAMPLES = 2
"""Images that a graph is traced with; a batch of one would be taken for a constant."""
_ONNX_BYTES = 2**31 - 2**20  # protobuf's largest message, less the graph itself


class Prepared(nn.Module):
    """An encoder with the normalisation that it was trained with in front.

    Args:
        encoder: Normalised images (B, C, S, S) float32 to representations (B, F) float32.
        backbone: The encoder's name in its recipe.
        size: S, height and width in pixels.
        mean: Mean of each of the C channels, pixels in [0, 1].
        std: Standard deviation of each channel, likewise.
    """

    def __init__(
        self,
        encoder: nn.Module,
        backbone: str,
        size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.encoder, self.backbone, self.size = encoder, backbone, size
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (B, C, S, S) float32 in [0, 1] to representations (B, F) float32."""
        representations: Tensor = self.encoder((images - self.mean) / self.std)
        return representations

    def example(self) -> Tensor:
        """Images (`EXAMPLES`, C, S, S) to trace with."""
        return torch.rand(EXAMPLES, self.mean.numel(), self.size, self.size)


def _write_onnx(network: Prepared, file: Path) -> None:
    if sum(t.numel() * t.element_size() for t in network.state_dict().values()) > _ONNX_BYTES:
        raise InputError(
            f"{option('to', 'onnx')}: an ONNX file holds less than 2 GB; use "
            f"{option('to', 'torch.export')}"
        )
    torch.onnx.export(
        network,
        (network.example(),),
        file,
        input_names=["images"],
        output_names=["representations"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        external_data=False,  # one file
        verbose=False,
    )


def _write_torchscript(network: Prepared, file: Path) -> None:
    torch.jit.trace(network, network.example()).save(file)  # type: ignore[no-untyped-call]


def _write_program(network: Prepared, file: Path) -> None:
    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (network.example(),), dynamic_shapes=({0: batch},))
    torch.export.save(program, file)


def _write_timm(network: Prepared, file: Path) -> None:
    if not network.backbone.startswith(PREFIX):
        raise InputError(
            f"{option('to', 'timm')}: the encoder is Vicinal's {network.backbone!r}, none of "
            "timm's networks; "
            f"use {option('to', 'onnx')}, torch.export or safetensors"
        )
    metadata = {
        "timm": network.backbone.removeprefix(PREFIX),
        "size": str(network.size),
        "mean": json.dumps(network.mean.flatten().tolist()),
        "std": json.dumps(network.std.flatten().tolist()),
    }
    save_file(network.encoder.state_dict(), file, metadata=metadata)


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        suffix: How its name ends.
        normalises: Whether the file takes images in [0, 1], or images already normalised.
        needs: Packages that must be there to write and to load it.
        load: A program's lines that make ``run``, images (B, C, S, S) float32 to representations
            (B, F), of a path ``file`` and, for timm, of ``channels`` and ``size``.
        write: Writes it. None where the encoder's own file is what is wanted.
    """

    suffix: str
    normalises: bool
    needs: tuple[str, ...]
    load: str
    write: Callable[[Prepared, Path], None] | None


_TORCH = "import torch\nrun = lambda images: network(torch.from_numpy(images)).numpy(force=True)\n"
FORMATS = {
    "onnx": Format(
        ".onnx",
        True,
        ("onnx", "onnxruntime", "onnxscript"),
        "import onnxruntime\n"
        "session = onnxruntime.InferenceSession(file, providers=['CPUExecutionProvider'])\n"
        "run = lambda images: session.run(None, {'images': images})[0]\n",
        _write_onnx,
    ),
    "torchscript": Format(
        ".pt",
        True,
        (),
        f"{_TORCH}network = torch.jit.load(file)\n",
        _write_torchscript,
    ),
    "torch.export": Format(
        ".pt2",
        True,
        (),
        f"{_TORCH}network = torch.export.load(file).module()\n",
        _write_program,
    ),
    "safetensors": Format(
        ".safetensors",
        False,
        (),
        f"{_TORCH}import vicinal\nnetwork, _ = vicinal.load_encoder(file)\n",
        None,
    ),
    "timm": Format(
        ".safetensors",
        False,
        ("timm",),
        f"{_TORCH}import timm, safetensors, safetensors.torch\n"
        "name = safetensors.safe_open(file, 'pt').metadata()['timm']\n"
        "shape = {'num_classes': 0, 'in_chans': channels}\n"
        "try:\n"
        "    network = timm.create_model(name, img_size=size, **shape)\n"
        "except TypeError:\n"
        "    network = timm.create_model(name, **shape)\n"
        "network.load_state_dict(safetensors.torch.load_file(file), strict=True)\n"
        "network.eval()\n",
        _write_timm,
    ),
}
"""Every format that an encoder can be exported to."""
