"""A folder of parts, here or where fsspec leads: claimed, written whole or not at all, listed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import fsspec

from vicinal.errors import InputError, option
from vicinal.files import replacing

PLAN = "embed.json"
"""What the parts are made from and with, and whether all of them are there."""


def claim(where: str, plan: dict[str, Any], out: str) -> None:
    """Makes the folder ours, or finds it begun by the same command.

    Args:
        where: The folder's address.
        plan: What shall be done, told by its ``plan``.
        out: What messages call the folder.

    Raises:
        InputError: If something else is there, or it is finished.
    """
    filesystem, folder = fsspec.core.url_to_fs(where)
    path = f"{folder}/{PLAN}"
    if filesystem.exists(path):
        said = json.loads(filesystem.cat_file(path))
        if said.get("plan") == plan["plan"] and not said["finished"]:
            return
        state = "finished" if said.get("finished") else "begun from another source or encoder"
        raise InputError(
            f"{option('out', out)}: is there already, {state}; remove it or give another name"
        )
    if filesystem.exists(folder) and (filesystem.isfile(folder) or filesystem.ls(folder)):
        raise InputError(f"{option('out', out)}: is there already; remove it or give another name")
    filesystem.makedirs(folder, exist_ok=True)
    write_plan(where, plan)


def write_plan(where: str, plan: dict[str, Any]) -> None:
    """Writes ``embed.json``."""
    with replacing_in(where, PLAN) as file:
        file.write((json.dumps(plan, indent=1) + "\n").encode("utf-8"))


@contextmanager
def replacing_in(where: str, name: str) -> Iterator[IO[bytes]]:
    """Yields an open file that is in the folder under its name once all of it is written."""
    filesystem, folder = fsspec.core.url_to_fs(where)
    if "file" in filesystem.protocol:
        with replacing(Path(folder) / name) as partial, partial.open("wb") as file:
            yield file
    else:  # an object is there when its upload ends
        with filesystem.open(f"{folder}/{name}", "wb") as file:
            yield file


def part_names(where: str) -> list[str]:
    """The names of the parts there are; what dead workers left half written is cleared away."""
    filesystem, folder = fsspec.core.url_to_fs(where)
    found = [str(path).rsplit("/", 1)[-1] for path in filesystem.ls(folder, detail=False)]
    for name in found:
        if name.endswith(".partial"):
            filesystem.rm_file(f"{folder}/{name}")
    return sorted(name for name in found if name.endswith(".parquet"))
