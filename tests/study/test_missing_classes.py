"""A class without test images leaves its figures empty, and the study runs to its end."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vicinal.errors import InputError
from vicinal.files import read_json
from vicinal.recipes import read_recipe
from vicinal.report import write_report
from vicinal.representations.representations import Representations
from vicinal.study.measures import Measures, needed
from vicinal.study.run import StudyOptions, run_study

TINY = (
    "training.epochs=1",
    "training.warmup_epochs=0",
    "mined.epochs=1",
    "mined.neighbours=1",
    "encoder.widths=[8]",
    "encoder.dimension=8",
    "projector.widths=[16, 16]",
    "spectral.neighbours=5",
    "evaluation.clusters=3",
    "evaluation.bootstrap=20",
    "evaluation.short_epochs=1",
)


def pictures(folder: Path, counts: dict[str, int]) -> Path:
    rng = np.random.default_rng(0)
    for place, count in counts.items():
        (folder / place).mkdir(parents=True)
        for i in range(count):
            noise = rng.integers(256, size=(8, 8), dtype=np.uint8)
            Image.fromarray(noise).save(folder / place / f"{i}.png")
    return folder


def study(folder: Path, counts: dict[str, int]) -> Path:
    photos = pictures(folder / "photos", counts)
    request = StudyOptions(
        f"folder:{photos}",
        recipe="digits",
        settings=TINY,
        run=folder / "run",
        data_dir=folder / "cache",
    )
    return run_study(request)


def test_a_study_whose_test_set_lacks_classes_ends_with_null_for_them(tmp_path: Path) -> None:
    """The classes are CIFAR-10's, so that their two groups are asked for too."""
    kinds = ("bird", "cat", "deer", "dog", "frog", "horse")
    train = dict.fromkeys(("airplane", "automobile", "ship", "truck", *kinds), 3)
    run = study(
        tmp_path,
        {f"train/{name}": count for name, count in train.items()} | {"test/bird": 4, "test/cat": 4},
    )
    results = read_json(run / "results.json")
    systems = results["systems"]
    for per_class in (systems["S3"]["per_class"], systems["S7"]["mined"]["per_class"]):
        assert [figure is None for figure in per_class] == [
            name not in ("bird", "cat") for name in sorted(train)
        ]
    assert systems["S3"]["groups"]["accuracy, vehicles"] is None
    assert systems["S3"]["groups"]["accuracy, animals"] is not None
    (vehicles,) = [claim["why"] for claim in results["claims"] if claim["id"] == 2]
    assert vehicles == "Not measurable here: needs test images of both groups."
    page = write_report(run).read_text("utf-8")
    assert "needs labels" not in page


def test_too_few_pictures_for_a_map_are_refused_before_any_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="3 test images; a study needs 4 of each"):
        study(tmp_path, {"train/a": 20, "test/a": 3})
    assert not (tmp_path / "run").exists()


def made(labels: list[int] | None, count: int = 6) -> Representations:
    array = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    ids = np.arange(count).astype(np.str_)
    return Representations(array, ids, None if labels is None else np.array(labels), ("a", "b"))


@pytest.mark.parametrize(
    ("train", "test", "lacking"),
    [
        (None, None, "labels"),
        (None, [0] * 6, "labels of the training images"),
        ([0, 1] * 3, None, "labels of the test images"),
        ([1] * 6, [0, 1] * 3, "two classes among the training images"),
        ([0, 1] * 3, [1] * 6, None),
    ],
)
def test_what_a_probe_lacks_is_said(
    train: list[int] | None, test: list[int] | None, lacking: str | None
) -> None:
    assert needed(made(train), made(test)) == lacking
    figures = Measures(read_recipe("digits")).probes(made(train), made(test))
    assert figures.get("needs") == lacking
    assert (figures["probe_accuracy"] is None) == (lacking is not None)
