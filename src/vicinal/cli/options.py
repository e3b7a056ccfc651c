"""Arguments and options that several commands take, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vicinal.cli.completion import complete_recipe, complete_source

EmbeddingsFile = Annotated[
    Path, typer.Argument(metavar="EMBEDDINGS", help="What `vicinal embed` wrote.")
]
Source = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        autocompletion=complete_source,
        help="digits, cifar10, cifar100, mnist, fashion-mnist, folder:PATH or parquet:PATTERN "
        "({split} in it stands for train and test).",
    ),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        help="A shipped recipe's name or a TOML file. [default: fits the data]",
        autocompletion=complete_recipe,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(help="Train on so many images, equally many a class.", show_default="all"),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a number: --set objective.variance=0 (repeatable)."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where downloads and decoded images are kept. [default: the cache]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
