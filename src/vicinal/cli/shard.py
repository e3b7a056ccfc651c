"""`vicinal shard`: pictures decoded into shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import AsJson, DataDir, Exclude, MaxMegapixels, Source, reading
from vicinal.cli.output import answer


def shard(
    data: Source,
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    size: Annotated[
        int | None,
        typer.Option(min=4, help="Height and width. (default: that of the data's recipe)"),
    ] = None,
    exclude: Exclude = None,
    max_megapixels: MaxMegapixels = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    r"""Decode pictures into shards that train reads as a stream.

    \b
    vicinal shard 'SHARDS/{0000..0999}.tar' --out store
    vicinal train shards:store
    """
    from vicinal.images.stream_sources import write_source
    from vicinal.recipes import read_recipe
    from vicinal.runs.run_folder import recipe_for

    size = size or read_recipe(recipe_for(data)).views.size
    how = reading(exclude, max_megapixels)
    written = write_source(data, out, size=size, data_dir=data_dir, **how)
    parts = ", ".join(f"{count:,} {part}" for part, count in written.images.items())
    answer(
        as_json,
        lambda: {
            "out": str(out),
            "size": size,
            "images": written.images,
            "skipped": len(written.skipped),
        },
        f"{parts} images of {size} × {size} pixels: {out}",
    )
