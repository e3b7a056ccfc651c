"""Training on streams, and positions within an epoch."""

import contextlib
import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vicinal.cli import main
from vicinal.encoder.saved import load_encoder
from vicinal.files import read_rows
from vicinal.images.shards import open_shards, write_shards
from vicinal.recipes import override, read_recipe
from vicinal.recipes.recipe import Recipe
from vicinal.study.train import train
from vicinal.training import step
from vicinal.training.batches import Position, StreamBatches
from vicinal.training.device import open_engine
from vicinal.training.loop import ArrayBatches, BatchSource, pretrain
from vicinal.views import Augment, GeneratedNeighbours

TINY = (
    "encoder.widths=[8]",
    "encoder.dimension=8",
    "projector.widths=[16, 16]",
    "training.batch_size=30",
    "training.warmup_epochs=0",
    "training.epochs=2",
    "training.checkpoint_steps=3",
    "training.buffer=60",
)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return override(read_recipe("digits"), TINY)


@pytest.fixture(scope="module")
def materials(
    recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[BatchSource, BatchSource]]:
    pixels = np.random.default_rng(0).integers(0, 256, (240, 8, 8, 1), dtype=np.uint8)
    pairs = GeneratedNeighbours(Augment(recipe.views, (0.5,), (0.3,)))
    store = tmp_path_factory.mktemp("stream") / "store"
    write_shards({"train": iter([pixels[:200]])}, store, shard_bytes=64 * 50)
    stream = StreamBatches(open_shards(str(store), test_images=0), pairs, 60)
    test = ArrayBatches(pixels[200:], pairs)
    return {"array": (ArrayBatches(pixels[:200], pairs), test), "stream": (stream, test)}


def rows(run: Path) -> list[list[str]]:
    with (run / "losses.csv").open(newline="") as file:
        return [row[:6] for row in csv.reader(file)]


class PowerCutError(Exception):
    pass


@pytest.mark.parametrize("kind", ["array", "stream"])
def test_a_training_cut_within_an_epoch_takes_the_same_steps(
    kind: str,
    recipe: Recipe,
    materials: dict[str, tuple[BatchSource, BatchSource]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fabric = open_engine("cpu", "float32").fabric
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    uninterrupted = pretrain(*materials[kind], recipe, whole, fabric, epochs=2, quiet=True)

    taken, objective = [0], step.objective

    def cut(*arguments: object) -> object:
        taken[0] += 1
        if taken[0] == 6 + 1 + 5:  # the fifth step of the second epoch, after a test batch
            raise PowerCutError
        return objective(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(step, "objective", cut)
        with pytest.raises(PowerCutError):
            pretrain(*materials[kind], recipe, parts, fabric, epochs=2, quiet=True)
    kept = torch.load(parts / "checkpoint.pt", weights_only=True)
    assert (kept["epoch"], kept["within"]["steps"]) == (1, 3)
    resumed = pretrain(*materials[kind], recipe, parts, fabric, epochs=2, quiet=True)
    for name, weight in uninterrupted.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    assert rows(whole) == rows(parts)


@pytest.mark.parametrize("kind", ["array", "stream"])
def test_batches_go_on_after_a_position(
    kind: str, materials: dict[str, tuple[BatchSource, BatchSource]]
) -> None:
    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(4)

    feed = materials[kind][0].to(torch.device("cpu"))
    assert len(feed) == 200
    made = generator()
    batches = feed.batches(made, 6, 30)
    whole = [next(batches), next(batches)]
    position = Position(2, made.get_state(), torch.zeros(4))
    whole += list(batches)
    rest = list(feed.batches(generator(), 6, 30, position))
    assert (len(whole), len(rest)) == (6, 4)
    for ours, theirs in zip(rest, whole[2:], strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


def test_the_commands_write_shards_and_train_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def vicinal(*arguments: str) -> str:
        with monkeypatch.context() as patch:
            patch.setattr("sys.argv", ["vicinal", *arguments])
            with contextlib.suppress(SystemExit):
                main()
        return capsys.readouterr().out

    assert "1,297 train, 500 test images of 8 × 8 pixels" in vicinal(
        "shard", "digits", "--out", "store"
    )
    settings = [part for setting in TINY for part in ("--set", setting)]
    more = ("--recipe", "digits", "--device", "cpu", "--run", "run")
    assert "1,297 images, 2 epochs" in vicinal("train", "shards:store", *more, *settings)
    splits = [(row[0], row[1]) for row in rows(tmp_path / "run")[1:]]
    assert splits == [("1", "train"), ("1", "test"), ("2", "train"), ("2", "test")]
    encoder, preparation = load_encoder(tmp_path / "run" / "encoder.safetensors")
    assert (preparation.size, preparation.channels) == (8, 1)
    assert encoder(torch.zeros(1, 1, 8, 8)).shape == (1, 8)
    assert preparation.whole
    index = tmp_path / "store" / "index.json"
    earlier = json.loads(index.read_text("utf-8"))
    del earlier["whole"]  # shards of before hold the middle of each picture
    index.write_text(json.dumps(earlier), "utf-8")
    vicinal("train", "shards:store", *more[:-1], "earlier", *settings)
    assert not load_encoder(tmp_path / "earlier" / "encoder.safetensors")[1].whole


def test_a_bad_picture_in_a_tar_file_is_skipped_and_listed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(90):
            held = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(held, "PNG")
            data = b"no picture" if number in (4, 70) else held.getvalue()
            member = tarfile.TarInfo(f"{number:02d}.png")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    run = tmp_path / "run"
    source, how = f"{tmp_path}/a.tar", {"recipe": "digits", "device": "cpu", "data_dir": tmp_path}
    found = train(source, run=run, settings=TINY, **how)
    assert (found.images, found.epochs) == (88, 2)
    listed = [(Path(row["path"]).name, row["reason"]) for row in read_rows(run / "skipped.csv")]
    reason = "not an image of a known format"
    assert listed == [(f"a.tar, {name}.png", reason) for name in ("04", "70")]
    again = train(source, run=run, settings=TINY, resume=True, **how)  # and reads no picture
    assert again.images == 88
