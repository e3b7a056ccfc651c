"""The four commands most people need first."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.completion import complete_source
from vicinal.cli.options import (
    AsJson,
    DataDir,
    Device,
    EmbeddingsFile,
    Limit,
    RecipeName,
    Resume,
    Settings,
    Source,
)


def study(
    data: Annotated[
        str,
        typer.Option(
            autocompletion=complete_source,
            help="digits, cifar10, cifar100, mnist, fashion-mnist, folder:PATH or "
            "parquet:PATTERN ({split} in it stands for train and test).",
        ),
    ] = "digits",
    recipe: RecipeName = None,
    anomalies: Annotated[
        str | None, typer.Option(help="Images of another kind, named as for --data.")
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="The test set, if it lies apart, named as for --data.")
    ] = None,
    limit: Limit = None,
    settings: Settings = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Repeat with so many seeds.")] = 1,
    run: Annotated[
        Path | None, typer.Option(help="The run folder. [default: runs/DATA-RECIPE-NUMBER]")
    ] = None,
    resume: Resume = False,
    device: Device = "auto",
    precision: Annotated[str | None, typer.Option(help="auto, bf16 or float32.")] = None,
    data_dir: DataDir = None,
    log: Annotated[
        str | None, typer.Option(help="Log the losses to tensorboard or wandb too (extras).")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the report at the end.")] = False,
    as_json: AsJson = False,
) -> None:
    r"""Run the whole study: train, compare, measure, write one report.

    \b
    vicinal study                                        scanned digits, minutes, no network
    vicinal study --data cifar10 --anomalies mnist --recipe laptop
    vicinal study --data folder:PHOTOS --recipe laptop --limit 5000
    """
    # torch takes seconds to import, and --help must not.
    from vicinal.report import write_report
    from vicinal.study.run import Request, run_study
    from vicinal.study.summary import headline, print_summary
    from vicinal.verbs.shown import print_json

    changes = list(settings or [])
    changes += [f"seed={seed}"] if seed is not None else []
    changes += [f"training.precision={precision}"] if precision is not None else []
    folder = run_study(
        Request(
            data=data,
            anomalies=anomalies,
            test=test,
            limit=limit,
            recipe=recipe,
            settings=tuple(changes),
            seeds=seeds,
            run=run,
            resume=resume,
            device=device,
            data_dir=data_dir,
            log=log,
        )
    )
    page = write_report(folder)
    print_json(headline(folder)) if as_json else print_summary(folder)
    if show:
        webbrowser.open(page.resolve().as_uri())


def train(
    data: Source,
    recipe: RecipeName = None,
    run: Annotated[
        Path | None, typer.Option(help="The run folder. [default: runs/train-DATA-RECIPE-NUMBER]")
    ] = None,
    settings: Settings = None,
    limit: Limit = None,
    resume: Resume = False,
    device: Device = "auto",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    r"""Train one encoder on pictures without labels.

    \b
    vicinal train folder:PHOTOS --run runs/photos
    vicinal train digits --set training.epochs=50
    """
    from vicinal.verbs.shown import print_json, say
    from vicinal.verbs.train import train as train_encoder

    trained = train_encoder(
        data,
        recipe=recipe,
        settings=tuple(settings or ()),
        limit=limit,
        run=run,
        resume=resume,
        device=device,
        data_dir=data_dir,
    )
    if as_json:
        print_json(
            {
                "run": str(trained.run),
                "encoder": str(trained.encoder),
                "images": trained.images,
                "epochs": trained.epochs,
                "seconds": trained.seconds,
                "loss": trained.loss,
            }
        )
        return
    say(f"{trained.images:,} images, {trained.epochs} epochs; encoder: {trained.encoder}")


def embed(
    data: Source,
    encoder: Annotated[Path, typer.Option(help="A run folder or an encoder.safetensors.")],
    out: Annotated[Path, typer.Option(help="The parquet file to write.")],
    device: Device = "auto",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    r"""Write every picture's representation into a parquet file.

    \b
    vicinal embed folder:PHOTOS --encoder runs/photos --out photos.parquet
    """
    from vicinal.files import check_new

    check_new(out, "--out", ".parquet")
    from vicinal.verbs.embed import embed_source
    from vicinal.verbs.shown import print_json, say

    found = embed_source(data, encoder, device=device, data_dir=data_dir)
    found.save(out)
    columns = [*found.columns(), *(["split"] if found.splits is not None else [])]
    if as_json:
        print_json(
            {
                "out": str(out),
                "images": len(found),
                "dimensions": found.array.shape[1],
                "columns": [*columns, "representation"],
            }
        )
        return
    say(f"{len(found):,} images, {found.array.shape[1]} numbers each: {out}")


def similar(
    embeddings: EmbeddingsFile,
    query: Annotated[str, typer.Argument(help="An id in the file, or a picture's path.")],
    k: Annotated[int, typer.Option("--k", help="How many.")] = 10,
    farthest: Annotated[bool, typer.Option("--farthest", help="The least similar ones.")] = False,
    encoder: Annotated[
        Path | None, typer.Option(help="The run that made the file, for a picture not in it.")
    ] = None,
    grid: Annotated[Path | None, typer.Option(help="Draw the pictures into this PNG.")] = None,
    as_json: AsJson = False,
) -> None:
    r"""Find the pictures nearest to one, or farthest from it.

    \b
    vicinal similar photos.parquet beach/0031.jpg --grid near.png
    vicinal similar photos.parquet NEW.jpg --encoder runs/photos --farthest
    """
    from vicinal.files import check_new

    if grid is not None:
        check_new(grid, "--grid", ".png")
    from vicinal.representations.embeddings import Embeddings
    from vicinal.verbs.grid import write_grid
    from vicinal.verbs.shown import print_json, print_table
    from vicinal.verbs.similar import similar as find

    whole = Embeddings.load(embeddings)
    found = find(whole, query, k=k, farthest=farthest, encoder=encoder)
    listed = found.listed(whole)
    if grid is not None:
        shown = Path(query) if found.row is None else found.row
        captions = [f"{distance:.3g}" for distance in found.distances]
        write_grid(grid, whole, shown, found.rows.tolist(), [found.query, *captions])
    if as_json:
        print_json({"query": found.query, "farthest": farthest, "found": listed})
        return
    print_table(
        ["rank", *whole.columns(), "distance"], [list(picture.values()) for picture in listed]
    )
