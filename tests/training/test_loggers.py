import csv
from pathlib import Path

import numpy as np
import pytest

from vicinal.errors import InputError
from vicinal.images import load
from vicinal.recipes import override, read_recipe
from vicinal.recipes.recipe import Recipe
from vicinal.training import log
from vicinal.training.device import open_engine
from vicinal.training.log import check_log, opened_loggers
from vicinal.training.loop import ArrayBatches, pretrain
from vicinal.views import Augment, GeneratedNeighbours

TINY = (
    "encoder.widths=[4]",
    "encoder.dimension=4",
    "projector.widths=[8]",
    "training.batch_size=32",
    "training.epochs=2",
)


def trained(log: str | None, folder: Path) -> Recipe:
    folder.mkdir(parents=True)
    recipe = override(read_recipe("digits"), TINY)
    pixels = load("digits", size=8).train.pixels[:96]
    material = ArrayBatches(pixels, GeneratedNeighbours(Augment(recipe.views, (0.5,), (0.5,))))
    engine = open_engine("cpu", "float32")
    with opened_loggers(log, folder, recipe) as opened:
        pretrain(
            material, material, recipe, folder, engine.fabric, epochs=2, quiet=True, loggers=opened
        )
    return recipe


def test_tensorboard_gets_what_the_csv_file_gets(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = tmp_path / "run" / "generated"
    trained("tensorboard", folder)
    written = events.EventAccumulator(str(folder)).Reload()
    with (folder / "losses.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    for row in rows:
        for name in ("total", "invariance", "variance", "covariance", "images_per_second"):
            points = {e.step: e.value for e in written.Scalars(f"{row['split']}/{name}")}
            assert sorted(points) == [1, 2]
            logged = points[int(row["epoch"])]
            np.testing.assert_allclose(logged, float(row[name]), rtol=1e-3)


def test_no_log_no_files(tmp_path: Path) -> None:
    trained(None, tmp_path / "run")
    files = ["checkpoint.pt", "losses.csv", "previous-checkpoint.pt", "threads.csv"]
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == files


def test_wandb_keeps_an_offline_run_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for learner in ("generated", "mined"):
        trained("wandb", tmp_path / "run" / learner)
        assert wandb.run is None  # finished: the next training is another run
    wandb.teardown()  # its own process writes the files, at the latest now
    for learner in ("generated", "mined"):
        (kept,) = (tmp_path / "run" / learner / "wandb").glob("offline-run-*/run-*.wandb")
        record = kept.read_bytes()
        assert b"train/total" in record
        assert f"run/{learner}".encode() in record


def test_wandb_without_a_login_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")

    def refuse(**_: object) -> None:
        raise wandb.errors.UsageError("No API key configured.\nUse `wandb login` to log in.")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(InputError, match=r"No API key.* WANDB_MODE=offline") as caught:
        trained("wandb", tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_refuses_a_log_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="log='mlflow': give one of tensorboard, wandb"):
        check_log("mlflow")
    monkeypatch.setattr(log, "find_spec", lambda name: None)
    for name in log.LOGS:
        with pytest.raises(InputError, match=rf"not installed; pip install 'vicinal\[{name}\]'"):
            check_log(name)
