"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vicinal.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; what was written there then takes its place.

    The move comes last and is atomic, after the bytes are on disk: an interruption
    leaves the old file, or none, and never a part of the new one.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Writes plain data as readable JSON; NaN and infinity, which JSON lacks, are refused."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", "utf-8")


def read_json(path: Path) -> Any:
    """Reads what `write_json` wrote.

    Raises:
        InputError: If the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: missing; run the study again with --resume") from None
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error}); remove it and start again") from None
