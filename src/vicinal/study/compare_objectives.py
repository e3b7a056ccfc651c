"""Which objective suits these images? Each learns them from the same seed, views and steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from vicinal import distributed
from vicinal.encoder.saved import Preparation, load_encoder
from vicinal.errors import InputError, option
from vicinal.evaluations.collapse import alpha_req, collapse
from vicinal.evaluations.own_view import lidar, own_view, views_of
from vicinal.evaluations.retrieval import retrieve
from vicinal.files import read_json, read_rows, write_json
from vicinal.images.image_set import ImageSet
from vicinal.objectives import OBJECTIVES
from vicinal.recipes.recipe import Recipe, Views
from vicinal.representations.embed import embed
from vicinal.runs.run_folder import RunFolder
from vicinal.runs.stages import run_stage
from vicinal.study.figures import spread
from vicinal.study.learners import Learners, read_learned
from vicinal.study.measures import Figures, Measures
from vicinal.study.systems import Measure

CHOSEN_BY = "own_view"
"""The measure without labels that recommends; how far it follows labels: docs/choosing.md."""
PICTURES, VIEWS = 300, 4
"""Pictures, at most, and views of each, of which measures without labels are taken."""
SPECTRUM = 256
"""Eigenvalues, at most, that the report draws."""


def parse_objectives(text: str | None) -> tuple[str, ...]:
    """The objectives that ``all`` or a list with commas names; none for None.

    Raises:
        InputError: If one is unknown or named twice.
    """
    if text is None:
        return ()
    names = tuple(OBJECTIVES) if text == "all" else tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in OBJECTIVES or names.count(name) > 1:
            raise InputError(
                f"{option('objectives', text)}: {name!r} is "
                f"{'named twice' if name in OBJECTIVES else 'unknown'}; give all, or some of "
                f"{', '.join(OBJECTIVES)} with commas"
            )
    return names


def compare_objectives(learners: Learners, names: Sequence[str]) -> dict[str, Figures]:
    """Trains and measures each objective, with and without its spread term, a stage each.

    The recipe's own objective is S1 and S4, which are not trained again.

    Args:
        learners: The study's, with its data, recipe and run folder.
        names: Of `OBJECTIVES`.

    Returns:
        By name: ``title``, the figures, their ``intervals`` and the ``spectrum``; figures that
        need labels or an anomaly set are None without. Nothing on ranks but the first.
    """
    found = {}
    for name in names:
        with_it, without_it = _learner(learners.recipe, name)
        for learner, less in ((with_it, False), (without_it, True)):
            run_stage(
                learners.run.path,
                f"learn {learner}",
                learners.files(learner),
                lambda: learners.objective(learner, name, without=less),  # noqa: B023 — called at once
                width=32,
                together=True,
            )
        if not distributed.is_first():
            continue
        path = learners.run / f"objective-{name}.json"
        run_stage(
            learners.run.path,
            f"measure {name}",
            [path],
            lambda: write_json(path, _measured(learners, name)),  # noqa: B023 — called at once
            width=32,
        )
        found[name] = read_json(path)
    return found


def recommended(found: dict[str, Figures]) -> str:
    """The objective of the best `CHOSEN_BY`."""
    return max(found, key=lambda name: float(found[name][CHOSEN_BY]))


def objectives_over_seeds(runs: Sequence[dict[str, Figures]]) -> dict[str, Figures]:
    """The first seed's figures, each number with its spread over all seeds."""
    return {
        name: figures
        | {
            "over_seeds": {
                figure: spread([run[name][figure] for run in runs])
                for figure in figures
                if all(isinstance(run[name][figure], int | float) for run in runs)
            }
        }
        for name, figures in runs[0].items()
    }


def without_labels(
    network: nn.Module,
    preparation: Preparation,
    pixels: NDArray[np.uint8],
    views: Views,
    device: str = "cpu",
) -> dict[str, float]:
    """Measures of an encoder that need no label.

    Args:
        network: Images (B, C, S, S) to representations (B, F).
        preparation: What it was trained with.
        pixels: Pictures (N, S, S, C) uint8; at most `PICTURES` of them, a fixed draw, are used.
        views: Of the kind that it was trained on.
        device: Where to compute.

    Returns:
        ``own_view`` of two views, ``lidar`` of `VIEWS` views, and ``rankme`` and ``alpha_req`` of
        the pictures as they are.
    """

    def represented(some: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = ImageSet("views", some, np.arange(len(some)).astype(np.str_))
        return embed(network, images, preparation, device=device).array

    rows = np.random.default_rng(0).permutation(len(pixels))[:PICTURES]
    shown = pixels[np.sort(rows)]
    seen = np.stack([represented(one) for one in views_of(shown, views, count=VIEWS)], axis=1)
    spread_out = collapse(represented(shown))
    return {
        "own_view": own_view(seen[:, 0], seen[:, 1]).value,
        "lidar": lidar(seen).value,
        "rankme": spread_out.rankme.value,
        "alpha_req": alpha_req(spread_out.spectrum),
    }


def _learner(recipe: Recipe, name: str) -> tuple[str, str]:
    """The folders of an objective with its spread term and without."""
    if name == recipe.objective.name:
        return "generated", "no-variance"
    return f"objective-{name}", f"objective-{name}-without"


def _measured(learners: Learners, name: str) -> Figures:
    run, data, recipe = learners.run, learners.data, learners.recipe
    device = learners.engine.device
    measures, (learner, without) = Measures(recipe, device), _learner(recipe, name)
    found = {part: read_learned(run, data, learner, part) for part in data.parts()}
    figures = measures.encoder(found)
    train, test = found["train"], found["test"]
    near = retrieve(test, train, k=recipe.evaluation.retrieved, shown=np.arange(0), device=device)
    knn = (figures["knn"] or {}).get(str(max(recipe.evaluation.knn)), {})
    auroc = figures["auroc"] or {}
    network, preparation = load_encoder(run / learner / "encoder.safetensors")
    unlabelled = without_labels(network, preparation, data.train.pixels, recipe.views, device)
    left = {part: read_learned(run, data, without, part) for part in data.parts()}
    lost = measures.encoder(left)
    Measure(run, data, recipe, device).tsne_map(f"objective-{name}-tsne", test)
    return {
        "title": OBJECTIVES[name].title,
        "probe_accuracy": figures["probe_accuracy"],
        "probe_accuracy_short": figures["probe_accuracy_short"],
        "knn": knn.get("value"),
        "retrieval": near.nearest.precision and near.nearest.precision.value,
        "auroc": auroc.get("value"),
        "silhouette": figures["silhouette"]["value"],
        **unlabelled,
        "rankme": figures["rankme"],  # of the test images, as S1 has it
        "seconds": _seconds(run, learner),
        "without_probe_accuracy": lost["probe_accuracy"],
        "without_probe_accuracy_short": lost["probe_accuracy_short"],
        "without_rankme": lost["rankme"],
        "intervals": {
            "probe_accuracy": figures["interval"],
            "probe_accuracy_short": figures["interval_short"],
            "knn": knn.get("interval"),
            "auroc": auroc.get("interval"),
        },
        "spectrum": collapse(test.array).spectrum[:SPECTRUM].tolist(),
    }


def _seconds(run: RunFolder, learner: str) -> float:
    """What the epochs of a training took, without their test curves."""
    rows = read_rows(run / learner / "losses.csv")
    return sum(float(row["seconds"]) for row in rows if row["split"] == "train")
