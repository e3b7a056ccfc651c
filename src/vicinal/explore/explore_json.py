"""``explore.json``: what the page, the terminal and a program are told of a whole run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vicinal.evaluations.own_view import read_kept
from vicinal.explore.request import Request
from vicinal.explore.stage_results import read_figures
from vicinal.files import read_json, read_rows
from vicinal.images import ImageSet, Part, Skipped, named
from vicinal.recipes.ignored_differences import ignored
from vicinal.recipes.recipe import Recipe
from vicinal.representations.representations import Representations
from vicinal.runs.run_folder import RunFolder
from vicinal.runs.stages import finished_stages
from vicinal.training.fit_to_pictures import MEASURED


def explore_figures(
    folder: RunFolder,
    parts: tuple[Part, ...],
    embeddings: Representations,
    request: Request,
    recipe: Recipe | None,
) -> dict[str, Any]:
    """The content of ``explore.json`` of a run of `vicinal.explore.explore`."""
    seconds = finished_stages(folder.path)
    skipped = len(skipped_in(parts))
    return {
        "format": 1,
        "data": data_figures(
            parts[0].images,
            embeddings,
            source=named(request.data),
            skipped=skipped,
            whole=bool(embeddings.origin.get("whole")),
        ),
        "encoder": {
            "source": "trained here" if request.encoder is None else str(request.encoder),
            "recipe": None if recipe is None else recipe.name,
            "epochs": None if recipe is None else _epochs(folder),
            "minutes": request.limit,
            "seconds": seconds.get("train"),
            **({"ignores": None} if recipe is None else _differences(request, recipe)),
            "kept": read_kept(folder.path),
        },
        **read_figures(folder.path),
        "seconds": seconds,
        "environment": read_json(folder / "environment.json"),
        "recipe": None if recipe is None else recipe.model_dump(mode="json"),
    }


def data_figures(
    images: ImageSet,
    embeddings: Representations,
    *,
    source: str,
    skipped: int,
    whole: bool = True,
    classes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What ``explore.json`` says of the pictures.

    Args:
        images: Where they are from, for name, size and channels.
        embeddings: The pictures that are on the page.
        source: What the user named.
        skipped: How many pictures could not be used.
        whole: Whether all of each picture is in its square; False where its middle is.
        classes: The classes in the order in which they get their colours; None for those of the
            labels, sorted.
    """
    return {
        "source": source,
        "span": None if images.span is None else list(images.span),
        "name": images.name,
        "size": images.size,
        "channels": images.channels,
        "whole": whole,
        "skipped": skipped,
        **label_figures(embeddings),
        **({} if classes is None else {"classes": list(classes)}),
    }


def label_figures(embeddings: Representations) -> dict[str, Any]:
    """How many pictures there are and how many have a label, and the labels in order."""
    return {
        "count": len(embeddings),
        "classes": embeddings.classes(),
        "labelled": embeddings.labelled_count,
    }


def _differences(request: Request, recipe: Recipe) -> dict[str, Any]:
    """Which differences views made, whether that was measured here, and which of them count."""
    words, measured = list(ignored(recipe.views)), "views" in request.fits
    counts = [word for word in MEASURED if measured and word not in words]
    return {"ignores": words, "measured": measured, "counts": counts}


def skipped_in(parts: tuple[Part, ...]) -> tuple[Skipped, ...]:
    """Pictures of any part that cannot be used, each once."""
    return tuple(dict.fromkeys(one for part in parts for one in part.images.skipped))


def _epochs(folder: RunFolder) -> int:
    """Epochs of the training, a last one that its minutes cut short too."""
    return sum(row["split"] == "train" for row in read_rows(folder / "losses.csv"))
