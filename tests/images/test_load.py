import io
import json
from pathlib import Path

import numpy as np
import platformdirs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vicinal.errors import InputError
from vicinal.images import ImageSet, decoding, load, load_anomalies


def picture(path: Path, colour: int | tuple[int, int, int], size: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(colour, int) else "RGB", (size, size), colour).save(path)
    return path


def write_parquet(path: Path, colours, labels=None, names=None) -> Path:
    cells = []
    for colour in colours:
        file = io.BytesIO()
        Image.new("L", (4, 4), colour).save(file, "PNG")
        cells.append(file.getvalue())
    table = pa.table({"image": cells} | ({} if labels is None else {"label": labels}))
    if names:
        features = {"info": {"features": {"label": {"names": names}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_a_column_of_splits_says_which_part_a_row_is_in(
    kind: pa.DataType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_parquet(tmp_path / "all.parquet", range(0, 100, 10))
    cells = pa.array(["train", "Test", None, "train", "other"] * 2, kind)
    pq.write_table(pq.read_table(file).append_column("split", cells), file)
    found = load(f"parquet:{file}", size=4, data_dir=tmp_path)
    assert found.train.pixels[:, 0, 0, 0].tolist() == [0, 30, 50, 80]
    assert found.test.pixels[:, 0, 0, 0].tolist() == [10, 60]
    assert "all: not used: 4 rows of the split '', 'other'" in capsys.readouterr().err


def test_digits_as_they_are_need_no_store(tmp_path: Path):
    splits = load("digits", size=8, data_dir=tmp_path)
    assert (len(splits.train), len(splits.test)) == (1297, 500)
    assert splits.train.pixels.shape[1:] == (8, 8, 1)
    assert splits.train.ids[0].startswith("train/")
    assert splits.test.ids[0].startswith("test/")
    assert list(tmp_path.iterdir()) == []
    other_seed = load("digits", size=8, seed=5, data_dir=tmp_path)
    assert other_seed.test.fingerprint == splits.test.fingerprint


def test_digits_scaled_keep_labels_and_ids(tmp_path: Path):
    small, large = (load("digits", size=size, data_dir=tmp_path) for size in (8, 12))
    assert large.train.pixels.shape == (1297, 12, 12, 1)
    assert large.train.ids.tolist() == small.train.ids.tolist()
    reference = Image.fromarray(small.train.pixels[5, :, :, 0]).resize(
        (12, 12), Image.Resampling.BILINEAR
    )
    np.testing.assert_array_equal(large.train.pixels[5, :, :, 0], np.asarray(reference))


def test_limit_is_a_class_balanced_part_of_the_training_set(tmp_path: Path):
    whole = load("digits", size=8, data_dir=tmp_path)
    part = load("digits", size=8, limit=100, data_dir=tmp_path)
    assert np.bincount(part.train.labels).tolist() == [10] * 10
    assert set(part.train.ids.tolist()) < set(whole.train.ids.tolist())
    assert part.test.fingerprint == whole.test.fingerprint
    again = load("digits", size=8, limit=100, data_dir=tmp_path)
    other = load("digits", size=8, limit=100, seed=1, data_dir=tmp_path)
    assert again.train.ids.tolist() == part.train.ids.tolist() != other.train.ids.tolist()


def test_a_folder_is_held_out_by_class_with_pixels_that_match_their_ids(tmp_path: Path):
    for label in range(2):
        for number in range(10):
            picture(tmp_path / "pets" / f"class{label}" / f"{number}.png", 100 * label + number)
    splits = load(f"folder:{tmp_path}/pets", size=4, data_dir=tmp_path / "cache")
    assert splits.train.name == "pets"
    assert np.bincount(splits.train.labels).tolist() == [8, 8]
    assert np.bincount(splits.test.labels).tolist() == [2, 2]
    for part, prefix in ((splits.train, "train"), (splits.test, "test")):
        for pixels, name, label in zip(part.pixels, part.ids, part.labels, strict=True):
            top, group, file = name.split("/")
            assert (top, group) == (prefix, f"class{label}")
            assert (pixels == 100 * label + int(file.removesuffix(".png"))).all()
    seeds = [
        load(f"folder:{tmp_path}/pets", size=4, seed=seed, data_dir=tmp_path / "cache").test
        for seed in (0, 7)
    ]
    assert seeds[0].ids.tolist() == splits.test.ids.tolist() != seeds[1].ids.tolist()


def test_the_second_load_reads_the_store(tmp_path: Path, monkeypatch):
    for number in range(10):
        picture(tmp_path / "set" / f"{number}.png", number)
    source = f"folder:{tmp_path}/set"
    first = load(source, size=4, data_dir=tmp_path)
    monkeypatch.setattr(decoding, "square", None)
    again = load(source, size=4, data_dir=tmp_path)
    assert isinstance(again.train.pixels, np.memmap)
    assert again.train.fingerprint == first.train.fingerprint
    assert len(list((tmp_path / "store").iterdir())) == 2


def test_a_changed_file_is_decoded_anew(tmp_path: Path):
    for number in range(10):
        picture(tmp_path / "set" / f"{number}.png", 0)
    source = f"folder:{tmp_path}/set"
    assert load(source, size=4, data_dir=tmp_path).train.pixels.max() == 0
    for number in range(10):
        picture(tmp_path / "set" / f"{number}.png", 9)
    assert load(source, size=4, data_dir=tmp_path).train.pixels.min() == 9


def test_the_cache_is_the_platforms_unless_a_folder_is_given(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    load("digits", size=9)
    assert (tmp_path / "vicinal" / "store").is_dir()


@pytest.mark.parametrize("named", ["folder", "parquet"])
def test_another_source_can_be_the_test_part(tmp_path: Path, named):
    write_parquet(tmp_path / "a.parquet", [1, 2, 3])
    write_parquet(tmp_path / "b.parquet", [8, 9])
    for part, colour in (("train", 4), ("test", 5)):
        picture(tmp_path / "pets" / part / "x.png", colour)
    test = {"folder": f"folder:{tmp_path}/pets", "parquet": f"parquet:{tmp_path}/b.parquet"}[named]
    splits = load(f"parquet:{tmp_path}/a.parquet", size=4, test=test, data_dir=tmp_path)
    assert splits.train.pixels[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert splits.test.pixels[:, 0, 0, 0].tolist() == {"folder": [5], "parquet": [8, 9]}[named]


def test_a_pattern_with_the_training_part_alone_is_held_out(tmp_path: Path):
    write_parquet(tmp_path / "x-train.parquet", range(10))
    splits = load(f"parquet:{tmp_path}/x-{{split}}.parquet", size=4, data_dir=tmp_path)
    assert (len(splits.train), len(splits.test)) == (8, 2)


@pytest.mark.parametrize(
    ("train_names", "test_names", "union"),
    [
        (["cat", "dog"], ["dog", "eel"], ("cat", "dog", "eel")),
        (["3", "10"], ["9", "10"], ("3", "9", "10")),
    ],
)
def test_class_lists_that_differ_are_joined_by_name(tmp_path: Path, train_names, test_names, union):
    write_parquet(tmp_path / "x-train.parquet", [1, 2, 3], [0, 1, 1], train_names)
    write_parquet(tmp_path / "x-test.parquet", [4, 5], [1, 0], test_names)
    splits = load(f"parquet:{tmp_path}/x-{{split}}.parquet", size=4, data_dir=tmp_path)
    for part, names, codes in (
        (splits.train, train_names, [0, 1, 1]),
        (splits.test, test_names, [1, 0]),
    ):
        assert part.class_names == union
        assert [union[label] for label in part.labels] == [names[code] for code in codes]


def test_an_unlabelled_test_part_stays_so(tmp_path: Path):
    write_parquet(tmp_path / "x-train.parquet", [1, 2], [0, 1])
    write_parquet(tmp_path / "x-test.parquet", [3, 4])
    splits = load(f"parquet:{tmp_path}/x-{{split}}.parquet", size=4, data_dir=tmp_path)
    assert splits.train.labels.tolist() == [0, 1]
    assert splits.test.labels is None


@pytest.mark.parametrize(("train", "test"), [(7, (255, 0, 0)), ((255, 0, 0), 7)])
def test_test_images_follow_the_channels_of_the_training_images(tmp_path: Path, train, test):
    for number in range(3):
        picture(tmp_path / "train" / f"{number}.png", train)
    picture(tmp_path / "test" / "0.png", test)
    splits = load(f"folder:{tmp_path}", size=4, data_dir=tmp_path / "cache")
    assert splits.train.channels == splits.test.channels == (1 if train == 7 else 3)
    assert (splits.test.pixels == (76 if train == 7 else 7)).all()


def test_anomalies_are_the_test_part_padded_with_ids_of_their_own(tmp_path: Path):
    picture(tmp_path / "train" / "a.png", 1)
    picture(tmp_path / "test" / "a.png", 200)
    picture(tmp_path / "test" / "large.png", 200, size=50)
    found = load_anomalies(f"folder:{tmp_path}", size=8, channels=3, data_dir=tmp_path)
    assert found.ids.tolist() == ["anomaly/a.png", "anomaly/large.png"]
    assert found.pixels.shape == (2, 8, 8, 3)
    expected = np.zeros((8, 8, 3), np.uint8)
    expected[2:6, 2:6] = 200
    np.testing.assert_array_equal(found.pixels[0], expected)
    assert (found.pixels[1] == 200).all()


def test_anomalies_may_have_a_test_part_alone(tmp_path: Path):
    write_parquet(tmp_path / "x-test.parquet", [3, 4])
    source = f"parquet:{tmp_path}/x-{{split}}.parquet"
    assert len(load_anomalies(source, size=4, channels=1, data_dir=tmp_path)) == 2
    with pytest.raises(InputError, match="only a test part is there"):
        load(source, size=4, data_dir=tmp_path)


def test_patches_fill_the_square_in_the_channels_asked_for(tmp_path: Path):
    grey = load_anomalies("patches", size=8, channels=1, data_dir=tmp_path)
    colour = load_anomalies("patches", size=8, channels=3, data_dir=tmp_path)
    assert (len(grey), grey.ids[0]) == (500, "anomaly/000000")
    np.testing.assert_array_equal(colour.pixels, np.repeat(grey.pixels, 3, axis=3))


def refusal(source: str, **options) -> str:
    with pytest.raises(InputError) as caught:
        load(source, **{"size": 4} | options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("cifra10", "did you mean cifar10?"),
        ("CIFAR10", "did you mean cifar10?"),
        ("fashion_mnist", "did you mean fashion-mnist?"),
        ("folder", "did you mean folder:PATH?"),
        ("parquet:", "did you mean parquet:PATTERN?"),
        ("digits:8", "did you mean digits?"),
        ("", "give one of digits, cifar10"),
        ("zzz", "give one of digits, cifar10, cifar100, mnist, fashion-mnist, parquet:PATTERN, "),
        ("patches", "for anomalies only"),
    ],
)
def test_an_unknown_source_gets_the_valid_names_and_the_closest(
    source, hint, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert hint in refusal(source)


def test_unknown_anomalies_get_patches_among_the_names():
    with pytest.raises(InputError, match=r"did you mean patches\?.* hub:NAME, patches$"):
        load_anomalies("patchs", size=4, channels=1)


def test_a_file_whose_name_says_nothing_gets_the_ways_to_write_it(tmp_path: Path):
    (tmp_path / "list").write_text("path\na.png\n")
    message = refusal(f"{tmp_path}/list")
    assert f"csv:{tmp_path}/list" in message
    assert f"parquet:{tmp_path}/list" in message


def test_bad_input_is_refused(tmp_path: Path):
    write_parquet(tmp_path / "one-train.parquet", [1])
    write_parquet(tmp_path / "one-test.parquet", [1])
    write_parquet(tmp_path / "two.parquet", [1, 2])
    (tmp_path / "broken").mkdir()
    for number in range(5):
        (tmp_path / "broken" / f"{number}.png").write_text("no picture")
    for source, options, message in [
        (f"parquet:{tmp_path}/one-{{split}}.parquet", {}, "needs 2 images or more, found 1"),
        (f"parquet:{tmp_path}/two.parquet", {}, "too few to hold out 20% of them"),
        (f"folder:{tmp_path}/broken", {}, "0.png: not an image of a known format"),
        (f"folder:{tmp_path}/nowhere", {}, "no such folder"),
        ("folder:~nobody-here/x", {}, "no such folder"),
        ("parquet:~nobody-here/x", {}, "no parquet file there"),
        ("~nobody-here/x", {}, "is not known: no such file or folder"),
        ("digits", {"size": 8, "limit": 1}, "limit=1: give a whole number, 2 images or more"),
        ("digits", {"size": 8, "limit": -5}, "limit=-5"),
        ("digits", {"size": 8, "limit": "a"}, "limit='a': give a whole number"),
        ("digits", {"size": 8, "seed": -1}, "seed=-1: give 0 or more"),
        ("digits", {"size": 0}, "size=0: give a whole number of pixels, 1 to 4,096"),
        ("digits", {"size": True}, "size=True: give a whole number of pixels"),
        ("digits", {"size": 8, "interpolation": "x"}, "interpolation='x': give nearest"),
        ("digits", {"size": 8, "test": "nowhere"}, "data 'nowhere' is not known"),
    ]:
        assert message in refusal(source, data_dir=tmp_path / "cache", **options)


@pytest.mark.ci
def test_the_study_on_the_real_files(shared_data: Path, tmp_path: Path):
    splits = load(f"parquet:{shared_data}/cifar10-{{split}}.parquet", size=32, data_dir=tmp_path)
    assert splits.train.pixels.shape == (50_000, 32, 32, 3)
    assert splits.test.pixels.shape == (10_000, 32, 32, 3)
    assert splits.train.name == "cifar10"
    assert splits.train.class_names[::9] == ("airplane", "truck")
    assert np.bincount(splits.train.labels).tolist() == [5_000] * 10
    digits = load_anomalies(
        f"parquet:{shared_data}/mnist-{{split}}.parquet", size=32, channels=3, data_dir=tmp_path
    )
    assert isinstance(digits, ImageSet)
    assert digits.pixels.shape == (10_000, 32, 32, 3)
    assert not digits.pixels[:, :2].any()
    assert digits.class_names == tuple("0123456789")
    assert digits.pixels[:, 2:30, 2:30].mean() == pytest.approx(33.8, abs=0.5)
