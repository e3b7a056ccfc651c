"""What a folder holds: what is read, what is listed with a reason, and what is nobody's picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vicinal.errors import InputError
from vicinal.file_names import excluded, left_behind
from vicinal.images import file_formats, folder, load, load_parts
from vicinal.images.decoding import Decoding, decode, square


def picture(path: Path, value: int = 60, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40), (value, 5, 90)).save(path, **options)
    return path


@pytest.mark.parametrize(
    "suffix", ["avif", "jp2", "ico", "tga", "webp", "tif", "pcx", "qoi", "dds"]
)
def test_what_pillow_reads_is_read(tmp_path: Path, suffix):
    picture(tmp_path / "set" / f"a.{suffix}")
    whole, _ = folder.load(str(tmp_path / "set"))
    assert whole.ids.tolist() == [f"a.{suffix}"]
    ((path, where),) = whole.pictures()
    pixels = decode(path, where, size=8, channels=3, pad=False)
    assert np.abs(pixels.astype(int) - (60, 5, 90)).max() < 12


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.CR2", "camera's raw file"),
        ("a.dng", "camera's raw file"),
        ("a.raw", "camera's raw file"),
        ("a.svg", "a drawing without pixels: export it as PNG"),
        ("a.jxl", "JPEG XL"),
        ("a.xcf", "an editor's own format"),
        ("a.dcm", "a scanner's format"),
        ("a.exr", "numbers without a usual range"),
    ],
)
def test_what_looks_like_a_picture_and_is_not_read_is_listed(tmp_path: Path, capsys, name, reason):
    for number in range(4):
        picture(tmp_path / "set" / f"{number}.png")
    (tmp_path / "set" / name).write_bytes(b"x")
    (tmp_path / "set" / "notes.txt").write_text("no picture")
    splits = load(tmp_path / "set", size=8, data_dir=tmp_path)
    ((path, said),) = [(one.path, one.reason) for one in splits.skipped]
    assert path == str(tmp_path / "set" / name)
    assert reason in said
    said = capsys.readouterr().err
    assert f"set: not used: 1 {Path(name).suffix.lower()} (" in said
    assert ", 1 .txt\n" in said


def test_many_that_are_not_read_stop_nothing_and_those_alone_do(tmp_path: Path):
    for number in range(4):
        picture(tmp_path / "set" / f"{number}.jpg")
        (tmp_path / "set" / f"{number}.cr2").write_bytes(b"x")
    assert len(load(tmp_path / "set", size=8, data_dir=tmp_path).skipped) == 4
    for number in range(4):
        (tmp_path / "set" / f"{number}.jpg").unlink()
    with pytest.raises(InputError, match=r"no images in it \(.*0\.cr2: is a camera's raw file"):
        folder.load(str(tmp_path / "set"))


def heic(folder_: Path) -> None:
    folder_.mkdir()
    picture(folder_ / "0.png")
    (folder_ / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")


def test_heic_says_what_to_install(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(file_formats, "_there", lambda kind: kind != "HEIF")
    for cached in (file_formats.formats, file_formats.suffixes):
        cached.cache_clear()
    try:
        heic(tmp_path / "set")
        whole, _ = folder.load(str(tmp_path / "set"))
        assert [one.reason for one in whole.skipped] == [
            "is HEIC, which Pillow alone does not read: pip install 'vicinal[heif]'"
        ]
        with pytest.raises(InputError, match=r"is HEIC.*pip install 'vicinal\[heif\]'"):
            decode(b"\0\0\0\x18ftypheic", "row 3", size=8, channels=3, pad=False)
    finally:
        file_formats.formats.cache_clear()
        file_formats.suffixes.cache_clear()


def test_heic_is_read_where_pillow_heif_is_installed(tmp_path: Path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    picture(tmp_path / "set" / "a.heic")
    whole, _ = folder.load(str(tmp_path / "set"))
    ((path, where),) = whole.pictures()
    pixels = decode(path, where, size=8, channels=3, pad=False)
    assert np.abs(pixels.astype(int) - (60, 5, 90)).max() < 12


def test_a_picture_without_an_ending_is_listed(tmp_path: Path):
    picture(tmp_path / "a.png")
    (tmp_path / "b").write_bytes((tmp_path / "a.png").read_bytes())
    whole, _ = folder.load(str(tmp_path))
    assert [(Path(one.path).name, one.reason) for one in whole.skipped] == [
        ("b", "is a picture without an ending such as .jpg in its name: rename it")
    ]


def test_what_systems_leave_behind_is_no_picture_of_the_users(tmp_path: Path):
    left = ("@eaDir", ".Trash-1000", "$RECYCLE.BIN", "__MACOSX", "lost+found", ".thumbnails")
    for name in (*(f"{one}/a.png" for one in left), "._a.png", "cat/@eaDir/b.png", "cat/c.png"):
        picture(tmp_path / name)
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
        (tmp_path / name).write_bytes(b"x")
    whole, _ = folder.load(str(tmp_path))
    assert whole.ids.tolist() == ["cat/c.png"]
    assert whole.class_names == ("cat",)
    assert not [note for note in whole.notes if "not used" in note]
    assert left_behind("a/@EADIR/b.jpg")
    assert not left_behind("a/b.jpg")


@pytest.mark.parametrize(
    ("patterns", "ids"),
    [
        (("*_small.png",), ["cat/a.png", "cat/drafts/b.png", "dog/c.png"]),
        (("drafts", "dog/"), ["cat/a.png", "cat/a_small.png"]),
        (("cat/*",), ["dog/c.png"]),
        (("[ab]*",), ["dog/c.png"]),
    ],
)
def test_a_pattern_excludes_files_and_folders(tmp_path: Path, capsys, patterns, ids):
    for name in ("cat/a.png", "cat/a_small.png", "cat/drafts/b.png", "dog/c.png"):
        picture(tmp_path / "set" / name)
    (part,) = load_parts(tmp_path / "set", Decoding(4, 3), data_dir=tmp_path, exclude=patterns)
    assert part.images.ids.tolist() == ids
    assert " excluded" in capsys.readouterr().err
    assert not excluded("dog/c.png", ("c", "og", "dog.png"))


def test_excluding_needs_file_names(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(InputError, match=r"exclude=.\*\.jpg.: .*lists no files"):
        load(tmp_path / "a.npy", size=8, data_dir=tmp_path, exclude=["*.jpg"])


def test_a_second_way_to_a_folder_is_listed(tmp_path: Path):
    picture(tmp_path / "set" / "cat" / "a.png")
    (tmp_path / "set" / "ape").symlink_to(tmp_path / "set" / "cat")
    (tmp_path / "set" / "cat" / "up").symlink_to(tmp_path)
    whole, _ = folder.load(str(tmp_path / "set"))
    assert whole.ids.tolist() == ["cat/a.png"]  # by the folder's own name
    assert {Path(one.path).name: one.reason for one in whole.skipped} == {
        "ape": f"is a link to {tmp_path}/set/cat, which is read already",
        "up": "is a link to a folder around it",
    }


@pytest.mark.parametrize("name", ["a[1]", "b*", "c?d", "{e}"])
def test_glob_characters_in_paths_mean_themselves(tmp_path: Path, name):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for number in range(4):
        data = picture(tmp_path / name / "cat" / f"{number}.png", number).read_bytes()
    assert len(load(tmp_path / name, size=8, data_dir=tmp_path).train) == 3
    pq.write_table(pa.table({"image": [data] * 5}), tmp_path / name / "x-0.parquet")
    for source in (f"{tmp_path}/{name}/*.parquet", f"{tmp_path}/{name}/x-0.parquet"):
        assert len(load(source, size=8, data_dir=tmp_path).train) == 4


def test_one_stray_file_beside_class_folders_is_said(tmp_path: Path, capsys):
    for name in ("cat/a.png", "cat/b.png", "dog/c.png", "stray.png"):
        picture(tmp_path / "set" / name)
    assert load(tmp_path / "set", size=8, data_dir=tmp_path).train.labels is None
    said = capsys.readouterr().err
    assert "2 classes, 1 of 4 pictures has none: stray.png lies beside the folders" in said
    assert "set: labels of the training pictures are not used here, where each needs one" in said
    (part,) = load_parts(tmp_path / "set", Decoding(8), data_dir=tmp_path)
    assert part.images.labels.tolist() == [0, 0, 1, -1]
    assert "not used here" not in capsys.readouterr().err


def test_labels_that_are_not_used_choose_no_part(tmp_path: Path):
    for name in ("train/cat/a.png", "train/cat/b.png", "train/dog/c.png", "train/stray.png"):
        picture(tmp_path / "set" / name)
    for name in ("test/0.png", "test/1.png", "val/cat/d.png", "val/dog/e.png"):
        picture(tmp_path / "set" / name)
    assert len(load(tmp_path / "set", size=8, data_dir=tmp_path).test) == 2
    ids = load(tmp_path / "set", size=8, data_dir=tmp_path).test.ids.tolist()
    assert ids == ["test/0.png", "test/1.png"]


def test_few_pictures_in_folders_label_none(tmp_path: Path, capsys):
    for name in ("thumbs/a.png", "b.png", "c.png"):
        picture(tmp_path / "set" / name)
    (part,) = load_parts(tmp_path / "set", Decoding(8), data_dir=tmp_path)
    assert part.images.labels is None
    said = capsys.readouterr().err
    assert "no labels (b.png and 1 more lie beside the folders, 1 picture in them); move" in said


def test_class_folders_sort_as_numbers(tmp_path: Path):
    for name in ("0", "1", "2", "10"):
        picture(tmp_path / name / "a.png")
    whole, _ = folder.load(str(tmp_path))
    assert whole.class_names == ("0", "1", "2", "10")
    assert [whole.class_names[c] for c in whole.labels] == [i.split("/")[0] for i in whole.ids]


def test_a_jpeg_of_many_pixels_is_decoded_at_a_fraction(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)  # a bomb from 200,000 pixels on
    path = picture(tmp_path / "a.jpg")
    Image.new("RGB", (1000, 700), (60, 5, 90)).save(path)
    found = square(path, "a", Decoding(8, 3, max_pixels=20_000))
    assert (found.width, found.height) == (1000, 700)
    assert np.abs(found.pixels.astype(int) - (60, 5, 90)).max() < 12
    Image.new("RGB", (1000, 700)).save(path, progressive=True)  # which must be read whole
    with pytest.raises(InputError, match=r"700000 pixels, at most 20000; --max-megapixels"):
        decode(path, "a", size=8, channels=3, pad=False, max_pixels=20_000)


def test_an_option_raises_the_limit(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    for number in range(9):
        picture(tmp_path / "set" / f"{number}.png")
    Image.new("RGB", (1000, 700), (60, 5, 90)).save(tmp_path / "set" / "large.png")
    few = load(tmp_path / "set", size=8, data_dir=tmp_path, max_pixels=200_000)
    assert [Path(one.path).name for one in few.skipped] == ["large.png"]
    assert load(tmp_path / "set", size=8, data_dir=tmp_path, max_pixels=10**6).skipped == ()
    assert file_formats.MOST_PIXELS == 178_956_970
