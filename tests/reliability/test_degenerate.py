"""Pictures that say nothing or too little, through the whole study: figures or one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vicinal.errors import InputError
from vicinal.explore import TEST_IMAGES
from vicinal.report import write_report
from vicinal.representations.spectral import LaplacianEigenmaps
from vicinal.study.run import StudyOptions, run_study

TINY = (
    "training.epochs=1",
    "training.batch_size=8",
    "training.warmup_epochs=0",
    "training.precision=float32",
    "mined.epochs=1",
    "mined.neighbours=2",
    "encoder.widths=[8]",
    "encoder.dimension=8",
    "projector.widths=[16, 16]",
    "spectral.neighbours=4",
    "evaluation.bootstrap=20",
    "evaluation.short_epochs=1",
    "evaluation.perplexity=3",
    "evaluation.clusters=3",
    "evaluation.knn=[5]",
    "evaluation.probe_holdout=0.5",
)
RNG = np.random.default_rng(0)


def noise(count: int, low: int = 0, high: int = 256) -> NDArray[np.uint8]:
    return RNG.integers(low, high, (count, 8, 8), dtype=np.uint8)


def written(folder: Path, classes: dict[str, NDArray[np.uint8]]) -> str:
    """The pictures as PNG files, a folder a class; ``.`` for no class."""
    for name, pictures in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(folder / name / f"{name.strip('.')}{number:02d}.png")
    return f"folder:{folder}"


CASES: dict[str, tuple[dict[str, NDArray[np.uint8]], tuple[str, ...]]] = {
    "one class": ({"one": noise(30)}, ()),
    "constant images, each of its own grey": (
        {
            name: np.tile(np.arange(start, start + 15, dtype=np.uint8)[:, None, None], (1, 8, 8))
            for name, start in (("dark", 20), ("light", 200))
        },
        (),
    ),
    "two far groups, no labels, batches of 2": (
        {".": np.concatenate([noise(15, 0, 9), noise(15, 247)])},
        ("training.batch_size=2", "spectral.neighbours=2"),
    ),
}


def study(folder: Path, classes: dict[str, NDArray[np.uint8]], *settings: str) -> Path:
    return run_study(
        StudyOptions(
            data=written(folder / "pictures", classes),
            anomalies=written(folder / "others", {".": noise(6)}),
            recipe="digits",
            settings=(*TINY, *settings),
            run=folder / "run",
            data_dir=folder / "cache",
        ),
        [TEST_IMAGES],
    )


@pytest.mark.slow
def test_identical_images_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the fitted points hardly differ: add others"):
        study(tmp_path, {"one": np.full((30, 8, 8), 90, np.uint8)})


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_study_ends_with_finite_figures(case: str, tmp_path: Path) -> None:
    classes, settings = CASES[case]
    run = study(tmp_path, classes, *settings)
    text = (run / "results.json").read_text("utf-8")
    results: dict[str, Any] = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    systems = results["systems"]
    assert list(systems) == [f"S{number}" for number in range(1, 10)]
    for name in ("generated", "mined"):
        assert 0 <= systems["S8"][name]["auroc"] <= 1
        assert -1 <= systems["S9"][name]["silhouette"] <= 1
    if len(classes) > 1:
        assert 0 <= systems["S3"]["probe_accuracy"] <= 1
    else:
        assert systems["S3"]["probe_accuracy"] is None
    assert write_report(run).stat().st_size > 100_000
    assert (run / "explore.html").stat().st_size > 50_000


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("evaluation.clusters=1000", "evaluation.clusters up to 24, the recipe asks 1000"),
        ("mined.neighbours=24", "mined.neighbours up to 5, the recipe asks 24"),
        ("spectral.neighbours=24", "spectral.neighbours up to 23, the recipe asks 24"),
        ("evaluation.retrieved=25", "evaluation.retrieved up to 24, the recipe asks 25"),
    ],
)
def test_more_neighbours_or_clusters_than_images_are_one_line(
    setting: str, line: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=line):
        study(tmp_path, {".": noise(30)}, setting)
    assert not (tmp_path / "run").exists()


def test_a_graph_in_pieces_is_embedded_with_every_piece_apart() -> None:
    pieces = [RNG.normal(size=(20, 5)) + 1000 * piece for piece in range(4)]
    embedded = LaplacianEigenmaps(n_components=3, n_neighbors=5).fit_transform(
        np.concatenate(pieces).astype(np.float32)
    )
    assert np.isfinite(embedded).all()
    centres = embedded.reshape(4, 20, 3).mean(axis=1)
    spread = embedded.reshape(4, 20, 3).std(axis=1).max()
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=2)[~np.eye(4, dtype=bool)]
    assert apart.min() > 3 * spread
