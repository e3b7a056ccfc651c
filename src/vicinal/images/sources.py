"""Where images can come from, and what a user's name for them means."""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Callable
from pathlib import Path

from vicinal.errors import InputError, option
from vicinal.images import csv_file, digits, folder, hub, numpy_file, parquet, torchvision_sets
from vicinal.images.imageset import Splits
from vicinal.images.store import Listed

Parts = tuple[Listed | None, Listed | None]
"""Training and test part; a source that has only one part gives it as the first."""
Loader = Callable[[str, Path, tuple[str, ...]], Parts]
"""(what follows the colon, folder for downloads, patterns of what is left out) -> parts."""


def _both(splits: Splits) -> Parts:
    return splits.train, splits.test


SOURCES: dict[str, Loader] = {
    "digits": lambda _, __, ___: _both(digits.load()),
    "cifar10": lambda _, data, __: _both(torchvision_sets.load("cifar10", data)),
    "cifar100": lambda _, data, __: _both(torchvision_sets.load("cifar100", data)),
    "mnist": lambda _, data, __: _both(torchvision_sets.load("mnist", data)),
    "fashion-mnist": lambda _, data, __: _both(torchvision_sets.load("fashion-mnist", data)),
    "parquet": lambda pattern, _, __: parquet.load(pattern),
    "folder": lambda path, _, exclude: folder.load(path, exclude),
    "csv": lambda path, _, exclude: csv_file.load(path, exclude),
    "numpy": lambda path, _, __: numpy_file.load(path),
    "hub": lambda name, data, _: hub.load(name, data / "hub"),
}
"""Where images can come from; those that take an argument are written ``folder:PATH``, or by
their path alone where its name says what it is (`named`)."""

_ARGUMENTS = {
    "parquet": "PATTERN",
    "folder": "PATH",
    "csv": "FILE",
    "numpy": "FILE",
    "hub": "NAME",
}
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".npy": "numpy",
    ".npz": "numpy",
    ".parquet": "parquet",
    ".tar": "tar",
}
_STREAMS = ("tar", "shards")


def source_names() -> list[str]:
    """Every source as one begins to write it: ``digits``, ``folder:``."""
    return [f"{name}:" if name in _ARGUMENTS else name for name in SOURCES]


def named(source: str | os.PathLike[str]) -> str:
    """A source with its prefix: ``PHOTOS`` is ``folder:PHOTOS``, ``a.csv`` is ``csv:a.csv``.

    A folder is a folder of pictures, or ``hub:`` if `datasets` saved it; otherwise the ending of
    the name says what it is: ``.csv``, ``.tsv``, ``.parquet`` (a pattern too), ``.npy``, ``.npz``,
    ``.tar``. What has a prefix, or is a known name such as ``digits``, stays as it is.

    Args:
        source: What a user gave.
    """
    text = os.fspath(source)
    kind, colon, _ = text.partition(":")
    known = colon and kind in (*_ARGUMENTS, *_STREAMS)
    if known or (text in (*SOURCES, "patches") and isinstance(source, str)):
        return text
    place = Path(os.path.expanduser(text))
    if place.is_dir():
        return f"hub:{text}" if hub.is_saved(place) else f"folder:{text}"
    ending = _SUFFIXES.get(Path(text.rstrip("/")).suffix.lower())
    if ending is not None:
        return f"{ending}:{text}"
    return f"folder:{text}" if "://" in text else text


def lists_files(source: str | os.PathLike[str]) -> bool:
    """Whether the pictures of a source have file names, by which they can be excluded."""
    return named(source).startswith(("folder:", "csv:", "tar:"))


def parts_of(
    source: str | os.PathLike[str], data: Path, exclude: tuple[str, ...] = (), *more: str
) -> Parts:
    """The training and test part of a source as they are listed, not decoded.

    Args:
        source: As a user gives it.
        data: Folder for downloads.
        exclude: Patterns of what is left out.
        more: Names that would have been valid too.

    Raises:
        InputError: If the source is unknown, missing, empty or unreadable, or has no file names
            to exclude by.
    """
    full = named(source)
    name, colon, argument = full.partition(":")
    takes_argument = name in _ARGUMENTS
    if name in SOURCES and bool(colon) == takes_argument and bool(argument) == takes_argument:
        if exclude and not lists_files(full):
            said = option("exclude", exclude[0])
            raise InputError(f"{said}: leaves out files by name, and {full} lists no files")
        return SOURCES[name](argument, data, exclude)
    raise InputError(_unknown(os.fspath(source), full, more))


def _unknown(source: str, full: str, more: tuple[str, ...]) -> str:
    """Why a source is none, and what is likely meant."""
    valid = [f"{n}:{_ARGUMENTS[n]}" if n in _ARGUMENTS else n for n in SOURCES] + list(more)
    name, _, argument = full.partition(":")
    if name in _STREAMS and argument:
        return (
            f"data {source!r}: is read as a stream, which 'vicinal train' takes (and 'vicinal "
            "shard' takes tar files); give pictures as a folder or parquet files"
        )
    if os.path.exists(os.path.expanduser(source)):
        return (
            f"data {source!r}: its name does not say what it is; write csv:{source} (a list of "
            f"paths), numpy:{source} (.npy, .npz) or parquet:{source}; pictures are given by "
            "their folder"
        )
    if source == "patches":
        return f"data 'patches': these are for {option('anomalies')} only; try digits"
    if glob.has_magic(source):
        return f"data {source!r}: a pattern is for parquet files; give pictures by folder"
    if os.sep in source or source.startswith((".", "~")):
        return f"data {source!r} is not known: no such file or folder; check the path"
    close = difflib.get_close_matches(source.lower(), valid, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"data {source!r} is not known, and no path; {hint}give one of {', '.join(valid)}"
