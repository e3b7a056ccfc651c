"""Pictures that cannot be used: skipped and listed, unless there are too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vicinal.errors import InputError, number_of
from vicinal.file_names import on_one_line
from vicinal.files import plain_cell, read_rows, write_csv
from vicinal.progress import tell

MOST_SKIPPED = 0.2
"""Share of a source's pictures that may be bad; with more, the source itself is the mistake."""


@dataclass(frozen=True)
class Skipped:
    """A picture that was left out."""

    path: str  # its file (as `vicinal.file_names.as_text` writes it), or the file and the row
    reason: str  # why it cannot be used, in a few words


class BadPictureError(InputError):
    """One picture that cannot be used; a set goes on without it, a single picture cannot."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{on_one_line(path)}: {on_one_line(reason)}; remove or replace it")
        self.path = path
        self.reason = reason


def refuse_too_many(name: str, skipped: Sequence[Skipped], count: int) -> None:
    """Stops where more of a source's ``count`` pictures are bad than `MOST_SKIPPED` allows."""
    if len(skipped) <= MOST_SKIPPED * count:
        return
    first = skipped[0]
    raise InputError(
        f"{name}: {len(skipped):,} or more of {count:,} pictures cannot be used, and at most "
        f"{MOST_SKIPPED:.0%} may be bad; {on_one_line(first.path)}: {on_one_line(first.reason)}; "
        "mend or remove them"
    )


def read_skipped(path: Path) -> tuple[Skipped, ...]:
    """Reads what `keep_skipped` wrote; empty if there is no such file."""
    if not path.exists():
        return ()
    rows = read_rows(path)
    return tuple(Skipped(plain_cell(row["path"]), plain_cell(row["reason"])) for row in rows)


def keep_skipped(skipped: Sequence[Skipped], path: Path) -> None:
    """Writes path and reason of each, and says so; empties an earlier list if there are none."""
    if not skipped and not path.exists():
        return
    write_csv(path, ["path", "reason"], [(one.path, one.reason) for one in skipped])
    if skipped:
        count = number_of(len(skipped), "picture")
        tell([f"{count} skipped, see {path}"])
