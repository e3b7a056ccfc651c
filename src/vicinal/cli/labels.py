"""`vicinal labels`: labels that look wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import AsJson, EmbeddingsFile, Threads, new_csv
from vicinal.cli.output import SHOWN, answer


def labels(
    embeddings: EmbeddingsFile,
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV with columns id (or path) and label. (default: the set's own)"),
    ] = None,
    k: Annotated[
        int, typer.Option("--k", help="Labelled neighbours that are asked; all if there are fewer.")
    ] = 10,
    out: Annotated[Path | None, new_csv("Write all of them into this CSV.")] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Find labels that look wrong, with the label to put there.

    Ranked by what a picture's neighbours and a classifier fitted without it say against its label.

    \b
    vicinal labels photos.parquet --out doubtful.csv
    vicinal labels photos.parquet --labels labels.csv
    """
    from vicinal.evaluations.wrong_labels import doubt_labels
    from vicinal.representations.representations import Representations

    whole = Representations.load(embeddings)
    found = doubt_labels(whole, labels, k=k)
    if out is not None:
        found.save(out, whole)
    listed = found.listed(whole)[:SHOWN]
    shown = ("rank", "id", "label", "suggested", "confidence", "neighbours_agree", "like")
    answer(
        as_json,
        lambda: found.to_json(whole),
        *found.summary(),
        header=shown,
        rows=[one | {"like": next(iter(one["neighbours"]), "")} for one in listed],
    )
