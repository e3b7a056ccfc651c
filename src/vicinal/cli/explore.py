"""`vicinal explore`: a folder of pictures to one page."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.options import (
    AsJson,
    DataDir,
    Device,
    Exclude,
    Ignore,
    Log,
    MaxMegapixels,
    Minutes,
    RecipeName,
    Resume,
    Settings,
    Start,
    Threads,
    TrainNothing,
    complete_source,
    ignored_words,
    reading,
    wants_page,
)
from vicinal.cli.output import answer

_Rate = Annotated[
    float | None,
    typer.Option(
        "--false-alarms",
        help="Share of normal pictures that may be flagged. (default: 0.01, or the updated run's)",
    ),
]
_Show = Annotated[
    bool | None, typer.Option("--open/--no-open", help="Open the page. (default: on a desktop)")
]


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
    false_alarms: _Rate = None,
    log: Log = None,
    run: Annotated[
        Path | None, typer.Option(help="The run folder. (default: runs/PHOTOS-explore-NUMBER)")
    ] = None,
    resume: Resume = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on this machine, at any size.")
    ] = False,
    show: _Show = None,
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
            log=log,
            run=run,
            resume=resume,
            device=device,
            data_dir=data_dir,
            **reading(exclude, max_megapixels),
        )
    )
    page = None if found.page is None else str(found.page)
    answer(
        as_json,
        lambda: (
            {"run": str(found.run), "page": page}
            | {name: value for name, value in found.figures.items() if name != "recipe"}
        ),
        found.told(),
    )
    if serve:
        from vicinal.report import serve_explorer

        serve_explorer(found.run, show=wants_page(show))
    elif found.page is not None and wants_page(show) and not as_json:
        webbrowser.open(found.page.resolve().as_uri())
