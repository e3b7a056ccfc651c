"""Representations: what the encoder made of a set of images, joined with ids and labels."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vicinal.errors import InputError
from vicinal.files import replacing


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
