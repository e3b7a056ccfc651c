"""`vicinal map`: a position for every picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import AsJson, EmbeddingsFile, Threads
from vicinal.cli.output import answer
from vicinal.errors import number_of
from vicinal.files import check_new


def map_(
    embeddings: EmbeddingsFile,
    out: Annotated[Path, typer.Option(help="The parquet file to write.")],
    method: Annotated[str, typer.Option(help="tsne or pca.")] = "tsne",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Lay pictures out as a map, for embedding-atlas or your own plot.

    \b
    vicinal map photos.parquet --out map.parquet
    embedding-atlas map.parquet --x x --y y --neighbors neighbors
    """
    check_new(out, "out", ".parquet")
    from vicinal.evaluations.maps import map_of
    from vicinal.representations.representations import Representations

    whole = Representations.load(embeddings)
    found = map_of(whole, method)
    found.save(out, whole)
    answer(
        as_json,
        lambda: {
            "out": str(out),
            "images": len(whole),
            "method": method,
            "neighbours": found.neighbours.indices.shape[1],
            "trustworthiness": found.trustworthiness,
        },
        f"{number_of(len(whole), 'image')}, trustworthiness {found.trustworthiness:.3f}: {out}",
    )
