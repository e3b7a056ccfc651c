"""A training by epochs: each encoder that it kept, measured as the last one is."""

from __future__ import annotations

from typing import Any

from vicinal.encoder.saved import load_encoder
from vicinal.evaluations.clusters import cluster
from vicinal.evaluations.collapse import collapse
from vicinal.evaluations.probe import knn_probe
from vicinal.evaluations.score import Score
from vicinal.files import read_json, write_json
from vicinal.recipes.recipe import Recipe
from vicinal.representations.embed import embed
from vicinal.representations.representations import Representations
from vicinal.runs.run_folder import RunFolder, run_stage
from vicinal.study.learners import Data, kept_encoder, read_learned
from vicinal.study.probes import anomalies, probes
from vicinal.training.device import Engine

Figures = dict[str, Any]
SYSTEMS_BY_EPOCHS = {"S1": "generated", "S4": "no-variance"}
"""The systems whose learner keeps encoders, if ``training.keep_epochs`` asks for it."""


def measure_epochs(run: RunFolder, data: Data, recipe: Recipe, engine: Engine) -> None:
    """Measures every kept encoder, a stage each, so that an interrupted run goes on.

    Leaves ``<learner>/epoch-<number>.json``, which `by_epochs` reads.

    Raises:
        InputError: If a file cannot be written.
    """
    for learner in SYSTEMS_BY_EPOCHS.values():
        for epochs in sorted(set(recipe.training.keep_epochs)):
            path = run / learner / f"epoch-{epochs}.json"
            run_stage(
                run,
                f"measure {learner} after {epochs}",
                [path],
                lambda: write_json(path, _measured(run, learner, epochs, data, recipe, engine)),  # noqa: B023 — called at once
                width=32,
            )


def by_epochs(run: RunFolder, recipe: Recipe) -> dict[str, list[Figures]]:
    """By system: the figures after each kept epoch, in order, each with its ``epochs``."""
    kept = sorted(set(recipe.training.keep_epochs))
    return {
        system: [read_json(run / learner / f"epoch-{epochs}.json") for epochs in kept]
        for system, learner in SYSTEMS_BY_EPOCHS.items()
        if kept
    }


def _measured(
    run: RunFolder, learner: str, epochs: int, data: Data, recipe: Recipe, engine: Engine
) -> Figures:
    """The figures of an encoder that a training kept."""
    found = _represented(run, learner, epochs, data, recipe, engine)
    return {"epochs": epochs, **encoder_figures(found, recipe, engine.device)}


def encoder_figures(found: dict[str, Representations], recipe: Recipe, device: str) -> Figures:
    """An encoder's figures: probes, k-NN, RankMe, and AUROC and silhouette as S8 and S9 have them.

    Figures that need labels, or an anomaly set, are None without.

    Args:
        found: What it makes of ``train``, ``test`` and, if there are any, ``anomalies``.
        recipe: The study's.
        device: ``cpu`` or ``cuda``.
    """
    train, test = found["train"], found["test"]
    probed = probes(train, test, recipe, device)
    names = ("probe_accuracy", "interval", "probe_accuracy_short", "interval_short")
    clusters = cluster(
        train.array,
        k=recipe.evaluation.clusters,
        seed=recipe.seed,
        silhouette_sample=recipe.evaluation.silhouette_sample,
        device=device,
    )
    return {
        **{name: probed.get(name) for name in names},
        "knn": _knn(train, test, recipe, device) if probed["probe_accuracy"] else None,
        "rankme": collapse(test.array).rankme.value,
        "auroc": _auroc(train, test, found["anomalies"], recipe, device)
        if "anomalies" in found
        else None,
        "silhouette": _figure(clusters.silhouette),
    }


def _represented(
    run: RunFolder, learner: str, epochs: int, data: Data, recipe: Recipe, engine: Engine
) -> dict[str, Representations]:
    """What an encoder makes of every part; the last epoch's representations lie in files."""
    if epochs == recipe.training.epochs:
        return {part: read_learned(run, data, learner, part) for part in data.parts()}
    encoder, preparation = load_encoder(kept_encoder(run / learner, epochs))
    bf16 = engine.precision == "bf16"
    return {
        part: embed(encoder, images, preparation, device=engine.device, bf16=bf16)
        for part, images in data.parts().items()
    }


def _knn(
    train: Representations, test: Representations, recipe: Recipe, device: str
) -> dict[str, Figures]:
    settings = recipe.evaluation
    results = knn_probe(
        train, test, k=settings.knn, temperature=settings.knn_temperature, device=device
    )
    return {str(result.k): _figure(result.accuracy) for result in results}


def _auroc(
    train: Representations,
    test: Representations,
    anomalous: Representations,
    recipe: Recipe,
    device: str,
) -> Figures:
    found = anomalies(train, test, anomalous, recipe, device)
    return {"value": found["auroc"], "interval": found["interval"]}


def _figure(score: Score) -> Figures:
    return {"value": score.value, "interval": score.interval}
