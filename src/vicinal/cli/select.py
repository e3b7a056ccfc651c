"""`vicinal select`: the pictures to label first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import AsJson, EmbeddingsFile, Threads, new_csv
from vicinal.cli.output import answer_rows


def select(
    embeddings: EmbeddingsFile,
    count: Annotated[int, typer.Option(min=1, help="How many to label.")] = 100,
    labels: Annotated[
        str | None,
        typer.Option(
            help="What is labelled already: a CSV with a column id (or path), or own for the "
            "labels in the file."
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="typical, k-centre or random.")] = "typical",
    seed: Annotated[int, typer.Option(help="Seed of what is random in it.")] = 0,
    out: Annotated[
        Path | None, new_csv("Write them into this CSV, to fill in its column label.")
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Choose the pictures to label first.

    \b
    vicinal select photos.parquet --count 100 --out labels.csv
    vicinal select photos.parquet --labels labels.csv --out more.csv
    """
    from vicinal.evaluations.selection import select_pictures
    from vicinal.representations.representations import Representations

    whole = Representations.load(embeddings)
    found = select_pictures(whole, count, labels=labels, method=method, seed=seed)
    beside = f" beside {found.labelled:,} labelled ones" if found.labelled else ""
    line = f"{len(found.rows):,} of {len(whole):,} pictures to label, {method}{beside}"
    answer_rows(found, whole, out, as_json, line)
