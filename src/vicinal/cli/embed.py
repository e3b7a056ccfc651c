"""`vicinal embed`: every picture's representation into a file or a folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import (
    AsJson,
    DataDir,
    Device,
    EncoderName,
    Exclude,
    MaxMegapixels,
    Source,
    Threads,
    reading,
)
from vicinal.cli.output import answer
from vicinal.errors import InputError, number_of
from vicinal.files import check_new


def embed(
    data: Source,
    encoder: EncoderName,
    out: Annotated[
        str,
        typer.Option(
            help="The parquet file to write; or a folder, or its address, for a file every few "
            "thousand pictures and a source of any size."
        ),
    ],
    engine: Annotated[
        str, typer.Option(help="plain, or ray: on the cluster of RAY_ADDRESS, into a folder.")
    ] = "plain",
    exclude: Exclude = None,
    max_megapixels: MaxMegapixels = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Write every picture's representation into a parquet file.

    \b
    vicinal embed PHOTOS/ --encoder runs/photos --out photos.parquet
    vicinal embed PHOTOS/ --encoder pretrained --out photos.parquet
    vicinal embed s3://bucket/photos --encoder runs/photos --out photos --engine ray
    """
    how = reading(exclude, max_megapixels)
    if not out.endswith(".parquet"):
        from vicinal.representations.embed_in_pieces import embed_pieces

        parts = embed_pieces(
            data, encoder, out, engine=engine, device=device, data_dir=data_dir, **how
        )
        answer(as_json, lambda: asdict(parts), parts.summary())
        return
    if engine != "plain":
        raise InputError(f"--engine {engine}: writes a folder; name one that is no .parquet file")
    file = check_new(Path(out), "out", ".parquet")
    from vicinal.images import keep_skipped
    from vicinal.representations.embed import embed_source

    found = embed_source(data, encoder, device=device, data_dir=data_dir, **how)
    found.save(file)
    keep_skipped(found.skipped, file.with_suffix(".skipped.csv"))
    dimensions, columns = found.array.shape[1], found.table_columns()
    answer(
        as_json,
        lambda: {"out": out, "images": len(found), "dimensions": dimensions, "columns": columns},
        f"{number_of(len(found), 'image')}, {dimensions} numbers each: {out}",
    )
