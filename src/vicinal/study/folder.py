"""The run folder: whose run it is, on what machine it ran, and which stages are finished."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from vicinal import __version__
from vicinal.errors import InputError
from vicinal.files import read_json, replacing, write_json
from vicinal.recipe import Recipe
from vicinal.recipes import to_toml

PACKAGES = ("torch", "torchvision", "lightning", "numpy", "scikit-learn", "openTSNE")


@dataclass(frozen=True)
class RunFolder:
    """A folder that holds one run.

    Attributes:
        path: The folder.
    """

    path: Path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @contextmanager
    def stage(self, name: str) -> Iterator[bool]:
        """Yields whether the stage ``name`` has still to be run, and notes its time once it ended.

        A stage that an interrupted run finished is not run again.
        """
        due = name not in self.seconds()
        began = time.perf_counter()
        yield due
        if due:
            write_json(
                self / "stages.json",
                self.seconds() | {name: round(time.perf_counter() - began, 3)},
            )

    def seconds(self) -> dict[str, float]:
        """Finished stages with their time in seconds, in the order they ended."""
        path = self / "stages.json"
        return read_json(path) if path.is_file() else {}


def open_run(
    path: Path, identity: dict[str, Any], recipe: Recipe | None, *, resume: bool
) -> RunFolder:
    """Opens a folder for a run, and refuses one that holds anything else.

    Args:
        path: The folder; made if missing.
        identity: What, beside the recipe, makes the run what it is: plain data.
        recipe: Its recipe; None for a run that trains nothing.
        resume: Whether to go on with the run that the folder holds.

    Raises:
        InputError: If the folder holds another run, or this one and ``resume`` is False.
    """
    identity = identity | {"recipe": recipe and recipe.model_dump(mode="json")}
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; name a folder for the run")
    if not (path / "run.json").is_file():
        if path.is_dir() and any(path.iterdir()):
            raise InputError(f"{path} has files that are not a run's; name another folder")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path}: cannot make the run folder: {error.strerror}") from error
        if recipe is not None:
            with replacing(path / "recipe.toml") as partial:
                partial.write_text(to_toml(recipe), "utf-8")
        write_json(path / "run.json", identity)  # last: it is what makes the folder a run's
        return RunFolder(path)
    if not resume:
        raise InputError(
            f"{path} already holds a run; add --resume to go on with it, or name another folder"
        )
    held = read_json(path / "run.json")
    for name, (theirs, ours) in _differences(held, identity).items():
        raise InputError(
            f"{path} holds a run with {name} = {theirs!r}, not {ours!r}; name another folder"
        )
    return RunFolder(path)


def recipe_for(data: str) -> str:
    """The shipped recipe that fits a source of images."""
    return "digits" if data == "digits" else "laptop"


def default_folder(data: str, recipe: str, *, resume: bool, prefix: str = "") -> Path:
    """The newest run folder of this kind when going on, else the next free number.

    Args:
        data: The source of the images.
        recipe: The recipe's name.
        resume: Whether a run is gone on with.
        prefix: What the folder's name begins with.

    Raises:
        InputError: If there is no run to go on with.
    """
    kind, _, rest = data.partition(":")
    stem = f"{prefix}{Path(rest).stem.split('{')[0].strip('-_') or kind}-{recipe}"
    held = sorted(int(p.name[len(stem) + 1 :]) for p in Path("runs").glob(f"{stem}-[0-9]*"))
    if resume and not held:
        raise InputError(f"--resume: no run of {stem} in runs; start one without --resume")
    number = held[-1] if resume else (held[-1] + 1 if held else 1)
    return Path("runs") / f"{stem}-{number}"


def encoder_file(path: Path) -> Path:
    """The file of the encoder that a user names by its run: `train`'s, or a study's first learner.

    Raises:
        InputError: If it is a folder with no encoder in it.
    """
    if not path.is_dir():
        return path
    for name in ("encoder.safetensors", "generated/encoder.safetensors"):
        if (path / name).is_file():
            return path / name
    raise InputError(f"{path}: no encoder.safetensors in it; name a finished run or the file")


def describe_environment(seed: int, device: str, precision: str) -> dict[str, Any]:
    """Versions, machine, device, arithmetic and seed, as plain data."""
    return {
        "vicinal": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "precision": precision,
        "seed": seed,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _differences(
    held: dict[str, Any], ours: dict[str, Any], prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    """The leaves in which two nested dicts differ, by dotted name."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in held.keys() | ours.keys():
        a, b = held.get(key), ours.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found |= _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found[prefix + key] = (a, b)
    return dict(sorted(found.items()))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of a checkout that Vicinal runs from, marked if it has changes."""
    here = Path(__file__).parents[3]
    if not (here / ".git").exists():
        return None
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
