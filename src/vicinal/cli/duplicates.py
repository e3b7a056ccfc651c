"""`vicinal duplicates`: pictures that are the same, and test pictures in training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vicinal.cli.options import (
    AsJson,
    DataDir,
    Exclude,
    IndexFolder,
    MaxMegapixels,
    Threads,
    new_csv,
    reading,
)
from vicinal.cli.output import SHOWN, answer, answer_rows, save_rows, tell_skipped
from vicinal.errors import InputError

if TYPE_CHECKING:
    from vicinal.evaluations.leaks import Leaked
    from vicinal.images import Skipped


def duplicates(
    pictures: Annotated[
        str,
        typer.Argument(metavar="PICTURES", help="Embeddings, or pictures: a folder, a .csv, …"),
    ],
    against: Annotated[
        str | None,
        typer.Option(help="Which of these, embeddings or pictures, are copies of the first?"),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="The greatest distance of a pair. (default: the pixels decide)"),
    ] = None,
    index: IndexFolder = None,
    out: Annotated[Path | None, new_csv("Write all pairs into this CSV.")] = None,
    exclude: Exclude = None,
    max_megapixels: MaxMegapixels = None,
    data_dir: DataDir = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Find pictures that are the same, or nearly, and test pictures that are in training.

    Copies may be resized, re-compressed, mirrored, brightened and slightly cropped. Pixels decide
    where they can be had; else, or by --threshold or --index, distances of embeddings do.

    \b
    vicinal duplicates PHOTOS/ --out pairs.csv
    vicinal duplicates TRAIN/ --against TEST/
    vicinal duplicates photos.parquet --threshold 0.5
    """
    from vicinal.evaluations.duplicates import find_duplicates
    from vicinal.evaluations.leaks import (
        Pictures,
        leaks_between,
        leaks_within,
        read_pictures,
    )
    from vicinal.representations.pairing import load_with

    _check(pictures, against, threshold, index, chooses=bool(exclude) or max_megapixels is not None)
    how: dict[str, Any] = {**reading(exclude, max_megapixels), "data_dir": data_dir}
    if threshold is None and index is None:
        known, opened = read_pictures(pictures, **how), None
    else:
        whole, opened = load_with(Path(pictures), index)
        known = Pictures(whole, None, True)
    if against is not None:
        other = read_pictures(against, **how)
        skipped = (*known.embeddings.skipped, *other.embeddings.skipped)
        _answer_leaks(leaks_between(known, other), skipped, out, as_json)
        return
    whole = known.embeddings
    found = find_duplicates(whole, threshold, opened, small=known.small)
    between = None if known.small is None else leaks_within(known)
    beside = {} if between is None else {"between_parts": between.to_json()}
    answer_rows(
        found,
        whole,
        out,
        as_json,
        *([] if between is None else between.summary()),
        header=("group", "distance", "id_a", "id_b"),
        warning=found.warning(),
        beside=beside | _left_out(whole.skipped),
    )
    tell_skipped(whole.skipped, out)


def _check(
    pictures: str,
    against: str | None,
    threshold: float | None,
    index: Path | None,
    *,
    chooses: bool,
) -> None:
    """Refuses options that say nothing together or of these pictures."""
    from vicinal.evaluations.leaks import holds_embeddings, holds_pictures

    if against is not None and (threshold is not None or index is not None):
        raise InputError("--against: takes no --threshold and no --index; leave them out")
    if (threshold is not None or index is not None) and holds_pictures(pictures):
        asked = "--index" if threshold is None else "--threshold"
        raise InputError(
            f"{asked}: needs embeddings, and {pictures} holds pictures; leave it out and pixels "
            "decide, or name what `vicinal embed` makes of them"
        )
    if chooses and holds_embeddings(Path(pictures)):
        raise InputError(
            "--exclude and --max-megapixels: choose among picture files; embeddings are read whole"
        )


def _answer_leaks(
    leaked: Leaked, skipped: tuple[Skipped, ...], out: Path | None, as_json: bool
) -> None:
    """Writes and prints copies between two sets."""
    listed = leaked.listed()
    save_rows(out, leaked.header(), listed)
    answer(
        as_json,
        lambda: leaked.to_json() | _left_out(skipped),
        *leaked.summary(),
        header=("difference", "id_a", "id_b"),
        rows=listed[:SHOWN],
        warning=leaked.warning(),
    )
    tell_skipped(skipped, out)


def _left_out(skipped: tuple[Skipped, ...]) -> dict[str, Any]:
    return {"skipped": [asdict(one) for one in skipped]} if skipped else {}
