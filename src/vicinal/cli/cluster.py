"""`vicinal cluster`: groups of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import AsJson, EmbeddingsFile, Threads, new_csv
from vicinal.cli.output import answer, save_rows
from vicinal.errors import number_of


def cluster(
    embeddings: EmbeddingsFile,
    clusters: Annotated[
        int | None, typer.Option(help="How many groups. (default: chosen from 2 to 100)")
    ] = None,
    out: Annotated[Path | None, new_csv("Write all pictures into this CSV.")] = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Group pictures, coarsely and finely, and name those that stand for each group.

    The groups form a tree, so that each group of 20 lies in one of 10. The column cluster has
    the level that was asked for or chosen, the columns cluster_2 to cluster_100 have others.

    \b
    vicinal cluster photos.parquet --out clusters.csv
    vicinal cluster photos.parquet --clusters 12
    """
    from vicinal.evaluations.groups import group
    from vicinal.representations.representations import Representations

    whole = Representations.load(embeddings)
    found = group(whole, clusters)
    data = found.to_json(whole)
    save_rows(out, found.header(whole), data["pictures"])
    rows = [
        {
            **one,
            "mostly": f"{one['label']} ({one['share']:.0%})" if "label" in one else "",
            "representatives": "  ".join(picture["id"] for picture in one["representatives"]),
        }
        for one in data["clusters"]
    ]
    answer(
        as_json,
        lambda: data,
        f"{number_of(found.chosen, 'group')}, silhouette {found.silhouette:.3f}; "
        f"--clusters 2 to {len(found.tree)} for fewer or more",
        header=["cluster", "size", "mostly", "representatives"],
        rows=rows,
    )
