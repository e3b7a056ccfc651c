"""Do bf16 and float32 trainings agree? Loss curves and probes of both, over seeds."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import vicinal
from data import source
from measuring import say, section, table
from probed import Trained, trained


@dataclass(frozen=True)
class Work:
    """What is trained in both precisions, over how many seeds, and which epochs are shown."""

    title: str
    recipe: str
    data: str
    limit: int | None
    settings: tuple[str, ...]
    seeds: int
    shown: tuple[int, ...]


def works() -> list[Work]:
    """The embedded digits, and photographs through wide maps: those have Winograd's products."""
    return [
        Work("The digits", "digits", "digits", None, (), 4, (1, 2, 5, 10, 20, 40)),
        Work(
            "10,000 images of CIFAR-10 (JPEG copy), laptop recipe",
            "laptop",
            source("cifar10"),
            10_000,
            ("training.epochs=3",),
            3,
            (1, 2, 3),
        ),
    ]


def main() -> None:
    """Trains every seed in both precisions, in turn, and prints their means and spreads."""
    tables, verdicts = [], []
    for work in works():
        runs = measured(work)
        header = (f"{work.title}: epoch", *(f"loss, {precision}" for precision in runs))
        rows = [
            (epoch, *(spread([run.losses[epoch - 1] for run in done]) for done in runs.values()))
            for epoch in work.shown
        ]
        probes = (spread([100 * run.probe for run in done]) for done in runs.values())
        tables.append(table(header, [*rows, ("linear probe, %", *probes)]))
        verdicts.append(f"{work.title}, {work.seeds} seeds: {verdict(runs)}")
    section(
        "Precision",
        "Do bf16 and float32 trainings agree? Mean ± standard deviation over seeds.",
        tables,
        verdicts,
    )


def measured(work: Work) -> dict[str, list[Trained]]:
    """The trainings of every seed, by precision."""
    recipe = vicinal.read_recipe(work.recipe)
    splits = vicinal.load(work.data, size=recipe.views.size, limit=work.limit)
    runs: dict[str, list[Trained]] = {"float32": [], "bf16": []}
    for seed in range(work.seeds):
        for precision, done in runs.items():
            changes = [*work.settings, f"training.precision={precision}", f"seed={seed}"]
            done.append(trained(splits, vicinal.override(recipe, changes)))
            say(f"{work.recipe}, {precision}, seed {seed}: {100 * done[-1].probe:.2f} %")
    return runs


def spread(values: list[float]) -> str:
    """Mean ± standard deviation."""
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def verdict(runs: dict[str, list[Trained]]) -> str:
    """Whether the precisions differ by more than their seeds do."""
    ends = {name: [run.losses[-1] for run in done] for name, done in runs.items()}
    probes = {name: [100 * run.probe for run in done] for name, done in runs.items()}
    parts = []
    for what, values in (("last loss", ends), ("probe", probes)):
        apart = abs(statistics.mean(values["bf16"]) - statistics.mean(values["float32"]))
        noise = max(statistics.stdev(values["bf16"]), statistics.stdev(values["float32"]))
        word = "within" if apart <= 2 * noise else "beyond"
        parts.append(f"{what}: {apart:.2f} apart, seeds spread by {noise:.2f}: {word} seed noise")
    return "; ".join(parts) + " (twice the standard deviation)."


if __name__ == "__main__":
    main()
