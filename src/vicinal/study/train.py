"""One encoder by VICReg on generated neighbours, in a run folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from vicinal import cores, distributed
from vicinal.encoder.pretrained import encoder_file, form_of, is_start
from vicinal.errors import InputError, option
from vicinal.evaluations.own_view import keep_better, read_kept
from vicinal.files import read_rows, write_json
from vicinal.images import keep_skipped, load, named
from vicinal.images.image_set import Splits
from vicinal.images.skipped import Skipped, read_skipped
from vicinal.images.stream_sources import is_stream, open_stream
from vicinal.progress import say
from vicinal.recipes.ignored_differences import ignored
from vicinal.recipes.recipe import Recipe
from vicinal.runs.run_folder import (
    RunFolder,
    default_folder,
    describe_environment,
    held_minutes,
    open_run,
    resolve_recipe,
    resumed_recipe,
)
from vicinal.runs.stages import finished_stages, stage
from vicinal.training.batches import StreamBatches
from vicinal.training.budget import check_minutes
from vicinal.training.device import Engine, open_ranks
from vicinal.training.fit_to_pictures import fitted, left_open
from vicinal.training.log import check_log
from vicinal.training.start import InitialWeights, read_initial_weights
from vicinal.training.train_encoder import (
    TrainingData,
    data_of_arrays,
    data_of_stream,
    kept_encoder,
    train_encoder,
)


@dataclass(frozen=True)
class Trained:
    """A trained encoder.

    Attributes:
        run: The run folder.
        encoder: The encoder's file.
        images: How many images it was trained on, without those of ``skipped.csv``.
        epochs: Passes over them, a last one that the minutes cut short too.
        seconds: What the last sitting of the training took.
        loss: The mean objective in the last epoch, by part of the data.
        kept: Where training went on from weights, what `keep_better` found; else None.
    """

    run: Path
    encoder: Path
    images: int
    epochs: int
    seconds: float
    loss: dict[str, float]
    kept: dict[str, Any] | None = None


def train(
    data: str,
    *,
    recipe: str | None = None,
    settings: Sequence[str] = (),
    minutes: float | None = None,
    ignore: Sequence[str] | None = None,
    start: Path | None = None,
    limit: int | None = None,
    run: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    data_dir: Path | None = None,
    devices: int | None = None,
    nodes: int | None = None,
    log: str | None = None,
    **reading: Any,
) -> Trained:
    """Trains an encoder and writes recipe.toml, environment.json, losses.csv and the encoder.

    The test part, or a held-out fifth, gives the test curve and no gradient; of several ranks the
    first writes, also what cannot be used, into skipped.csv, and those started again go on.

    Args:
        data: As `vicinal.images.load` or `vicinal.images.stream_sources.open_stream` takes it.
        recipe: A shipped recipe's name or a file; None for that of ``start``, or the one that fits.
        settings: ``section.field=value`` overrides.
        minutes: What the training may take at most; None for all of the recipe's epochs.
        ignore: Differences that should not count; None for `fitting`, or the named recipe's.
        start: A run, or an encoder's file, to begin with: its weights and its preparation, and
            the projector if its checkpoint is there. The optimiser begins afresh.
        limit: At most so many training images.
        run: The run folder; None for the next under ``runs``.
        resume: Whether to go on with an interrupted run.
        device: ``auto``, ``cpu`` or ``cuda``.
        data_dir: Where downloads and decoded images are kept.
        devices: Ranks on each node, see `vicinal.training.device.open_ranks`.
        nodes: Nodes.
        log: Where else the losses go, one of `vicinal.training.log.LOGS`, or None.
        reading: ``exclude`` and ``max_pixels``, as `vicinal.images.load` takes them.

    Raises:
        InputError: If anything cannot be used, or ``start`` has another encoder; nothing is lost.
    """
    check_minutes(minutes)
    check_log(log)
    if start is not None and is_start(str(start)):
        settings, start = [*settings, f"encoder.start={start}"], None
    chosen = resolve_recipe(data, recipe or _recipe_of(start), settings, ignore)
    engine = open_ranks(device, chosen.training.precision, devices=devices, nodes=nodes)
    resume = resume or distributed.restarted()
    path, held = _run_to_take(data, chosen, run, resume, settings, named=(recipe, start, ignore))
    chosen = held or chosen
    minutes = held_minutes(path) if resume and minutes is None else minutes
    initial = distributed.from_first(lambda: _initial(start, chosen))
    reading["fits"] = () if start or held else left_open(recipe, settings, ignore)
    source = distributed.in_turn(lambda: _opened(data, chosen, limit, data_dir, initial, **reading))
    chosen = source.recipe
    asked = {"minutes": minutes, "start": initial and initial.fingerprint}
    identity = {"verb": "train", "data": named(data), "limit": limit} | asked | source.fingerprints
    with cores.shared(), open_run(path, identity, chosen, resume=resume) as folder:
        _keep_skipped(source, folder)
        encoder, losses = folder / "encoder.safetensors", folder / "losses.csv"
        kept = [kept_encoder(path, epochs) for epochs in chosen.training.keep_epochs]
        # Minutes may end before some of these epochs do.
        training = stage(path, "train", [encoder, losses, *(kept if minutes is None else ())])
        with training if distributed.is_first() else nullcontext(False) as due:
            if distributed.from_first(lambda: due):
                _introduce(folder, chosen, engine, initial)
                train_encoder(
                    source.data,
                    chosen,
                    path,
                    engine,
                    minutes=minutes,
                    settings=settings,
                    initial=initial,
                    choose=keep_better,
                    log=log,
                )
                if isinstance(source.data.train, StreamBatches):
                    _keep_skipped(source, folder)  # its bad pictures show as it is read
        return distributed.from_first(
            lambda: Trained(
                run=path,
                encoder=encoder,
                images=_used(source, folder),
                epochs=sum(row["split"] == "train" for row in read_rows(losses)),
                seconds=finished_stages(path)["train"],
                loss=_last_losses(losses),
                kept=read_kept(path),
            )
        )


@dataclass(frozen=True, eq=False)
class _Source:
    """Images to train on, their fingerprints, and what of the source cannot be used.

    The recipe's views are fitted to them where that was asked for.
    """

    data: TrainingData
    recipe: Recipe
    fingerprints: dict[str, str]
    skipped: Callable[[], tuple[Skipped, ...]]


def _opened(
    data: str,
    recipe: Recipe,
    limit: int | None,
    data_dir: Path | None,
    initial: InitialWeights | None,
    *,
    fits: Collection[str],
    **reading: Any,
) -> _Source:
    size, interpolation = form_of(recipe)
    how = {"interpolation": interpolation, "data_dir": data_dir, **reading}
    if is_stream(data):
        if limit is not None:
            raise InputError(f"{option('limit', limit)}: a stream is read whole; leave it out")
        stream = open_stream(data, test_images=recipe.training.test_images, size=size, **how)
        if initial is not None:
            initial.check_channels(data, stream.channels)
        streamed = data_of_stream(recipe, stream, initial)
        return _Source(streamed, recipe, {"train": stream.fingerprint}, lambda: stream.skipped)

    def read(recipe: Recipe) -> Splits:
        return load(data, size=form_of(recipe)[0], seed=recipe.seed, limit=limit, **how)

    recipe, splits = fitted(recipe, fits, read, lambda splits: splits.train)
    train, test = splits.train, splits.test
    if initial is not None:
        initial.check_channels(data, train.channels)
    return _Source(
        data_of_arrays(recipe, train.pixels, test.pixels, span=train.span, initial=initial),
        recipe,
        {"train": train.fingerprint, "test": test.fingerprint},
        lambda: splits.skipped,
    )


def _keep_skipped(source: _Source, folder: RunFolder) -> None:
    """Lists what any rank could not use, and what an earlier sitting listed, in skipped.csv."""
    path = folder / "skipped.csv"
    found = distributed.gathered(source.skipped())

    def write() -> None:
        earlier = read_skipped(path) if isinstance(source.data.train, StreamBatches) else ()
        keep_skipped(tuple(dict.fromkeys((*earlier, *chain(*found)))), path)

    distributed.from_first(write)


def _used(source: _Source, folder: RunFolder) -> int:
    """How many images were trained on: of a stream, all but the bad ones that were met."""
    streamed = isinstance(source.data.train, StreamBatches)
    bad = read_skipped(folder / "skipped.csv") if streamed else ()
    return len(source.data.train) - len(bad)


def _run_to_take(
    data: str,
    recipe: Recipe,
    run: Path | None,
    resume: bool,
    settings: Sequence[str],
    *,
    named: tuple[object, ...],
) -> tuple[Path, Recipe | None]:
    """The run's folder, and its recipe where it goes on and nothing that was named says another."""

    def found() -> tuple[Path, Recipe | None]:
        path = run or default_folder(data, recipe.name, resume=resume, prefix="train-")
        takes = resume and all(one is None for one in named)
        precision = recipe.training.precision
        return path, resumed_recipe(path, settings, precision) if takes else None

    return distributed.from_first(found)


def _recipe_of(start: Path | None) -> str | None:
    """The file of the recipe of the run to begin with, if there is one."""
    if start is None:
        return None
    file = (start if start.is_dir() else start.parent) / "recipe.toml"
    return str(file) if file.is_file() else None


def _initial(start: Path | None, recipe: Recipe) -> InitialWeights | None:
    """What the training begins with, if it is not drawn."""
    return None if start is None else read_initial_weights(encoder_file(start), recipe)


def _introduce(
    folder: RunFolder, recipe: Recipe, engine: Engine, initial: InitialWeights | None
) -> None:
    """Writes and says where and with what the training begins."""
    if not distributed.is_first():
        return
    environment = describe_environment(recipe.seed, engine.device, engine.precision)
    environment["ranks"] = distributed.world_size()
    write_json(folder / "environment.json", environment)
    say(f"run folder {folder.path}, {engine.device}, {engine.precision}, {cores.said()}")
    words = ", ".join(ignored(recipe.views)) or "none"
    say(f"differences that will not count: {words}; choose others with {option('ignore')}")
    if initial is not None:
        say(f"begins with the encoder of {initial.file}, {initial.projector}")


def _last_losses(path: Path) -> dict[str, float]:
    """The total objective of the last epoch on train and, if measured, on test images."""
    return {row["split"]: float(row["total"]) for row in read_rows(path)}
