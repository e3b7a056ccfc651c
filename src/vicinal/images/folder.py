"""A folder of image files; the folders in it, if all images lie in one, are the classes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from vicinal.errors import InputError, number_of
from vicinal.file_names import as_text, excluded, is_address, left_behind, on_one_line
from vicinal.files import file_stamp
from vicinal.images.file_formats import head, is_picture, suffixes, unread
from vicinal.images.labels_and_parts import Labels, labels_from, no_labels, part_of
from vicinal.images.picture_list import Index, Parts, PictureList, train_and_test
from vicinal.images.shards import is_store
from vicinal.images.skipped import Skipped

_NAMED = 5  # of what lies beside parts


@dataclass(frozen=True, eq=False)
class Files:
    """Image files under one folder, here or at an address of fsspec's."""

    root: str
    files: NDArray[np.str_]  # (N,) strings, the files' paths within ``root``, or absolute

    def take(self, index: Index) -> Files:
        """The files at ``index``."""
        return replace(self, files=self.files[index])

    def stamp(self) -> Iterator[str]:
        """Lines that change when a file, or the choice of files, does; the first is the folder."""
        far = is_address(self.root)
        yield self.root if far else str(Path(self.root).resolve())
        for file in self.files.tolist():
            if far:
                yield file_stamp(f"{self.root}/{file}")
                continue
            path = Path(self.root) / file
            try:
                found = path.stat()
                unread = "" if os.access(path, os.R_OK) else " unreadable"
                yield f"{file} {found.st_size} {found.st_mtime_ns}{unread}"
            except (OSError, ValueError) as error:  # a ValueError: NUL, which no name can have
                yield f"{file} {error}"

    def pictures(self) -> Iterator[tuple[Path | str, str]]:
        """Each file's path or address, and what an error message calls it."""
        for file in self.files.tolist():
            if is_address(self.root):
                yield f"{self.root}/{file}", as_text(f"{self.root}/{file}")
            else:
                yield Path(self.root) / file, as_text(Path(self.root) / file)


def load(path: str, exclude: Sequence[str] = ()) -> Parts:
    """Lists the image files in a folder and in the folders in it; decodes none.

    Files are known by their suffix; hidden files and folders, and those that systems leave behind,
    are left out. Folders called as parts customarily are (`labels_and_parts`, in any case) are
    the parts, if the training part and another are there. The outermost folder within its part
    that an image lies in is its class. An image in none has none; if most are so, no image has one.
    """
    if is_address(path):
        name = path.rstrip("/").rpartition("/")[2]
        return _in_parts(name, _FarFolder(path, exclude))
    root = Path(os.path.expanduser(path))  # which, unlike Path's, takes any name
    if root.is_file():
        kind = "parquet" if root.suffix == ".parquet" else "folder"
        mend = f"parquet:{path}" if kind == "parquet" else f"folder:{root.parent}"
        raise InputError(f"folder:{path}: is a file, not a folder; write {mend}")
    if not root.is_dir():
        raise InputError(f"folder:{path}: no such folder; check the path")
    return _in_parts(as_text(root.resolve().name or "folder"), _NearFolder(root, exclude))


def _in_parts(name: str, place: _NearFolder | _FarFolder) -> Parts:
    folders, loose = place.top()
    parts = part_folders(folders, loose)
    if not parts:
        return _listed(name, place, ""), None
    listed = {}
    for part, folder in parts.items():
        try:
            listed[part] = _listed(name, place, folder)
        except InputError:
            if part != "validation" or "test" not in parts:
                raise
    beside = [*(each for each in folders if each not in parts.values()), *loose]
    notes: tuple[str, ...] = ()
    if beside:
        named = ", ".join(map(as_text, beside[:_NAMED])) + (", …" if len(beside) > _NAMED else "")
        notes = (f"{name}: not used, beside the parts {', '.join(parts.values())}: {named}",)
    return train_and_test(listed, name, notes)


def part_folders(folders: Sequence[str], loose: Sequence[str]) -> dict[str, str]:
    """Which folders are the parts of a set, by part; the training part must be one."""
    parts: dict[str, str] = {}
    for folder in folders:
        if (part := part_of(folder)) is not None:
            parts.setdefault(part, folder)
    alone = len(parts) == 1 and (len(folders) > 1 or loose)
    return parts if "train" in parts and not alone else {}


def _listed(name: str, place: _NearFolder | _FarFolder, folder: str) -> PictureList:
    """The pictures in a part's folder, or in all."""
    root, found = place.found(folder)
    if not found.files:
        raise InputError(_nothing_in(root, found))
    ids = np.array([as_text(file) for file in found.files])
    labels = classes_by_folder(ids.tolist(), name)
    files = Files(root, np.array(found.files))
    return PictureList.labelled(name, files, ids, labels, found.skipped, found.notes(name))


def classes_by_folder(paths: Sequence[str], name: str) -> Labels:
    """The outermost folders as labels; most pictures must lie in one, and others have none."""
    stray = [path for path in paths if "/" not in path]
    if len(stray) == len(paths):
        return no_labels(name, "the pictures lie in no folders")
    first = on_one_line(stray[0]) if stray else ""
    few = f"{first} lies" if len(stray) == 1 else f"{first} and {len(stray) - 1:,} more lie"
    if 2 * len(stray) >= len(paths):
        within = len(paths) - len(stray)
        why = f"{few} beside the folders, {within:,} picture{'s' * (within != 1)} in them"
        without = no_labels(name, why)
        return without._replace(note=f"{without.note}; move or exclude such files for labels")
    folders = np.array([path.rpartition("/")[0].partition("/")[0] for path in paths])
    found = labels_from(name, "the folders' names", folders)
    return found._replace(note=f"{found.note}: {few} beside the folders") if stray else found


def _nothing_in(root: str, found: Found) -> str:
    """Why a folder cannot be used, and what it seems to hold."""
    where = f"folder:{root}: no images in it"
    if any(Path(root, info).is_file() for info in ("dataset_info.json", "dataset_dict.json")):
        return f"{where}, but a data set that save_to_disk wrote; write hub:{root}"
    if is_store(root):
        return f"{where}, but shards of pixels; write shards:{root}"
    if found.others[".tar"]:
        return f"{where}, but tar files; write 'tar:{root}/*.tar'"
    if found.others[".parquet"]:
        return f"{where}, but parquet files; write parquet:{root}"
    seen = f" ({found.skipped[0].path}: {found.skipped[0].reason})" if found.skipped else ""
    return f"{where}{seen}; files must end in {' '.join(suffixes())}"


_ENDINGS_NAMED = 5  # endings that are named in a line; the rest is counted


@dataclass
class Found:
    """The files of a folder: those to read, and counts and reasons of the others."""

    # pictures that are read, as paths within it with ``/`` between folders, in order
    files: list[str] = field(default_factory=list)
    # files that look like pictures and are not read, with the reason
    unread: list[Skipped] = field(default_factory=list)
    # folders that were not opened, with the reason
    closed: list[Skipped] = field(default_factory=list)
    # how many other files there are, by their suffix
    others: Counter[str] = field(default_factory=Counter)
    excluded: int = 0  # files and folders that the user leaves out

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """All that is not used and should be listed."""
        return (*self.closed, *self.unread)

    def leaves_out(self, path: str, exclude: Sequence[str]) -> bool:
        """Whether a file or folder is the system's, or one that the user leaves out; counts it."""
        if left_behind(path):
            return True
        out = bool(exclude) and excluded(path, exclude)
        self.excluded += out
        return out

    def takes(self, path: str, place: Path | str) -> bool:
        """Whether a file that is not left out is a picture that is read; notes any other."""
        name = path.rpartition("/")[2]
        suffix = PurePosixPath(name).suffix.lower()
        if name.lower().endswith(suffixes()):
            return True
        if (reason := unread(name)) is not None:
            self.unread.append(Skipped(as_text(place), f"is {reason}"))
        elif not suffix and isinstance(place, Path) and is_picture(head(place)):
            reason = "is a picture without an ending such as .jpg in its name: rename it"
            self.unread.append(Skipped(as_text(place), reason))
        else:
            self.others[suffix or "without an ending"] += 1
        return False

    def unread_kinds(self) -> Counter[str]:
        """How many files look like pictures and are not read, by ending and reason."""
        return Counter(
            f"{PurePosixPath(one.path).suffix.lower() or 'without an ending'} "
            f"({one.reason.removeprefix('is ')})"
            for one in self.unread
        )

    def notes(self, name: str) -> tuple[str, ...]:
        """A line for the user, if anything is there that is not used."""
        unused = [f"{count:,} {kind}" for kind, count in self.unread_kinds().most_common()]
        if self.closed:
            first, count = self.closed[0], len(self.closed)
            folders = number_of(count, "folder")
            unused.append(f"{folders} ({first.path} {first.reason})")
        named = self.others.most_common(_ENDINGS_NAMED)
        unused += [f"{count:,} {suffix}" for suffix, count in named]
        if rest := self.others.total() - sum(count for _, count in named):
            unused.append(f"{rest:,} other files")
        unused += [f"{self.excluded:,} excluded"] if self.excluded else []
        return (f"{name}: not used: {', '.join(unused)}",) if unused else ()


@dataclass(frozen=True)
class _NearFolder:
    """A folder here; links to folders are followed, each folder once."""

    root: Path
    exclude: Sequence[str]

    def top(self) -> tuple[list[str], list[str]]:
        """The names of the folders and of the pictures right in it, but for those left out."""
        try:
            names = sorted(os.listdir(self.root))
        except OSError:
            return [], []
        kept = [n for n in names if not left_behind(n) and not excluded(n, self.exclude)]
        pictures = [n for n in kept if n.lower().endswith(suffixes())]
        return (
            [name for name in kept if (self.root / name).is_dir()],
            [name for name in pictures if (self.root / name).is_file()],
        )

    def found(self, folder: str) -> tuple[str, Found]:
        """The path of a folder in it, or of itself, and the files under that.

        Folders are read before links to folders, so that what is there twice has the folder's
        name; a second way to a folder is listed as closed.
        """
        root, within, found = self.root / folder, f"{folder}/" if folder else "", Found()
        seen = {os.path.realpath(root): root}
        around = {str(parent) for parent in Path(os.path.realpath(root)).parents}

        def left(path: Path) -> bool:
            return found.leaves_out(within + path.as_posix(), self.exclude)

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
        found.files.sort(key=lambda file: file.split("/"))
        return str(root), found


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
            path = (inside / file).as_posix()
            if not left(inside / file) and found.takes(path, here / file):
                found.files.append(path)
    return links


class _FarFolder:
    """A folder at an address of fsspec's, which is listed once."""

    def __init__(self, address: str, exclude: Sequence[str]) -> None:
        import fsspec

        self._filesystem, root = fsspec.core.url_to_fs(address)
        self._root = root.rstrip("/")
        self._exclude = exclude
        listed = (file[len(self._root) + 1 :] for file in self._filesystem.find(self._root))
        self._files = sorted(listed, key=lambda file: file.split("/"))

    def top(self) -> tuple[list[str], list[str]]:
        """The names of the folders and of the pictures right in it, but for those left out."""
        inside = [f for f in self._files if not left_behind(f) and not excluded(f, self._exclude)]
        folders = dict.fromkeys(file.partition("/")[0] for file in inside if "/" in file)
        loose = [f for f in inside if "/" not in f and f.lower().endswith(suffixes())]
        return list(folders), loose

    def found(self, folder: str) -> tuple[str, Found]:
        """The address of a folder in it, or of itself, and the files under that."""
        within, found = f"{folder}/" if folder else "", Found()
        root = self._filesystem.unstrip_protocol(f"{self._root}/{folder}".rstrip("/"))
        for file in self._files:
            inside = file.removeprefix(within)
            if not file.startswith(within) or found.leaves_out(file, self._exclude):
                continue
            if found.takes(inside, f"{root}/{inside}"):
                found.files.append(inside)
        return str(root), found
