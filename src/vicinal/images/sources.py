"""The kinds of sources, and the source that a user's text names."""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from vicinal.errors import InputError, option, said_by
from vicinal.file_names import is_address
from vicinal.images import arrays, csv_file, folder, hub, named_sets, parquet, shards, tar
from vicinal.images.image_set import Splits
from vicinal.images.picture_list import Parts

Loader = Callable[[str, Path, tuple[str, ...]], Parts]
"""(what follows the colon, folder for downloads, patterns of what is left out) -> parts."""


class Source(NamedTuple):
    """A kind of source."""

    load: Loader  # lists its pictures
    argument: str = ""  # what is written behind its name and a colon; empty where there is nothing
    suffixes: tuple[str, ...] = ()  # endings of paths that say that they are such a source


def _ready(splits: Splits) -> Parts:
    return arrays.listed(splits.train), arrays.listed(splits.test)


def _by_torchvision(name: str, _: str, data: Path, __: tuple[str, ...]) -> Parts:
    return _ready(named_sets.load_torchvision(name, data))


SOURCES: dict[str, Source] = {
    "digits": Source(lambda _, __, ___: _ready(named_sets.load_digits())),
    "cifar10": Source(partial(_by_torchvision, "cifar10")),
    "cifar100": Source(partial(_by_torchvision, "cifar100")),
    "mnist": Source(partial(_by_torchvision, "mnist")),
    "fashion-mnist": Source(partial(_by_torchvision, "fashion-mnist")),
    "parquet": Source(lambda pattern, _, __: parquet.load(pattern), "PATTERN", (".parquet",)),
    "folder": Source(lambda path, _, exclude: folder.load(path, exclude), "PATH"),
    "csv": Source(lambda path, _, exclude: csv_file.load(path, exclude), "FILE", (".csv", ".tsv")),
    "numpy": Source(lambda path, _, __: arrays.load(path), "FILE", (".npy", ".npz")),
    "tar": Source(lambda pattern, _, exclude: tar.load(pattern, exclude), "PATTERN", (".tar",)),
    "shards": Source(lambda path, _, __: shards.load(path), "PATH"),
    "hub": Source(lambda name, data, _: hub.load(name, data / "hub"), "NAME"),
}
"""Where images can come from; those that take an argument are written ``folder:PATH``, or by
their path alone where its name says what it is (`named`)."""


def source_names() -> list[str]:
    """Every source as one begins to write it: ``digits``, ``folder:``."""
    return [f"{name}:" if source.argument else name for name, source in SOURCES.items()]


def named(source: str | os.PathLike[str]) -> str:
    """A source with its prefix: ``PHOTOS`` is ``folder:PHOTOS``, ``a.csv`` is ``csv:a.csv``.

    A folder is a folder of pictures, or ``hub:`` if `datasets` saved it; otherwise the ending of
    the name says what it is: ``.csv``, ``.tsv``, ``.parquet`` (a pattern too), ``.npy``, ``.npz``,
    ``.tar``. What has a prefix, or is a known name such as ``digits``, stays as it is.
    """
    try:
        text = os.fspath(source)
    except TypeError:
        kind = type(source).__name__
        raise InputError(
            f"data must be a path or a name, found {kind}; pictures in Python: vicinal.from_images"
        ) from None
    kind, colon, _ = text.partition(":")
    known = colon and _takes_argument(kind)
    if known or (text in (*SOURCES, "patches") and isinstance(source, str)):
        return text
    place = Path(os.path.expanduser(text))
    if place.is_dir():
        return f"hub:{text}" if hub.is_saved(place) else f"folder:{text}"
    ending = Path(text.rstrip("/")).suffix.lower()
    for name, kind_of_source in SOURCES.items():
        if ending in kind_of_source.suffixes:
            return f"{name}:{text}"
    return f"folder:{text}" if is_address(text) else text


def anywhere(source: str | os.PathLike[str]) -> str:
    """As `named`, and means the same files whatever the current folder is."""
    kind, colon, place = named(source).partition(":")
    if not colon or is_address(place):
        return kind + colon + place
    there = os.path.expanduser(place)
    if kind == "hub" and not os.path.isdir(there):
        return f"{kind}:{place}"
    return f"{kind}:{os.path.abspath(there)}"


def _takes_argument(name: str) -> bool:
    return name in SOURCES and bool(SOURCES[name].argument)


def lists_files(source: str | os.PathLike[str]) -> bool:
    """Whether the pictures of a source have file names, by which they can be excluded."""
    return named(source).startswith(("folder:", "csv:", "tar:"))


def parts_of(
    source: str | os.PathLike[str], data: Path, exclude: tuple[str, ...] = (), *more: str
) -> Parts:
    """The training and test part of a source as they are listed, not decoded."""
    full = named(source)
    name, colon, argument = full.partition(":")
    takes_argument = _takes_argument(name)
    if name in SOURCES and bool(colon) == takes_argument and bool(argument) == takes_argument:
        if exclude and not lists_files(full):
            said = option("exclude", exclude[0])
            raise InputError(f"{said}: leaves out files by name, and {full} lists no files")
        if is_address(argument) and name not in ("folder", "parquet"):
            raise InputError(
                f"data {full!r}: of addresses only folders and parquet files are read; copy the "
                "file to this machine"
            )
        try:
            return SOURCES[name].load(argument, data, exclude)
        except InputError:
            raise
        except Exception as error:  # every kind of place has errors of its own
            if not is_address(argument):
                raise
            raise InputError(
                f"data {full!r}: cannot be listed ({said_by(error)}); check the address, the "
                "credentials and that fsspec's package for it is installed"
            ) from None
    raise InputError(_unknown(os.fspath(source), more))


def _unknown(source: str, more: tuple[str, ...]) -> str:
    """Why a source is not known, and what is likely meant."""
    valid = [f"{n}:{s.argument}" if s.argument else n for n, s in SOURCES.items()] + list(more)
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
