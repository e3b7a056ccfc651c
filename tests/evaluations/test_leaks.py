"""Copies between two sets, and between the parts of one, by the public command."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image

from commands import refused
from vicinal.cli import main
from vicinal.errors import InputError
from vicinal.evaluations.leaks import Pictures, leaks_between, leaks_within, read_pictures
from vicinal.representations.representations import Representations


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled crops of two photographs in train and test; ten of the test ones are copies."""
    place = tmp_path_factory.mktemp("sets")
    for name in ("flower", "china"):
        whole = Image.fromarray(load_sample_image(f"{name}.jpg"))
        for number in range(24):
            left, top = number % 6 * 100, 60 + number // 6 * 85
            crop = whole.crop((left, top, left + 84, top + 84))
            part = place / ("train" if number % 2 else "test") / name
            part.mkdir(parents=True, exist_ok=True)
            crop.save(part / f"{number:02}.png")
            if part.parent.name == "train" and number < 10:
                changed = ImageOps.mirror(crop) if number > 6 else crop.resize((60, 60))
                if number < 4:
                    changed = crop
                changed.save(place / "test" / name / f"copy-{number:02}.png")
    return place


def test_what_is_in_training_too_is_found_and_what_it_is_worth(sets: Path, tmp_path: Path) -> None:
    train, test = (read_pictures(str(sets / part), data_dir=tmp_path) for part in ("train", "test"))
    found = leaks_between(train, test)
    names = {str(test.embeddings.ids[row]) for row in found.leaks.leaked}
    copies = {f"{p.parent.name}/{p.name}" for p in sets.glob("test/*/copy-*")}
    assert len(copies) == 10
    assert names == copies
    assert found.leaks.summary()[0].endswith("(4 exact, 6 nearly)")
    assert found.accuracy is not None
    assert set(found.accuracy) == {"all", "without", "copies"}
    assert found.accuracy["copies"] >= found.accuracy["without"]  # the probe has seen them
    assert found.accuracy["without"] <= found.accuracy["all"]


def test_the_command_names_them(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "leaks.csv"
    both = [str(sets / "train"), "--against", str(sets / "test"), "--data-dir", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["vicinal", "duplicates", *both, "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    said = capsys.readouterr().out
    assert "10 of 34 test pictures are copies of training pictures" in said
    assert "a linear probe on the pixels" in said
    rows = list(csv.DictReader(out.open(newline="")))
    assert len(rows) == 10
    assert all(row["id_b"].replace("copy-", "") == row["id_a"] for row in rows)


def test_parts_of_one_set(sets: Path, tmp_path: Path) -> None:
    found = leaks_within(read_pictures(str(sets), data_dir=tmp_path))
    assert found is not None
    assert len(found.leaks.leaked) == 10
    assert leaks_within(read_pictures(str(sets / "train"), data_dir=tmp_path)) is None


def test_vectors_alone_find_exact_copies_and_say_that_they_are_alone(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    for name, rows in (("a", range(200)), ("b", range(190, 300))):
        Representations(array[list(rows)], np.array([f"{row}" for row in rows])).save(
            tmp_path / f"{name}.parquet"
        )
    a, b = (read_pictures(str(tmp_path / f"{name}.parquet")) for name in "ab")
    found = leaks_between(a, b)
    assert found.test.embeddings.ids[found.leaks.leaked].tolist() == [
        str(row) for row in range(190, 200)
    ]
    assert "representations alone" in str(found.warning())
    Representations(array[:, :4], np.arange(300).astype(str)).save(tmp_path / "c.parquet")
    with pytest.raises(InputError, match="neither pixels nor representations of one encoder"):
        leaks_between(a, read_pictures(str(tmp_path / "c.parquet")))


def test_a_threshold_on_pictures_says_that_it_needs_embeddings(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "photos" / "a.png")
    (tmp_path / "list.csv").write_text("path\nphotos/a.png\n")
    for source in ("photos", "list.csv", "folder:photos", "digits"):
        line = refused("duplicates", source, "--threshold", "0.5", cwd=tmp_path)
        assert f"--threshold: needs embeddings, and {source} holds pictures" in line
        assert "vicinal embed" in line
    line = refused("duplicates", "photos", "--index", "x", cwd=tmp_path)
    assert "--index: needs embeddings" in line
    line = refused("duplicates", "gone.parquet", "--threshold", "0.5", cwd=tmp_path)
    assert "gone.parquet: no such file" in line
    line = refused("similar", "list.csv", "a", cwd=tmp_path)
    assert "give embeddings, which `vicinal embed` makes" in line


def test_the_training_part_teaches_wherever_it_stands() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(256, size=(12, 32, 32, 3), dtype=np.uint8)
    small[10] = small[1]
    splits = np.array(["test"] * 4 + ["train"] * 8)
    ids = np.arange(12).astype(np.str_)
    held = Representations(np.eye(12, dtype=np.float32), ids, splits=splits)
    found = leaks_within(Pictures(held, small, False))
    assert found is not None
    assert found.train.embeddings.ids.tolist() == ids[4:].tolist()
    assert found.test.embeddings.ids[found.leaks.leaked].tolist() == ["1"]
    others = replace(held, splits=np.array(["b"] * 4 + ["a"] * 8))  # then the first one does
    found = leaks_within(Pictures(others, small, False))
    assert found is not None
    assert found.train.embeddings.ids.tolist() == ids[:4].tolist()
    assert found.test.embeddings.ids[found.leaks.leaked].tolist() == ["10"]


def test_pictures_behind_embeddings_are_seen_as_pictures_are(tmp_path: Path) -> None:
    """Whole, wide and high ones too, in colour; of a file that is gone, nothing."""
    photo = Image.fromarray(load_sample_image("china.jpg"))
    (tmp_path / "photos").mkdir()
    sizes = ((300, 100), (90, 200), (150, 150))
    for number, size in enumerate(sizes):
        photo.crop((100, 100, 100 + size[0], 100 + size[1])).save(
            tmp_path / "photos" / f"{number}.png"
        )
    pictures = read_pictures(str(tmp_path / "photos"), data_dir=tmp_path / "cache")
    paths = pictures.embeddings.paths
    assert paths is not None
    held = Representations(np.eye(3, dtype=np.float32), pictures.embeddings.ids, paths=paths)
    held.save(tmp_path / "held.parquet")
    behind = read_pictures(str(tmp_path / "held.parquet"))
    assert (behind.why, behind.encoded) == (None, True)
    np.testing.assert_array_equal(behind.small, pictures.small)
    left_out = read_pictures(str(tmp_path / "photos"), data_dir=tmp_path, exclude=["1.*"])
    assert left_out.embeddings.ids.tolist() == ["0.png", "2.png"]
    (tmp_path / "photos" / "1.png").unlink()
    gone = read_pictures(str(tmp_path / "held.parquet"))
    assert gone.small is None
    assert "1.png cannot be read, so the representations alone were compared" in str(gone.why)
