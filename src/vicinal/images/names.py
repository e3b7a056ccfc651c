"""File names, which are bytes, as text: valid UTF-8, one text a name, and back again."""

from __future__ import annotations

import os
import re
from pathlib import Path

_LOOKS_ESCAPED = re.compile(r"\\(?=x[0-9a-f]{2})")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


def as_text(path: str | Path) -> str:
    r"""A file name as text that any program can read, write and print.

    A byte that is no UTF-8 becomes ``\xNN``, its two hexadecimal digits; a backslash that would
    read as such becomes ``\x5c``. Every other name, with spaces, line breaks or backslashes,
    stays as it is. Different names have different texts, and `as_path` gives the name back.

    Args:
        path: The name as Python has it: bytes that are no UTF-8 as lone surrogates.
    """
    clear = _LOOKS_ESCAPED.sub(r"\\x5c", str(path))
    return clear.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def as_path(text: str) -> Path:
    """The file name of which `as_text` made the text."""
    raw = _ESCAPED.sub(lambda found: os.fsdecode(bytes.fromhex(found[1])), text)
    # Through bytes: a text of another program's may have a whole character in escapes.
    return Path(os.fsdecode(raw.encode("utf-8", "surrogateescape")))


def on_one_line(text: str) -> str:
    """The text for a message: line breaks and other control characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
