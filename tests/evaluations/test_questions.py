"""Whole commands, each result held against a computation of the test's own."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import cdist
from sklearn.metrics import silhouette_score

from commands import SETTINGS, answer, refused, table, vicinal
from vicinal.evaluations import duplicates, groups
from vicinal.evaluations.duplicates import find_duplicates
from vicinal.evaluations.groups import group
from vicinal.representations.neighbours import nearest
from vicinal.representations.representations import Representations

EMBEDDED = ["id", "label", "split", "width", "height", "aspect_ratio", "representation"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained run and the embeddings of all digits."""
    folder = tmp_path_factory.mktemp("verbs")
    said = answer("train", "digits", "--run", "run", "--limit", "300", *SETTINGS, cwd=folder)
    assert said["images"] == 300
    assert said["encoder"] == "run/encoder.safetensors"
    said = answer("embed", "digits", "--encoder", "run", "--out", "all.parquet", cwd=folder)
    assert said["images"] == 1797
    return folder


@pytest.fixture(scope="module")
def array(digits: Path) -> NDArray[np.float32]:
    return np.stack(pd.read_parquet(digits / "all.parquet")["representation"].to_list())


def test_train_writes_a_run_and_neither_overwrites_nor_repeats_it(digits: Path) -> None:
    names = ("recipe.toml", "environment.json", "losses.csv", "checkpoint.pt")
    assert all((digits / "run" / name).is_file() for name in names)
    before = (digits / "run" / "encoder.safetensors").stat().st_mtime_ns
    again = ("train", "digits", "--run", "run", "--limit", "300", *SETTINGS)
    assert "add --resume" in refused(*again, cwd=digits)
    assert vicinal(*again, "--resume", cwd=digits).returncode == 0
    assert (digits / "run" / "encoder.safetensors").stat().st_mtime_ns == before


def test_embeddings_hold_every_image_and_load_elsewhere(
    digits: Path, array: NDArray[np.float32]
) -> None:
    import vicinal as package

    polars = pytest.importorskip("polars")
    frame = pd.read_parquet(digits / "all.parquet")
    assert list(frame.columns) == EMBEDDED
    assert polars.read_parquet(digits / "all.parquet").shape == (1797, len(EMBEDDED))
    assert pq.read_table(digits / "all.parquet").num_rows == 1797
    assert frame["split"].value_counts().to_dict() == {"train": 1297, "test": 500}
    test = package.load("digits", size=8).test
    encoder, preparation = package.load_encoder(digits / "run" / "encoder.safetensors")
    mine = frame[frame["split"] == "test"]
    assert mine["id"].to_list() == test.ids.tolist()
    expected = package.embed(encoder, test, preparation).array
    np.testing.assert_allclose(np.stack(mine["representation"].to_list()), expected, rtol=1e-5)
    again = ("embed", "digits", "--encoder", "run", "--out", "all.parquet")
    assert "is there already" in refused(*again, cwd=digits)


@pytest.mark.parametrize("farthest", [False, True])
def test_similar_ranks_all_others_exactly(
    digits: Path, array: NDArray[np.float32], farthest: bool
) -> None:
    ids = pd.read_parquet(digits / "all.parquet")["id"].to_list()
    more = ["--farthest"] if farthest else ["--grid", "near.png"]
    said = answer("similar", "all.parquet", ids[7], "--k", "5", *more, cwd=digits)
    apart = cdist(array[7:8].astype(float), array.astype(float))[0]
    apart[7] = -np.inf if farthest else np.inf
    order = np.argsort(-apart if farthest else apart)[:5]
    assert [one["distance"] for one in said["found"]] == pytest.approx(apart[order], rel=1e-5)
    assert ids[7] not in [one["id"] for one in said["found"]]
    if not farthest:
        with Image.open(digits / "near.png") as grid:
            assert len(np.unique(np.asarray(grid))) > 10


def test_anomalies_of_a_set_are_ranked_leave_one_out(
    digits: Path, array: NDArray[np.float32]
) -> None:
    said = answer("anomalies", "all.parquet", "--out", "ranked.csv", cwd=digits)
    apart = cdist(array.astype(float), array.astype(float))
    np.fill_diagonal(apart, np.inf)
    scores = np.sort(apart, axis=1)[:, :2].mean(axis=1)
    got = [one["score"] for one in said["pictures"]]
    assert got == pytest.approx(np.sort(scores)[::-1], rel=1e-5)
    assert said["measured"] is None
    assert said["flagged"] == 17  # 1 % of 1,797, at most
    assert [float(row["score"]) for row in table(digits / "ranked.csv")] == pytest.approx(got)


def save(path: Path, array: NDArray[np.floating], prefix: str = "n", **more: Any) -> None:
    ids = np.array([f"{prefix}{i}" for i in range(len(array))])
    Representations(array.astype(np.float32), ids, **more).save(path)


def test_anomalies_against_a_reference_are_conformal(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(2000, 4))
    splits = np.array(["train"] * 1000 + ["test"] * 1000)
    save(tmp_path / "good.parquet", normal, splits=splits)
    new = np.concatenate([rng.normal(size=(500, 4)), rng.normal(size=(5, 4)) + 20])
    save(tmp_path / "new.parquet", new, "m")
    asked = ("anomalies", "new.parquet", "--reference", "good.parquet", "--false-alarms", "0.05")
    said = answer(*asked, cwd=tmp_path)
    assert (said["bank"], said["calibration"], said["measured"]["n"]) == (1000, 500, 500)
    assert {one["id"] for one in said["pictures"][:5]} == {f"m{i}" for i in range(500, 505)}
    for one in said["pictures"]:
        assert one["flagged"] == (one["p_value"] <= 0.05 + 1e-12)
    assert said["pictures"][0]["p_value"] == pytest.approx(1 / 501)
    assert 0.02 < said["measured"]["rate"] < 0.09
    assert "are too few for so low a rate" in refused(*asked[:-1], "0.001", cwd=tmp_path)
    own = ("anomalies", "good.parquet", "--reference", "good.parquet")
    assert "in both sets" in refused(*own, cwd=tmp_path)


def test_clusters_are_found_counted_and_represented(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(4, 6)) * 20
    truth = np.repeat(np.arange(4), [40, 30, 20, 10])
    array = (centres[truth] + rng.normal(size=(100, 6))).astype(np.float32)
    save(tmp_path / "set.parquet", array)
    said = answer("cluster", "set.parquet", "--out", "clusters.csv", cwd=tmp_path)
    assert [one["size"] for one in said["clusters"]] == [40, 30, 20, 10]
    assert said["silhouette"] == pytest.approx(silhouette_score(array, truth), abs=1e-4)
    for number, one in enumerate(said["clusters"]):
        rows = np.flatnonzero(truth == number)
        apart = np.linalg.norm(array[rows] - array[rows].mean(axis=0), axis=1)
        expected = [f"n{row}" for row in rows[np.argsort(apart)[:6]]]
        assert [each["id"] for each in one["representatives"]] == expected
    assert len(table(tmp_path / "clusters.csv")) == 100
    assert len(answer("cluster", "set.parquet", "--clusters", "7", cwd=tmp_path)["clusters"]) == 7
    assert "2 to 100" in refused("cluster", "set.parquet", "--clusters", "101", cwd=tmp_path)


def test_of_many_pictures_groups_are_found_on_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    centres = rng.normal(size=(5, 6)) * 20
    truth = np.repeat(np.arange(5), [400, 300, 200, 100, 50])
    array = (centres[truth] + rng.normal(size=(1050, 6))).astype(np.float32)
    for module, name, count in (
        (groups, "_DRAWN", 400), (groups, "_SEEDS", 120), (groups, "_DRAWN", 600)
    ):  # fmt: skip
        monkeypatch.setattr(module, name, count)
    found = group(Representations(array, np.arange(1050).astype(str)))
    assert found.chosen == 5
    assert found.sizes[found.by_size()].tolist() == [400, 300, 200, 100, 50]
    assert found.silhouette == pytest.approx(silhouette_score(array, truth), abs=1e-4)
    array[:] = array[0]
    array[-2:] += 1  # in no draw of a few
    found = group(Representations(array, np.arange(1050).astype(str)))
    assert found.sizes.tolist() == [1048, 2]


def test_groups_have_columns_of_several_levels_and_their_commonest_label(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    truth = np.repeat(np.arange(6), 30)
    array = (rng.normal(size=(6, 8))[truth] * 10 + rng.normal(size=(180, 8))).astype(np.float32)
    names = np.array([f"kind {number}" for number in truth])
    names[::10] = ""
    names[1] = "another"
    save(tmp_path / "set.parquet", array, labels=names)
    said = answer("cluster", "set.parquet", "--out", "clusters.csv", cwd=tmp_path)
    assert sorted(one["label"] for one in said["clusters"]) == [f"kind {n}" for n in range(6)]
    assert sorted(one["share"] for one in said["clusters"]) == [pytest.approx(26 / 27), *[1.0] * 5]
    best = max(said["tried"], key=lambda one: one["score"])["clusters"]
    assert best == len(said["clusters"]) == 6
    rows = table(tmp_path / "clusters.csv")
    parents = said["tree"]["parents"]
    for row in rows:
        assert set(row) >= {"cluster", "cluster_2", "cluster_5", "cluster_10", "cluster_100"}
        at = int(row["cluster_100"])
        for level in (50, 20, 10, 6, 5, 2):  # a group of a finer level lies in one of a coarser
            while at >= level:
                at = parents[at]
            assert at == int(row["cluster" if level == 6 else f"cluster_{level}"])
    assert rows == table_of(answer("cluster", "set.parquet", cwd=tmp_path)["pictures"])


def table_of(pictures: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [{name: str(value) for name, value in picture.items()} for picture in pictures]


def test_duplicates_are_found_without_a_threshold_and_exactly_with_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    array = rng.normal(size=(300, 5)).astype(np.float32)
    array[10] = array[200] = array[250]
    array[20] = array[21] + np.float32(1e-3)
    save(tmp_path / "set.parquet", array)
    said = answer("duplicates", "set.parquet", "--out", "pairs.csv", cwd=tmp_path)
    assert said["groups"][:1] == [["n10", "n200", "n250"]]
    assert ["n20", "n21"] in said["groups"]
    assert len(said["groups"]) <= 3
    assert [pair["distance"] for pair in said["pairs"][:2]] == [0, 0]
    assert len(table(tmp_path / "pairs.csv")) == len(said["pairs"])
    said = answer("duplicates", "set.parquet", "--threshold", "1.5", cwd=tmp_path)
    distinct = np.delete(np.arange(300), [200, 250])
    apart = cdist(array[distinct].astype(float), array[distinct].astype(float))
    left, right = np.nonzero(np.triu(apart <= 1.5, 1))
    expected = {(f"n{distinct[a]}", f"n{distinct[b]}") for a, b in zip(left, right, strict=True)}
    expected |= {("n10", "n200"), ("n10", "n250")}
    assert {(pair["id_a"], pair["id_b"]) for pair in said["pairs"]} == expected


@pytest.mark.parametrize("copies", [0, 2])
@pytest.mark.parametrize("threshold", [None, 0.0, 0.3, 5.0])
def test_known_neighbours_spare_a_search_and_change_no_pair(
    copies: int, threshold: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.random.default_rng(5).normal(size=(60, 2)).astype(np.float32)
    array[:copies] = array[60 - copies :]
    pictures = Representations(array, np.arange(60).astype(str))
    expected = find_duplicates(pictures, threshold)
    near, asked = nearest(array, array, 10, exclude_self=True), []

    def counting(queries: NDArray[np.float32], *rest: Any, **named: Any) -> Any:
        asked.append(len(queries))
        return nearest(queries, *rest, **named)

    monkeypatch.setattr(duplicates, "nearest", counting)
    found = find_duplicates(pictures, threshold, near=near)
    np.testing.assert_array_equal(found.pairs, expected.pairs)
    np.testing.assert_array_equal(found.distances, expected.distances)
    assert (found.threshold, found.typical) == (expected.threshold, expected.typical)
    if threshold in (None, 0.3):
        assert asked == ([60 - copies] if copies else [])


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_a_map_carries_neighbours_of_the_full_representation(method: str, tmp_path: Path) -> None:
    array = np.random.default_rng(3).normal(size=(60, 5)).astype(np.float32)
    save(tmp_path / "set.parquet", array)
    said = answer("map", "set.parquet", "--out", "map.parquet", "--method", method, cwd=tmp_path)
    assert said["neighbours"] == 15
    frame = pd.read_parquet(tmp_path / "map.parquet")
    assert list(frame.columns) == ["id", "x", "y", "neighbors"]
    assert np.isfinite(frame[["x", "y"]].to_numpy()).all()
    apart = cdist(array.astype(float), array.astype(float))
    np.fill_diagonal(apart, np.inf)
    for row, cell in enumerate(frame["neighbors"]):
        assert set(cell) == {"ids", "distances"}
        assert list(cell["ids"]) == np.argsort(apart[row])[:15].tolist()
        np.testing.assert_allclose(cell["distances"], np.sort(apart[row])[:15], rtol=1e-5)


def test_a_few_labels_label_the_rest(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    truth = np.tile(["=cat", "dog"], 100)
    array = rng.normal(size=(200, 5)) + np.where(truth == "dog", 4, 0)[:, None]
    save(tmp_path / "set.parquet", array)
    given = "".join(f"n{i},{truth[i]}\n" for i in range(20)) + "n30,\n"
    (tmp_path / "labels.csv").write_text("id,label\n" + given)
    asked = ("probe", "set.parquet", "--labels", "labels.csv")
    said = answer(*asked, "--out", "out.csv", cwd=tmp_path)
    assert len(said["pictures"]) == 180
    right = [one["prediction"] == truth[int(one["id"][1:])] for one in said["pictures"]]
    assert np.mean(right) > 0.97
    assert all(0.5 <= one["probability"] <= 1 for one in said["pictures"])
    low, high = said["accuracy"]["interval"]
    assert 0 <= low <= said["accuracy"]["value"] <= high <= 1
    assert said["accuracy"]["n"] == 20
    assert {row["prediction"] for row in table(tmp_path / "out.csv")} == {"'=cat", "dog"}
    (tmp_path / "labels.csv").write_text("id,label\nnobody,cat\n")
    assert "line 2" in refused(*asked, cwd=tmp_path)
