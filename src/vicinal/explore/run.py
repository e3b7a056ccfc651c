"""`explore`: a folder of pictures to a page of them, stage by stage, each kept and resumable."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vicinal import cores
from vicinal.encoder.pretrained import encoder_file, is_start
from vicinal.errors import InputError, number_of, option, readable
from vicinal.evaluations.own_view import keep_better, kept_sentence
from vicinal.explore.check_labels import check_labels
from vicinal.explore.compare_pictures import compare_pictures
from vicinal.explore.concatenated_pixels import ConcatenatedPixels
from vicinal.explore.describe_pictures import describe_pictures
from vicinal.explore.explore_json import explore_figures, skipped_in
from vicinal.explore.file_listing import FILES, FileListing, write_files
from vicinal.explore.find_places import find_places
from vicinal.explore.group_pictures import group_pictures
from vicinal.explore.map_pictures import map_pictures
from vicinal.explore.request import Request, check, identity_of, load_pictures, recipe_of
from vicinal.explore.stage_results import (
    StageResult,
    read_columns,
    read_neighbours,
    stage_files,
    write_stage,
)
from vicinal.explore.update import add_onto, read_finished, update
from vicinal.files import read_json, replacing, write_json
from vicinal.images import ImageSet, Part, keep_skipped, named
from vicinal.progress import say
from vicinal.recipes.recipe import Recipe
from vicinal.report import MOST_PICTURES, write_explorer
from vicinal.representations.embed import embed_parts
from vicinal.representations.representations import EXPLORED, Representations
from vicinal.runs.pictures import write_pictures
from vicinal.runs.run_folder import (
    RunFolder,
    default_folder,
    describe_environment,
    held_minutes,
    open_run,
)
from vicinal.runs.stages import run_stage
from vicinal.training.device import Engine, open_engine
from vicinal.training.fit_to_pictures import fitted
from vicinal.training.train_encoder import data_of_arrays, train_encoder

LOOKS_WRONG = ("label that looks wrong", "labels that look wrong")


@dataclass(frozen=True)
class Explored:
    """What `explore` left.

    Attributes:
        run: The run folder: ``explore.json``, ``points.parquet``, ``embeddings.parquet``, the
            CSVs, the encoder if it was trained here, and the page.
        page: The page; None where there are too many pictures for one file.
        figures: The content of ``explore.json``.
        news: False after an update that found nothing new.
    """

    run: Path
    page: Path | None
    figures: dict[str, Any]
    news: bool = True

    def told(self) -> str:
        """What was found, in a few lines."""
        encoder, health = self.figures["encoder"], read_json(self.run / "health.json")
        groups, labels = self.figures["clusters"], self.figures["labels"]
        lines = [
            f"{number_of(self.figures['data']['count'], 'picture')}: "
            + (number_of(groups["k"], "group") if groups else "no groups")
            + f", {number_of(self.figures['anomalies']['flagged'], 'odd one')}"
            + f", {number_of(self.figures['duplicates']['pairs'], 'pair')} nearly the same"
            + (f", {number_of(labels['contradicted'], *LOOKS_WRONG)}" if labels else "")
        ]
        if self.news and (joined := self.figures.get("joined")):
            lines.append(
                f"{joined['new']:,} new beside {joined['old']:,} of {joined['run']}, "
                f"{joined['beyond']:,} of them unlike any of these: new.csv"
            )
        if encoder.get("kept"):
            lines.append(kept_sentence(encoder["kept"]))
        lines.append(f"health: {health['summary']}")
        if encoder.get("ignores") is not None:
            words = ", ".join(encoder["ignores"]) or "none"
            how = " (measured on these pictures)" if encoder.get("measured") else ""
            lines.append(
                readable(
                    f"differences that did not count: {words}{how}; choose others with "
                    f"{option('ignore')}"
                )
            )
        if self.page is not None:
            return "\n".join([*lines, f"the page: {self.page}"])
        serve = f"vicinal report {shlex.quote(str(self.run))} --serve"
        many = f"more than {MOST_PICTURES:,} pictures are too many for one file"
        return "\n".join([*lines, f"{many}; look at them with: {serve}"])


@cores.shared()
def explore(request: Request) -> Explored:
    """Trains, embeds, maps, groups, scores and compares pictures, and writes one page of them.

    Raises:
        InputError: If anything asked for cannot be used; nothing is overwritten.
        KeyboardInterrupt: If interrupted, with the command that goes on.
    """
    check(request)
    if request.update is not None:
        news = update(request)
        return replace(_explored(request.update), news=news)
    data = named(request.data)
    path = request.run or default_folder(data, "explore", resume=request.resume)
    if request.resume and request.minutes is None:
        request = replace(request, minutes=held_minutes(path))
    finished = None if request.onto is None else read_finished(request.onto)
    used = request if finished is None else replace(request, encoder=finished.encoder)
    recipe = recipe_of(request, data, path)
    engine = open_engine(request.device, "auto" if recipe is None else recipe.training.precision)
    listings: list[FileListing] = []

    def read(recipe: Recipe | None) -> tuple[Part, ...]:
        listings.append(FileListing({}))
        return load_pictures(used, data, recipe, listings[-1])

    if recipe is None:
        parts = read(None)
    else:
        recipe, parts = fitted(recipe, request.fits, read, lambda parts: parts[0].images)
    count = sum(len(part.images) for part in parts)
    if count < 2 and finished is None:
        raise InputError(f"{request.data}: {count} picture; exploring needs 2 or more")
    try:
        with open_run(path, identity_of(used, data, parts), recipe, resume=request.resume) as run:
            say(_opening(path, parts, recipe, request, engine))
            keep_skipped(skipped_in(parts), run / "skipped.csv")
            _note_environment(path, recipe, engine)
            if finished is not None:
                onto = [path / "explore.json"]
                _stage(run, "onto", onto, lambda: add_onto(run, finished, parts, used))
            else:
                if not (path / FILES).is_file():  # a run that goes on has them
                    write_files(path, listings[-1])
                _stages(run, parts, recipe, request, engine)
            if read_json(run / "explore.json")["data"]["count"] <= MOST_PICTURES:
                write_explorer(path)
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
    own = run / "encoder.safetensors"
    if recipe is not None:
        images = parts[0].images
        _stage(folder, "train", [own], lambda: _train(run, images, recipe, request, engine))
    elif request.encoder is not None and is_start(str(request.encoder)):
        start = encoder_file(request.encoder)
        if start != request.encoder:  # a network by its name goes on from the run's own file
            _stage(folder, "encoder", [own], lambda: _copy(start, own))
    given = None if request.encoder is None or own.is_file() else encoder_file(request.encoder)
    encoder = given or own
    embedded = run / EXPLORED
    _stage(folder, "embed", [embedded], lambda: _embed(parts, encoder, request, embedded))
    embeddings = Representations.load(embedded)
    pixels = ConcatenatedPixels([part.images.pixels for part in parts])
    rate = request.rate

    def stage_of_columns(name: str, work: Callable[[], StageResult]) -> None:
        _stage(folder, name, stage_files(run, name), lambda: write_stage(run, name, work()))

    stage_of_columns(
        "compare", lambda: compare_pictures(embeddings, pixels, run, false_alarms=rate)
    )
    compared = embeddings.as_compared()
    stage_of_columns("map", lambda: map_pictures(compared.array, read_neighbours(run)))
    stage_of_columns("group", lambda: group_pictures(compared, run))
    stage_of_columns("labels", lambda: check_labels(embeddings, run))
    stage_of_columns(
        "places",
        lambda: find_places(embeddings, pixels, read_columns(run, "compare"), run, encoder),
    )
    advice = _ADVICE_GIVEN if recipe is None else _advice(run, recipe)
    _stage(
        folder,
        "points",
        [run / "points.parquet", run / "health.json"],
        lambda: describe_pictures(run, embeddings, pixels, encoder, advice=advice),
    )
    ids, sheets = [str(row) for row in range(len(embeddings))], run / "pictures"
    _stage(
        folder, "pictures", [sheets / "index.parquet"], lambda: write_pictures(sheets, ids, pixels)
    )
    write_json(run / "explore.json", explore_figures(folder, parts, embeddings, request, recipe))


def _note_environment(run: Path, recipe: Recipe | None, engine: Engine) -> None:
    """Writes down what the run began on; one that goes on has it."""
    if not (run / "environment.json").is_file():
        seed = 0 if recipe is None else recipe.seed
        environment = describe_environment(seed, engine.device, engine.precision)
        write_json(run / "environment.json", environment)


_ADVICE_GIVEN = "try another --encoder, or leave it out to train one on these pictures"


def _advice(run: Path, recipe: Recipe) -> str:
    """What to do where the trained encoder is no better; minutes help only what they cut short."""
    spent = run / "minutes.json"
    record = read_json(spent) if spent.is_file() else None
    ended = record is not None and record["steps"] >= record["most_steps"]
    if recipe.encoder.start:
        other = "leave --start out, which trains one on these pictures alone"
    else:
        other = "try --start pretrained" if ended else "try --encoder pretrained"
    how = "all steps of the recipe were taken, so" if ended else "train longer (--minutes 30) or"
    return f"{how} {other}"


def _stage(folder: RunFolder, name: str, makes: Sequence[Path], work: Callable[[], None]) -> None:
    run_stage(folder.path, name, makes, work, width=10)


def _train(run: Path, images: ImageSet, recipe: Recipe, request: Request, engine: Engine) -> None:
    train_encoder(
        data_of_arrays(recipe, images.pixels, span=images.span),
        recipe,
        run,
        engine,
        minutes=request.limit,
        settings=request.settings,
        choose=keep_better,
        log=request.log,
    )


def _copy(encoder: Path, to: Path) -> None:
    with replacing(to) as partial:
        shutil.copyfile(encoder, partial)


def _embed(parts: tuple[Part, ...], encoder: Path, request: Request, to: Path) -> None:
    how: dict[str, Any] = {"device": request.device, "data_dir": request.data_dir}
    embed_parts(parts, encoder, named(request.data), **how).save(to)


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
    return f"{number_of(count, 'picture')} into {path}: {how}, {where}"
