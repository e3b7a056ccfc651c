"""A CSV of labels beside a set of embeddings."""

from pathlib import Path

import numpy as np
import pytest

from vicinal.errors import InputError
from vicinal.representations.pairing import read_labels
from vicinal.representations.representations import Representations


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", [("id", "label"), ("id", " label"), ("ID", "Label")])
def test_labels_are_read_as_people_write_them(
    separator: str, header: tuple[str, str], tmp_path: Path
) -> None:
    pictures = Representations(np.eye(3, dtype=np.float32), np.array(["a;1", "b", "c"]))
    file = tmp_path / "labels.csv"
    lines = [header, ('"a;1"', "cat"), ("c", " dog ")]
    file.write_text("\n".join(separator.join(line) for line in lines), "utf-8")
    assert read_labels(file, pictures) == {0: "cat", 2: "dog"}


def test_a_csv_without_a_column_label_is_refused(tmp_path: Path) -> None:
    pictures = Representations(np.eye(2, dtype=np.float32), np.array(["a", "b"]))
    file = tmp_path / "labels.csv"
    file.write_text("id,class\na,cat\n", "utf-8")
    with pytest.raises(InputError, match=r"needs columns id \(or path\) and label"):
        read_labels(file, pictures)
