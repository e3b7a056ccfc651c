"""export: a trained encoder as a file that other programs load, checked in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vicinal.encoder.exported import FORMATS, Format, Prepared
from vicinal.encoder.saved import Preparation, load_encoder, read_metadata
from vicinal.errors import InputError, option
from vicinal.files import check_new, replacing
from vicinal.encoder.cached import encoder_file

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
    """A file that was written, and how it was checked.

    Attributes:
        out: The file.
        format: One of `FORMATS`.
        backbone: The encoder's name in its recipe.
        preparation: The images it takes; ``mean`` and ``std`` are in the file if it normalises.
        normalises: Whether it takes images in [0, 1], or images already normalised.
        dimensions: F, numbers of a representation.
        max_difference: The greatest absolute difference from PyTorch on random images.
        largest: The greatest absolute number there, to hold the difference against.
    """

    out: Path
    format: str
    backbone: str
    preparation: Preparation
    normalises: bool
    dimensions: int
    max_difference: float
    largest: float

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
                "normalised": not self.normalises,
                "mean": list(self.preparation.mean),
                "std": list(self.preparation.std),
                "interpolation": self.preparation.interpolation,
            },
            "output": {"shape": ["batch", self.dimensions], "dtype": "float32"},
            "max_difference": self.max_difference,
            "largest": self.largest,
        }


def export(encoder: Path, to: str, out: Path) -> Exported:
    """Writes an encoder in another format, once a fresh process gave PyTorch's numbers from it.

    ``onnx``, ``torchscript`` and ``torch.export`` take images (B, C, S, S) float32 in [0, 1], any
    B, and normalise them; ``safetensors`` and ``timm`` hold the network alone.

    Args:
        encoder: A run folder or an encoder's file.
        to: One of `FORMATS`.
        out: Where the file shall go; nothing may be there yet.

    Raises:
        InputError: If the format is another, a package is missing, the encoder cannot be had in
            that format, or its numbers are not PyTorch's; then nothing is written.
    """
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
    mean, std = preparation.mean, preparation.std
    prepared = Prepared(network, backbone, preparation.size, mean, std).eval()
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
    return Exported(
        out, to, backbone, preparation, form.normalises, dimensions, difference, largest
    )


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
        expected = {name: network(torch.from_numpy(b)).numpy() for name, b in batches.items()}
        if not all(np.isfinite(rows).all() for rows in expected.values()):
            raise InputError("the encoder gives NaN or infinity; train another")
        if not form.normalises:
            mean, std = network.mean.numpy(), network.std.numpy()
            batches = {name: (batch - mean) / std for name, batch in batches.items()}
    answers = _answers(form, made, batches, channels, size)
    difference = max(float(np.abs(answers[name] - expected[name]).max()) for name in expected)
    largest = max(float(np.abs(rows).max()) for rows in expected.values())
    return difference, largest, expected["1"].shape[1]


def _answers(
    form: Format, made: Path, batches: dict[str, NDArray[np.float32]], channels: int, size: int
) -> dict[str, NDArray[np.float32]]:
    """What a fresh process, which knows only the file, makes of the images."""
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
