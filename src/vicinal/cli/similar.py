"""`vicinal similar`: the nearest pictures, or the farthest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import AsJson, EmbeddingsFile, IndexFolder, Threads
from vicinal.cli.output import answer
from vicinal.files import check_new


def similar(
    embeddings: EmbeddingsFile,
    query: Annotated[str, typer.Argument(help="An id in the file, or a picture's path.")],
    k: Annotated[int, typer.Option("--k", help="How many.")] = 10,
    farthest: Annotated[bool, typer.Option("--farthest", help="The least similar ones.")] = False,
    encoder: Annotated[
        Path | None, typer.Option(help="The run that made it, for a picture not in it.")
    ] = None,
    index: IndexFolder = None,
    grid: Annotated[Path | None, typer.Option(help="Draw the pictures into this PNG.")] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Find the pictures nearest to one, or farthest from it.

    \b
    vicinal similar photos.parquet beach/0031.jpg --grid near.png
    vicinal similar photos.parquet NEW.jpg --encoder runs/photos --farthest
    """
    if grid is not None:
        check_new(grid, "grid", ".png")
    from vicinal.evaluations.retrieval import similar as find
    from vicinal.evaluations.retrieval import write_grid
    from vicinal.representations.pairing import load_with
    from vicinal.representations.representations import encoder_of, is_explored

    whole, opened = load_with(embeddings, index)
    if encoder is None and is_explored(embeddings):
        made_by = encoder_of(embeddings, whole)
        encoder = made_by if made_by.is_file() else None
    found = find(whole, query, k=k, farthest=farthest, encoder=encoder, index=opened)
    if grid is not None:
        shown = Path(query) if found.row is None else found.row
        captions = [f"{distance:.3g}" for distance in found.distances]
        write_grid(grid, whole, shown, found.rows.tolist(), [found.query, *captions])
    listed = found.listed(whole)
    answer(
        as_json,
        lambda: {"query": found.query, "farthest": farthest, "found": listed},
        header=["rank", *whole.columns(), "distance"],
        rows=listed,
    )
