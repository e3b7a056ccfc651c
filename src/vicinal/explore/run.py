"""From a folder of pictures to a page of them, stage by stage, each kept and resumable."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vicinal import cores
from vicinal.encoder.pretrained import encoder_file, is_start, preparation_for
from vicinal.encoder.saved import save_encoder
from vicinal.evaluations.own_view import keep_better, told
from vicinal.explore.compare import compare, find_doubts
from vicinal.explore.groups import find_groups
from vicinal.explore.maps import lay_out
from vicinal.explore.points import (
    Found,
    describe,
    neighbours_of,
    part_files,
    read_part,
    run_figures,
    skipped_in,
    write_part,
)
from vicinal.explore.request import Request, check, held_or_asked_recipe, identity_of, load_pictures
from vicinal.explore.update import FILES, Joined, Listing, add_onto, keep_files, read_held, update
from vicinal.files import read_json, replacing, write_json
from vicinal.images import ImageSet, Part, keep_skipped, named
from vicinal.recipes.recipe import Recipe
from vicinal.report import MOST_PICTURES, write_explorer
from vicinal.representations.embed import embed_parts
from vicinal.representations.representations import Representations
from vicinal.runs.pictures import write_pictures
from vicinal.runs.run_folder import (
    RunFolder,
    default_folder,
    describe_environment,
    open_run,
    run_stage,
    say,
)
from vicinal.study.learners import learn_generated
from vicinal.training.beside_patches import join
from vicinal.training.budget import most_epochs
from vicinal.training.device import Engine, open_engine
from vicinal.training.differences import fitting


@dataclass(frozen=True)
class Explored:
    """What `explore` left.

    Attributes:
        run: The run folder: ``explore.json``, ``points.parquet``, ``embeddings.parquet``, the
            CSVs, the encoder if it was trained here, and the page.
        page: The page; None where there are too many pictures for one file.
        figures: What ``explore.json`` says.
    """

    run: Path
    page: Path | None
    figures: dict[str, Any]

    def told(self) -> str:
        """What was found, in a few lines."""
        figures, health_ = self.figures, read_json(self.run / "health.json")
        groups = figures["clusters"]
        same = figures["duplicates"]
        lines = [
            f"{figures['data']['count']:,} pictures: "
            + (f"{groups['k']} groups, " if groups else "no groups, ")
            + f"{figures['anomalies']['flagged']:,} odd ones, "
            f"{same['pairs']:,} pairs nearly the same" + _said_labels(figures["labels"]),
            *_said_joined(figures.get("joined")),
            *([told(figures["encoder"]["kept"])] if figures["encoder"].get("kept") else []),
            f"health: {health_['summary']}",
            *_said_ignored(figures["encoder"]["ignores"]),
            f"the page: {self.page}"
            if self.page is not None
            else f"more than {MOST_PICTURES:,} pictures are too many for one file; look at them "
            f"with: vicinal report {shlex.quote(str(self.run))} --serve",
        ]
        return "\n".join(lines)


@cores.shared()
def explore(request: Request) -> Explored:
    """Trains, embeds, maps, groups, scores and compares pictures, and writes one page of them.

    Raises:
        InputError: If anything asked for cannot be used; nothing is overwritten.
        KeyboardInterrupt: If interrupted, with the command that goes on.
    """
    check(request)
    if request.update is not None:
        update(request)
        return _explored(request.update)
    data = named(request.data)
    held = None if request.onto is None else read_held(request.onto)
    path = request.run or default_folder(data, "explore", resume=request.resume)
    recipe = held_or_asked_recipe(request, data, path)
    engine = open_engine(request.device, "auto" if recipe is None else recipe.training.precision)
    listing = Listing({})
    used = request if held is None else replace(request, encoder=held.encoder)
    parts = load_pictures(used, data, recipe, listing)
    if recipe is not None and used.views_fit:
        recipe = fitting(recipe, parts[0].images.pixels)
    identity = identity_of(used, data, parts)
    try:
        with open_run(path, identity, recipe, resume=request.resume) as folder:
            say(_opening(path, parts, recipe, request, engine))
            keep_skipped(skipped_in(parts), folder / "skipped.csv")
            if held is not None:
                onto = partial(add_onto, folder, held, parts, used)
                _stage(folder, "onto", [path / "explore.json"], onto)
                _page(path)
            else:
                if not (path / FILES).is_file():  # a run that goes on has them
                    keep_files(path, listing)
                _stages(folder, parts, recipe, request, engine)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(request.command(path)) from None
    return _explored(path)


def _explored(run: Path) -> Explored:
    page = run / "explore.html"
    return Explored(run, page if page.is_file() else None, read_json(run / "explore.json"))


def _stages(
    folder: RunFolder,
    parts: tuple[Part, ...],
    recipe: Recipe | None,
    request: Request,
    engine: Engine,
) -> None:
    """Runs every stage that is not finished, each leaving its files."""
    run = folder.path
    if not (run / "environment.json").is_file():
        seed = 0 if recipe is None else recipe.seed
        environment = describe_environment(seed, engine.device, engine.precision)
        write_json(run / "environment.json", environment)
    if recipe is not None:
        trained = recipe
        _stage(
            folder,
            "train",
            [run / "encoder.safetensors"],
            lambda: _train(run, parts[0].images, trained, request, engine),
        )
    elif request.encoder is not None and is_start(str(request.encoder)):
        named = encoder_file(request.encoder)
        if named != request.encoder:  # a network by its name goes on from the run's own file
            own = run / "encoder.safetensors"
            _stage(folder, "encoder", [own], lambda: _copied(named, own))
    _stage(folder, "embed", [run / "embeddings.parquet"], lambda: _embed(run, parts, request))
    everything = Representations.load(run / "embeddings.parquet")
    rate = request.false_alarms
    pixels = Joined([part.images.pixels for part in parts])
    _part(folder, "compare", lambda: compare(everything, pixels, run, false_alarms=rate))
    near = neighbours_of(read_part(run, "compare"))
    _part(folder, "map", lambda: lay_out(everything.array, near))
    _part(folder, "group", lambda: find_groups(everything, run))
    _part(folder, "labels", lambda: find_doubts(everything, run))
    described = [run / "points.parquet", run / "health.json"]
    _stage(
        folder,
        "points",
        described,
        lambda: describe(run, everything, pixels, _encoder(run, request)),
    )
    ids = [str(row) for row in range(len(everything))]
    sheets = run / "pictures"
    _stage(
        folder,
        "pictures",
        [sheets / "index.parquet"],
        lambda: write_pictures(sheets, ids, pixels),
    )
    write_json(run / "explore.json", run_figures(folder, parts, everything, request, recipe))
    _page(run)


def _page(run: Path) -> None:
    if read_json(run / "explore.json")["data"]["count"] <= MOST_PICTURES:
        write_explorer(run)


def _part(folder: RunFolder, name: str, find: Callable[[], Found]) -> None:
    """Runs a stage that gives every picture columns, unless it is finished."""
    _stage(
        folder, name, part_files(folder.path, name), lambda: write_part(folder.path, name, find())
    )


def _stage(folder: RunFolder, name: str, makes: Sequence[Path], work: Callable[[], None]) -> None:
    run_stage(folder, name, makes, work, width=10)


def _train(run: Path, images: ImageSet, recipe: Recipe, request: Request, engine: Engine) -> None:
    encoder = learn_generated(
        images,
        images.take(np.arange(1)),  # a single image gives no test curve
        recipe,
        run,
        engine,
        title="train",
        epochs=most_epochs(recipe.training, len(images), request.limit, request.settings),
        minutes=request.limit,
    )
    encoder = keep_better(encoder, images.pixels, recipe, run, engine)
    made = preparation_for(images.pixels, recipe.encoder, images.span)
    encoder = join(encoder, images.pixels, recipe, made)
    file = run / "encoder.safetensors"
    save_encoder(encoder, file, recipe=recipe.encoder, preparation=made)


def _copied(encoder: Path, to: Path) -> None:
    with replacing(to) as partial:
        shutil.copyfile(encoder, partial)


def _embed(run: Path, parts: tuple[Part, ...], request: Request) -> None:
    encoder = _encoder(run, request)
    data = named(request.data)
    found = embed_parts(parts, encoder, data, device=request.device, data_dir=request.data_dir)
    found.save(run / "embeddings.parquet")


def _encoder(run: Path, request: Request) -> Path:
    own = run / "encoder.safetensors"
    return own if request.encoder is None or own.is_file() else encoder_file(request.encoder)


def _said_joined(joined: dict[str, Any] | None) -> list[str]:
    """How many pictures are new, and how many of them lie beyond the others."""
    if joined is None:
        return []
    line = f"{joined['new']:,} new beside {joined['old']:,} of {joined['run']}"
    return [f"{line}, {joined['beyond']:,} of them unlike any of these: new.csv"]


def _said_ignored(words: list[str] | None) -> list[str]:
    """Which differences did not count, and how to change that; nothing where none was chosen."""
    if words is None:
        return []
    return [
        f"differences that did not count: {', '.join(words) or 'none'}; choose others with --ignore"
    ]


def _said_labels(labels: dict[str, Any] | None) -> str:
    """How many labels look wrong; nothing where there are none to judge."""
    return "" if labels is None else f", {labels['contradicted']:,} labels that look wrong"


def _opening(
    path: Path, parts: tuple[Part, ...], recipe: Recipe | None, request: Request, engine: Engine
) -> str:
    count = sum(len(part.images) for part in parts)
    if recipe is None:
        how = "with the encoder given"
    elif request.limit is None:
        how = f"recipe {recipe.name}, {recipe.training.epochs} epochs"
    else:
        how = f"recipe {recipe.name}, {request.limit:g} minutes of training, then what is found"
    where = f"{engine.device}, {engine.precision}, {cores.said()}"
    return f"{count:,} pictures into {path}: {how}, {where}"
