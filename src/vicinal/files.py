"""Files: written so that a reader never meets half of one; their names as text and back."""

from __future__ import annotations

import csv
import errno
import glob
import json
import math
import os
import platform
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from vicinal.errors import InputError, StorageError, option

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


_LOOKS_ESCAPED = re.compile(r"\\(?=x[0-9a-f]{2})")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Surrogates that stand for no byte of a file name: halves of characters, as an id may have."""


def as_text(path: str | Path) -> str:
    r"""A file name as text that any program can read, write and print.

    A byte that is no UTF-8 becomes ``\xNN``, its two hexadecimal digits; a backslash that would
    read as such becomes ``\x5c``. Every other name, with spaces, line breaks or backslashes,
    stays as it is. Different names have different texts, and `as_path` gives the name back. Half
    of a character, which no file's name has but an id may, becomes its bytes too.
    """
    clear = _LOOKS_ESCAPED.sub(r"\\x5c", str(path))
    clear = _HALVES.sub(lambda found: _escaped(found[0].encode("utf-8", "surrogatepass")), clear)
    return clear.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _escaped(raw: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in raw)


def as_path(text: str) -> Path:
    """The file name of which `as_text` made the text."""
    raw = _ESCAPED.sub(lambda found: os.fsdecode(bytes.fromhex(found[1])), text)
    # Through bytes: a text of another program's may have a whole character in escapes.
    return Path(os.fsdecode(raw.encode("utf-8", "surrogateescape")))


def on_one_line(text: str) -> str:
    """The text for a message: line breaks and other control characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def is_address(path: str) -> bool:
    """Whether a path is an address of fsspec's, such as ``s3://bucket/photos``."""
    return "://" in path


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


_OF_SYSTEMS = frozenset(
    {
        *("@eadir", "@recycle", "@recently-snapshot", "@synoeastream", "@synoresource", "#recycle"),
        *("#snapshot", "$recycle.bin", "recycler", "recycled", "system volume information"),
        *("__macosx", "lost+found", "lost.dir", "found.000", "network trash folder"),
        *("temporary items", "ipod photo cache", "thumbs.db", "ehthumbs.db", "desktop.ini"),
        *("thumbnails.db", "icon\r"),
    }
)
"""Files and folders of network drives, phones and systems, in lower case: caches and trash."""


def left_behind(path: str) -> bool:
    """Whether a path within a source is hidden, or one that systems leave behind."""
    return any(part.startswith(".") or part.lower() in _OF_SYSTEMS for part in path.split("/"))


def excluded(path: str, patterns: Sequence[str]) -> bool:
    """Whether a path within a source matches a pattern with ``*``, ``?`` and ``[…]``.

    A pattern without ``/`` matches the name of the file or of a folder it lies in; one with ``/``
    matches the whole path, or that of such a folder.
    """
    parts = path.split("/")
    starts = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    return any(
        fnmatchcase(one, pattern.rstrip("/"))
        for pattern in patterns
        for one in (starts if "/" in pattern.rstrip("/") else parts)
    )


def literal_start(pattern: str) -> str:
    """A pattern for files in which the folders that are there as they are written mean themselves.

    ``a[1]/*.png`` is ``a[[]1]/*.png`` where there is a folder ``a[1]``.
    """
    path = Path(pattern)
    at = Path(path.anchor) if path.anchor else Path()
    parts = list(path.parts[1:] if path.anchor else path.parts)
    while parts and os.path.lexists(at / parts[0]):
        at /= parts.pop(0)
    return os.path.join(glob.escape(str(at)), *parts)
