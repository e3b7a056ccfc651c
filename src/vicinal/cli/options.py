"""Arguments and options that several commands take, each written once; what the shell completes."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Annotated, Any, TypedDict

import typer

from vicinal.cores import set_threads
from vicinal.errors import InputError, option
from vicinal.files import check_new


def complete_source(incomplete: str) -> list[str]:
    """Every source of pictures; with its colon where something follows that."""
    from vicinal.images import source_names

    return [name for name in source_names() if name.startswith(incomplete)]


def complete_recipe(incomplete: str) -> list[str]:
    """The recipes that come with Vicinal."""
    from vicinal.recipes import recipe_names

    return [name for name in recipe_names() if name.startswith(incomplete)]


def complete_encoder(incomplete: str) -> list[str]:
    """Networks that others have trained, and the paths there are."""
    from glob import escape, glob

    named = [name for name in ("pretrained", "timm:") if name.startswith(incomplete)]
    return named + sorted(glob(f"{escape(incomplete)}*"))


def complete_start(incomplete: str) -> list[str]:
    """Networks that others have trained."""
    return [name for name in ("pretrained", "timm:") if name.startswith(incomplete)]


def complete_format(incomplete: str) -> list[str]:
    """What an encoder can be exported to."""
    names = ("onnx", "torchscript", "torch.export", "safetensors", "timm")
    return [name for name in names if name.startswith(incomplete)]


class Reading(TypedDict, total=False):
    """How pictures are read, as every function that reads them takes it."""

    exclude: tuple[str, ...]
    max_pixels: int


SOURCES = (
    "A folder of pictures, a .csv (path,label), .parquet files or a pattern ({split} stands for "
    "train and test), an .npy, .npz or .tar; hub:NAME, digits, cifar10, cifar100, mnist or "
    "fashion-mnist. Where the name does not say what it is: folder:, csv:, parquet:, numpy:."
)


def new_csv(help: str) -> Any:
    """The option of a table to write, refused at once where it cannot be."""

    def check(out: Path | None) -> Path | None:
        return None if out is None else check_new(out, "out", ".csv")

    return typer.Option(help=help, callback=check)


def _threads(number: int | None) -> None:
    """Holds the number of threads for the whole command, or from here on watches the machine."""
    set_threads(number)


EmbeddingsFile = Annotated[
    Path,
    typer.Argument(
        metavar="EMBEDDINGS",
        help="What `vicinal embed` wrote, a file or a folder, or a run of `explore`.",
    ),
]
Source = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        autocompletion=complete_source,
        help=SOURCES,
    ),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        help="A shipped recipe's name or a TOML file. (default: fits the data)",
        autocompletion=complete_recipe,
    ),
]
EncoderName = Annotated[
    Path,
    typer.Option(
        help="A run, an encoder.safetensors, pretrained, timm:NAME or timm:NAME@FILE.",
        autocompletion=complete_encoder,
    ),
]
TrainNothing = Annotated[
    Path | None,
    typer.Option(
        help="Train nothing: take a run, an encoder.safetensors, pretrained, timm:NAME or "
        "timm:NAME@FILE.",
        autocompletion=complete_encoder,
    ),
]
Start = Annotated[
    str | None,
    typer.Option(
        help="Weights from which training goes on: pretrained, timm:NAME or timm:NAME@FILE.",
        autocompletion=complete_start,
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
Ignore = Annotated[
    str | None,
    typer.Option(
        metavar="WORDS",
        help="Differences between pictures that should not count: any of colour, brightness, "
        "flip, scale, blur, rotation, with commas between, or nothing. (default: measured on the "
        "pictures; with --recipe, the recipe's)",
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(
        help="What a training may take, however fast the machine. (default: explore 8, or what "
        "--set training.epochs takes; train, study: all of the recipe's epochs)"
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]
FalseAlarms = Annotated[float, typer.Option(help="Share of normal pictures that may be flagged.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where downloads and decoded images are kept. (default: the cache)"),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Leave out files and folders called so: '*_small.jpg', drafts (repeatable).",
    ),
]
MaxMegapixels = Annotated[
    float | None,
    typer.Option(
        help="Skip pictures of more million pixels, as they are decoded. (default: 179)",
        show_default=False,
    ),
]
Devices = Annotated[
    int | None,
    typer.Option(min=1, help="Ranks on each node, one a device. (default: 1, or torchrun's)"),
]
Nodes = Annotated[
    int | None, typer.Option(min=1, help="Nodes, see docs/ranks.md. (default: 1, or torchrun's)")
]
Log = Annotated[
    str | None, typer.Option(help="Log the losses to tensorboard or wandb too (extras).")
]
IndexFolder = Annotated[
    Path | None,
    typer.Option("--index", help="Search by this index of the set, made by `vicinal index`."),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        callback=_threads,
        help="Compute on so many threads, always. (default: as fit the machine as it is)",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def ignored_words(text: str | None) -> tuple[str, ...] | None:
    """What ``--ignore`` names: words with commas or spaces between; ``nothing`` is none."""
    if text is None:
        return None
    return tuple(word for word in text.lower().replace(",", " ").split() if word != "nothing")


def reading(exclude: list[str] | None, max_megapixels: float | None) -> Reading:
    """What `--exclude` and `--max-megapixels` say.

    Raises:
        InputError: If no pixel is left.
    """
    if max_megapixels is None:
        return {"exclude": tuple(exclude or ())}
    if not 1e-6 <= max_megapixels < math.inf:
        raise InputError(
            f"{option('max_megapixels', max_megapixels)}: give a number from 0.000001 on"
        )
    return {"exclude": tuple(exclude or ()), "max_pixels": round(max_megapixels * 1e6)}


def wants_page(choice: bool | None) -> bool:
    """Whether to open a page: as chosen, else where a person sits at a desktop."""
    if choice is not None:
        return choice
    desktop = sys.platform != "linux" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())
    return sys.stdout.isatty() and desktop
