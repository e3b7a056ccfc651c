"""`vicinal anomalies`: pictures by how odd they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import AsJson, EmbeddingsFile, FalseAlarms, IndexFolder, Threads, new_csv
from vicinal.cli.output import answer_rows


def anomalies(
    embeddings: EmbeddingsFile,
    reference: Annotated[
        Path | None,
        typer.Option(help="Embeddings of normal pictures. (default: the set itself)"),
    ] = None,
    false_alarms: FalseAlarms = 0.01,
    k: Annotated[int, typer.Option("--k", help="Neighbours whose mean distance is the score.")] = 2,
    index: IndexFolder = None,
    out: Annotated[Path | None, new_csv("Write all of them into this CSV.")] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Rank pictures by how odd they are, and flag the oddest.

    Held-out pictures of the reference calibrate p-values and the threshold; further ones
    measure its false alarms. Best with an encoder that was not trained on these.

    \b
    vicinal anomalies photos.parquet --out ranked.csv
    vicinal anomalies new.parquet --reference good.parquet --false-alarms 0.05
    """
    from vicinal.evaluations.anomalies import rank_anomalies
    from vicinal.representations.pairing import load_with
    from vicinal.representations.representations import Representations

    searched, opened = load_with(reference or embeddings, index)
    whole = searched if reference is None else Representations.load(embeddings)
    normal = None if reference is None else searched
    found = rank_anomalies(whole, normal, false_alarms=false_alarms, k=k, index=opened)
    flagged = int((found.scores > found.threshold).sum())
    rate = "no reference: p is a picture's rank within the set, and no false-alarm rate is known"
    if found.measured is not None:
        low, high = found.measured["interval"]
        rate = (
            f"false alarms: asked {false_alarms:.2%}, measured {found.measured['rate']:.2%} "
            f"({low:.2%} to {high:.2%}) of {found.measured['n']:,} further normal pictures; "
            f"{found.calibration:,} calibrated, {found.bank:,} are the bank"
        )
    answer_rows(
        found,
        whole,
        out,
        as_json,
        f"{flagged} of {len(whole):,} flagged: score above {found.threshold:.4g}",
        rate,
        beside={"k": k, "false_alarms": false_alarms},
    )
