"""Do bf16 and float32 trainings agree? Loss curves and probes of both, over seeds."""

from __future__ import annotations

import statistics

import vicinal
from measuring import say, section, table
from probed import Trained, trained

SEEDS = range(4)
SHOWN = (1, 2, 5, 10, 20, 40)
"""Epochs whose mean training loss is printed."""


def main() -> None:
    """Trains every seed in both precisions, in turn, and prints their means and spreads."""
    recipe = vicinal.read_recipe("digits")
    splits = vicinal.load("digits", size=recipe.views.size)
    runs: dict[str, list[Trained]] = {"float32": [], "bf16": []}
    for seed in SEEDS:
        for precision, done in runs.items():
            changes = [f"training.precision={precision}", f"seed={seed}"]
            done.append(trained(splits, vicinal.override(recipe, changes)))
            say(f"{precision}, seed {seed}: {100 * done[-1].probe:.2f} %")
    header = ("epoch", *(f"loss, {precision}" for precision in runs))
    shown = [epoch for epoch in SHOWN if epoch <= recipe.training.epochs]
    rows = [
        (epoch, *(spread([run.losses[epoch - 1] for run in done]) for done in runs.values()))
        for epoch in shown
    ]
    last = ("linear probe, %", *(spread([100 * run.probe for run in d]) for d in runs.values()))
    section(
        "Precision",
        "Do bf16 and float32 trainings agree? The digits, mean ± standard deviation over "
        f"{len(SEEDS)} seeds.",
        [table(header, [*rows, last])],
        [verdict(runs)],
    )


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
