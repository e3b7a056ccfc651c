"""Commands for what is done seldom."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import (
    AsJson,
    DataDir,
    Device,
    EmbeddingsFile,
    Exclude,
    MaxMegapixels,
    Source,
    Threads,
    complete_format,
    complete_recipe,
    reading,
    wants_page,
)
from vicinal.errors import InputError
from vicinal.files import read_json


def report(
    run: Annotated[Path, typer.Argument(help="A run folder of study or explore.")],
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page to explore on this machine.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Draw a run's report or page again, from its files."""
    from vicinal.report import (
        MOST_PICTURES,
        explored_part,
        serve_explorer,
        write_explorer,
        write_report,
    )

    part = explored_part(run)
    if serve and part is None:
        raise InputError(
            f"--serve: {run} has nothing to explore; if it is a study, go on with it by --resume"
        )
    if serve:
        serve_explorer(run, show=wants_page(None))
    elif part != run:
        _print_page(write_report(run), as_json)
    elif read_json(run / "explore.json")["data"]["count"] > MOST_PICTURES:
        raise InputError(f"{run}: too many pictures for one file; add --serve")
    else:
        _print_page(write_explorer(run), as_json)


def _print_page(page: Path, as_json: bool) -> None:
    print(json.dumps({"report": str(page)}) if as_json else page)


def export(
    run: Annotated[Path, typer.Argument(help="A run folder or an encoder.safetensors.")],
    to: Annotated[
        str,
        typer.Option(
            help="onnx, torchscript, torch.export, safetensors or timm.",
            autocompletion=complete_format,
        ),
    ],
    out: Annotated[Path, typer.Option(help="The file to write: .onnx, .pt, .pt2 or .safetensors.")],
    as_json: AsJson = False,
) -> None:
    r"""Write a trained encoder for other programs, checked against PyTorch.

    The first three take float32 images (B, C, S, S) in [0, 1], any B, and normalise them.

    \b
    vicinal export runs/photos --to onnx --out photos.onnx
    vicinal export runs/photos --to torch.export --out photos.pt2
    """
    from vicinal.cli.output import print_json, say
    from vicinal.encoder.export import export as write

    made = write(run, to, out)
    if as_json:
        print_json(made.to_json())
        return
    size, channels = made.preparation.size, made.preparation.channels
    images = "in [0, 1]" if made.normalises else "normalised by its mean and std"
    say(f"float32 images (B, {channels}, {size}, {size}) {images} to (B, {made.dimensions}): {out}")
    say(
        f"loaded in a fresh process: at most {made.max_difference:.2g} from PyTorch's numbers, "
        f"which are up to {made.largest:.2g}"
    )


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
    from vicinal.cli.output import print_json, say
    from vicinal.representations.index import add_to_index, build_index

    if out is not None and add is None:
        made = build_index(embeddings, out, kind)
    elif add is not None and out is None and kind is None:
        made = add_to_index(embeddings, add)
    else:
        raise InputError("give --out INDEX to build one, or --add INDEX (alone) to extend one")
    if as_json:
        print_json(asdict(made) | {"folder": str(made.folder)})
        return
    say(
        f"{made.kind}: {made.images:,} images ({made.added:,} new), recall@5 {made.recall:.3f} "
        f"on {made.checked} of them, {made.bytes / 2**20:,.1f} MiB: {made.folder}"
    )


def bench(
    images: Annotated[int, typer.Option(min=1, help="How many training images you have.")] = 50_000,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="A recipe's name or file (repeatable). (default: the shipped ones)",
            autocompletion=complete_recipe,
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Measure what each recipe costs on this machine.

    Images a second, and the minutes that your number of images would take.
    """
    from vicinal.recipes import read_recipe, recipe_names
    from vicinal.study.speed import measure_recipes, print_speeds

    recipes = [read_recipe(name) for name in recipe or recipe_names()]
    if not recipe:  # what goes on from a network of others needs an extra, and is asked for by name
        recipes = [one for one in recipes if not one.encoder.start]
    print_speeds(measure_recipes(recipes, device), images, as_json=as_json)


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
    from vicinal.cli.output import print_json, say
    from vicinal.images.stream_sources import write_source
    from vicinal.recipes import read_recipe
    from vicinal.runs.run_folder import recipe_for

    size = size or read_recipe(recipe_for(data)).views.size
    how = reading(exclude, max_megapixels)
    written = write_source(data, out, size=size, data_dir=data_dir, **how)
    if as_json:
        skipped = len(written.skipped)
        print_json({"out": str(out), "size": size, "images": written.images, "skipped": skipped})
        return
    parts = ", ".join(f"{count:,} {part}" for part, count in written.images.items())
    say(f"{parts} images of {size} × {size} pixels: {out}")
