"""What do other processes on our cores cost, with threads chosen and with a fixed number?

Starts none, one and two neighbours that do nothing but compute. Beside them it measures training
(images a second of a recipe, as `vicinal bench` does) and every stage of `study` (S1 to S9 of a
finished one) and of `explore` (from an encoder), with our choice of threads, with one thread and
with all, in turn within a round. With all threads beside a neighbour some stages take many times
as long: ``--parts`` and ``--neighbours`` choose less, and ``--without-all`` leaves these out.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from again import measuring, studied
from data import source
from measuring import say, section, table
from neighbours import busy
from vicinal import StudyOptions, cores, load, run_study
from vicinal.explore import Request as Explored
from vicinal.explore import explore
from vicinal.files import read_json
from vicinal.recipes import read_recipe
from vicinal.runs.stages import finished_stages
from vicinal.study.side_by_side import measure_all
from vicinal.study.speed import measure_training
from vicinal.training.device import open_engine

RECIPES = ("laptop", "photos")
SHORT = 0.2  # seconds: what is over sooner, by the best way, is counted with its like
REST = "the stages that take less"
GOALS = {0: 0.98, 1: 0.9}
"""By the number of neighbours: the least share of the best fixed number's speed."""
Costs = dict[str, float]
"""Seconds by what was done: an image of a training, or a stage."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--parts", nargs="+", default=["training", "study", "explore"])
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each training")
    parser.add_argument("--images", type=int, default=2_000, help="in study and explore")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-all", action="store_true", help="not with all threads")
    asked = parser.parse_args()
    ways: dict[str, int | None] = {"chosen": None, "1 thread": 1}
    if not asked.without_all:
        ways[f"all {cores.cores()}"] = cores.cores()
    with TemporaryDirectory() as scratch:
        parts = _parts(Path(scratch), asked)
        work = [parts[name] for name in asked.parts]
        found = {
            count: _beside(count, ways, lambda: _all(work), asked.rounds)
            for count in asked.neighbours
        }
    _print(found, list(ways), asked)


def _parts(scratch: Path, asked: argparse.Namespace) -> Mapping[str, Callable[[], Costs]]:
    """What is measured; the study that the stages need is made when they are first asked for."""
    run = scratch / "run"

    def training() -> Costs:
        return {f"train {name}": 1 / _rate(name, asked.seconds) for name in asked.recipes}

    def study() -> Costs:
        recipe, data = studied(_finished(run, asked.images))
        with measuring(run, data, recipe) as measure, cores.shared():
            measure_all(measure)
            return {
                f"study: {name}": time for name, time in finished_stages(measure.run.path).items()
            }

    def exploring() -> Costs:
        encoder = _finished(run, asked.images) / "generated" / "encoder.safetensors"
        pictures = scratch / "pictures.npy"
        if not pictures.is_file():
            train = load(source("cifar10"), size=32, limit=asked.images).train
            np.save(pictures, train.pixels)
        with TemporaryDirectory() as folder:
            explored = Path(folder) / "run"
            explore(Explored(f"numpy:{pictures}", encoder=encoder, run=explored))
            stages = read_json(explored / "stages.json")
        return {f"explore: {name}": time for name, time in stages.items()}

    return {"training": training, "study": study, "explore": exploring}


def _rate(name: str, seconds: float) -> float:
    """Images a second of a recipe's training."""
    recipe = read_recipe(name)
    engine = open_engine("cpu", recipe.training.precision)
    return measure_training(recipe, engine, channels=3, seconds=seconds)


def _finished(run: Path, images: int) -> Path:
    """A study of the laptop recipe whose encoders saw few images once."""
    if not (run / "results.json").is_file():
        with held(1):
            settings = ("training.epochs=1", "training.warmup_epochs=0.2")
            run_study(
                StudyOptions(
                    data=source("cifar10"),
                    anomalies=source("mnist"),
                    limit=images,
                    recipe="laptop",
                    settings=settings,
                    run=run,
                )
            )
    return run


def _all(work: Sequence[Callable[[], Costs]]) -> Costs:
    return {name: seconds for part in work for name, seconds in part().items()}


def _beside(
    count: int, ways: Mapping[str, int | None], work: Callable[[], Costs], rounds: int
) -> dict[str, list[Costs]]:
    """What the work costs beside so many neighbours: all ways in turn within a round."""
    names = list(ways)
    found: dict[str, list[Costs]] = {way: [] for way in names}
    with held(1):
        work()  # files are read and libraries loaded
    with busy(count):
        for turn in range(rounds):
            for way in names[turn % len(names) :] + names[: turn % len(names)]:
                with held(ways[way]):
                    found[way].append(work())
                say(f"{count} neighbours, {way}: {sum(found[way][-1].values()):.1f} s")
    return found


@contextmanager
def held(threads: int | None) -> Iterator[None]:
    cores.set_threads(threads)
    try:
        yield
    finally:
        cores.set_threads(None)


def _print(
    found: dict[int, dict[str, list[Costs]]], ways: list[str], asked: argparse.Namespace
) -> None:
    tables, goals = [], []
    for count, by_way in found.items():
        costs = _summed(by_way)
        names = list(costs[ways[0]][0])
        rows = [_row(name, costs) for name in names]
        tables.append(
            f"**{count} neighbour{'' if count == 1 else 's'}**\n\n"
            + table(("", *(f"{way}" for way in ways), "chosen / best fixed"), rows)
        )
        if count in GOALS:
            shares = {name: _share(name, costs, quiet=count == 0) for name in names}
            goals.append(_goal(count, shares))
    section(
        "Busy cores",
        "What do other processes on our cores cost, with threads chosen and with a fixed number?",
        tables,
        [
            *goals,
            "Speeds as multiples of that of the last fixed number, by medians of "
            f"{asked.rounds} rounds of all ways in turn; a share is the median of the rounds' "
            "shares, of speed, so 1 is as fast and less is slower.",
            f"{asked.images:,} images of CIFAR-10 (JPEG copy) for study and explore; stages that "
            f"take less than {SHORT} s by the best way are counted together. A neighbour is a "
            "Python process that does nothing but compute, in a session of its own.",
        ],
    )


def _summed(found: dict[str, list[Costs]]) -> dict[str, list[Costs]]:
    """The same with short stages counted together."""
    names = list(next(iter(found.values()))[0])
    best = {name: min(_median(name, rounds) for rounds in found.values()) for name in names}
    short = {name for name in names if not _trains(name) and best[name] < SHORT}

    def joined(costs: Costs) -> Costs:
        rest = sum(costs[name] for name in short)
        kept = {name: costs[name] for name in names if name not in short}
        return kept | ({REST: rest} if short else {})

    return {way: [joined(costs) for costs in rounds] for way, rounds in found.items()}


def _row(name: str, costs: dict[str, list[Costs]]) -> tuple[str, ...]:
    medians = [_median(name, rounds) for rounds in costs.values()]
    shown = [f"{medians[-1] / cost:.2f}" for cost in medians]  # of the last way's speed
    return (name, *shown, f"{_share(name, costs, quiet=False):.2f}")


def _share(name: str, costs: dict[str, list[Costs]], *, quiet: bool) -> float:
    """How fast our choice is beside the best fixed number, or beside all threads if quiet."""
    chosen, *fixed = costs.values()
    rival = fixed[-1] if quiet else min(fixed, key=lambda rounds: _median(name, rounds))
    return statistics.median(b[name] / a[name] for a, b in zip(chosen, rival, strict=True))


def _goal(count: int, shares: dict[str, float]) -> str:
    goal, least = GOALS[count], min(shares, key=lambda name: shares[name])
    missed = [name for name, share in shares.items() if share < goal]
    rival = "all cores" if count == 0 else "the best fixed number"
    verdict = "met" if not missed else f"missed by {', '.join(missed)}"
    return (
        f"{count} neighbour{'' if count == 1 else 's'}: at least {shares[least]:.2f} of {rival} "
        f"({least}), goal ≥ {goal}: {verdict}"
    )


def _median(name: str, rounds: Sequence[Costs]) -> float:
    return statistics.median(costs[name] for costs in rounds)


def _trains(name: str) -> bool:
    return name.startswith("train ")


if __name__ == "__main__":
    main()
