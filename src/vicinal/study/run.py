"""The whole study, stage by stage: load, train, compare, measure, judge.

Every stage leaves files in the run folder and is skipped when an interrupted run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from vicinal import cores, distributed
from vicinal.errors import InputError, option
from vicinal.files import read_json, write_json
from vicinal.images import MOST_PIXELS, keep_skipped
from vicinal.progress import say
from vicinal.recipes.recipe import Recipe
from vicinal.runs.pictures import write_pictures
from vicinal.runs.run_folder import (
    RunFolder,
    default_folder,
    describe_environment,
    held_minutes,
    open_run,
    resolve_recipe,
    resumed_recipe,
)
from vicinal.runs.stages import finished_stages, run_stage
from vicinal.study.claims import claims_over_seeds, judge
from vicinal.study.compare_objectives import compare_objectives, objectives_over_seeds, recommended
from vicinal.study.data import Data, Sources, describe_data, load_data, write_leaks
from vicinal.study.epochs import by_epochs, measure_epochs
from vicinal.study.figures import is_cifar10, spread_over_seeds, with_study_figures
from vicinal.study.learners import LEARNERS, Learners, is_trained
from vicinal.study.side_by_side import in_order, measure_all
from vicinal.study.systems import SYSTEMS, Measure
from vicinal.training.budget import check_minutes
from vicinal.training.device import open_ranks
from vicinal.training.log import check_log


@dataclass(frozen=True)
class StudyOptions:
    """What a user asks of `run_study`; None stands for the default that fits the data.

    Attributes:
        data: Source of the images, as `vicinal.images.load` takes it.
        anomalies: Source of images of another kind.
        test: Source of the test set, if it lies apart.
        limit: At most so many training images.
        recipe: A shipped recipe's name or a file; of a run that goes on, its own.
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
        minutes: What each training may take; None for all its epochs.
        devices: Ranks on each node that train, see `vicinal.training.device.open_ranks`.
        nodes: Nodes.
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
    minutes: float | None = None
    devices: int | None = None
    nodes: int | None = None


@dataclass(frozen=True)
class ExtraStage:
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
def run_study(options: StudyOptions, extra: Iterable[ExtraStage] = ()) -> Path:
    """Runs every system and every claim of the study; of several ranks the first measures.

    Args:
        options: What the user asks.
        extra: Stages of later rooms, such as `vicinal.explore.TEST_IMAGES`.

    Returns:
        The run folder: ``results.json`` with every figure in it, ``recipe.toml``,
        ``environment.json``, the maps, the pictures and a folder for each learner.
        `vicinal.report.write_report` draws the report from it.

    Raises:
        InputError: If anything asked for cannot be used; nothing is overwritten.
    """
    recipe = resolve_recipe(options.data, options.recipe, options.settings)
    sources = Sources.of(options.data, options.anomalies, options.test, options.limit)
    check_log(options.log)
    check_minutes(options.minutes)
    ranks = {"devices": options.devices, "nodes": options.nodes}
    engine = open_ranks(options.device, recipe.training.precision, **ranks)
    resume = options.resume or distributed.restarted()
    path, recipe = distributed.from_first(
        lambda: _run_to_take(options, sources.data, recipe, resume=resume)
    )
    read: dict[str, Any] = {"exclude": options.exclude, "max_pixels": options.max_pixels}
    read["data_dir"] = options.data_dir
    data = distributed.in_turn(lambda: load_data(sources, recipe, **read))
    fingerprints = {name: images.fingerprint for name, images in data.parts().items()}
    identity = asdict(sources) | fingerprints
    minutes = held_minutes(path) if resume and options.minutes is None else options.minutes
    identity |= {} if minutes is None else {"minutes": minutes}
    if resume:
        _check_nothing_is_dropped(path, options)

    def one_seed(run: RunFolder, recipe: Recipe, extra: Iterable[ExtraStage] = ()) -> None:
        how = (options.log, minutes, options.settings)
        learners = Learners(data, recipe, run, engine, *how)
        _run_seed(learners, sources, options.objectives, extra)

    with open_run(path, identity, recipe, resume=resume) as run:
        skipped = [one for images in data.parts().values() for one in images.skipped]
        if distributed.is_first():
            keep_skipped(tuple(dict.fromkeys(skipped)), run / "skipped.csv")
        say(
            f"run folder {path}, recipe {recipe.name}, {engine.device}, {engine.precision}, "
            f"{cores.said()}"
        )
        run_stage(path, "leaks", [run / "leaks.json"], lambda: write_leaks(run, data))
        one_seed(run, recipe, extra)
        folders = [path]
        for seed in range(recipe.seed + 1, recipe.seed + options.seeds):
            seeded = recipe.model_copy(update={"seed": seed})
            folders.append(path / f"seed-{seed}")
            with open_run(folders[-1], identity, seeded, resume=resume) as own:
                one_seed(own, seeded)
        if options.seeds > 1 and distributed.is_first():
            _join_seeds(run, folders)
        distributed.from_first(lambda: None)  # no rank leaves while the first still measures
    return path


def _run_to_take(
    options: StudyOptions, data: str, recipe: Recipe, *, resume: bool
) -> tuple[Path, Recipe]:
    """The run's folder, and its own recipe where it goes on and no other was named."""
    path = options.run or default_folder(data, recipe.name, resume=resume)
    held = None
    if resume and options.recipe is None:
        held = resumed_recipe(path, options.settings, recipe.training.precision)
    return path, held or recipe


def _check_nothing_is_dropped(path: Path, options: StudyOptions) -> None:
    """Refuses to write results without seeds or objectives that a finished run has."""
    results = read_json(path / "results.json") if (path / "results.json").is_file() else {}
    seeds = 1 + len(list(path.glob("seed-*")))
    if results.get("seeds") and options.seeds < seeds:
        raise InputError(
            f"{path} has results of {seeds} seeds; go on with {option('seeds', seeds)}, or name "
            "another folder"
        )
    names = list(results.get("objectives") or ())
    if set(names) - set(options.objectives):
        raise InputError(
            f"{path} compares objectives; go on with {option('objectives', ','.join(names))}, or "
            "name another folder"
        )


def _run_seed(
    learners: Learners,
    sources: Sources,
    names: tuple[str, ...],
    extra: Iterable[ExtraStage],
) -> None:
    """Trains and measures everything for one seed, and writes results.json."""
    run, data, recipe, engine = learners.run, learners.data, learners.recipe, learners.engine
    environment = describe_environment(recipe.seed, engine.device, engine.precision)
    if distributed.world_size() > 1:
        environment["ranks"] = distributed.world_size()
    if distributed.is_first():
        write_json(run / "environment.json", environment)
    for name, learn in LEARNERS.items():
        run_stage(
            run.path,
            f"learn {name}",
            learners.files(name),
            lambda: learn(learners),  # noqa: B023 — called at once
            together=is_trained(name),
        )
    if not distributed.is_first():
        compare_objectives(learners, names)
        return
    measure_all(Measure(run, data, recipe, engine.device))
    measure_epochs(learners)
    objectives = compare_objectives(learners, names)
    systems = _read_systems(run, recipe)
    index = run / "pictures" / "index.parquet"
    run_stage(run.path, "pictures", [index], lambda: keep_pictures(run, data, systems))
    for stage in extra:
        makes = [run / name for name in stage.makes]
        run_stage(run.path, stage.name, makes, lambda: stage.work(run, data, recipe))  # noqa: B023
    if is_cifar10(data.train.class_names):
        systems = with_study_figures(systems)
    results = {
        "format": 1,
        "data": describe_data(run, data, sources),
        "recipe": recipe.model_dump(mode="json"),
        "environment": environment,
        "seconds": in_order(finished_stages(run.path)),
        "systems": systems,
        "claims": judge(systems),
        "objectives": objectives,
        "recommended": recommended(objectives) if objectives else None,
        "seeds": {},
    }
    write_json(run / "results.json", results)


def _read_systems(run: RunFolder, recipe: Recipe) -> dict[str, Any]:
    """The figures of S1 to S9, with those of encoders that a training kept on its way."""
    systems = {name: read_json(run / f"{name}.json") for name in SYSTEMS}
    for name, figures in by_epochs(run, recipe).items():
        systems[name]["by_epochs"] = figures
    systems["S6"]["reference_class_agreement"] = systems["S2"]["tsne"]["class_agreement"]
    return systems


def _join_seeds(run: RunFolder, folders: list[Path]) -> None:
    """Adds the spread over seeds to the first seed's results."""
    runs = [read_json(folder / "results.json") for folder in folders]
    joined = {
        "objectives": objectives_over_seeds([one["objectives"] for one in runs]),
        "claims": claims_over_seeds([one["claims"] for one in runs]),
        "seeds": spread_over_seeds(runs),
    }
    write_json(run / "results.json", runs[0] | joined)


def keep_pictures(run: RunFolder, data: Data, systems: dict[str, Any]) -> None:
    """Writes the pictures that the report shows into ``run/pictures``."""
    wanted = set(_ids(systems))
    for path in sorted((run / "maps").glob("*.parquet")):
        wanted.update(pq.read_table(path, columns=["id"]).column("id").to_pylist())
    kept = {
        part: images.take(np.flatnonzero(np.isin(images.ids, list(wanted))))
        for part, images in data.parts().items()
    }
    shapes = [
        np.ones((len(images), 2), np.int32)  # squares, as are anomalies, which stand on black
        if images.sizes is None or part == "anomalies"
        else images.sizes
        for part, images in kept.items()
    ]
    write_pictures(
        run / "pictures",
        [str(name) for images in kept.values() for name in images.ids],
        np.concatenate([images.pixels for images in kept.values()]),
        np.concatenate(shapes),
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
