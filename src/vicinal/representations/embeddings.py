"""Embeddings: representations in one file, with where each picture lies, for any tool to read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.files import replacing
from vicinal.images import Skipped
from vicinal.representations.representations import Representations


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Representations of a set of pictures, and what is known about each picture.

    Attributes:
        array: Array (N, F) float32, one representation a row, all finite.
        ids: Array (N,) of unique strings.
        paths: Array (N,) of strings, where the files lie; None for pictures that are no files.
        labels: Array (N,) of strings, empty where a picture has none; None without labels.
        splits: Array (N,) of strings, the part of the source; None where it has none.
        origin: What they were made from and with, as plain data; may be empty.
        skipped: Pictures of the source that could not be used; `save` leaves these to
            `vicinal.images.keep_skipped`.
    """

    array: NDArray[np.float32]
    ids: NDArray[np.str_]
    paths: NDArray[np.str_] | None = None
    labels: NDArray[np.str_] | None = None
    splits: NDArray[np.str_] | None = None
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

    def save(self, path: str | Path) -> None:
        """Writes parquet: id, path, label, split (those there are) and representation.

        A representation is a fixed-size list of float32; ``origin`` is JSON under ``vicinal`` in
        the schema's metadata.
        """
        flat = pa.array(np.ascontiguousarray(self.array, dtype=np.float32).ravel())
        known = {"id": self.ids, "path": self.paths, "label": self.labels, "split": self.splits}
        columns = {
            name: pa.array([text or None for text in column.tolist()], pa.string())
            for name, column in known.items()
            if column is not None
        }
        columns["representation"] = pa.FixedSizeListArray.from_arrays(flat, self.array.shape[1])
        table = pa.table(columns).replace_schema_metadata({"vicinal": json.dumps(self.origin)})
        with replacing(Path(path)) as partial:
            pq.write_table(table, partial)

    @classmethod
    def load(cls, path: str | Path) -> Embeddings:
        """Reads what `save` wrote, a study's representations, or another tool's parquet.

        Needed are a column ``representation`` of equally long lists of numbers and a column
        ``id`` or ``path``; ``path``, ``label`` and ``split`` are read where they are.

        Raises:
            InputError: If the file is missing, is no such file, or ids repeat.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such file; `vicinal embed` makes one")
        try:
            table = pq.read_table(path, partitioning=None)
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path}: cannot be read as parquet ({reason})") from None
        names = set(table.column_names)
        if "representation" not in names or not names & {"id", "path"}:
            raise InputError(
                f"{path}: needs columns representation and id (or path), found "
                f"{', '.join(table.column_names)}; `vicinal embed` makes such a file"
            )
        metadata = table.schema.metadata or {}
        texts = {
            name: _texts(table, name, metadata)
            for name in ("id", "path", "label", "split")
            if name in names
        }
        ids = texts.get("id", texts.get("path"))
        assert ids is not None
        distinct, counts = np.unique(ids, return_counts=True)
        if len(distinct) < len(ids):
            raise InputError(f"{path}: the id {distinct[counts > 1][0]!r} repeats; make ids unique")
        return cls(
            _matrix(table.column("representation"), path),
            ids,
            paths=_some(texts.get("path")),
            labels=_some(texts.get("label")),
            splits=_some(texts.get("split")),
            origin=_origin(metadata),
        )


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


def _matrix(column: Any, path: Path) -> NDArray[np.float32]:
    """A column of equally long lists as an array (N, F) float32."""
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
