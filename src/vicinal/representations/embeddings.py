"""Representations as arrays and as files: with ids, labels, paths, and what made them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.errors import InputError, option
from vicinal.files import read_json, replacing
from vicinal.images import Skipped

SIZES = ("width", "height")


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Representations of a set of pictures, and what is known about each picture.

    Attributes:
        array: Array (N, F) float32, one representation a row, all finite.
        ids: Array (N,) of unique strings.
        paths: Array (N,) of strings, where the files lie; None for pictures that are no files.
        labels: Array (N,) of strings, empty where a picture has none; None without labels.
        splits: Array (N,) of strings, the part of the source; None where it has none.
        sizes: Array (N, 2) int32, width and height of the original pictures in pixels, upright;
            None where nobody knows.
        origin: What they were made from and with, as plain data; may be empty.
        skipped: Pictures of the source that could not be used; `save` leaves these to
            `vicinal.images.keep_skipped`.
    """

    array: NDArray[np.float32]
    ids: NDArray[np.str_]
    paths: NDArray[np.str_] | None = None
    labels: NDArray[np.str_] | None = None
    splits: NDArray[np.str_] | None = None
    sizes: NDArray[np.int32] | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        return len(self.array)

    def representations(self) -> Representations:
        """The array and the ids alone, as evaluations take them."""
        return Representations(self.array, self.ids)

    def describe(self, row: int) -> dict[str, str]:
        """What is known of a picture: ``id``, and ``path`` and ``label`` where there are any."""
        known = {"id": self.ids, "path": self.paths, "label": self.labels}
        return {name: str(column[row]) for name, column in known.items() if column is not None}

    def columns(self) -> list[str]:
        """The names that `describe` gives."""
        return [
            "id",
            *(["path"] if self.paths is not None else []),
            *(["label"] if self.labels is not None else []),
        ]

    def table_columns(self) -> list[str]:
        """The names of the columns of `table`."""
        split = ["split"] if self.splits is not None else []
        sizes = [] if self.sizes is None else [*SIZES, "aspect_ratio"]
        return [*self.columns(), *split, *sizes, "representation"]

    def save(self, path: str | Path) -> None:
        """Writes `table` as parquet."""
        with replacing(Path(path)) as partial:
            pq.write_table(self.table(), partial)

    def table(self) -> Any:
        """An Arrow table: id, path, label, split (those there are), sizes and representation.

        Sizes are ``width`` and ``height`` in pixels, int32, and ``aspect_ratio``, the width
        divided by the height, float32. A representation is a fixed-size list of float32; ``origin``
        is JSON under ``vicinal`` in the schema's metadata.
        """
        flat = pa.array(np.ascontiguousarray(self.array, dtype=np.float32).ravel())
        known = {"id": self.ids, "path": self.paths, "label": self.labels, "split": self.splits}
        columns = {
            name: pa.array([text or None for text in column.tolist()], pa.string())
            for name, column in known.items()
            if column is not None
        }
        columns |= size_columns(self.sizes)
        columns["representation"] = pa.FixedSizeListArray.from_arrays(flat, self.array.shape[1])
        return pa.table(columns).replace_schema_metadata({"vicinal": json.dumps(self.origin)})

    @classmethod
    def load(cls, path: str | Path, *, vectors: bool = True) -> Embeddings:
        """Reads what `save` wrote, a study's representations, or another tool's parquet.

        Needed are a column ``representation`` of equally long lists of numbers and a column
        ``id`` or ``path``; ``path``, ``label``, ``split``, ``width`` and ``height`` are read where
        they are.

        Args:
            path: A parquet file, or a folder of them, which are read in the order of their names.
            vectors: False leaves the representations where they are: the array is then (N, 0).

        Raises:
            InputError: If the file is missing, is no such file, or ids repeat.
        """
        path = Path(path)
        parts = [_read(file, vectors) for file in embedding_files(path)]
        made_by = {_origin(part.schema.metadata or {}).get("encoder_sha256") for part in parts}
        if len(made_by) > 1:
            raise InputError(f"{path}: its files were made by different encoders; keep them apart")
        metadata = parts[0].schema.metadata or {}
        try:
            table = pa.concat_tables(parts, promote_options="default")
        except pa.ArrowException as error:
            raise InputError(f"{path}: its files do not fit together ({error})") from None
        texts = {
            name: _texts(table, name, metadata)
            for name in ("id", "path", "label", "split")
            if name in table.column_names
        }
        ids = texts.get("id", texts.get("path"))
        assert ids is not None
        distinct, counts = np.unique(ids, return_counts=True)
        if len(distinct) < len(ids):
            twice = str(distinct[counts > 1][0])
            raise InputError(f"{path}: the id {twice!r} repeats; make ids unique")
        return cls(
            matrix(table.column("representation"), path)
            if vectors
            else np.empty((len(ids), 0), np.float32),
            ids,
            paths=_some(texts.get("path")),
            labels=_some(texts.get("label")),
            splits=_some(texts.get("split")),
            sizes=_sizes(table),
            origin=_origin(metadata),
        )


def embedding_files(path: Path) -> list[Path]:
    """The parquet files of a set of embeddings: the file itself, or those in the folder, by name.

    Raises:
        InputError: If there is none.
    """
    if path.is_dir():
        if (path / PLAN).is_file() and not (plan := read_json(path / PLAN))["finished"]:
            there = len(list(path.glob("*.parquet")))
            raise InputError(
                f"{path}: unfinished, {there} of {plan['parts']} parts; the same `vicinal embed` "
                "goes on with it"
            )
        found = sorted(p for p in path.glob("*.parquet") if not p.name.startswith("."))
        if not found:
            raise InputError(f"{path}: no parquet file in this folder; `vicinal embed` makes one")
        return found
    if not path.is_file():
        raise InputError(f"{path}: no such file; `vicinal embed` makes one")
    return [path]


def batches(
    path: Path, rows: int = 16_384
) -> Iterator[tuple[NDArray[np.str_], NDArray[np.float32]]]:
    """Ids (B,) and representations (B, F) of a set, a few rows in memory at a time.

    Args:
        path: As for `Embeddings.load`, in whose order the rows come.
        rows: The most rows at a time.

    Raises:
        InputError: If a file cannot be read or does not hold what is needed.
    """
    for file in embedding_files(path):
        name = "id" if "id" in _checked_names(file) else "path"
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(rows, columns=[name, "representation"]):
                table = pa.Table.from_batches([batch])
                yield _texts(table, name, {}), matrix(table.column("representation"), file)


def origin_of(path: Path) -> dict[str, Any]:
    """What a set was made from and with, as `Embeddings.origin`, without reading its rows."""
    return _origin(pq.read_schema(embedding_files(path)[0]).metadata or {})


def _read(file: Path, vectors: bool) -> Any:
    """The columns that are needed of one file."""
    known = ["id", "path", "label", "split", *SIZES, *(["representation"] if vectors else [])]
    names = [name for name in _checked_names(file) if name in known]
    try:
        return pq.read_table(file, columns=names, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from None


def _checked_names(file: Path) -> list[str]:
    """The names of a file's columns, those that are needed among them."""
    try:
        names: list[str] = pq.read_schema(file).names
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from None
    if "representation" not in names or not set(names) & {"id", "path"}:
        raise InputError(
            f"{file}: needs columns representation and id (or path), found "
            f"{', '.join(names)}; `vicinal embed` makes such a file"
        )
    return names


def size_columns(sizes: NDArray[np.int32] | None) -> dict[str, Any]:
    """Columns ``width``, ``height`` and ``aspect_ratio`` of pictures; none without sizes.

    Args:
        sizes: (N, 2) int32, width and height.
    """
    if sizes is None:
        return {}
    width, height = (np.ascontiguousarray(column) for column in sizes.T)
    ratio = (width / height).astype(np.float32)
    return {"width": pa.array(width), "height": pa.array(height), "aspect_ratio": pa.array(ratio)}


def _sizes(table: Any) -> NDArray[np.int32] | None:
    """Width and height of every picture, (N, 2), if the table has whole columns of them."""
    if not set(SIZES) <= set(table.column_names):
        return None
    columns = [table.column(name) for name in SIZES]
    if any(column.null_count or not pa.types.is_integer(column.type) for column in columns):
        return None
    return np.stack([column.to_numpy() for column in columns], axis=1).astype(np.int32)


def _unreadable(file: Path, error: Exception) -> InputError:
    return InputError(f"{file}: cannot be read as parquet ({' '.join(str(error).split())})")


def _some(texts: NDArray[np.str_] | None) -> NDArray[np.str_] | None:
    """The column, unless every cell is empty."""
    return texts if texts is not None and (texts != "").any() else None


def _texts(table: Any, name: str, metadata: dict[bytes, bytes]) -> NDArray[np.str_]:
    """A column as strings, empty for null; numbers of classes become their names."""
    values = table.column(name).to_pylist()
    names = json.loads(metadata.get(b"class_names", b"[]")) if name == "label" else []
    if names and all(value is None or isinstance(value, int) for value in values):
        values = [None if value is None else names[value] for value in values]
    return np.array(["" if value is None else str(value) for value in values], dtype=np.str_)


def matrix(column: Any, path: Path) -> NDArray[np.float32]:
    """A column of equally long lists of numbers as an array (N, F) float32.

    Raises:
        InputError: If it is another, names ``path``.
    """
    kind = column.type
    lists = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)
    if not any(is_kind(kind) for is_kind in lists):
        raise InputError(f"{path}: representation must hold lists of numbers, found {kind}")
    widths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(widths) != 1 or not widths[0]:
        raise InputError(
            f"{path}: representations must be equally long and there must be some, "
            f"found lengths {sorted(str(width) for width in widths)[:5]}"
        )
    try:
        flat = pc.cast(pc.list_flatten(column), pa.float32(), safe=False)
    except pa.ArrowException:
        raise InputError(f"{path}: representation must hold numbers, found {kind}") from None
    array: NDArray[np.float32] = flat.to_numpy().reshape(-1, widths[0]).copy()
    if not np.isfinite(array).all():
        raise InputError(f"{path}: a representation holds NaN or infinity; leave that row out")
    return array


def _origin(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """What `save` noted; nothing for a file of another tool."""
    found = json.loads(metadata.get(b"vicinal", b"{}"))
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True, eq=False)
class Representations:
    """Representations of a set of images.

    Attributes:
        array: Array (N, F) float32, one representation a row.
        ids: Array (N,) of strings, the ids of the images.
        labels: Array (N,) int64 of positions in ``class_names``, or None.
        class_names: The names of the classes; empty without labels.
    """

    array: NDArray[np.float32]
    ids: NDArray[np.str_]
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.array.ndim != 2 or len(self.array) != len(self.ids):
            raise InputError(
                f"representations must be (N, F) with N ids, found {self.array.shape} "
                f"and {len(self.ids)}"
            )

    def __len__(self) -> int:
        return len(self.array)

    def take(self, index: NDArray[np.int64]) -> Representations:
        """The rows at ``index`` (K,) int64, in that order."""
        labels = None if self.labels is None else self.labels[index]
        return replace(self, array=self.array[index], ids=self.ids[index], labels=labels)

    def save(self, path: str | Path) -> None:
        """Writes parquet with columns id, representation and, if there are labels, label."""
        flat = pa.array(np.ascontiguousarray(self.array, dtype=np.float32).ravel())
        columns = {
            "id": pa.array(self.ids.tolist(), pa.string()),
            "representation": pa.FixedSizeListArray.from_arrays(flat, self.array.shape[1]),
        }
        if self.labels is not None:
            columns["label"] = pa.array(self.labels, pa.int64())
        table = pa.table(columns).replace_schema_metadata(
            {"class_names": json.dumps(list(self.class_names))}
        )
        with replacing(Path(path)) as partial:
            pq.write_table(table, partial)

    @classmethod
    def load(cls, path: str | Path) -> Representations:
        """Reads what `save` wrote.

        Raises:
            InputError: If the file is damaged.
        """
        try:
            table = pq.read_table(path)
        except pa.ArrowInvalid:
            raise InputError(
                f"{path}: is damaged; remove it, and what wrote it makes it again"
            ) from None
        column = table.column("representation").combine_chunks()
        width = column.type.list_size
        metadata = table.schema.metadata or {}
        return cls(
            # Copies, for arrow's own memory is read-only and torch wants arrays it could write to.
            array=column.flatten().to_numpy().reshape(-1, width).copy(),
            ids=np.array(table.column("id").to_pylist(), dtype=np.str_),
            labels=np.array(table.column("label")) if "label" in table.column_names else None,
            class_names=tuple(json.loads(metadata.get(b"class_names", b"[]"))),
        )


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
