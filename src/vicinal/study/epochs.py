"""A training by epochs: each encoder that it kept, measured as the last one is."""

from __future__ import annotations

from pathlib import Path

from vicinal.encoder.saved import load_encoder
from vicinal.files import read_json, write_json
from vicinal.recipes.recipe import Recipe
from vicinal.representations.embed import embed
from vicinal.representations.representations import Representations
from vicinal.runs.run_folder import RunFolder
from vicinal.runs.stages import run_stage
from vicinal.study.learners import Learners, read_learned, trained_as
from vicinal.study.measures import Figures, Measures
from vicinal.training.train_encoder import kept_encoder

SYSTEMS_BY_EPOCHS = {"S1": "generated", "S4": "no-variance"}
"""The systems whose learner keeps encoders, if ``training.keep_epochs`` asks for it."""


def measure_epochs(learners: Learners) -> None:
    """Measures every kept encoder, a stage each, so that an interrupted run goes on.

    Leaves ``<learner>/epoch-<number>.json``, which `by_epochs` reads.

    Raises:
        InputError: If a file cannot be written.
    """
    measures = Measures(learners.recipe, learners.engine.device)

    def measure(learner: str, epochs: int) -> None:
        figures = measures.encoder(_represented(learners, learner, epochs))
        write_json(_file(learners.run, learner, epochs), {"epochs": epochs, **figures})

    for learner in SYSTEMS_BY_EPOCHS.values():
        for epochs in _kept(learners.run, learner, learners.recipe):
            run_stage(
                learners.run.path,
                f"measure {learner} after {epochs}",
                [_file(learners.run, learner, epochs)],
                lambda: measure(learner, epochs),  # noqa: B023 — called at once
                width=32,
            )


def by_epochs(run: RunFolder, recipe: Recipe) -> dict[str, list[Figures]]:
    """By system: the figures after each kept epoch, in order, each with its ``epochs``."""
    return {
        system: [read_json(_file(run, learner, epochs)) for epochs in kept]
        for system, learner in SYSTEMS_BY_EPOCHS.items()
        if (kept := _kept(run, learner, recipe))
    }


def _kept(run: RunFolder, learner: str, recipe: Recipe) -> list[int]:
    """The epochs whose encoders are kept: those of the recipe, if minutes did not end before."""
    asked = sorted(set(recipe.training.keep_epochs))
    return [epochs for epochs in asked if kept_encoder(run / learner, epochs).is_file()]


def _file(run: RunFolder, learner: str, epochs: int) -> Path:
    return run / learner / f"epoch-{epochs}.json"


def _represented(learners: Learners, learner: str, epochs: int) -> dict[str, Representations]:
    """What an encoder makes of every part; the last epoch's representations lie in files."""
    run, data, engine = learners.run, learners.data, learners.engine
    last = trained_as(learners.recipe, learner).training.epochs
    if epochs == last and learners.minutes is None:
        return {part: read_learned(run, data, learner, part) for part in data.parts()}
    encoder, preparation = load_encoder(kept_encoder(run / learner, epochs))
    bf16 = engine.precision == "bf16"
    return {
        part: embed(encoder, images, preparation, device=engine.device, bf16=bf16)
        for part, images in data.parts().items()
    }
