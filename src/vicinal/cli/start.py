"""The five commands most people need first."""

from __future__ import annotations

import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import (
    SOURCES,
    AsJson,
    DataDir,
    Device,
    Devices,
    EncoderName,
    Exclude,
    FalseAlarms,
    Ignore,
    Limit,
    MaxMegapixels,
    Minutes,
    Nodes,
    RecipeName,
    Resume,
    Settings,
    Source,
    Start,
    Threads,
    TrainNothing,
    complete_source,
    ignored_words,
    reading,
    wants_page,
)
from vicinal.errors import InputError


def explore(
    photos: Annotated[
        str,
        typer.Argument(
            metavar="PHOTOS",
            autocompletion=complete_source,
            help="A folder of pictures, or any DATA as for `vicinal train`.",
        ),
    ],
    encoder: TrainNothing = None,
    start: Start = None,
    onto: Annotated[
        Path | None,
        typer.Option(help="A finished run on whose map these pictures are placed, its encoder's."),
    ] = None,
    update: Annotated[
        Path | None,
        typer.Option(help="A finished run of PHOTOS that is brought up to date with it."),
    ] = None,
    minutes: Minutes = None,
    ignore: Ignore = None,
    false_alarms: FalseAlarms = 0.01,
    run: Annotated[
        Path | None, typer.Option(help="The run folder. (default: runs/PHOTOS-explore-NUMBER)")
    ] = None,
    resume: Resume = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on this machine, at any size.")
    ] = False,
    show: Annotated[
        bool | None, typer.Option("--open/--no-open", help="Open the page. (default: on a desktop)")
    ] = None,
    recipe: RecipeName = None,
    settings: Settings = None,
    exclude: Exclude = None,
    max_megapixels: MaxMegapixels = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Look through your own pictures: what is similar, odd, double or grouped.

    \b
    vicinal explore PHOTOS/                      train for 8 minutes, map, open one page
    vicinal explore PHOTOS/ --minutes 30         more training, better neighbours
    vicinal explore NEW/ --encoder runs/PHOTOS-explore-1
    vicinal explore NEW/ --onto runs/PHOTOS-explore-1        other pictures on its map
    vicinal explore PHOTOS/ --update runs/PHOTOS-explore-1   what came, changed or went since
    vicinal explore PHOTOS/ --encoder pretrained an ImageNet network as it is, no training
    vicinal explore PHOTOS/ --start pretrained   training goes on from it
    vicinal explore PHOTOS/ --ignore flip,scale  where colour and brightness matter
    """
    from vicinal.cli.output import print_json, say
    from vicinal.explore import Request
    from vicinal.explore import explore as explore_pictures

    found = explore_pictures(
        Request(
            data=photos,
            encoder=encoder,
            onto=onto,
            update=update,
            recipe=recipe,
            settings=(*(settings or ()), *([f"encoder.start={start}"] if start else [])),
            minutes=minutes,
            ignore=ignored_words(ignore),
            false_alarms=false_alarms,
            run=run,
            resume=resume,
            device=device,
            data_dir=data_dir,
            **reading(exclude, max_megapixels),
        )
    )
    if as_json:
        known = {"run": str(found.run), "page": None if found.page is None else str(found.page)}
        print_json(known | {k: v for k, v in found.figures.items() if k != "recipe"})
    else:
        say(found.told())
    if serve:
        from vicinal.report import serve_explorer

        serve_explorer(found.run, show=wants_page(show))
    elif found.page is not None and wants_page(show) and not as_json:
        webbrowser.open(found.page.resolve().as_uri())


def study(
    data: Annotated[str, typer.Option(help=SOURCES, autocompletion=complete_source)] = "digits",
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
    objectives: Annotated[
        str | None, typer.Option(help="Objectives to compare: all, or names with commas.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run folder. (default: runs/DATA-RECIPE-NUMBER)")
    ] = None,
    resume: Resume = False,
    device: Device = "auto",
    precision: Annotated[str | None, typer.Option(help="auto, bf16 or float32.")] = None,
    exclude: Exclude = None,
    max_megapixels: MaxMegapixels = None,
    data_dir: DataDir = None,
    log: Annotated[
        str | None, typer.Option(help="Log the losses to tensorboard or wandb too (extras).")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the report at the end.")] = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Run the whole study: train, compare, measure, write one report.

    \b
    vicinal study                                        scanned digits, minutes, no network
    vicinal study --data cifar10 --anomalies mnist --recipe laptop
    vicinal study --data PHOTOS/ --limit 5000
    """
    # torch takes seconds to import, and --help must not.
    from vicinal.cli.output import print_json
    from vicinal.explore import TEST_IMAGES
    from vicinal.report import write_report
    from vicinal.study.claims import headline, print_summary
    from vicinal.study.objectives import asked_objectives
    from vicinal.study.run import Request, run_study

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
            objectives=asked_objectives(objectives),
            **reading(exclude, max_megapixels),
        ),
        [TEST_IMAGES],
    )
    page = write_report(folder)
    print_json(headline(folder)) if as_json else print_summary(folder)
    if show:
        webbrowser.open(page.resolve().as_uri())


def choose(
    data: Source,
    minutes: Annotated[float, typer.Option(help="What all of it may take.")] = 15.0,
    objectives: Annotated[
        str, typer.Option(help="Objectives to choose from: all, or names with commas.")
    ] = "all",
    recipe: RecipeName = None,
    settings: Settings = None,
    limit: Limit = None,
    run: Annotated[
        Path | None, typer.Option(help="The run folder. (default: runs/choose-DATA-RECIPE-NUMBER)")
    ] = None,
    resume: Resume = False,
    device: Device = "auto",
    exclude: Exclude = None,
    max_megapixels: MaxMegapixels = None,
    data_dir: DataDir = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Find the objective that suits these pictures, without labels, and keep its encoder.

    \b
    vicinal choose PHOTOS/ --minutes 30
    vicinal choose PHOTOS/ --objectives vicreg,barlow,ntxent
    """
    from vicinal.cli.output import print_json, print_table, say
    from vicinal.study.choose import choose as choose_objective
    from vicinal.study.objectives import asked_objectives

    found = choose_objective(
        data,
        minutes=minutes,
        objectives=asked_objectives(objectives),
        recipe=recipe,
        settings=settings or (),
        limit=limit,
        run=run,
        resume=resume,
        device=device,
        data_dir=data_dir,
        **reading(exclude, max_megapixels),
    )
    if as_json:
        print_json(asdict(found) | {"run": str(found.run)})
        return
    columns = (
        "round",
        "objective",
        "minutes",
        "epochs",
        "own_view",
        "lidar",
        "rankme",
        "alpha_req",
    )
    print_table(columns, [[row[name] for name in columns] for row in found.table])
    say(f"kept: {found.objective}, its encoder in {found.run}")


def train(
    data: Source,
    recipe: RecipeName = None,
    run: Annotated[
        Path | None, typer.Option(help="The run folder. (default: runs/train-DATA-RECIPE-NUMBER)")
    ] = None,
    settings: Settings = None,
    minutes: Minutes = None,
    ignore: Ignore = None,
    start: Annotated[
        Path | None, typer.Option(help="Begin with the encoder of this run, which stays as it is.")
    ] = None,
    limit: Limit = None,
    resume: Resume = False,
    device: Device = "auto",
    devices: Devices = None,
    nodes: Nodes = None,
    exclude: Exclude = None,
    max_megapixels: MaxMegapixels = None,
    data_dir: DataDir = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    r"""Train one encoder on pictures without labels.

    \b
    vicinal train PHOTOS/ --run runs/photos
    vicinal train digits --set training.epochs=50        or --minutes 5
    vicinal train digits --start RUN --minutes 5         train RUN's encoder further, in a new run
    vicinal train PHOTOS/ --devices 8                    the batch is shared by 8 ranks
    vicinal train 'tar:SHARDS/{0000..0999}.tar'          more than fits into memory
    vicinal train PHOTOS/ --set encoder.start=pretrained
    """
    from vicinal.cli.output import print_json, say
    from vicinal.distributed import is_first
    from vicinal.evaluations.own_view import told
    from vicinal.study.train import train as train_encoder

    trained = train_encoder(
        data,
        recipe=recipe,
        settings=tuple(settings or ()),
        minutes=minutes,
        ignore=ignored_words(ignore),
        start=start,
        limit=limit,
        run=run,
        resume=resume,
        device=device,
        data_dir=data_dir,
        devices=devices,
        nodes=nodes,
        **reading(exclude, max_megapixels),
    )
    if not is_first():
        return
    if as_json:
        print_json(
            {
                "run": str(trained.run),
                "encoder": str(trained.encoder),
                "images": trained.images,
                "epochs": trained.epochs,
                "seconds": trained.seconds,
                "loss": trained.loss,
                "kept": trained.kept,
            }
        )
        return
    if trained.kept is not None:
        say(told(trained.kept))
    say(f"{trained.images:,} images, {trained.epochs} epochs; encoder: {trained.encoder}")


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
    from vicinal.cli.output import print_json, say
    from vicinal.files import check_new

    how = reading(exclude, max_megapixels)
    if not out.endswith(".parquet"):
        from vicinal.representations.embed_in_pieces import embed_pieces

        parts = embed_pieces(data, encoder, out, engine=engine, device=device, **how)
        if as_json:
            print_json(asdict(parts))
            return
        say(parts.told())
        return
    if engine != "plain":
        raise InputError(f"--engine {engine}: writes a folder; name one that is no .parquet file")
    file = check_new(Path(out), "out", ".parquet")
    from vicinal.images import keep_skipped
    from vicinal.representations.embed import embed_source

    found = embed_source(data, encoder, device=device, data_dir=data_dir, **how)
    found.save(file)
    keep_skipped(found.skipped, file.with_suffix(".skipped.csv"))
    if as_json:
        print_json(
            {
                "out": out,
                "images": len(found),
                "dimensions": found.array.shape[1],
                "columns": found.table_columns(),
            }
        )
        return
    say(f"{len(found):,} images, {found.array.shape[1]} numbers each: {out}")
