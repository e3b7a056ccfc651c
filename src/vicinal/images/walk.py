"""The files of a folder: which are pictures, which only look like some, and which are neither."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vicinal.images.formats import is_picture, suffixes, unread
from vicinal.images.names import as_text, excluded, left_behind
from vicinal.images.skipped import Skipped

_NAMED = 5  # endings that are named in a line; the rest is counted
_HEAD = 16


@dataclass
class Found:
    """What lies in a folder.

    Attributes:
        files: Pictures that are read, as paths within it, in order.
        unread: Files that look like pictures and are not read, with the reason.
        closed: Folders that were not opened, with the reason.
        others: How many other files there are, by their suffix.
        excluded: Files and folders that the user leaves out.
    """

    files: list[Path] = field(default_factory=list)
    unread: list[Skipped] = field(default_factory=list)
    closed: list[Skipped] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    excluded: int = 0

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """All that is not used and should be listed."""
        return (*self.closed, *self.unread)

    def leaves_out(self, path: str, exclude: Sequence[str]) -> bool:
        """Whether a file or folder is the system's, or one that the user leaves out; counts it.

        Args:
            path: Within the source, with ``/`` between folders.
            exclude: The user's patterns.
        """
        if left_behind(path.rpartition("/")[2]):
            return True
        out = bool(exclude) and excluded(path, exclude)
        self.excluded += out
        return out

    def add(self, path: Path, place: Path) -> None:
        """Adds a file that is not left out.

        Args:
            path: Within the folder.
            place: Where it lies.
        """
        suffix = path.suffix.lower()
        if path.name.lower().endswith(suffixes()):
            self.files.append(path)
        elif (reason := unread(path.name)) is not None:
            self.unread.append(Skipped(as_text(place), f"is {reason}"))
        elif not suffix and is_picture(_head(place)):
            reason = "is a picture without an ending such as .jpg in its name: rename it"
            self.unread.append(Skipped(as_text(place), reason))
        else:
            self.others[suffix or "without an ending"] += 1

    def told(self, name: str) -> tuple[str, ...]:
        """A line for the user, if anything is there that is not used."""
        kinds = Counter((Path(one.path).suffix.lower(), one.reason) for one in self.unread)
        unused = [
            f"{count:,} {suffix or 'without an ending'} ({reason.removeprefix('is ')})"
            for (suffix, reason), count in kinds.most_common()
        ]
        if self.closed:
            first, count = self.closed[0], len(self.closed)
            folders = f"{count:,} folder{'s' if count > 1 else ''}"
            unused.append(f"{folders} ({first.path} {first.reason})")
        named = self.others.most_common(_NAMED)
        unused += [f"{count:,} {suffix}" for suffix, count in named]
        if rest := self.others.total() - sum(count for _, count in named):
            unused.append(f"{rest:,} other files")
        unused += [f"{self.excluded:,} excluded"] if self.excluded else []
        return (f"{name}: not used: {', '.join(unused)}",) if unused else ()


def walked(root: Path, exclude: Sequence[str] = (), within: str = "") -> Found:
    """The files under a folder; links to folders are followed, each folder once.

    Folders are read before links to folders, so that what is there twice has the folder's name;
    a second way to a folder is listed as closed.

    Args:
        root: The folder.
        exclude: Patterns of what the user leaves out, see `vicinal.images.names.excluded`.
        within: The path of ``root`` within the source, with ``/`` behind it.
    """
    found = Found()
    seen = {os.path.realpath(root): root}
    around = {str(parent) for parent in Path(os.path.realpath(root)).parents}

    def left(path: Path) -> bool:
        return found.leaves_out(within + path.as_posix(), exclude)

    links = _read(root, root, found, seen, left)
    while links:
        link = links.pop(0)
        real = os.path.realpath(link)
        if real in seen:
            reason = f"is a link to {as_text(seen[real])}, which is read already"
            found.closed.append(Skipped(as_text(link), reason))
        elif real in around:
            found.closed.append(Skipped(as_text(link), "is a link to a folder around it"))
        else:
            seen[real] = link
            links += _read(link, root, found, seen, left)
    found.files.sort(key=lambda file: file.parts)
    return found


def _read(
    top: Path, root: Path, found: Found, seen: dict[str, Path], left: Callable[[Path], bool]
) -> list[Path]:
    """Adds the files under ``top``; returns the links to folders, in order."""

    def skip(error: OSError) -> None:
        where, reason = as_text(str(error.filename)), f"folder cannot be opened ({error.strerror})"
        found.closed.append(Skipped(where, reason))

    links: list[Path] = []
    for place, folders, files in os.walk(top, onerror=skip):
        here = Path(place)
        inside = here.relative_to(root)
        kept = []
        for folder in sorted(folders):
            if left(inside / folder):
                continue
            if os.path.islink(here / folder):
                links.append(here / folder)
                continue
            real = os.path.realpath(here / folder)
            if real in seen:  # by a link that led here
                reason = f"is {as_text(seen[real])}, which is read already"
                found.closed.append(Skipped(as_text(here / folder), reason))
                continue
            seen[real] = here / folder
            kept.append(folder)
        folders[:] = kept
        for file in sorted(files):
            if not left(inside / file):
                found.add(inside / file, here / file)
    return links


def _head(place: Path) -> bytes:
    try:
        if not place.is_file():
            return b""
        with place.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""
