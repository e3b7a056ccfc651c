"""Names of files: as text and back, and which are passed over."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

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
