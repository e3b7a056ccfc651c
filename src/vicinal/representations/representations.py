"""Representations of a set of pictures and what is known of each: as arrays and as parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.files import read_json, write_parquet
from vicinal.images import Skipped
from vicinal.images.labels_and_parts import class_of_each, in_order
from vicinal.representations.neighbours import unit_length
from vicinal.representations.parquet_columns import (
    TEXTS,
    checked_names,
    matrix,
    read_columns,
    representation_column,
    size_columns,
    sizes_in,
    text_columns,
    texts_in,
)

EXPLORED = "embeddings.parquet"
"""The file of a run of `vicinal explore`."""
PLAN = "embed.json"
"""The file that names source and encoder of the parts, and says whether all are there."""


@dataclass(frozen=True, eq=False)
class Representations:
    """Representations of a set of pictures, and what is known of each picture.

    Attributes:
        array: Array (N, F) float32, one representation a row.
        ids: Array (N,) of strings, the ids of the pictures.
        labels: Array (N,) int64 of positions in ``class_names``, −1 for a picture without a label;
            None without labels. Given as strings, empty for none, they become that.
        class_names: The names of the classes; empty without labels.
        paths: Array (N,) of strings, where the files lie; None for pictures that are no files.
        splits: Array (N,) of strings, the part of the source; None where it has none.
        sizes: Array (N, 2) int32, width and height of the original pictures in pixels, upright;
            None where nobody knows.
        origin: What they were made from and with, as plain data; may be empty.
        skipped: Pictures of the source that could not be used; `save` leaves these to
            `vicinal.images.keep_skipped`.

    Raises:
        InputError: If the array is not (N, F) with N ids.
    """

    array: NDArray[np.float32]
    ids: NDArray[np.str_]
    labels: NDArray[Any] | None = None
    class_names: tuple[str, ...] = ()
    paths: NDArray[np.str_] | None = None
    splits: NDArray[np.str_] | None = None
    sizes: NDArray[np.int32] | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "array", np.asarray(self.array))
        object.__setattr__(self, "ids", np.asarray(self.ids).astype(np.str_, copy=False))
        if self.array.ndim != 2 or len(self.array) != len(self.ids):
            raise InputError(
                f"representations must be (N, F) with N ids, found {self.array.shape} "
                f"and {len(self.ids)}"
            )
        if self.labels is not None and self.labels.dtype.kind == "U":
            labels, names = _coded(self.labels, self.class_names)
            object.__setattr__(self, "labels", labels)
            object.__setattr__(self, "class_names", names)

    def __len__(self) -> int:
        return len(self.array)

    @property
    def label_names(self) -> NDArray[np.str_] | None:
        """Array (N,) of strings, the name of each picture's class, empty for none; or None."""
        if self.labels is None:
            return None
        names = self.class_names or range(int(self.labels.max(initial=-1)) + 1)
        return class_of_each(self.labels, [str(name) for name in names])

    def as_compared(self) -> Representations:
        """The pictures as neighbours, maps and groups compare them, by L2.

        Rows are of unit length, so that L2 ranks as cosine does, where ``origin`` says that
        ``neighbours`` are found by ``cosine``, as it does of an encoder with patches beside it.
        """
        if self.origin.get("neighbours", "L2") == "L2":
            return self
        return replace(self, array=unit_length(self.array), origin=once_compared(self.origin))

    def take(self, rows: NDArray[np.int64]) -> Representations:
        """The pictures at ``rows`` (K,) int64, in that order."""
        columns = ("array", "ids", "labels", "paths", "splits", "sizes")
        there = {name: getattr(self, name) for name in columns}
        return replace(self, **{n: c[rows] for n, c in there.items() if c is not None})

    def describe(self, row: int) -> dict[str, str]:
        """A picture's ``id``, and its ``path`` and ``label`` where there are any."""
        known = {"id": str(self.ids[row])}
        if self.paths is not None:
            known["path"] = str(self.paths[row])
        if self.labels is not None:
            code = int(self.labels[row])
            known["label"] = "" if code < 0 else (*self.class_names, str(code))[code]
        return known

    def classes(self) -> list[str]:
        """The names of the classes that pictures are of, in their natural order."""
        names = self.label_names
        return [] if names is None else list(_coded(names)[1])

    @property
    def labelled_count(self) -> int:
        """How many pictures have a label."""
        return 0 if self.labels is None else int((self.labels >= 0).sum())

    def columns(self) -> list[str]:
        """The names that `describe` gives."""
        there = {"id": self.ids, "path": self.paths, "label": self.labels}
        return [name for name, column in there.items() if column is not None]

    def text_columns(self) -> dict[str, Any]:
        """Arrow columns id, path, label and split, those that there are; null for empty."""
        return text_columns({name: getattr(self, held) for name, held in TEXTS.items()})

    def size_columns(self) -> dict[str, Any]:
        """Arrow columns `vicinal.representations.parquet_columns.size_columns`."""
        return size_columns(self.sizes)

    def table(self) -> Any:
        """An Arrow table: `text_columns`, `size_columns` and the representations.

        In the schema's metadata ``vicinal`` is ``origin`` as JSON, and ``class_names`` the classes
        in their order, where that is not the natural one of the labels there are.
        """
        columns = self.text_columns() | self.size_columns()
        columns["representation"] = representation_column(self.array)
        said = {"vicinal": json.dumps(self.origin)}
        names = self.label_names
        if names is not None and self.class_names not in ((), _coded(names)[1]):
            said["class_names"] = json.dumps(list(self.class_names))
        return pa.table(columns).replace_schema_metadata(said)

    def table_columns(self) -> list[str]:
        """The names of the columns of `table`."""
        split = ["split"] if self.splits is not None else []
        return [*self.columns(), *split, *self.size_columns(), "representation"]

    def save(self, path: str | Path) -> None:
        """Writes `table` as parquet."""
        write_parquet(Path(path), self.table())

    @classmethod
    def load(cls, path: str | Path, *, vectors: bool = True) -> Representations:
        """Reads what `save` wrote, now or in an earlier version, or another tool's parquet.

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
        parts = [read_columns(file, vectors) for file in embedding_files(path)]
        metadata = [part.schema.metadata or {} for part in parts]
        if len({_origin(said).get("encoder_sha256") for said in metadata}) > 1:
            raise InputError(f"{path}: its files were made by different encoders; keep them apart")
        try:
            table = pa.concat_tables(parts, promote_options="default")
        except pa.ArrowException as error:
            raise InputError(f"{path}: its files do not fit together ({error})") from None
        names = json.loads(metadata[0].get(b"class_names", b"[]"))
        texts = {name: texts_in(table, name, names) for name in TEXTS if name in table.column_names}
        ids = texts["id"] if "id" in texts else texts["path"]
        check_unique(ids, path)
        there = {name: column for name, column in texts.items() if (column != "").any()}
        labels: Any = there.get("label")
        return cls(
            matrix(table.column("representation"), path)
            if vectors
            else np.empty((len(ids), 0), np.float32),
            ids,
            labels,
            tuple(names) if labels is not None else (),
            paths=there.get("path"),
            splits=there.get("split"),
            sizes=sizes_in(table),
            origin=_origin(metadata[0]),
        )


def once_compared(origin: dict[str, Any]) -> dict[str, Any]:
    """What an origin says of rows that are as they are compared, and stay so."""
    return {name: said for name, said in origin.items() if name != "neighbours"}


def concatenated(sets: Sequence[Representations], **changes: Any) -> Representations:
    """The pictures of several sets in one, with the first one's origin; sizes if all have them."""

    def texts(name: str) -> Any:
        columns = [getattr(each, name) for each in sets]
        if all(column is None for column in columns):
            return None
        pairs = zip(sets, columns, strict=True)
        return np.concatenate([np.full(len(s), "") if c is None else c for s, c in pairs])

    sizes = [each.sizes for each in sets if each.sizes is not None]
    names = {each.class_names for each in sets if each.labels is not None}
    columns = {
        "array": np.concatenate([each.array for each in sets]),
        "ids": np.concatenate([each.ids for each in sets]),
        "labels": texts("label_names"),
        "class_names": names.pop() if len(names) == 1 else (),
        "paths": texts("paths"),
        "splits": texts("splits"),
        "sizes": np.concatenate(sizes) if len(sizes) == len(sets) else None,
        "origin": sets[0].origin,
        "skipped": tuple(dict.fromkeys(one for each in sets for one in each.skipped)),
    }
    return Representations(**columns | changes)


def _coded(
    texts: NDArray[Any], names: Sequence[str] = ()
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Codes (N,) of labels (N,), and the classes: ``names`` if they have all, else those there."""
    distinct, inverse = np.unique(texts, return_inverse=True)
    there = set(distinct.tolist()) - {""}
    classes = tuple(names) if there <= set(names) else tuple(in_order(there))
    place = {name: code for code, name in enumerate(classes)} | {"": -1}
    codes = np.array([place[text] for text in distinct.tolist()], np.int64)
    return codes[inverse], classes


def check_unique(ids: NDArray[np.str_], path: Path) -> None:
    """Raises InputError where an id (N,) repeats."""
    distinct, counts = np.unique(ids, return_counts=True)
    if len(distinct) < len(ids):
        twice = str(distinct[counts > 1][0])
        raise InputError(f"{path}: the id {twice!r} repeats; make ids unique")


def is_explored(path: Path) -> bool:
    """Whether a folder is a run of `vicinal explore` that has embedded its pictures."""
    return (path / "run.json").is_file() and (path / EXPLORED).is_file()


def encoder_of(run: Path, embeddings: Representations) -> Path:
    """The encoder's file of a run of `vicinal explore`: its own, else the one that it was given."""
    own = run / "encoder.safetensors"
    return own if own.is_file() else Path(embeddings.origin.get("encoder", own))


def embedding_files(path: Path) -> list[Path]:
    """The parquet files of a set: the file, those in the folder by name, or an explore run's."""
    if is_explored(path):
        return [path / EXPLORED]
    if path.is_dir():
        if (path / PLAN).is_file():
            return _parts(path)
        found = sorted(p for p in path.glob("*.parquet") if not p.name.startswith("."))
        if not found:
            raise InputError(f"{path}: no parquet file in this folder; `vicinal embed` makes one")
        return found
    if not path.is_file():
        raise InputError(f"{path}: no such file; `vicinal embed` makes one")
    return [path]


def part_name(number: int) -> str:
    """The name of a part, counted from 0, of a set in parts."""
    return f"part-{number:06d}.parquet"


def _parts(folder: Path) -> list[Path]:
    """The parts of a set in parts, if all are there; other files beside them are not of it."""
    plan = read_json(folder / PLAN)
    if not isinstance(plan, dict) or not isinstance(plan.get("parts"), int):
        raise InputError(f"{folder / PLAN}: damaged; remove {folder}, and embed anew")
    parts = [folder / part_name(number) for number in range(plan["parts"])]
    there = sum(part.is_file() for part in parts)
    if not plan.get("finished") or there < len(parts):
        raise InputError(
            f"{folder}: unfinished, {there} of {len(parts)} parts; the same `vicinal embed` goes "
            "on with it"
        )
    return parts


def batches(
    path: Path, rows: int = 16_384, *, compared: bool = False
) -> Iterator[tuple[NDArray[np.str_], NDArray[np.float32]]]:
    """Ids (B,) and representations (B, F) of a set, a few rows in memory at a time.

    With ``compared`` they are as `Representations.as_compared` has them.
    """
    scaled = compared and origin_of(path).get("neighbours", "L2") != "L2"
    for file in embedding_files(path):
        name = "id" if "id" in checked_names(file) else "path"
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(rows, columns=[name, "representation"]):
                table = pa.Table.from_batches([batch])
                array = matrix(table.column("representation"), file)
                yield texts_in(table, name), unit_length(array) if scaled else array


def origin_of(path: Path) -> dict[str, Any]:
    """`Representations.origin` of a set, without reading its rows."""
    return _origin(pq.read_schema(embedding_files(path)[0]).metadata or {})


def _origin(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    """The origin that `save` noted; empty for a file of another tool."""
    found = json.loads(metadata.get(b"vicinal", b"{}"))
    return found if isinstance(found, dict) else {}
