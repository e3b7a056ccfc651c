"""A CSV of labels beside a set of embeddings."""

from pathlib import Path

import numpy as np
import pytest

from vicinal.errors import InputError
from vicinal.representations.pairing import read_labels
from vicinal.representations.representations import Representations


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", [("id", "label"), ("id", " label"), ("ID", "Label")])
def test_labels_are_read_as_people_write_them(
    separator: str, header: tuple[str, str], encoding: str, tmp_path: Path
) -> None:
    pictures = Representations(np.eye(3, dtype=np.float32), np.array(["a;1", "b", "c"]))
    file = tmp_path / "labels.csv"
    lines = [header, ('"a;1"', "cat"), ("c", " dog ")]
    file.write_text("\n".join(separator.join(line) for line in lines), encoding)
    assert read_labels(file, pictures) == {0: "cat", 2: "dog"}


def test_a_csv_without_a_column_label_is_refused(tmp_path: Path) -> None:
    pictures = Representations(np.eye(2, dtype=np.float32), np.array(["a", "b"]))
    file = tmp_path / "labels.csv"
    file.write_text("id,class\na,cat\n", "utf-8")
    with pytest.raises(InputError, match=r"needs columns id \(or path\) and label"):
        read_labels(file, pictures)


def test_pictures_are_named_by_id_or_by_path_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = np.array([str(tmp_path / "photos" / name) for name in ("a.png", "b.png")])
    held = Representations(np.eye(2, dtype=np.float32), np.array(["a.png", "b.png"]), paths=paths)
    file = tmp_path / "labels.csv"
    for text in ("id,label\nb.png,dog\n", f"path,label\n{paths[1]},dog\n"):
        file.write_text(text, "utf-8")
        assert read_labels(file, held) == {1: "dog"}
    file.write_text("path,label\nphotos/b.png,dog\nphotos/a.png,\n", "utf-8")
    assert read_labels(file, held) == {1: "dog"}  # an empty label is none
    (tmp_path / "lists").mkdir()
    elsewhere = tmp_path / "lists" / "labels.csv"  # which was embedded, say
    elsewhere.write_text("path,label\n../photos/b.png,dog\n", "utf-8")
    assert read_labels(elsewhere, held) == {1: "dog"}
    file.write_text("id,label\nphotos/b.png,dog\n", "utf-8")
    with pytest.raises(InputError, match=r"line 2: no picture 'photos/b.png' .* like 'a.png'"):
        read_labels(file, held)
    file.write_text("id\nb.png\n", "utf-8")
    assert read_labels(file, held, needed=False) == {1: ""}
    file.write_text("id,label\nb.png,dog\nb.png,cat\n", "utf-8")
    with pytest.raises(InputError, match=r"line 3: 'b.png' has two labels; keep one"):
        read_labels(file, held)
    file.write_text("id,label,label\nb.png,dog,cat\n", "utf-8")
    with pytest.raises(InputError, match="two columns are called label; rename or remove one"):
        read_labels(file, held)
    file.write_text("id,label,note,note\nb.png,dog,,\n", "utf-8")
    assert read_labels(file, held) == {1: "dog"}
    file.write_bytes(b"id,label\n\xff,dog\n")
    with pytest.raises(InputError, match=r"no CSV .* give one in UTF-8"):
        read_labels(file, held)
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(tmp_path / "nowhere.csv", held)
    without = Representations(held.array, held.ids)
    file.write_text("path,label\nb.png,dog\n", "utf-8")
    with pytest.raises(InputError, match="names paths, but the embeddings have none"):
        read_labels(file, without)


def test_a_cell_may_hold_several_lines(tmp_path: Path) -> None:
    held = Representations(np.eye(2, dtype=np.float32), np.array(["a\r\nb", "c"]))
    (tmp_path / "labels.csv").write_bytes(b'id,label\r\n"a\r\nb",dog\r\nc,cat\r\n')
    assert read_labels(tmp_path / "labels.csv", held) == {0: "dog", 1: "cat"}
