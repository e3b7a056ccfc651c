"""A set of embeddings and what must belong to it: its index, labels, another set."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from vicinal.errors import InputError, option
from vicinal.files import plain_cell
from vicinal.images.csv_file import refuse_repeated, separator_of, table_text
from vicinal.images.labels_and_parts import plain_name
from vicinal.representations.index import Index
from vicinal.representations.representations import Representations, batches, once_compared


def load_with(embeddings: Path, index: Path | None) -> tuple[Representations, Index | None]:
    """A set of embeddings and its index, if named, whose memory-mapped vectors it then has.

    These are as `Representations.as_compared` has them, which the set's origin then does not ask
    for any more.
    """
    if index is None:
        return Representations.load(embeddings), None
    opened = Index.open(index)
    known = Representations.load(embeddings, vectors=False)
    made_by = known.origin.get("encoder_sha256")
    if made_by != opened.description["encoder_sha256"]:
        raise InputError(
            f"{option('index', index)}: made with another encoder than {embeddings}; build one "
            "of that file"
        )
    order = np.argsort(known.ids, kind="stable")
    place = np.searchsorted(known.ids, opened.ids, sorter=order)
    rows = order[np.minimum(place, len(order) - 1)]
    if len(known) != len(opened) or not (known.ids[rows] == opened.ids).all():
        raise InputError(
            f"{option('index', index)}: holds {len(opened):,} images and {embeddings} "
            f"{len(known):,}, not "
            f"the same ones; build one of that file, or add what is missing with {option('add')}"
        )
    ids, array = next(batches(embeddings, rows=64, compared=True))
    if array.shape[1] != opened.vectors.shape[1]:
        raise InputError(
            f"{option('index', index)}: rows of {opened.vectors.shape[1]} numbers, and "
            f"{array.shape[1]} in "
            f"{embeddings}; build one of that file"
        )
    first = np.flatnonzero(np.isin(opened.ids, ids))
    mine = dict(zip(ids.tolist(), array, strict=True))
    if any((opened.vectors[row] != mine[str(opened.ids[row])]).any() for row in first):
        raise InputError(
            f"{option('index', index)}: other representations than those in {embeddings}, under "
            "the same "
            "ids; build one of that file"
        )
    origin = once_compared(known.origin)
    return replace(known.take(rows), array=opened.vectors, origin=origin), opened


def check_one_encoder(one: Representations, other: Representations, names: tuple[str, str]) -> None:
    """Refuses two sets whose representations cannot be compared."""
    if one.array.shape[1] != other.array.shape[1]:
        raise InputError(
            f"{names[0]} has representations of {one.array.shape[1]} numbers and {names[1]} of "
            f"{other.array.shape[1]}; embed both with one encoder"
        )
    made_by = [each.origin.get("encoder_sha256") for each in (one, other)]
    if None not in made_by and made_by[0] != made_by[1]:
        called = [each.origin.get("encoder", "an unknown encoder") for each in (one, other)]
        shown = [f"{name} ({str(sha)[:8]})" for name, sha in zip(called, made_by, strict=True)]
        raise InputError(
            f"{names[0]} was made by {shown[0]} and {names[1]} by {shown[1]}, another encoder; "
            "embed both with one"
        )


def read_labels(path: Path, embeddings: Representations, *, needed: bool = True) -> dict[int, str]:
    """The label of each row that a CSV gives one."""
    try:
        reader = _rows(table_text(path))
        columns = list(reader.fieldnames or ())
        name = next((each for each in ("id", "path") if each in columns), None)
        whole = "label" in columns
        if name is None or (needed and not whole):
            raise InputError(
                f"{path}: needs columns id (or path) {'and label ' * needed}in its first line, "
                f"found {', '.join(columns) or 'nothing'}"
            )
        refuse_repeated(columns, (name, *["label"] * whole), str(path))
        lines = [
            (reader.line_num, plain_cell(line[name]), plain_cell(line.get("label", "")).strip())
            for line in reader
        ]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: no CSV ({error}); give one in UTF-8") from None
    place = _places(embeddings, name, path)
    labels: dict[int, str] = {}
    for number, picture, label in lines:
        # A path lies where the command runs, or beside the list, as in a CSV that was embedded.
        beside = os.path.abspath(path.parent / picture)
        names = [picture] if name == "id" else [os.path.abspath(picture), picture, beside]
        row = next((place[one] for one in names if one in place), None)
        if row is None:
            raise InputError(
                f"{path}, line {number}: no picture {picture!r} in the embeddings; "
                f"they are named like {embeddings.describe(0).get(name)!r}"
            )
        if (label or not whole) and labels.setdefault(row, label) != label:
            raise InputError(f"{path}, line {number}: {picture!r} has two labels; keep one")
    return labels


def _rows(text: str) -> csv.DictReader[str]:
    """A CSV's rows by plain names of columns; separated by what divides its first line best."""
    separator = separator_of(text, ("id", "path"))
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="", delimiter=separator)
    reader.fieldnames = [plain_name(name) for name in reader.fieldnames or ()]
    return reader


def _places(embeddings: Representations, name: str, labels: Path) -> dict[str, int]:
    """Rows by id or by path."""
    column = embeddings.ids if name == "id" else embeddings.paths
    if column is None:
        raise InputError(f"{labels}: names paths, but the embeddings have none; give a column id")
    return {text: row for row, text in enumerate(column.tolist())}
