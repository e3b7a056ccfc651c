"""Pictures in the containers of other libraries: by position, and with the right range."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

import vicinal
from vicinal.encoder import build_encoder
from vicinal.encoder.saved import Preparation, load_encoder, save_encoder
from vicinal.errors import InputError
from vicinal.images import load, load_anomalies, load_parts
from vicinal.images.decoding import Decoding, decode, square
from vicinal.images.in_memory import squares
from vicinal.recipes.recipe import Encoder

datasets = pytest.importorskip("datasets")

GREYS = [0, 40, 80, 120, 160, 200]
NAMES = [f"grey{grey}" for grey in GREYS]
PICTURES = [Image.new("L", (8, 8), grey) for grey in GREYS]
ARRAYS = [np.asarray(picture) for picture in PICTURES]


def objects(items: list) -> np.ndarray:
    made = np.empty(len(items), object)
    made[:] = items
    return made


def png(image: Image.Image) -> bytes:
    import io

    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


CELLS = [{"bytes": png(picture), "path": None} for picture in PICTURES]
ENCODED = [cell["bytes"] for cell in CELLS]
SHUFFLED = pd.DataFrame({"image": PICTURES, "label": NAMES}).sample(frac=1, random_state=0)
ROWS = datasets.Dataset.from_dict(
    {"image": CELLS, "label": [5, 4, 3, 2, 1, 0]},
    datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES[::-1])}),
)
HELD = {
    "pandas series": lambda: (SHUFFLED["image"], SHUFFLED["label"]),
    "pandas frame": lambda: (SHUFFLED, None),
    "pandas arrays": lambda: (pd.Series(ARRAYS, index=list("abcdef")), pd.Series(NAMES)),
    "pandas objects": lambda: (SHUFFLED["image"].to_numpy(), SHUFFLED["label"].astype("category")),
    "polars series": lambda: (pl.Series(PICTURES, dtype=pl.Object), pl.Series(NAMES)),
    "polars frame": lambda: (pl.DataFrame({"image": ENCODED, "class": NAMES}), None),
    "polars structs": lambda: (pl.DataFrame({"image": CELLS, "label": NAMES}), None),
    "data set": lambda: (ROWS, None),
    "columns of one": lambda: (ROWS["image"], [NAMES[5 - code] for code in ROWS["label"]]),
    "rows of one": lambda: (iter(ROWS), [NAMES[5 - code] for code in ROWS["label"]]),
    "dict of pictures": lambda: (dict(zip(NAMES, PICTURES)), dict(zip(NAMES, NAMES))),  # noqa: B905
    "dict of columns": lambda: ({"image": PICTURES, "label": NAMES}, None),
    "object array": lambda: (objects(PICTURES), objects(NAMES)),
    "stacked objects": lambda: (np.array(ARRAYS, object), NAMES),
}  # fmt: skip


@pytest.mark.parametrize("kind", HELD)
def test_pictures_and_labels_stay_together(kind, tmp_path: Path):
    images, labels = HELD[kind]()
    made = vicinal.from_images(images, labels, data_dir=tmp_path)
    assert len(made) == 6
    for pixels, label in zip(made.pixels, made.labels, strict=True):
        assert made.class_names[label] == f"grey{pixels[0, 0, 0]}"
    if kind == "dict of pictures":
        assert made.ids.tolist() == NAMES


@pytest.mark.parametrize("kind", HELD)
def test_the_estimator_takes_the_same(kind):
    images, _ = HELD[kind]()
    found = squares(list(ROWS["image"]) if kind == "rows of one" else images, 8, None)
    assert sorted(found.pixels[:, 0, 0, 0].tolist()) == GREYS


def test_numbers_in_a_frame_are_flat_rows():
    assert squares(pd.DataFrame(np.zeros((4, 64))), 8, None) is None
    assert squares(pl.DataFrame(np.zeros((4, 64))), 8, None) is None


def test_what_holds_no_set_is_refused(tmp_path: Path):
    for images, message in [
        (
            datasets.DatasetDict({"train": ROWS}),
            r"has the parts train; give one, as images\['train'",
        ),
        (pd.DataFrame({"a": [1, 2]}), "none of the columns a holds pictures"),
        (np.zeros((8, 8, 3), np.uint8), r"a single picture; give it as \(1, 8, 8, 3\)"),
    ]:
        with pytest.raises(InputError, match=message):
            vicinal.from_images(images, data_dir=tmp_path)
    with pytest.raises(InputError, match="a single picture"):
        squares(np.zeros((8, 8, 3), np.uint8), 8, None)
    with pytest.raises(InputError, match="none for 'grey0'"):
        vicinal.from_images(dict(zip(NAMES, PICTURES, strict=True)), {}, data_dir=tmp_path)


MASK = np.eye(8, dtype=bool)


def test_true_is_white(tmp_path: Path):
    stack = np.stack([MASK] * 10)
    np.save(tmp_path / "m.npy", stack)
    for pixels in (
        vicinal.from_images([MASK] * 3, data_dir=tmp_path).pixels,
        vicinal.from_images(pd.Series([MASK] * 3), data_dir=tmp_path).pixels,
        load(tmp_path / "m.npy", size=8, data_dir=tmp_path).train.pixels,
        squares(stack, 8, None).pixels,
    ):
        assert set(np.unique(pixels)) == {0, 255}


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, np.float64])
def test_a_greatest_value_of_one_is_refused(tmp_path: Path, kind):
    stack = np.stack([MASK] * 10).astype(kind)
    np.save(tmp_path / "m.npy", stack)
    for make in (
        lambda: vicinal.from_images(stack, data_dir=tmp_path),
        lambda: load(tmp_path / "m.npy", size=8, data_dir=tmp_path),
        lambda: vicinal.VICReg("digits", epochs=1).fit(stack),
        lambda: vicinal.from_images(stack * kind(0.5 if kind(0.5) else 1), data_dir=tmp_path),
    ):
        with pytest.raises(InputError, match=r"numbers from 0 to 1, .*multiply by 255"):
            make()


def test_one_dark_picture_among_others_is_none(tmp_path: Path):
    dark = np.zeros((8, 8), np.uint8)
    dark[0, 0] = 1
    assert len(vicinal.from_images([dark, ARRAYS[3]], data_dir=tmp_path)) == 2


def test_pictures_that_look_black_are_said(tmp_path: Path, capsys):
    vicinal.from_images(np.full((3, 8, 8), 16, np.uint8), data_dir=tmp_path)
    assert "the brightest pixel is 16 of 255" in capsys.readouterr().err


def deep(folder: Path, low: float, high: float, kind: type, count: int = 5) -> Path:
    folder.mkdir()
    values = np.linspace(low, high, 1024).reshape(32, 32).astype(kind)
    for number in range(count):
        Image.fromarray(values).save(folder / f"{number}.tif")
    return folder


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        (0, 1023, np.uint16),
        (0, 4095, np.uint16),
        (0, 16383, np.uint16),
        (-1024, 3071, np.int32),
        (0, 3_000_000, np.int32),
        (0.0, 1.0, np.float32),
        (-5.0, 5.0, np.float32),
    ],
)
def test_more_than_eight_bits_are_scaled_by_the_range_of_the_set(
    tmp_path: Path, capsys, low, high, kind
):
    (part,) = load_parts(deep(tmp_path / "d", low, high, kind), Decoding(32), data_dir=tmp_path)
    assert (part.images.pixels.min(), part.images.pixels.max()) == (0, 255)
    assert len(np.unique(part.images.pixels)) == 256
    assert part.images.channels == 1
    assert part.images.span == pytest.approx((low, high))
    line = f"d: 5 pictures of more than 8 bits, scaled by the range of the set: {low:g} to {high:g}"
    assert line in capsys.readouterr().err
    again = load_parts(tmp_path / "d", Decoding(32), data_dir=tmp_path)  # from the store
    np.testing.assert_array_equal(again[0].images.pixels, part.images.pixels)
    assert line in capsys.readouterr().err


def test_pictures_whose_range_is_lost_in_the_sets_are_told(tmp_path: Path, capsys):
    folder = deep(tmp_path / "d", 0, 60_000, np.uint16)
    for number in range(3):
        Image.fromarray(np.eye(32, dtype=np.float32) * number).save(folder / f"small{number}.tif")
    for _ in ("decoded", "from the store"):
        (part,) = load_parts(folder, Decoding(32), data_dir=tmp_path)
        said = " ".join(capsys.readouterr().err.split())
        # The one of zeros throughout has nothing to lose.
        assert "2 of them became one shade: give pictures of each range in a set apart" in said
    assert [np.ptp(one) for one in part.images.pixels] == [255] * 5 + [0] * 3


def test_the_test_part_and_anomalies_keep_the_range_trained_on(tmp_path: Path):
    deep(tmp_path / "a", 0, 4095, np.uint16)
    deep(tmp_path / "b", 0, 2048, np.uint16)
    splits = load(tmp_path / "a", size=32, test=tmp_path / "b", data_dir=tmp_path)
    assert splits.test.pixels.max() == round(2048 / 4095 * 255)
    odd = load_anomalies(
        tmp_path / "b", size=40, channels=3, span=splits.train.span, data_dir=tmp_path
    )
    assert odd.pixels.max() == round(2048 / 4095 * 255)
    assert odd.pixels[:, 0].max() == 0  # the border that pads it


def test_a_torn_picture_for_an_estimator_is_named() -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG")
    with pytest.raises(InputError, match="image 1: cannot be read as an image"):
        squares([file.getvalue(), file.getvalue()[:60]], 8, 3)


def test_deep_pictures_among_colour_ones_and_in_memory(tmp_path: Path):
    values = np.linspace(0, 4095, 64).reshape(8, 8).astype(np.uint16)
    pictures = [
        Image.fromarray(values),
        Image.new("RGB", (8, 8), (1, 2, 3)),
        Image.fromarray(values // 2),
    ]
    made = vicinal.from_images(iter(pictures), data_dir=tmp_path)
    held = squares(pictures, 8, None)
    np.testing.assert_array_equal(made.pixels, held.pixels)
    assert made.pixels.shape == (3, 8, 8, 3)
    assert made.pixels.max(axis=(1, 2, 3)).tolist() == [255, 3, 127]
    assert made.span == held.span == (0.0, 4095.0)


def test_an_encoder_keeps_the_range_it_was_trained_on(tmp_path: Path):
    values = np.linspace(0, 2048, 64).reshape(8, 8).astype(np.uint16)
    encoder = Encoder(backbone="small", dimension=8)
    for span in (None, (0.0, 4096.0)):
        made = Preparation(8, 1, (0.5,), (0.5,), span=span)
        path = tmp_path / f"{span}.safetensors"
        network = build_encoder(encoder, channels=1, size=8)
        save_encoder(network, path, recipe=encoder, preparation=made)
        assert load_encoder(path)[1] == made
    held = squares([Image.fromarray(values)], 8, 1, span=span)
    assert (held.pixels.max(), held.span) == (128, span)  # alone, its own range would be half


def icon(grey: int, mode: str = "RGBA") -> Image.Image:
    """A square in the middle of nothing."""
    image = Image.new("LA", (16, 16), (0, 0))
    image.paste((grey, 255), (4, 4, 12, 12))
    return image.convert(mode)


@pytest.mark.parametrize("grey", [0, 60, 128, 200, 230, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pictures_can_be_seen(grey, mode):
    pixels = decode(icon(grey, mode), "icon", size=16, channels=1, pad=False).astype(int)
    assert abs(pixels[8, 8, 0] - grey) <= 1
    assert abs(pixels[8, 8, 0] - pixels[0, 0, 0]) >= 48
    assert pixels[0, 0, 0] in (0, 255)


def test_a_transparent_picture_looks_the_same_from_everywhere(tmp_path: Path):
    from vicinal.report.explorer.server import read_original

    pictures = [icon(255), icon(10), icon(250), icon(128)]
    (tmp_path / "set").mkdir()
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / "set" / f"{number}.png")
    np.save(tmp_path / "a.npy", np.stack([np.asarray(picture) for picture in pictures]))
    (part,) = load_parts(tmp_path / "set", Decoding(16), data_dir=tmp_path)
    expected = part.images.pixels
    arrays = np.stack([np.asarray(picture) for picture in pictures])
    for pixels in (
        load_parts(tmp_path / "a.npy", Decoding(16), data_dir=tmp_path)[0].images.pixels,
        vicinal.from_images(pictures, data_dir=tmp_path).pixels,
        vicinal.from_images(arrays, data_dir=tmp_path).pixels,
        squares(arrays, 16, None).pixels,
        squares(pictures, 16, None).pixels,
    ):
        np.testing.assert_array_equal(pixels, expected)
    for number in range(4):
        import io

        content = read_original(tmp_path / "set" / f"{number}.png")
        shown = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
        assert np.abs(shown[[0, 8], [0, 8]] - expected[number][[0, 8], [0, 8]]).max() < 12


def test_sizes_are_those_of_the_upright_original(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "set").mkdir()
    Image.new("RGB", (400, 300)).save(tmp_path / "set" / "0.jpg", exif=exif)
    Image.new("RGB", (50, 20)).save(tmp_path / "set" / "1.png")
    for _ in range(2):  # decoded, and from the store
        (part,) = load_parts(tmp_path / "set", Decoding(8, 3), data_dir=tmp_path)
        assert part.images.sizes.tolist() == [[300, 400], [50, 20]]
    found = square(tmp_path / "set" / "0.jpg", "", Decoding(8, 3))
    assert (found.width, found.height) == (300, 400)
