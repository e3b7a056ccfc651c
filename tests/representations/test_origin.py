"""What embeddings say of the encoder that made them, and of what they were made from."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from vicinal.encoder.saved import Preparation
from vicinal.errors import InputError
from vicinal.images import Part
from vicinal.images.image_set import ImageSet
from vicinal.representations.embed import _span, embed, from_parts, made_with
from vicinal.representations.embed_in_pieces import _reach, _refused
from vicinal.representations.representations import Representations

PREPARED = Preparation(8, 3, (0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize("neighbours", ["L2", "cosine"])
def test_the_encoder_and_how_its_rows_compare(neighbours: str, tmp_path: Path) -> None:
    file = tmp_path / "encoder.safetensors"
    file.write_bytes(b"weights")
    made = made_with(file, Preparation(8, 3, (0.0,) * 3, (1.0,) * 3, neighbours=neighbours))
    expected = {"size": 8, "channels": 3, "whole": True, "encoder": str(file)}
    if neighbours == "cosine":
        expected["neighbours"] = "cosine"
    assert len(made.pop("encoder_sha256")) >= 16
    assert made == expected
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"other weights")
    same = tmp_path / "same.safetensors"
    same.write_bytes(b"weights")
    marks = [made_with(each, PREPARED)["encoder_sha256"] for each in (file, other, same)]
    assert marks[0] == marks[2] != marks[1]
    assert hashlib.sha256(b"weights").hexdigest().startswith(marks[0][:16])


def test_rows_say_what_is_known_of_their_pictures() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(5, 8, 8, 3), dtype=np.uint8)
    sizes = np.array([[40, 30], [8, 8], [9, 7], [20, 10], [1, 2]], np.int32)
    names = np.array(["a", "b", "c", "d", "e"])
    labels = np.array([0, 1, 0, 1, 1])
    first = ImageSet("set", pixels[:3], names[:3], labels[:3], ("x", "y"), sizes=sizes[:3])
    second = ImageSet("set", pixels[3:], names[3:], labels[3:], ("x", "y"), sizes=sizes[3:])
    parts = [Part("train", first, ("/a", "/b", "/c")), Part("test", second, ("/d", "/e"))]
    array = embed(nn.Flatten(), ImageSet("all", pixels, names), PREPARED).array
    held = from_parts(parts, array, {"source": "folder:x"})
    assert isinstance(held, Representations)
    assert held.ids.tolist() == names.tolist()
    assert held.splits is not None
    assert held.splits.tolist() == ["train"] * 3 + ["test"] * 2
    assert held.paths is not None
    assert held.paths.tolist() == ["/a", "/b", "/c", "/d", "/e"]
    assert held.label_names is not None
    assert held.label_names.tolist() == ["x", "y", "x", "y", "y"]
    np.testing.assert_array_equal(held.sizes, sizes)
    assert held.origin == {"source": "folder:x"}
    expected = np.moveaxis(pixels, 3, 1).reshape(5, -1) / np.float32(255)
    np.testing.assert_allclose(held.array, expected, atol=1e-6)


def test_an_address_where_nobody_listens_is_refused_with_the_reason() -> None:
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1", "ray://[::1]:1"):
        with pytest.raises(InputError) as refused:
            _reach(address)
        assert address in str(refused.value)
        assert "refused" in str(refused.value).lower() or "address" in str(refused.value).lower()
    _reach("local")  # no address: Ray's own matter
    _reach("anyscale://somewhere/else:1")
    assert "no reason given" in str(_refused("127.0.0.1:1", "  \n"))
    assert str(_refused("a:1", "first.\nsecond")).count("second") == 0


def test_the_span_of_deep_pictures_is_that_of_the_part_that_has_any() -> None:
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    plain = Part(None, ImageSet("a", pixels, np.array(["a"])), None)
    deep = Part(None, ImageSet("b", pixels, np.array(["b"]), span=(7, 4095)), None)
    assert _span([plain, deep]) == _span([deep, plain]) == {"span": [7, 4095]}
    assert _span([plain]) == {}
