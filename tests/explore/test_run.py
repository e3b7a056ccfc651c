"""The whole command on photographs: what comes out, what is resumed, what is refused."""

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import forked
from vicinal.evaluations.anomalies import anomaly_scores
from vicinal.explore import run as run_module
from vicinal.explore.find_places import find_places
from vicinal.files import read_rows, write_json
from vicinal.recipes import override, read_recipe
from vicinal.representations.neighbours import nearest_and_farthest
from vicinal.representations.representations import Representations

QUICK = forked.EXPLORE_SETTINGS


def started(*words: str, cwd: Path) -> forked.Forked:
    environment = {"XDG_CACHE_HOME": str(cwd / "cache"), "COLUMNS": "200"}
    return forked.start("explore", *words, cwd=cwd, env=environment)


def ended(*words: str, cwd: Path) -> tuple[int, str, str]:
    process = started(*words, cwd=cwd)
    out, err = process.communicate()
    assert process.returncode is not None
    return process.returncode, out, err


@pytest.fixture(scope="module")
def place(explored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(explored, tmp_path_factory.mktemp("explore") / "place"))


@pytest.fixture(scope="module")
def run(place: Path) -> tuple[Path, dict[str, Any]]:
    """The run of `forked.EXPLORE`, and what `--json` says of it."""
    code, out, err = ended(*forked.EXPLORE[1:], "--json", "--resume", cwd=place)
    assert code == 0, err
    return place / "runs" / "photos", json.loads(out)


def test_every_picture_has_a_row(run: tuple[Path, dict[str, Any]], photos: Path) -> None:
    folder, said = run
    points = pq.read_table(folder / "points.parquet")
    assert said["data"]["count"] == points.num_rows == 121
    ids = points.column("id").to_pylist()
    assert ids == sorted(str(file.relative_to(photos)) for file in photos.rglob("*.*"))
    assert all(Path(path).is_file() for path in points.column("path").to_pylist())
    assert said["encoder"]["epochs"] == 2
    assert said["encoder"]["measured"] is False  # a recipe was named
    assert said["data"]["classes"] == ["flower", "temple"]
    label = dict(zip(ids, points.column("label").to_pylist(), strict=True))
    assert label.pop("odd.png") is None  # it lies in no class folder
    assert all(name.startswith(f"{given}/") for name, given in label.items())


def test_neighbours_and_scores_are_those_of_the_representation(
    run: tuple[Path, dict[str, Any]],
) -> None:
    folder, said = run
    points = pq.read_table(folder / "points.parquet").to_pydict()
    everything = Representations.load(folder / "embeddings.parquet")
    near, far = nearest_and_farthest(everything.array, everything.array, 10, exclude_self=True)
    np.testing.assert_array_equal(points["neighbors"], near.indices)
    np.testing.assert_array_equal(points["farthest"], far.indices[:, :5])
    scores = anomaly_scores(everything.array, everything.array, k=2, exclude_self=True)
    alone = np.array(points["group"]) < 0  # a copy's score leaves its copies out
    np.testing.assert_allclose(np.array(points["score"])[alone], scores[alone], rtol=1e-6)
    assert (np.array(points["score"]) >= scores * (1 - 1e-6)).all()
    assert alone.mean() > 0.7
    assert sorted(points["rank"]) == list(range(1, 122))
    assert points["rank"][int(np.argmax(points["score"]))] == 1
    assert said["anomalies"]["flagged"] == sum(points["flagged"]) <= 1


def test_noise_is_odd_and_says_why_and_a_copy_is_found(
    run: tuple[Path, dict[str, Any]],
) -> None:
    points = pq.read_table(run[0] / "points.parquet").to_pydict()
    row = {name: number for number, name in enumerate(points["id"])}
    odd = row["odd.png"]
    assert points["rank"][odd] <= 3
    assert points["reason"][odd].startswith("Odder than 9")
    copy, first = row["temple/copy.png"], row["temple/00.jpg"]
    assert points["neighbors"][copy][0] == first
    assert points["group"][copy] == points["group"][first] >= 0
    pairs = pq.read_table(run[0] / "duplicates.parquet").to_pydict()
    assert (first, copy) in zip(pairs["a"], pairs["b"], strict=True)


def test_each_picture_has_its_oddest_place(run: tuple[Path, dict[str, Any]]) -> None:
    folder, said = run
    points = pq.read_table(folder / "points.parquet").to_pydict()
    assert sorted(points["place_rank"]) == list(range(1, 122))
    assert points["place_rank"][int(np.argmax(points["place_score"]))] == 1
    assert all(0 < points[f"place_{axis}"][row] < 1 for axis in "xy" for row in range(121))
    listed = read_rows(folder / "places.csv")
    assert [int(row["rank"]) for row in listed] == list(range(1, 122))
    first = points["id"].index(listed[0]["id"])
    assert points["place_rank"][first] == 1
    assert "odder than any place of 9" in points["reason"][first]
    assert said["places"]["marked"] == 30
    assert said["places"]["tells"]
    assert said["places"]["auroc"] > 0.6  # 30 marked photographs


def test_one_picture_over_and_over_has_no_odd_place(tmp_path: Path) -> None:
    pictures = Representations(np.ones((30, 4), np.float32), np.arange(30).astype(np.str_))
    pixels = np.full((30, 32, 32, 3), 90, np.uint8)
    compared = pa.table({"group": np.zeros(30, np.int32), "score": np.zeros(30, np.float32)})
    columns, figures = find_places(pictures, pixels, compared, tmp_path, tmp_path / "none")
    assert (columns, figures) == ({}, {"places": None})


def test_the_maps_hold_together_what_is_alike(run: tuple[Path, dict[str, Any]]) -> None:
    folder, said = run
    points = pq.read_table(folder / "points.parquet")
    for name in ("tsne", "pca"):
        axes = [points.column(f"{name}_{axis}").to_numpy() for axis in "xy"]
        assert np.isfinite(axes).all()
        trust = points.column(f"{name}_trust").to_numpy()
        assert 0.3 < trust.mean() <= 1
        assert said["maps"][name]["trustworthiness"] > 0.7


def test_it_leaves_files_that_other_programs_read(run: tuple[Path, dict[str, Any]]) -> None:
    folder, said = run
    for name in ("anomalies.csv", "clusters.csv", "encoder.safetensors", "health.json"):
        assert (folder / name).stat().st_size > 0
    assert said["page"] == "runs/photos/explore.html"
    assert "<html" in (folder / "explore.html").read_text("utf-8")[:2000].lower()
    assert json.loads((folder / "health.json").read_text("utf-8"))["verdict"] in (
        *("good", "look"),
        "bad",
    )


def test_two_epochs_are_not_called_good(run: tuple[Path, dict[str, Any]]) -> None:
    told = json.loads((run[0] / "health.json").read_text("utf-8"))
    assert told["verdict"] != "good"
    assert "no better than " in told["summary"] or "ot clearly better than " in told["summary"]
    assert "(--minutes 30)" in told["summary"]
    assert "patch features" in told["figures"][0]["shown"]


@pytest.mark.parametrize(
    ("steps", "start", "advice"),
    [
        (None, "", "train longer (--minutes 30) or try --encoder pretrained"),
        (99, "", "train longer (--minutes 30) or try --encoder pretrained"),
        (100, "", "all steps of the recipe were taken, so try --start pretrained"),
        (99, "pretrained", "train longer (--minutes 30) or leave --start out, which"),
        (100, "pretrained", "all steps of the recipe were taken, so leave --start out, which"),
    ],
)
def test_more_minutes_are_advised_where_they_cut_a_training_short(
    steps: int | None, start: str, advice: str, tmp_path: Path
) -> None:
    if steps is not None:
        write_json(tmp_path / "minutes.json", {"steps": steps, "most_steps": 100})
    recipe = override(read_recipe("photos"), [f"encoder.start={start}"])
    assert run_module._advice(tmp_path, recipe).startswith(advice)


def test_an_encoder_that_is_there_trains_nothing(
    run: tuple[Path, dict[str, Any]], photos: Path, place: Path
) -> None:
    code, out, err = ended(
        str(photos / "flower"), "--encoder", str(run[0]), "--run", "again", cwd=place
    )
    assert code == 0, err
    assert "60 pictures" in out
    assert not (place / "again" / "checkpoint.pt").exists()
    mine, theirs = (
        Representations.load(folder / "embeddings.parquet") for folder in (place / "again", run[0])
    )
    rows = [theirs.ids.tolist().index(f"flower/{name}") for name in mine.ids.tolist()]
    np.testing.assert_allclose(mine.array, theirs.array[rows], rtol=1e-4, atol=1e-5)


def test_an_interrupted_run_says_how_to_go_on_and_does(photos: Path, place: Path) -> None:
    long = ("--recipe", "laptop", "--set", "training.epochs=400", "--run", "stopped")
    process = started(str(photos), *long, "--log", "tensorboard", "--no-open", cwd=place)
    losses = place / "stopped" / "losses.csv"
    began = time.monotonic()
    while not losses.is_file() or losses.read_text().count("train") < 3:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() - began < forked.SECONDS
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    command = err.strip().splitlines()[-1]
    assert command.startswith("vicinal explore ")
    assert " --log tensorboard " in command
    assert command.endswith("--run stopped --resume")
    assert list((place / "stopped").glob("events.out.tfevents.*"))
    done = losses.read_text().splitlines()
    code, _, err = ended(
        str(photos),
        "--recipe",
        "laptop",
        "--set",
        "training.epochs=3",
        "--run",
        "stopped",
        "--resume",
        cwd=place,
    )
    assert code == 2
    assert "holds a run with" in err
    assert losses.read_text().splitlines() == done


def test_a_finished_run_is_not_done_again(
    run: tuple[Path, dict[str, Any]], photos: Path, place: Path
) -> None:
    shutil.copytree(run[0], place / "copy")
    before = (place / "copy" / "points.parquet").stat().st_mtime_ns
    code, _, err = ended("PHOTOS", *QUICK, "--run", "copy", "--resume", cwd=place)
    assert code == 0, err
    assert (place / "copy" / "points.parquet").stat().st_mtime_ns == before
    code, _, err = ended("PHOTOS", *QUICK, "--run", "copy", cwd=place)
    assert code == 2
    assert "add --resume" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere/"], "is not known"),
        (["digits", "--minutes", "0"], "--minutes 0"),
        (["digits", "--false-alarms", "2"], "--false-alarms 2"),
        (["digits", "--encoder", "none", "--recipe", "laptop"], "leave --recipe"),
        (["digits", "--encoder", "none", "--log", "tensorboard"], "--log and a start out"),
        (["digits", "--encoder", "none"], "no encoder there"),
        (["digits", "--log", "mlflow"], "give one of tensorboard, wandb"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], said: str, place: Path) -> None:
    code, _, err = ended(*words, cwd=place)
    assert code == 2, err
    assert "Traceback" not in err
    assert said in err


@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_few_pictures(
    count: int, run: tuple[Path, dict[str, Any]], photos: Path, place: Path
) -> None:
    few = place / f"few{count}"
    few.mkdir()
    for number in range(count):
        shutil.copy(photos / "flower" / f"{number:02}.jpg", few)
    words = (str(few), "--encoder", str(run[0]), "--run", f"run{count}", "--json")
    code, out, err = ended(*words, cwd=place)
    if count == 1:
        assert code == 2
        assert "needs 2 or more" in err
        return
    assert code == 0, err
    assert json.loads(out)["data"]["count"] == count


def test_bad_pictures_are_skipped_counted_and_listed(
    run: tuple[Path, dict[str, Any]], photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(photos / "temple", tmp_path / "temple")
    (tmp_path / "temple" / "torn.jpg").write_bytes(b"")
    trained = ("--encoder", str(run[0].resolve()))
    code, out, err = ended("temple", *trained, "--run", "run", "--json", cwd=tmp_path)
    assert code == 0, err
    data = json.loads(out)["data"]
    assert (data["count"], data["skipped"]) == (60, 1)
    assert "1 picture skipped, see run/skipped.csv" in err
    lines = (tmp_path / "run" / "skipped.csv").read_text("utf-8").splitlines()
    assert lines == ["path,reason", "temple/torn.jpg,not an image of a known format"]
