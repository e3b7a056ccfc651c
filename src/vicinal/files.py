"""Files: written so that a reader never meets half of one; JSON, CSV and parquet."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import platform
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vicinal.errors import InputError, StorageError, option
from vicinal.file_names import is_address

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; what was written there then takes its place.

    The move comes last and is atomic, after the bytes are on disk, and is itself on disk
    when this returns: an interruption leaves the old file, or none, and never a part of the
    new one. What a killed process left half written for ``path`` is removed.
    """
    _remove_orphans(path)
    partial = path.with_name(f"{path.name}.{_host()}.{os.getpid()}.partial")
    written = False
    try:
        yield partial
        written = True
        _sync(partial)
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        # While the caller works, any other complaint may be about what it reads.
        ours = error.filename in (str(partial), partial) or partial.name in str(error)
        if written or error.errno in _FULL or ours:
            raise StorageError(path, error.strerror or str(error)) from error
        raise
    finally:
        with suppress(OSError):
            partial.unlink()


def make_folder(path: Path, *, parents: bool = True) -> None:
    """Makes a folder that is not there yet."""
    try:
        path.mkdir(parents=parents)
    except OSError as error:
        raise StorageError(path, error.strerror or str(error)) from error


def _sync(path: Path) -> None:
    with path.open("rb+") as written:  # Windows syncs only what could be written to
        os.fsync(written.fileno())


def _sync_folder(folder: Path) -> None:
    """Syncs the folder's list of names to disk, where the system lets a folder be opened."""
    try:
        opened = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(opened)


def _remove_orphans(path: Path) -> None:
    """Removes half-written files for ``path`` of this machine's processes that have ended."""
    pattern = re.compile(re.escape(f"{path.name}.{_host()}.") + r"(\d+)\.partial")
    with suppress(OSError):
        for name in os.listdir(path.parent):
            found = pattern.fullmatch(name)
            if found and not _lives(int(found[1])):
                path.with_name(name).unlink()


def _lives(process: int) -> bool:
    if os.name == "nt":  # there, any signal ends the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _host() -> str:
    return re.sub(r"[^\w-]", "-", platform.node())[:40] or "host"


def write_json(path: Path, data: Any) -> None:
    """Writes plain data as readable JSON, as `as_json` has it."""
    text = as_json(data)
    with replacing(path) as partial:
        partial.write_text(text + "\n", "utf-8")


def as_json(data: Any) -> str:
    """Plain data as readable JSON; NaN and infinity, such as an unknown accuracy, become null."""
    return json.dumps(_with_nulls(data), indent=1, allow_nan=False)


def _with_nulls(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _with_nulls(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_with_nulls(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def read_json(path: Path) -> Any:
    """Reads what `write_json` wrote."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: missing; run the study again with {option('resume', True)}"
        ) from None
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error}); remove it and start again") from None


_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet run a cell


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a table; None becomes an empty cell.

    Text that a spreadsheet would take for a formula gets an apostrophe in front, as OWASP
    advises against CSV injection; `plain_cell` takes it off. Numbers stay as they are.
    """
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(header)
        for row in rows:
            cells = [_safe_cell(cell) for cell in row]
            # Python 3.11 and 3.12 write a bare carriage return, at which readers end the row.
            returns = any(isinstance(cell, str) and "\r" in cell for cell in cells)
            (quoting if returns else writer).writerow(cells)


def write_parquet(path: Path, table: Any) -> None:
    """Writes an Arrow table, or columns by name, as parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing(path) as partial:
        pq.write_table(pa.table(table) if isinstance(table, dict) else table, partial)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file whose first line names the columns, such as ``losses.csv``."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def plain_cell(text: str) -> str:
    """The text that `write_csv` was given for a cell."""
    return text[1:] if text[:1] == "'" and text[1:2] in _FORMULA and len(text) > 1 else text


def _safe_cell(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def check_new(path: Path, parameter: str, suffix: str) -> Path:
    """Returns a path at which a new file can be written."""
    named = option(parameter, path)
    if path.suffix.lower() != suffix:
        raise InputError(f"{named}: the name must end in {suffix}")
    if path.exists() or path.is_symlink():
        raise InputError(f"{named}: is there already; remove it or give another name")
    if not path.parent.is_dir():
        raise InputError(f"{named}: no folder {path.parent}; make it first")
    return path


def read_address(address: str) -> bytes:
    """The content of a file at an address of fsspec's."""
    import fsspec  # takes a while, and most sources are here

    with fsspec.open(address, "rb") as file:
        return bytes(file.read())


def file_stamp(file: str) -> str:
    """A line that changes when a file, given by its path or its address, does."""
    if is_address(file):
        import fsspec

        filesystem, path = fsspec.core.url_to_fs(file)
        return f"{file} {filesystem.ukey(path)}"
    found = os.stat(file)
    return f"{Path(file).resolve()} {found.st_size} {found.st_mtime_ns}"
