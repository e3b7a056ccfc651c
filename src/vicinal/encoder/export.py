"""An encoder in the formats that other programs load, checked in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from vicinal.encoder import PREFIX
from vicinal.encoder.layers import FlipAveraged
from vicinal.encoder.patches import WithPatches
from vicinal.encoder.pretrained import encoder_file
from vicinal.encoder.saved import Preparation, load_encoder, read_metadata
from vicinal.errors import InputError, option
from vicinal.files import check_new, replacing

EXAMPLES = 2
"""Images that a graph is traced with; a batch of one would be taken for a constant."""
_ONNX_BYTES = 2**31 - 2**20  # protobuf's largest message, less the graph itself


class Prepared(nn.Module):
    """An encoder with its preparation: images normalised before it, unit length behind it."""

    def __init__(self, encoder: nn.Module, backbone: str, preparation: Preparation) -> None:
        super().__init__()
        self.encoder, self.backbone, self.size = encoder, backbone, preparation.size
        self.unit_length = preparation.unit_length
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(preparation.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(preparation.std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (B, C, S, S) float32 in [0, 1] to representations (B, F) float32."""
        representations: Tensor = self.encoder(self.normalised(images))
        return functional.normalize(representations) if self.unit_length else representations

    def normalised(self, images: Tensor) -> Tensor:
        """The images as the encoder alone takes them."""
        return (images - self.mean) / self.std

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
    if isinstance(network.encoder, FlipAveraged | WithPatches):
        raise InputError(
            f"{option('to', 'timm')}: the encoder is more than timm's {network.backbone!r}: patch "
            "features stand beside it, or it sees mirror images too; use "
            f"{option('to', 'onnx')}, torch.export or safetensors, or train with encoder.patches=0 "
            "and encoder.flip_averaged=false"
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
    """A kind of file."""

    suffix: str  # how its name ends
    # whether all of the preparation is in the file; else it takes images already normalised and
    # gives representations as they are
    prepares: bool
    needs: tuple[str, ...]  # packages that must be there to write and to load it
    # a program's lines that make ``run``, images (B, C, S, S) float32 to representations (B, F),
    # of a path ``file`` and, for timm, of ``channels`` and ``size``
    load: str
    # writes it. None where the encoder's own file is what is wanted.
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
        ".pt", True, (), f"{_TORCH}network = torch.jit.load(file)\n", _write_torchscript
    ),
    "torch.export": Format(
        ".pt2", True, (), f"{_TORCH}network = torch.export.load(file).module()\n", _write_program
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


TOLERANCE = 1e-4
"""The greatest difference from PyTorch, in units of the largest number: float32, reordered."""
_BATCHES = (1, 5)  # neither is the batch that graphs are traced with
_ANSWER = """
import sys, numpy
file, given, answer, channels, size = sys.argv[1:4] + [int(n) for n in sys.argv[4:]]
{load}
with numpy.load(given) as batches:
    numpy.savez(answer, **{{name: run(batches[name]) for name in batches}})
"""


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how it was checked."""

    out: Path
    format: str  # one of `FORMATS`
    backbone: str  # the encoder's name in its recipe
    # of the images it takes, and of the representations it gives
    preparation: Preparation
    prepares: bool  # whether the file has that in it, as in `Format`
    dimensions: int  # F, numbers of a representation
    max_difference: float  # the greatest absolute difference from PyTorch on random images
    largest: float  # the greatest absolute number there, to hold the difference against

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        size, channels = self.preparation.size, self.preparation.channels
        return {
            "out": str(self.out),
            "format": self.format,
            "backbone": self.backbone,
            "input": {
                "shape": ["batch", channels, size, size],
                "dtype": "float32",
                "normalised": not self.prepares,
                "mean": list(self.preparation.mean),
                "std": list(self.preparation.std),
                "interpolation": self.preparation.interpolation,
                "whole": self.preparation.whole,
            },
            "output": {
                "shape": ["batch", self.dimensions],
                "dtype": "float32",
                "unit_length": self.preparation.unit_length and self.prepares,
            },
            "max_difference": self.max_difference,
            "largest": self.largest,
        }


def export(encoder: Path, to: str, out: Path) -> Exported:
    """Writes an encoder in another format, once a fresh process gave PyTorch's numbers from it."""
    if to not in FORMATS:
        raise InputError(f"{option('to', to)}: give one of {', '.join(FORMATS)}")
    form = FORMATS[to]
    check_new(out, "out", form.suffix)
    missing = [name for name in form.needs if find_spec(name) is None]
    if missing:
        raise InputError(
            f"{option('to', to)}: {', '.join(missing)} not installed; pip install 'vicinal[{to}]'"
        )
    file = encoder_file(encoder)
    network, preparation = load_encoder(file)
    backbone = read_metadata(file)[0].backbone
    prepared = Prepared(network, backbone, preparation).eval()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"encoder{form.suffix}"
        _write(prepared, to, file, made)
        difference, largest, dimensions = _compared(prepared, form, made)
        if not difference <= TOLERANCE * largest:
            raise InputError(
                f"{option('to', to)}: the file's numbers differ from PyTorch's by "
                f"{difference:.2g} (they "
                f"are up to {largest:.2g}); nothing was written, use another format"
            )
        with replacing(out) as partial:
            shutil.copyfile(made, partial)
    return Exported(out, to, backbone, preparation, form.prepares, dimensions, difference, largest)


def _write(network: Prepared, to: str, encoder: Path, made: Path) -> None:
    write = FORMATS[to].write
    if write is None:
        shutil.copyfile(encoder, made)
        return
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of each other's deprecations
            write(network, made)
    except InputError:
        raise
    except Exception as error:  # exporters raise their own kinds, and any of a network's
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{option('to', to)}: PyTorch cannot write a {network.backbone} so ({reason}); "
            "use another format"
        ) from error


def _compared(network: Prepared, form: Format, made: Path) -> tuple[float, float, int]:
    """Greatest difference from PyTorch, greatest number, and the representation's dimensions."""
    rng = np.random.default_rng(0)
    channels, size = network.mean.numel(), network.size
    batches = {
        str(batch): rng.random((batch, channels, size, size), dtype=np.float32)
        for batch in _BATCHES
    }
    with torch.inference_mode():
        seen: nn.Module = network
        if not form.prepares:
            seen = network.encoder
            images = {name: network.normalised(torch.from_numpy(b)) for name, b in batches.items()}
            batches = {name: some.numpy() for name, some in images.items()}
        expected = {name: seen(torch.from_numpy(b)).numpy() for name, b in batches.items()}
        if not all(np.isfinite(rows).all() for rows in expected.values()):
            raise InputError("the encoder gives NaN or infinity; train another")
    answers = _answers(form, made, batches, channels, size)
    difference = max(float(np.abs(answers[name] - expected[name]).max()) for name in expected)
    largest = max(float(np.abs(rows).max()) for rows in expected.values())
    return difference, largest, expected["1"].shape[1]


def _answers(
    form: Format, made: Path, batches: dict[str, NDArray[np.float32]], channels: int, size: int
) -> dict[str, NDArray[np.float32]]:
    """The representations that a fresh process computes from the file alone."""
    given, answer = made.with_name("given.npz"), made.with_name("answer.npz")
    np.savez(given, **batches)  # type: ignore[arg-type]
    program = _ANSWER.format(load=form.load)
    arguments = [str(made), str(given), str(answer), str(channels), str(size)]
    command = [sys.executable, "-P", "-W", "ignore", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        reason = (done.stderr.strip() or "no message").rpartition("\n")[2]
        raise InputError(
            f"the file that was made does not load ({reason}); nothing was written, "
            "use another format"
        )
    with np.load(answer) as answers:
        return dict(answers)
