"""The command line: parse, call one function, print."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vicinal import __version__
from vicinal.errors import InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Learn image representations without labels (VICReg), then measure, map and use them.",
)


def _version(shown: bool) -> None:
    if shown:
        print(f"vicinal {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(rich_help_panel="Commands")
def study(
    data: Annotated[
        str,
        typer.Option(
            help="digits, cifar10, cifar100, mnist, fashion-mnist, folder:PATH or "
            "parquet:PATTERN ({split} in it stands for train and test)."
        ),
    ] = "digits",
    recipe: Annotated[
        str | None,
        typer.Option(help="A shipped recipe's name or a TOML file. [default: fits the data]"),
    ] = None,
    anomalies: Annotated[
        str | None, typer.Option(help="Images of another kind, named as for --data.")
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="The test set, if it lies apart, named as for --data.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Train on so many images, equally many a class.", show_default="all"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a number: --set objective.variance=0 (repeatable)."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Repeat with so many seeds.")] = 1,
    run: Annotated[
        Path | None, typer.Option(help="The run folder. [default: runs/DATA-RECIPE-NUMBER]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="auto, bf16 or float32.")] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where downloads and decoded images are kept. [default: the cache]"),
    ] = None,
    log: Annotated[
        str | None, typer.Option(help="Log the losses to tensorboard or wandb too (extras).")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the report at the end.")] = False,
) -> None:
    r"""Run the whole study: train, compare, measure, and write one report.

    \b
    vicinal study                                        scanned digits, minutes, no network
    vicinal study --data cifar10 --anomalies mnist --recipe laptop
    vicinal study --data folder:PHOTOS --recipe laptop --limit 5000
    """
    # torch takes seconds to import, and --help must not.
    from vicinal.report import write_report
    from vicinal.study.run import Request, run_study
    from vicinal.study.summary import print_summary

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
    print_summary(folder)
    if show:
        webbrowser.open(page.resolve().as_uri())


@app.command(rich_help_panel="Commands")
def report(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Draw a run's report again, from its files."""
    from vicinal.report import write_report

    print(write_report(run))


@app.command(rich_help_panel="Commands")
def bench(
    images: Annotated[int, typer.Option(min=1, help="How many training images you have.")] = 50_000,
    recipe: Annotated[
        list[str] | None,
        typer.Option(help="A recipe's name or file (repeatable). [default: the shipped ones]"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Measure this machine: images a second with each recipe, and the minutes yours would take."""
    from vicinal.recipes import read_recipe, recipe_names
    from vicinal.study.bench import measure_recipes, print_speeds

    recipes = [read_recipe(name) for name in recipe or recipe_names()]
    print_speeds(measure_recipes(recipes, device), images, as_json=as_json)


def main() -> None:
    """Entry point: a user's mistake is one line and exit status 2, never a traceback."""
    console = Console(stderr=True, highlight=False)
    try:
        app(prog_name="vicinal")
    except InputError as error:
        console.print(f"vicinal: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("vicinal: interrupted; finished work is kept, --resume goes on with it")
        sys.exit(130)


if __name__ == "__main__":
    main()
