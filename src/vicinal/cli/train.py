"""`vicinal train`: one encoder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import (
    AsJson,
    DataDir,
    Device,
    Devices,
    Exclude,
    Ignore,
    Limit,
    Log,
    MaxMegapixels,
    Minutes,
    Nodes,
    RecipeName,
    Resume,
    Settings,
    Source,
    Threads,
    ignored_words,
    reading,
)
from vicinal.cli.output import answer
from vicinal.errors import number_of


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
    log: Log = None,
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
    from vicinal.distributed import is_first
    from vicinal.evaluations.own_view import kept_sentence
    from vicinal.study.train import train as train_run

    trained = train_run(
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
        log=log,
        **reading(exclude, max_megapixels),
    )
    if not is_first():
        return
    answer(
        as_json,
        lambda: asdict(trained) | {"run": str(trained.run), "encoder": str(trained.encoder)},
        None if trained.kept is None else kept_sentence(trained.kept),
        f"{number_of(trained.images, 'image')}, {number_of(trained.epochs, 'epoch')}; "
        f"encoder: {trained.encoder}",
    )
