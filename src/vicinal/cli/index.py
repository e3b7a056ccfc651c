"""`vicinal index`: a search index of a large set."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import AsJson, EmbeddingsFile, Threads
from vicinal.cli.output import answer
from vicinal.errors import InputError


def index(
    embeddings: EmbeddingsFile,
    out: Annotated[Path | None, typer.Option(help="The index to make, a folder.")] = None,
    add: Annotated[
        Path | None, typer.Option(help="The index to add these images to, without rebuilding.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="flat (exact), hnsw or ivfpq. (default: flat up to 50,000 images, hnsw up to "
            "1,000,000, ivfpq beyond)"
        ),
    ] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Index a large set, for similar, anomalies and duplicates.

    Prints the recall: the share of the true 5 nearest that a search finds, measured.

    \b
    vicinal index photos.parquet --out photos.index
    vicinal index more.parquet --add photos.index
    vicinal similar photos.parquet beach/0031.jpg --index photos.index
    """
    from vicinal.representations.build_index import add_to_index, build_index

    if out is not None and add is None:
        made = build_index(embeddings, out, kind)
    elif add is not None and out is None and kind is None:
        made = add_to_index(embeddings, add)
    else:
        raise InputError("give --out INDEX to build one, or only --add INDEX to extend one")
    answer(as_json, lambda: asdict(made) | {"folder": str(made.folder)}, made.summary())
