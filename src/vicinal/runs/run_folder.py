"""The run folder: whose run it is, by what recipe, on what machine it ran."""

from __future__ import annotations

import glob
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from filelock import BaseFileLock, FileLock, Timeout

from vicinal import __version__, cores, distributed
from vicinal.encoder.pretrained import with_start
from vicinal.errors import InputError, StorageError, option
from vicinal.files import read_json, replacing, write_json
from vicinal.images import named
from vicinal.progress import say
from vicinal.recipes import checked, override, read_recipe, to_toml
from vicinal.recipes.ignored_differences import ignoring
from vicinal.recipes.recipe import Recipe
from vicinal.runs.kinds import kind_of
from vicinal.runs.stages import finished_stages, hold_threads

LOCK = "run.lock"
"""The file that a process at work on a run holds locked; the system unlocks it when it ends."""
PACKAGES = ("torch", "torchvision", "lightning", "numpy", "scikit-learn", "openTSNE")


@dataclass(frozen=True)
class RunFolder:
    """A folder that holds one run.

    As a context manager it lets go of its lock, and says of a file that could not be
    written or is gone what is kept all the same.
    """

    path: Path
    lock: BaseFileLock | None = None  # what keeps other processes out, or None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.lock is not None:
            self.lock.release()
        if isinstance(error, StorageError):
            raise InputError(
                f"{self.path}: {error.path.name} could not be written ({error.reason}); "
                f"{self._progress()}; mend that and go on with {option('resume', True)}"
            ) from error
        if isinstance(error, FileNotFoundError) and error.filename is not None:
            lost = Path(os.fsdecode(error.filename))
            if lost.is_relative_to(self.path):
                raise InputError(
                    f"{lost}: removed while the run was at work; {self._progress()}; "
                    f"go on with {option('resume', True)}, which makes it again"
                ) from error

    def _progress(self) -> str:
        """In words, what an interrupted run goes on from."""
        stages = len(finished_stages(self.path))
        begun = len(list(self.path.glob("checkpoint.pt")) + list(self.path.glob("*/checkpoint.pt")))
        return f"kept: {stages} finished stages and the checkpoints of {begun} trainings"


def open_run(
    path: Path, identity: dict[str, Any], recipe: Recipe | None, *, resume: bool
) -> RunFolder:
    """Opens a folder for a run, on the first rank; refuses one that holds anything else."""
    opened: list[RunFolder] = []
    distributed.from_first(lambda: opened.append(_opened(path, identity, recipe, resume=resume)))
    return opened[0] if opened else RunFolder(path)


def _opened(
    path: Path, identity: dict[str, Any], recipe: Recipe | None, *, resume: bool
) -> RunFolder:
    identity = identity | {"recipe": recipe and recipe.model_dump(mode="json")}
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; name a folder for the run")
    if path.is_dir() and not (path / "run.json").is_file() and any(_foreign(path)):
        raise InputError(f"{path} has files that are not a run's; name another folder")
    run = RunFolder(path, _locked(path))
    if (path / "run.json").is_file():
        _check_held(run, identity, resume=resume)
    else:
        if resume:
            say(f"{path}: no run there to go on with; a new one begins")
        write_json(path / "run.json", identity)  # first: it is what makes the folder a run's
    if recipe is not None and not (path / "recipe.toml").is_file():
        with replacing(path / "recipe.toml") as partial:
            partial.write_text(to_toml(recipe), "utf-8")
    hold_threads(path)
    return run


def hold_run(path: Path) -> RunFolder:
    """Opens a run that is there, whatever it is, to change its files; locked for this process."""
    if not (path / "run.json").is_file():
        raise InputError(f"{path}: no run here; name the folder of a finished run")
    return RunFolder(path, _locked(path))


def _foreign(path: Path) -> Iterator[Path]:
    """Files that a run killed at its very beginning cannot have left."""
    for found in path.iterdir():
        if found.name != LOCK and not re.fullmatch(r"run\.json\..*\.partial", found.name):
            yield found


def _locked(path: Path) -> BaseFileLock:
    """Makes the folder if need be, and locks it for this process."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{path}: another process is at work on this run; wait for it, or name another folder"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot write the run folder: {error.strerror}") from error
    return lock


def _check_held(run: RunFolder, identity: dict[str, Any], *, resume: bool) -> None:
    """Refuses a run of another command, another run, and one that was not asked to go on."""
    kind, ours = kind_of(run.path), identity.get("verb", "study")
    if kind is not None and kind != ours:
        raise InputError(
            f"{run.path} holds a run of `vicinal {kind}`, not of `vicinal {ours}`; name another "
            f"folder, or go on with it by `vicinal {kind}`"
        )
    if not resume:
        raise InputError(
            f"{run.path} already holds a run; add {option('resume', True)} to go on with it, or "
            "name another folder"
        )
    held = read_json(run / "run.json")
    if held.get("recipe"):
        held["recipe"] = _in_full(held["recipe"])
    for name, (theirs, ours) in _differences(held, identity).items():
        further = identity.get("verb") == "train" and name in ("recipe.training.epochs", "minutes")
        how = f", with {option('start', run.path)} to train its encoder further" if further else ""
        if name.startswith("recipe.") and identity.get("verb", "study") in ("study", "train"):
            how += f", or leave {option('recipe')} and {option('settings')} out to go on by its own"
        had = f"no {name}" if theirs is None else f"{name} = {theirs!r}"
        raise InputError(
            f"{run.path} holds a run with {had}, not {'none' if ours is None else repr(ours)}; "
            f"name another folder{how}"
        )


def _in_full(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe as an earlier version kept it, with the defaults of what has been added since."""
    now = Recipe().model_dump(mode="json")
    return {
        name: now[name] | value if isinstance(value, dict) and name in now else value
        for name, value in recipe.items()
    }


def held_recipe(path: Path) -> Recipe | None:
    """The recipe of the run in a folder, fitted to its pictures; None where there is none."""
    held = read_json(path / "run.json") if (path / "run.json").is_file() else {}
    return checked(held["recipe"], str(path / "run.json")) if held.get("recipe") else None


def resumed_recipe(path: Path, settings: Sequence[str], precision: str) -> Recipe | None:
    """The recipe of a run that goes on, with what is set anew; None where there is no run.

    ``precision`` is the arithmetic that is open already: a run of another is refused, by its name.
    """
    held = held_recipe(path)
    return held and override(held, [*settings, f"training.precision={precision}"])


def held_minutes(path: Path) -> float | None:
    """The minutes that the training of the run in a folder was given; None without."""
    held = read_json(path / "run.json") if (path / "run.json").is_file() else {}
    given = held.get("minutes", held.get("asked", {}).get("minutes"))
    return given if isinstance(given, int | float) else None


def recipe_for(data: str) -> str:
    """The shipped recipe that fits a source: folders hold photographs, parquet small pictures."""
    if data == "digits":
        return "digits"
    return "photos" if named(data).startswith(("folder:", "csv:", "hub:")) else "laptop"


def default_folder(data: str, recipe: str, *, resume: bool, prefix: str = "") -> Path:
    """The newest run folder of this kind when going on, else the next free number."""
    kind, _, rest = named(data).partition(":")
    stem = f"{prefix}{Path(rest).stem.split('{')[0].strip('-_*?') or kind}-{recipe}"
    alike = Path("runs").glob(f"{glob.escape(stem)}-[0-9]*")
    held = sorted(int(p.name[len(stem) + 1 :]) for p in alike)
    if resume and not held:
        raise InputError(
            f"{option('resume', True)}: no run of {stem} in runs; start one without it"
        )
    number = held[-1] if resume else (held[-1] + 1 if held else 1)
    return Path("runs") / f"{stem}-{number}"


def describe_environment(seed: int, device: str, precision: str) -> dict[str, Any]:
    """Versions, machine, device, arithmetic and seed, as plain data."""
    return {
        "vicinal": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": cores.count(),
        "threads": cores.threads(),
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
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 — no word of it is a user's
        return done.stdout.strip()
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


def resolve_recipe(
    data: str, recipe: str | None, settings: Sequence[str], ignore: Sequence[str] | None = None
) -> Recipe:
    """The recipe asked for, or the one that fits, with its settings and its start's network."""
    starts = any(one.partition("=")[0].strip() == "encoder.start" for one in settings)
    name = recipe or ("pretrained" if starts else recipe_for(data))
    chosen = override(read_recipe(name), settings)
    return with_start(chosen if ignore is None else ignoring(chosen, ignore))
