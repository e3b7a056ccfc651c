"""The whole study, stage by stage: load, train, compare, measure, judge, report.

Every stage leaves files in the run folder and is skipped when an interrupted run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from vicinal import cores
from vicinal.encoder.pretrained import form_of
from vicinal.errors import InputError, option
from vicinal.evaluations.leaks import find_leaks
from vicinal.evaluations.maps import FEWEST as FEWEST_ON_A_MAP
from vicinal.evaluations.same_picture import made_small
from vicinal.files import read_json, write_json
from vicinal.images import MOST_PIXELS, keep_skipped, lists_files, load, load_anomalies, named
from vicinal.recipes.recipe import Recipe
from vicinal.runs.pictures import write_pictures
from vicinal.runs.run_folder import (
    RunFolder,
    asked_recipe,
    default_folder,
    describe_environment,
    open_run,
    run_stage,
    say,
)
from vicinal.study.claims import is_cifar10, judge, over_seeds, spread, with_study_figures
from vicinal.study.epochs import by_epochs, measure_epochs
from vicinal.study.learners import LEARNERS, Data, Learners
from vicinal.study.objectives import compare_objectives, recommended
from vicinal.study.objectives import over_seeds as objectives_over_seeds
from vicinal.study.systems import SYSTEMS, Measure, in_order, measure_all
from vicinal.training.device import Engine, open_engine
from vicinal.training.log import check_log

HEADLINES = (
    ("S1", "rankme"),
    ("S3", "probe_accuracy"),
    ("S3", "probe_accuracy_short"),
    ("S4", "probe_accuracy"),
    ("S4", "probe_accuracy_short"),
    ("S4", "rankme"),
    ("S5", "probe_accuracy"),
    ("S5", "probe_accuracy_short"),
    ("S5", "rankme"),
    ("S6", "probe_accuracy"),
    ("S6", "probe_accuracy_short"),
    ("S8", "generated.auroc"),
    ("S8", "mined.auroc"),
    ("S9", "generated.silhouette"),
    ("S9", "mined.silhouette"),
)


@dataclass(frozen=True)
class Request:
    """What a user asks of `run_study`; None stands for the default that fits the data.

    Attributes:
        data: Source of the images, as `vicinal.images.load` takes it.
        anomalies: Source of images of another kind.
        test: Source of the test set, if it lies apart.
        limit: At most so many training images.
        recipe: A shipped recipe's name or a file.
        settings: ``section.field=value`` overrides.
        seeds: Number of seeds, counted up from the recipe's.
        run: The run folder.
        resume: Whether to go on with an interrupted run.
        device: ``auto``, ``cpu`` or ``cuda``.
        data_dir: Where downloads and decoded images are kept.
        log: ``tensorboard`` or ``wandb`` to log the trainings there too.
        exclude: Patterns of files that are left out, see `vicinal.images.load`.
        max_pixels: Pixels of a picture that may be decoded.
        objectives: Objectives to compare, of `vicinal.objectives.OBJECTIVES`.
    """

    data: str = "digits"
    anomalies: str | None = None
    test: str | None = None
    limit: int | None = None
    recipe: str | None = None
    settings: tuple[str, ...] = ()
    seeds: int = 1
    run: Path | None = None
    resume: bool = False
    device: str = "auto"
    data_dir: Path | None = None
    log: str | None = None
    exclude: tuple[str, ...] = ()
    max_pixels: int = MOST_PIXELS
    objectives: tuple[str, ...] = ()


@dataclass(frozen=True)
class Further:
    """A stage that a later room adds to a study, of the first seed, once all is measured.

    Attributes:
        name: The stage's name in ``stages.json``.
        makes: Files in the run folder without which it is not finished.
        work: What it does.
    """

    name: str
    makes: tuple[str, ...]
    work: Callable[[RunFolder, Data, Recipe], None]


@cores.shared()
def run_study(request: Request, further: Iterable[Further] = ()) -> Path:
    """Runs every system and every claim of the study.

    Args:
        request: What the user asks.
        further: Stages of later rooms, such as `vicinal.explore.TEST_IMAGES`.

    Returns:
        The run folder: ``results.json`` with every figure in it, ``recipe.toml``,
        ``environment.json``, the maps, the pictures and a folder for each learner.
        `vicinal.report.write_report` draws the report from it.

    Raises:
        InputError: If anything asked for cannot be used; nothing is overwritten.
    """
    recipe = asked_recipe(request.data, request.recipe, request.settings)
    other = request.anomalies or ("patches" if request.data == "digits" else None)
    sources: dict[str, Any] = {
        "data": named(request.data),
        "anomalies": other and named(other),
        "test": request.test and named(request.test),
        "limit": request.limit,
    }
    check_log(request.log)
    engine = open_engine(request.device, recipe.training.precision)
    data = _load(sources, recipe, request)
    _check(data, recipe)
    identity = sources | {name: images.fingerprint for name, images in data.parts().items()}
    path = request.run or default_folder(sources["data"], recipe.name, resume=request.resume)
    with open_run(path, identity, recipe, resume=request.resume) as run:
        skipped = [one for part in data.parts().values() for one in part.skipped]
        keep_skipped(tuple(dict.fromkeys(skipped)), run / "skipped.csv")
        say(
            f"run folder {path}, recipe {recipe.name}, {engine.device}, {engine.precision}, "
            f"{cores.said()}"
        )
        run_stage(run, "leaks", [run / "leaks.json"], lambda: _leaks(run, data))
        _one_seed(run, data, recipe, engine, sources, request, further)
        folders = [path]
        for seed in range(recipe.seed + 1, recipe.seed + request.seeds):
            seeded = recipe.model_copy(update={"seed": seed})
            folders.append(path / f"seed-{seed}")
            with open_run(folders[-1], identity, seeded, resume=request.resume) as part:
                _one_seed(part, data, seeded, engine, sources, request)
        if request.seeds > 1:
            _join_seeds(run, folders)
    return path


def _one_seed(
    run: RunFolder,
    data: Data,
    recipe: Recipe,
    engine: Engine,
    sources: dict[str, Any],
    request: Request,
    further: Iterable[Further] = (),
) -> None:
    """Trains and measures everything for one seed, and writes results.json."""
    environment = describe_environment(recipe.seed, engine.device, engine.precision)
    write_json(run / "environment.json", environment)
    learners = Learners(data, recipe, run, engine, request.log)
    for name, learn in LEARNERS.items():
        files = learners.files(name)
        run_stage(run, f"learn {name}", files, lambda: learn(learners))  # noqa: B023 — called at once
    measure_all(Measure(run, data, recipe, engine.device))
    measure_epochs(run, data, recipe, engine)
    objectives = compare_objectives(learners, request.objectives)
    systems = {name: read_json(run / f"{name}.json") for name in SYSTEMS}
    for name, figures in by_epochs(run, recipe).items():
        systems[name]["by_epochs"] = figures
    systems["S6"]["reference_class_agreement"] = systems["S2"]["tsne"]["class_agreement"]
    index = run / "pictures" / "index.parquet"
    run_stage(run, "pictures", [index], lambda: keep_pictures(run, data, systems))
    for one in further:
        makes = [run / name for name in one.makes]
        run_stage(run, one.name, makes, lambda: one.work(run, data, recipe))  # noqa: B023
    if is_cifar10(data.train.class_names):
        systems = with_study_figures(systems)
    leaks = run / "leaks.json"
    results = {
        "format": 1,
        "data": _describe(data, sources, read_json(leaks) if leaks.is_file() else None),
        "recipe": recipe.model_dump(mode="json"),
        "environment": environment,
        "seconds": in_order(run.seconds()),
        "systems": systems,
        "claims": judge(systems),
        "objectives": objectives,
        "recommended": recommended(objectives) if objectives else None,
        "seeds": {},
    }
    write_json(run / "results.json", results)


def _join_seeds(run: RunFolder, folders: list[Path]) -> None:
    """Adds the spread over seeds to the first seed's results."""
    runs = [read_json(folder / "results.json") for folder in folders]
    results = runs[0]
    results["objectives"] = objectives_over_seeds([one["objectives"] for one in runs])
    results["claims"] = over_seeds([one["claims"] for one in runs])
    for system, figure in HEADLINES:
        values = [_at(one["systems"][system], figure) for one in runs]
        if None not in values:
            results["seeds"][f"{system}.{figure}"] = spread(values)
    write_json(run / "results.json", results)


def _load(sources: dict[str, Any], recipe: Recipe, request: Request) -> Data:
    (size, interpolation), seed = form_of(recipe), recipe.seed
    how: dict[str, Any] = {"data_dir": request.data_dir, "max_pixels": request.max_pixels}
    how["interpolation"] = interpolation
    splits = load(
        sources["data"],
        size=size,
        seed=seed,
        limit=sources["limit"],
        test=sources["test"],
        exclude=request.exclude,
        **how,
    )
    other = None
    if sources["anomalies"] is not None:
        how["exclude"] = request.exclude if lists_files(sources["anomalies"]) else ()
        how |= {"channels": splits.train.channels, "span": splits.train.span}
        other = load_anomalies(sources["anomalies"], size=size, seed=seed, **how)
    return Data(splits.train, splits.test, other)


def _leaks(run: RunFolder, data: Data) -> None:
    """Writes which test images are copies of training images, and warns of them in a line."""
    found = find_leaks(made_small(data.train.pixels), made_small(data.test.pixels), cropped=False)
    ids = data.test.ids[found.leaked].tolist()
    write_json(run / "leaks.json", {"tested": found.tested, "leaked": ids, "told": found.told()})
    if ids:
        say(f"warning: {found.told()}; figures of the test set are as much too good")


def _check(data: Data, recipe: Recipe) -> None:
    """Refuses, before any work, sets too small for what the recipe asks."""
    train, test = len(data.train), len(data.test)
    if min(train, test) < FEWEST_ON_A_MAP:
        raise InputError(
            f"{data.train.name}: {train} training and {test} test images; a study needs "
            f"{FEWEST_ON_A_MAP} of each, so add images"
        )
    needs = {
        "mined.neighbours": min(train, test) - 1,
        "spectral.neighbours": train - 1,
        "evaluation.clusters": train,
        "evaluation.retrieved": train,
        "evaluation.anomaly_neighbours": train,
    }
    for name, most in needs.items():
        section, field = name.split(".")
        asked = getattr(getattr(recipe, section), field)
        if asked > most:
            raise InputError(
                f"{data.train.name}: {train} training and {test} test images allow "
                f"{name} up to {most}, the recipe asks {asked}; add images, or use "
                f"{option('settings', f'{name}={max(most, 1)}')}"
            )


def _describe(data: Data, sources: dict[str, Any], leaks: dict[str, Any] | None) -> dict[str, Any]:
    anomalies = data.anomalies
    return {
        "name": data.train.name,
        "source": sources["data"],
        "train": len(data.train),
        "test": len(data.test),
        "size": data.train.size,
        "channels": data.train.channels,
        "classes": list(data.train.class_names),
        "limit": sources["limit"],
        "note": _note(data, sources["data"]),
        "fingerprint": {name: images.fingerprint for name, images in data.parts().items()},
        "leaks": leaks,
        "anomalies": anomalies
        and {
            "name": anomalies.name,
            "source": sources["anomalies"],
            "count": len(anomalies),
            "classes": list(anomalies.class_names),
        },
    }


def _note(data: Data, source: str) -> str:
    """What a reader must know before holding the figures against published ones."""
    if is_cifar10(data.train.class_names) and source != "cifar10":
        return (
            f"These are CIFAR-10's classes read from {source.partition(':')[0]} files, not the "
            "original binary: if the files are JPEG, the figures are of a JPEG copy."
        )
    return ""


def _at(tree: dict[str, Any], dotted: str) -> Any:
    """The value at ``a.b`` in nested dicts, None where a step is missing."""
    value: Any = tree
    for key in dotted.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def keep_pictures(run: RunFolder, data: Data, systems: dict[str, Any]) -> None:
    """Writes the pictures that the report shows into ``run/pictures``."""
    wanted = set(_ids(systems))
    for path in sorted((run / "maps").glob("*.parquet")):
        wanted.update(pq.read_table(path, columns=["id"]).column("id").to_pylist())
    kept = [
        images.take(np.flatnonzero(np.isin(images.ids, list(wanted))))
        for images in data.parts().values()
    ]
    write_pictures(
        run / "pictures",
        [str(name) for images in kept for name in images.ids],
        np.concatenate([images.pixels for images in kept]),
    )


def _ids(tree: Any) -> Iterator[str]:
    """Every image id named in plain data: under ``id``, and in lists under ``neighbours``."""
    if isinstance(tree, list):
        for item in tree:
            yield from _ids(item)
    if not isinstance(tree, dict):
        return
    for key, value in tree.items():
        if key == "id":
            yield value
        elif key == "neighbours":
            yield from value
        else:
            yield from _ids(value)
