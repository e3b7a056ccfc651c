"""One encoder by VICReg on generated neighbours, in a run folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from torch import nn

from vicinal import cores, distributed
from vicinal.encoder.pretrained import encoder_file, form_of, is_start, open_start, preparation_for
from vicinal.encoder.saved import Preparation, save_encoder
from vicinal.errors import InputError, option
from vicinal.evaluations.own_view import keep_better, read_kept
from vicinal.files import read_rows, write_json
from vicinal.images import keep_skipped, load, named
from vicinal.images.skipped import Skipped, read_skipped
from vicinal.images.stream_sources import is_stream, open_stream
from vicinal.recipes.recipe import Recipe
from vicinal.runs.run_folder import (
    RunFolder,
    default_folder,
    describe_environment,
    open_run,
    resolve_recipe,
    say,
)
from vicinal.study.learners import kept_encoder
from vicinal.training.beside_patches import join
from vicinal.training.budget import check_minutes, most_epochs
from vicinal.training.device import Engine
from vicinal.training.feed import StreamMaterial
from vicinal.training.launch import open_ranks
from vicinal.training.loop import Material, Trainable, pretrain
from vicinal.training.start import Start, read_start
from vicinal.views import Augment, GeneratedNeighbours


@dataclass(frozen=True)
class Trained:
    """A trained encoder.

    Attributes:
        run: The run folder.
        encoder: The encoder's file.
        images: How many images it was trained on.
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
    **reading: Any,
) -> Trained:
    """Trains an encoder and writes recipe.toml, environment.json, losses.csv and the encoder.

    The test part, or a held-out fifth, gives the test curve and no gradient; of several ranks the
    first writes, also what cannot be used, into skipped.csv, and those started again go on.

    Args:
        data: As `vicinal.images.load` or `vicinal.images.stream_sources.open_stream` takes it.
        recipe: A shipped recipe's name or a file; None for that of ``start``, or the one that fits.
        settings: ``section.field=value`` overrides.
        minutes: What the training may take; it ends sooner where more is not worth its time, see
            `vicinal.training.budget`. None for all of the recipe's epochs.
        ignore: Differences that should not count, see `vicinal.recipes.differences`.
        start: A run, or an encoder's file, to begin with: its weights and its preparation, and
            the projector if its checkpoint is there. The optimiser begins afresh.
        limit: At most so many training images.
        run: The run folder; None for the next under ``runs``.
        resume: Whether to go on with an interrupted run.
        device: ``auto``, ``cpu`` or ``cuda``.
        data_dir: Where downloads and decoded images are kept.
        devices: Ranks on each node, see `vicinal.training.launch.open_ranks`.
        nodes: Nodes.
        reading: ``exclude`` and ``max_pixels``, as `vicinal.images.load` takes them.

    Raises:
        InputError: If anything asked for cannot be used, or ``start`` has another encoder;
            nothing is overwritten.
    """
    check_minutes(minutes)
    if start is not None and is_start(str(start)):
        settings, start = [*settings, f"encoder.start={start}"], None
    chosen = resolve_recipe(data, recipe or _recipe_of(start), settings, ignore)
    engine = open_ranks(device, chosen.training.precision, devices=devices, nodes=nodes)
    resume = resume or distributed.restarted()
    begun = distributed.from_first(lambda: _begun(start, chosen))
    source = distributed.in_turn(lambda: _opened(data, chosen, limit, data_dir, begun, **reading))
    folder_of = partial(default_folder, data, chosen.name, resume=resume, prefix="train-")
    path = distributed.from_first(lambda: run or folder_of())
    asked = {"minutes": minutes, "start": begun and begun.fingerprint}
    identity = {"verb": "train", "data": named(data), "limit": limit} | asked | source.fingerprints
    with cores.shared(), _opened_run(path, identity, chosen, resume=resume) as folder:
        _keep_skipped(source, folder)
        encoder, losses = folder / "encoder.safetensors", folder / "losses.csv"
        kept = [kept_encoder(path, epochs) for epochs in chosen.training.keep_epochs]
        # Minutes may end before some of these epochs do.
        stage = folder.stage("train", [encoder, losses, *(kept if minutes is None else ())])
        with stage if distributed.is_first() else nullcontext(False) as due:
            if distributed.from_first(lambda: due):
                epochs = most_epochs(chosen.training, len(source.train), minutes, settings)
                _learn(source, chosen, epochs, minutes, begun, folder, engine)
                _keep_skipped(source, folder)  # a stream's bad pictures show as it is read
        return distributed.from_first(
            lambda: Trained(
                run=path,
                encoder=encoder,
                images=len(source.train),
                epochs=sum(row["split"] == "train" for row in read_rows(losses)),
                seconds=folder.seconds()["train"],
                loss=_last_losses(losses),
                kept=read_kept(path),
            )
        )


def _opened_run(path: Path, identity: dict[str, Any], recipe: Recipe, *, resume: bool) -> RunFolder:
    """The run folder, which the first rank opens and locks for all."""
    opened: list[RunFolder] = []
    distributed.from_first(lambda: opened.append(open_run(path, identity, recipe, resume=resume)))
    return opened[0] if opened else RunFolder(path)


@dataclass(frozen=True, eq=False)
class _Source:
    """Images to train on, and how they are prepared for the encoder."""

    train: Trainable
    test: Trainable
    preparation: Preparation
    fingerprints: dict[str, str]
    skipped: Callable[[], tuple[Skipped, ...]]


def _opened(
    data: str,
    recipe: Recipe,
    limit: int | None,
    data_dir: Path | None,
    begun: Start | None,
    **reading: Any,
) -> _Source:
    size, interpolation = form_of(recipe)
    how = {"size": size, "interpolation": interpolation, "data_dir": data_dir, **reading}
    if not is_stream(data):
        splits = load(data, seed=recipe.seed, limit=limit, **how)
        preparation = preparation_for(splits.train.pixels, recipe.encoder, splits.train.span)
        if begun is not None:
            begun.check_channels(data, splits.train.channels)
            preparation = begun.prepared(splits.train.span)
        pairs = GeneratedNeighbours(Augment(recipe.views, preparation.mean, preparation.std))
        return _Source(
            Material(splits.train.pixels, pairs),
            Material(splits.test.pixels, pairs),
            preparation,
            {"train": splits.train.fingerprint, "test": splits.test.fingerprint},
            lambda: splits.skipped,
        )
    if limit is not None:
        raise InputError(f"{option('limit', limit)}: a stream is read whole; leave it out")
    stream = open_stream(data, test_images=recipe.training.test_images, **how)
    mean, std, span = stream.mean, stream.std, stream.span
    preparation = Preparation(size, stream.channels, mean, std, span=span)
    if recipe.encoder.start:
        preparation = replace(
            open_start(recipe.encoder.start, stream.channels).preparation, span=span
        )
    if begun is not None:
        begun.check_channels(data, stream.channels)
        preparation = begun.prepared(span)
    pairs = GeneratedNeighbours(Augment(recipe.views, preparation.mean, preparation.std))
    return _Source(
        StreamMaterial(stream, pairs, recipe.training.buffer),
        Material(stream.test, pairs),
        preparation,
        {"train": stream.fingerprint},
        lambda: stream.skipped,
    )


def _keep_skipped(source: _Source, folder: RunFolder) -> None:
    """Lists what any rank could not use, and what an earlier sitting listed, in skipped.csv."""
    path = folder / "skipped.csv"
    found = distributed.gathered(source.skipped())

    def write() -> None:
        earlier = read_skipped(path) if isinstance(source.train, StreamMaterial) else ()
        keep_skipped(tuple(dict.fromkeys((*earlier, *chain(*found)))), path)

    distributed.from_first(write)


def _recipe_of(start: Path | None) -> str | None:
    """The file of the recipe of the run to begin with, if there is one."""
    if start is None:
        return None
    file = (start if start.is_dir() else start.parent) / "recipe.toml"
    return str(file) if file.is_file() else None


def _begun(start: Path | None, recipe: Recipe) -> Start | None:
    """What the training begins with, if it is not drawn."""
    return None if start is None else read_start(encoder_file(start), recipe)


def _learn(
    source: _Source,
    recipe: Recipe,
    epochs: int,
    minutes: float | None,
    begun: Start | None,
    folder: RunFolder,
    engine: Engine,
) -> None:
    """Trains, and writes the run's files."""
    if distributed.is_first():
        environment = describe_environment(recipe.seed, engine.device, engine.precision)
        environment["ranks"] = distributed.world_size()
        write_json(folder / "environment.json", environment)
        say(f"run folder {folder.path}, {engine.device}, {engine.precision}, {cores.said()}")
        if begun is not None:
            say(f"begins with the encoder of {begun.file}, {begun.told}")

    def save(encoder: nn.Module, path: Path) -> None:
        save_encoder(encoder, path, recipe=recipe.encoder, preparation=source.preparation)

    encoder = pretrain(
        source.train,
        source.test,
        recipe,
        folder.path,
        engine.fabric,
        epochs=epochs,
        minutes=minutes,
        start=None if begun is None else begun.weights,
        keep=lambda epochs, kept: save(kept, kept_encoder(folder.path, epochs)),
    )
    if distributed.is_first():
        if isinstance(source.train, Material):
            pixels = source.train.pixels
            encoder = keep_better(encoder, pixels, recipe, folder.path, engine)
            encoder = join(encoder, pixels, recipe, source.preparation)
        save(encoder, folder / "encoder.safetensors")


def _last_losses(path: Path) -> dict[str, float]:
    """The total objective of the last epoch on train and, if measured, on test images."""
    return {row["split"]: float(row["total"]) for row in read_rows(path)}
