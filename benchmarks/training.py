"""Training end to end, images/s: ours against lightly and stable-pretraining on a CPU.

Every run is a process of its own, as a user's would be, and they take turns.
"""

from __future__ import annotations

import multiprocessing
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from measuring import ratio, say, section, table, versions
from trainers import Run, images, train
from vicinal.recipes import override, read_recipe
from vicinal.training.device import resolve_precision

PEERS = ("lightly", "stable-pretraining")
ROUNDS = 2
GOALS = {"ours": 1.3, "ours, bf16": 2.7}
"""How many times a peer's images/s, for the seed recipe."""


@dataclass(frozen=True)
class Work:
    """A recipe, the steps before the clock runs, the steps that it times, and changes to it."""

    recipe: str
    warm_up: int
    timed: int
    settings: tuple[str, ...] = ()


WORKS = (Work("seed", warm_up=1, timed=4), Work("laptop", warm_up=3, timed=8))


def main() -> None:
    images()  # decoded once, here, for every process
    native = resolve_precision("auto", "cpu") == "bf16"
    names = [n for n in (*reversed(GOALS), *PEERS) if native or n != "ours, bf16"]
    rows, goals = [], []
    for work in WORKS:
        seconds = measured(work, names)
        rows += [row(work, name, seconds) for name in names]
        if work.recipe == "seed":
            goals = [goal(name, seconds) for name in names if name in GOALS]
    if not native:
        goals.append("bf16: this processor has none, not measured (goal ≥ 2.7×)")
    section(
        "Training",
        "How many images a second does a whole training step take in, from pixels to the "
        "optimiser? CIFAR-10 (JPEG copy), the recipes' own batches.",
        [
            table(
                ("recipe", "trainer", "s a step", "images/s", *(f"× {p}" for p in PEERS)),
                rows,
            )
        ],
        [*goals, *notes()],
    )


def measured(work: Work, names: list[str]) -> dict[str, list[float]]:
    """Seconds a step of each trainer in each round, all of them in turn within a round."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    numbers = set()
    for turn in range(ROUNDS):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            run = alone(name, work)
            numbers.add(run.numbers)
            seconds[name].append((run.ends[-1] - run.ends[-1 - work.timed]) / work.timed)
            say(f"{work.recipe} {name}: {seconds[name][-1]:.3f} s a step")
    assert len(numbers) == 1, f"the trainers' networks differ: {numbers}"
    return seconds


def alone(name: str, work: Work) -> Run:
    """One run in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        steps = work.warm_up + work.timed
        return pool.submit(train, name, work.recipe, work.settings, steps).result()


def row(work: Work, name: str, seconds: dict[str, list[float]]) -> tuple[str, ...]:
    """A trainer's line: its speed, and how many times that of each peer."""
    batch = override(read_recipe(work.recipe), work.settings).training.batch_size
    step = statistics.median(seconds[name])
    times = (f"{ratio(seconds[peer], seconds[name]):.2f}" for peer in PEERS)
    return (work.recipe, name, f"{step:.2f}", f"{batch / step:.1f}", *times)


def goal(name: str, seconds: dict[str, list[float]]) -> str:
    """Whether ours is as many times as fast as the faster peer as it should be."""
    least = min(ratio(seconds[peer], seconds[name]) for peer in PEERS)
    verdict = "met" if least >= GOALS[name] else "missed"
    arithmetic = "bf16" if "bf16" in name else "float32 on both sides"
    return (
        f"seed recipe, {arithmetic}, against the faster peer: {least:.2f}×, "
        f"goal ≥ {GOALS[name]}×: {verdict}"
    )


def notes() -> list[str]:
    """What was the same, and what was not."""
    steps = "; ".join(f"{w.recipe} {w.timed} after {w.warm_up}" for w in WORKS)
    return [
        f"Each run is a process of its own; timed are steady steps ({steps}), start-up excluded, "
        f"in {ROUNDS} rounds of all trainers in turn.",
        "All train the same encoder and projector (this package's, state counted and equal) with "
        "the same optimiser settings and the same augmentation strengths; peers as users run "
        "them on a CPU: float32, contiguous, PIL transforms, two DataLoader workers; without "
        "loggers, checkpoints, progress bars and stable-pretraining's monitors.",
        f"Peers: {versions('lightly', 'pytorch-lightning', 'stable-pretraining')}.",
    ]


if __name__ == "__main__":
    main()
