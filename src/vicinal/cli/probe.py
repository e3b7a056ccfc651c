"""`vicinal probe`: labels for the rest of a set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import AsJson, EmbeddingsFile, Threads, new_csv
from vicinal.cli.output import answer_rows


def probe(
    embeddings: EmbeddingsFile,
    labels: Annotated[
        Path, typer.Option(help="CSV with columns id (or path) and label, for a few pictures.")
    ],
    out: Annotated[Path | None, new_csv("Write predictions into this CSV.")] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Label the rest of a set from the labels of a few.

    \b
    vicinal probe photos.parquet --labels labels.csv --out predictions.csv
    """
    from vicinal.evaluations.label_probe import predict
    from vicinal.representations.representations import Representations

    whole = Representations.load(embeddings)
    found = predict(whole, labels)
    accuracy = found.accuracy
    assert accuracy.interval is not None
    low, high = accuracy.interval
    answer_rows(
        found,
        whole,
        out,
        as_json,
        f"{accuracy.n} labels of {len(found.class_names)} classes, "
        f"{len(found.rest):,} predictions; "
        f"accuracy by {found.folds}-fold cross-validation {accuracy.value:.1%} "
        f"({low:.1%} to {high:.1%}; the largest class has {accuracy.chance:.1%})",
    )
