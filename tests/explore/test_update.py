"""New pictures on an old map, and a run brought up to date with its folder."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from vicinal.encoder import build_encoder
from vicinal.encoder.saved import Preparation, save_encoder
from vicinal.errors import InputError
from vicinal.evaluations.anomalies import conformal_p_values
from vicinal.explore import Request, explore, update
from vicinal.files import read_rows, write_csv
from vicinal.images.store import Stored
from vicinal.recipes.recipe import Encoder
from vicinal.representations.neighbours import nearest, nearest_and_farthest, unit_length
from vicinal.representations.representations import Representations

PLACES = ("pca_x", "pca_y", "tsne_x", "tsne_y", "finest", "place_score", "place_x", "place_y")


def columns(run: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = pq.read_table(run / "points.parquet").to_pydict()
    return found


def rows(run: Path) -> dict[str, int]:
    return {name: row for row, name in enumerate(columns(run)["id"])}


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a run, but for locks."""
    files = [file for file in sorted(run.rglob("*")) if file.is_file() and file.suffix != ".lock"]
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


@pytest.fixture(scope="module", autouse=True)
def no_rivals() -> Iterator[None]:
    """No rivals of the encoder: they take most of a small run's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vicinal.explore.describe_pictures.hold_against_rivals", lambda *_: None)
        yield


def untrained(place: Path, preparation: Preparation) -> Path:
    """The file of an encoder that has learned nothing."""
    torch.manual_seed(0)
    recipe = Encoder(backbone="small", widths=(8, 16), dimension=16)
    network = build_encoder(recipe, channels=3, size=24)
    file = place / "encoder.safetensors"
    save_encoder(network, file, recipe=recipe, preparation=preparation)
    return file


@pytest.fixture(scope="module")
def first(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Request, Path]:
    """A folder of 60 photographs explored by an untrained encoder; don't write to either."""
    place = tmp_path_factory.mktemp("later")
    shutil.copytree(photos / "flower", place / "PHOTOS")
    file = untrained(place, Preparation(24, 3, (0.5,) * 3, (0.2,) * 3))
    data = str(place / "PHOTOS")
    request = Request(data, encoder=file, run=place / "run", data_dir=place / "data")
    explore(request)
    return request, place / "run"


@pytest.fixture
def again(first: tuple[Request, Path], tmp_path: Path) -> Request:
    """A copy of the folder and of the run, to be updated."""
    request, run = first
    shutil.copytree(request.data, tmp_path / "PHOTOS")  # with the files' times
    shutil.copytree(run, tmp_path / "run")
    data, data_dir = str(tmp_path / "PHOTOS"), tmp_path / "data"
    return Request(data, update=tmp_path / "run", data_dir=data_dir)


def test_new_pictures_are_placed_and_old_ones_stay(
    first: tuple[Request, Path], photos: Path, tmp_path: Path
) -> None:
    request, run = first
    before = contents(run)
    (tmp_path / "NEW").mkdir()
    for name in ("03.jpg", "11.jpg"):
        shutil.copy(photos / "temple" / name, tmp_path / "NEW")
    Image.new("RGB", (64, 64), (255, 0, 255)).save(tmp_path / "NEW" / "plain.png")
    asked = replace(
        request, data=str(tmp_path / "NEW"), encoder=None, onto=run, run=tmp_path / "onto"
    )
    found = explore(asked)
    assert contents(run) == before
    old, new = columns(run), columns(tmp_path / "onto")
    for name in PLACES:
        assert new[name][:60] == old[name], name  # bit by bit
    assert np.isfinite([new[name][60:] for name in PLACES]).all()
    assert new["split"] == ["old"] * 60 + ["new"] * 3
    assert new["id"][60:] == ["new/03.jpg", "new/11.jpg", "new/plain.png"]  # flower has these too
    array = Representations.load(tmp_path / "onto" / "embeddings.parquet").array
    scores = nearest(array[60:], array[:60], 2).distances.mean(axis=1)
    p_values = conformal_p_values(scores, np.array(old["score"], np.float32))
    np.testing.assert_allclose(new["p_value"][60:], p_values, rtol=1e-6)
    assert new["p_value"][:60] == old["p_value"]
    assert new["p_value"][62] == pytest.approx(1 / 61)  # it is odder than every photograph
    told = (tmp_path / "onto" / "new.csv").read_text("utf-8").splitlines()
    assert told[1].startswith("1,new/plain.png,")
    assert "3 new beside 60" in found.told()
    environment = json.loads((tmp_path / "onto" / "environment.json").read_text("utf-8"))
    assert environment["cores"] >= 1
    assert found.figures["environment"] == environment
    page = (tmp_path / "onto" / "explore.html").read_text("utf-8")
    assert '"colour": "split"' in page
    assert explore(replace(asked, resume=True)).figures == found.figures


def test_what_lies_beyond_is_beside_its_nearest(
    first: tuple[Request, Path], tmp_path: Path
) -> None:
    request, run = first
    (tmp_path / "NEW").mkdir()
    Image.new("RGB", (64, 64), (255, 0, 255)).save(tmp_path / "NEW" / "plain.png")
    onto = replace(request, data=str(tmp_path / "NEW"), encoder=None, onto=run)
    found = explore(replace(onto, run=tmp_path / "onto", false_alarms=0.05))
    assert found.figures["joined"]["beyond"] == 1
    points = columns(tmp_path / "onto")
    neighbour = points["neighbors"][60][0]
    at = np.stack([points["tsne_x"], points["tsne_y"]], axis=1)
    assert np.linalg.norm(at[60] - at[neighbour]) < 0.05 * np.ptp(at)


def test_p_values_against_the_old_set_are_uniform() -> None:
    digits = load_digits().data.astype(np.float32)
    low = []
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(len(digits))
        old, new = digits[order[:898]], digits[order[898:]]
        within = nearest(old, old, 2, exclude_self=True).distances.mean(axis=1)
        p_values = conformal_p_values(nearest(new, old, 2).distances.mean(axis=1), within)
        low.append([(p_values <= share).mean() for share in (0.01, 0.1, 0.5)])
    np.testing.assert_allclose(np.mean(low, axis=0), (0.01, 0.1, 0.5), atol=0.02)


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures each call of the store decoded or had."""
    counts: list[int] = []
    from vicinal.images import store

    honest = store.stored

    def counting(images: Any, *words: Any, **options: Any) -> Stored:
        counts.append(len(images.ids))
        return honest(images, *words, **options)

    monkeypatch.setattr("vicinal.images.store.stored", counting)
    return counts


def test_only_new_and_changed_files_are_read(
    again: Request, photos: Path, decodes: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = Path(again.data), again.update
    assert run is not None
    (run / "notes.csv").write_text("tag,note,id\n")
    old = columns(run)
    shutil.copy(photos / "temple" / "03.jpg", folder / "aa.jpg")
    shutil.copy(photos / "temple" / "05.jpg", folder / "07.jpg")
    (folder / "09.jpg").unlink()
    (folder / "torn.jpg").write_bytes(b"")
    explore(again)
    assert decodes == [3]  # aa, 07 and torn
    assert "pictures: 1 new, 1 changed, 1 gone, 58 as they were" in (capsys.readouterr().err)
    new, place = columns(run), rows(run)
    assert new["id"] == sorted(file.name for file in folder.iterdir() if file.name != "torn.jpg")
    for name in PLACES:
        for row, one in enumerate(old["id"]):
            if one not in ("07.jpg", "09.jpg"):
                assert new[name][place[one]] == old[name][row], (name, one)
    assert [i for i, part in zip(new["id"], new["split"], strict=True) if part == "new"] == [
        "07.jpg",
        "aa.jpg",
    ]
    assert "torn.jpg" in (run / "skipped.csv").read_text("utf-8")
    assert (run / "notes.csv").read_text() == "tag,note,id\n"
    fresh = explore(replace(again, update=None, encoder=_encoder(run), run=run.parent / "fresh"))
    expected = Representations.load(fresh.run / "embeddings.parquet")
    found = Representations.load(run / "embeddings.parquet")
    assert found.ids.tolist() == expected.ids.tolist()
    np.testing.assert_allclose(found.array, expected.array, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(new["score"], columns(fresh.run)["score"], rtol=1e-4)
    (folder / "torn.jpg").unlink()
    decodes.clear()
    before = contents(run)["points.parquet"]
    explore(again)
    assert decodes == []
    assert contents(run)["points.parquet"] == before


def test_an_update_finds_what_a_comparison_of_all_finds(again: Request, photos: Path) -> None:
    folder, run = Path(again.data), again.update
    assert run is not None
    for at, file in enumerate(sorted(folder.iterdir())[:6]):
        with Image.open(file) as opened:
            picture = opened.convert("RGB")
        side = min(picture.size)
        changed = (
            picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
            picture.resize((side, side)),
            picture.crop((side // 20, side // 20, side - side // 20, side - side // 20)),
        )[at % 3]
        changed.save(folder / f"copy-{at}.png")
    for file in sorted((photos / "temple").iterdir())[:10]:
        shutil.copy(file, folder / f"t{file.name}")
    shutil.copy(folder / "11.jpg", folder / "00-again.jpg")  # now the first of two that are equal
    (folder / "20.jpg").unlink()
    explore(again)
    assert pq.read_table(run / "parts" / "compared.parquet").num_rows
    new, ids = columns(run), Representations.load(run / "embeddings.parquet")
    near, far = nearest_and_farthest(ids.array, ids.array, 10, exclude_self=True)
    assert new["neighbors"] == near.indices.tolist()
    assert new["distances"] == near.distances.tolist()
    assert new["farthest"] == far.indices[:, :5].tolist()
    fresh = replace(again, update=None, encoder=_encoder(run), run=run.parent / "fresh")
    explore(fresh)
    found, expected = (
        [[pair[end] for end in ("id_a", "id_b")] for pair in read_rows(place / "duplicates.csv")]
        for place in (run, run.parent / "fresh")
    )
    copied = [pair for pair in expected if pair[1].startswith("copy-") and pair[0] < "06"]
    assert len(copied) >= 4
    assert all(pair in found for pair in copied)
    # Which overlapping crops stand among each other's nearest hangs on who asks.
    differ = {tuple(pair) for pair in found} ^ {tuple(pair) for pair in expected}
    assert len(differ) <= len(expected) / 10


def test_an_update_heeds_its_rate_and_says_what_is_skipped_now(
    again: Request, photos: Path
) -> None:
    folder, run = Path(again.data), again.update
    assert run is not None
    shutil.copy(photos / "temple" / "03.jpg", folder / "aa.jpg")
    assert "new beside" in explore(again).told()
    flagged = sum(columns(run)["flagged"])
    found = explore(replace(again, false_alarms=0.3))
    assert found.figures["anomalies"]["false_alarms"] == 0.3
    assert sum(columns(run)["flagged"]) == found.figures["anomalies"]["flagged"] > flagged
    (folder / "torn.jpg").write_bytes(b"")
    page = (run / "explore.html").read_text("utf-8")
    found = explore(again)  # at the run's rate
    assert found.figures["anomalies"]["false_alarms"] == 0.3
    assert found.figures["data"]["skipped"] == 1
    assert "new beside" not in found.told()
    assert (run / "explore.html").read_text("utf-8") != page
    (folder / "torn.jpg").unlink()
    assert explore(again).figures["data"]["skipped"] == 0
    # As a kill between explore.json and the page leaves them.
    page = (run / "explore.html").read_text("utf-8")
    (run / "explore.html").write_text("old", "utf-8")
    os.utime(run / "explore.html", ns=(0, 0))
    explore(again)
    assert (run / "explore.html").read_text("utf-8") == page


def test_a_file_that_lost_its_time_has_not_changed(again: Request, decodes: list[int]) -> None:
    folder, run = Path(again.data), again.update
    assert run is not None
    for file in folder.iterdir():
        os.utime(file, ns=(1, 1))
    edited = bytearray((folder / "07.jpg").read_bytes())
    edited[-3] ^= 1  # of the same size
    (folder / "07.jpg").write_bytes(edited)
    explore(again)
    assert decodes == [1]
    decodes.clear()
    explore(again)
    assert decodes == []


def _encoder(run: Path) -> Path:
    return Path(Representations.load(run / "embeddings.parquet").origin["encoder"])


class Killed(BaseException):
    """As if the process ended here."""


def test_killed_at_any_file_nothing_is_lost(
    again: Request, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = again.update
    assert run is not None
    before = contents(run)
    shutil.copy(photos / "temple" / "03.jpg", Path(again.data) / "aa.jpg")
    (Path(again.data) / "09.jpg").unlink()
    for stage in ("_write_stages", "_write_explore_json", "write_explorer", "write_json"):
        with monkeypatch.context() as patch:

            def killed(*_: Any, **__: Any) -> None:
                raise Killed

            patch.setattr(update, stage, killed)
            with pytest.raises(Killed):
                explore(again)
        now = contents(run)
        assert {name: now[name] for name in before} == before, stage
    moves = 0
    honest = Path.replace

    def few(path: Path, to: Any) -> Path:
        nonlocal moves
        moves += path.parent.name == "update" or path.parent.parent.name == "update"
        if moves > 4:
            raise Killed
        return honest(path, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", few)
        with pytest.raises(Killed):
            explore(again)
    assert (run / "update").is_dir()
    explore(again)  # finds nothing new, for all that was made takes its place first
    assert not (run / "update").exists()
    assert "aa.jpg" in columns(run)["id"]
    assert "09.jpg" not in columns(run)["id"]
    assert len(Representations.load(run / "embeddings.parquet")) == 60
    assert json.loads((run / "explore.json").read_text())["data"]["count"] == 60


def test_what_cannot_be_updated_is_one_line(again: Request, tmp_path: Path) -> None:
    run = again.update
    assert run is not None
    with pytest.raises(InputError, match="no run here"):
        explore(replace(again, update=tmp_path / "nowhere"))
    with pytest.raises(InputError, match="a CSV that lists files"):
        explore(replace(again, data="digits"))
    with pytest.raises(InputError, match="give one of them"):
        explore(replace(again, onto=run))
    with pytest.raises(InputError, match="nothing is trained"):
        explore(replace(again, recipe="laptop"))
    other = tmp_path / "OTHER"
    other.mkdir()
    Image.new("RGB", (9, 9)).save(other / "x.png")
    with pytest.raises(InputError, match="no picture of"):
        explore(replace(again, data=str(other)))
    os.rename(run / "files.parquet", run / "gone")
    with pytest.raises(InputError, match="no files"):
        explore(again)


def test_an_update_and_a_set_on_another_compare_as_the_encoder_asks(
    photos: Path, tmp_path: Path
) -> None:
    preparation = Preparation(24, 3, (0.5,) * 3, (0.2,) * 3, neighbours="cosine")
    encoder, (old, new) = untrained(tmp_path, preparation), (tmp_path / "OLD", tmp_path / "NEW")
    for place, names in ((old, range(20)), (new, range(20, 24))):
        place.mkdir()
        for number in names:
            shutil.copy(photos / "temple" / f"{number:02d}.jpg", place)
    run, onto = tmp_path / "run", tmp_path / "onto"
    data = tmp_path / "data"
    explore(Request(str(old), encoder=encoder, run=run, data_dir=data))
    explore(Request(str(new), onto=run, run=onto, data_dir=data))
    rows = Representations.load(onto).array
    scores = nearest(rows[20:], rows[:20], 2).distances.mean(axis=1)
    np.testing.assert_allclose(columns(onto)["score"][20:], scores, rtol=1e-5)
    for file in new.iterdir():
        shutil.copy(file, old)
    explore(Request(str(old), update=run, data_dir=data))
    whole, found = Representations.load(run), columns(run)
    unit = unit_length(whole.array)
    by_cosine = nearest(unit, unit, 10, exclude_self=True)
    assert found["neighbors"] == by_cosine.indices.tolist()
    by_length = nearest(whole.array, whole.array, 2, exclude_self=True).distances.mean(axis=1)
    alone = [row for row, group in enumerate(found["group"]) if group < 0]
    np.testing.assert_allclose(np.array(found["score"])[alone], by_length[alone], rtol=1e-5)


def test_labels_that_changed_are_news(again: Request) -> None:
    folder, run = Path(again.data), again.update
    assert run is not None
    listed = folder.parent / "list.csv"
    rows = [[str(file), "a"] for file in sorted(folder.iterdir())]
    write_csv(listed, ["path", "label"], rows)
    first = replace(
        again, data=f"csv:{listed}", update=None, encoder=_encoder(run), run=run.parent / "listed"
    )
    explore(first)
    rows[0][1], rows[1][1] = "b", ""
    write_csv(listed, ["path", "label"], rows)
    later = replace(first, update=first.run, encoder=None, run=None)
    assert explore(later).news
    assert first.run is not None
    assert columns(first.run)["label"][:3] == ["b", None, "a"]
    assert not explore(later).news
