"""Files from strangers: nothing in them runs, and nothing is written where it should not be."""

import csv
import io
import os
import pickle
import tarfile
from pathlib import Path

import pytest
import torch
from torch import nn

from vicinal.errors import InputError
from vicinal.files import plain_cell, read_rows, write_csv
from vicinal.images import named_sets
from vicinal.images.store import _opened
from vicinal.training.checkpoint import Checkpoint


class Payload:
    """Makes a folder where and when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", model, torch.optim.Adam(model.parameters()))
    checkpoint.save(1)
    state = torch.load(checkpoint.path, weights_only=True)
    torch.save(state | {"losses": [Payload(tmp_path / "taken")]}, checkpoint.path)
    with pytest.raises(InputError, match=r"checkpoint\.pt: not a checkpoint of this recipe"):
        checkpoint.restore()
    assert not (tmp_path / "taken").exists()


def test_the_store_of_pixels_runs_no_code(tmp_path: Path) -> None:
    header = io.BytesIO()
    header.write(b"\x93NUMPY\x01\x00v\x00")
    header.write(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n")
    path = tmp_path / "pixels.npy"
    path.write_bytes(header.getvalue() + pickle.dumps([Payload(tmp_path / "taken")]))
    assert _opened(path, 1, 8) is None
    assert not (tmp_path / "taken").exists()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_an_archive_with_paths_that_lead_out_is_not_unpacked(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision.datasets

    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network here")

    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", no_network)
    data = tmp_path / "data"
    data.mkdir()
    dataset = getattr(torchvision.datasets, named_sets._CLASSES[name])
    with tarfile.open(data / dataset.filename, "w:gz") as archive:
        for target in ("../../taken", str(tmp_path / "taken"), f"{dataset.base_folder}/../taken"):
            member = tarfile.TarInfo(target)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(InputError, match=f"{name} is not in"):
        named_sets.load_torchvision(name, data)
    assert not [path for path in tmp_path.rglob("*taken*") if "pytest" not in path.name]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_a_spreadsheet_would_run_is_made_text(start: str, tmp_path: Path) -> None:
    path = tmp_path / "ranked.csv"
    name = f"{start}cmd|'/c calc'!A1"
    inside = f"beach\r{name}\n{name}"
    write_csv(path, ["id", "score"], [(name, -1.5), ("'quoted", 2), (None, "-"), (inside, 3)])
    with path.open(newline="", encoding="utf-8") as file:
        cells = list(csv.reader(file))
    assert cells[1] == [f"'{name}", "-1.5"]  # a number may begin with a minus
    assert cells[2] == ["'quoted", "2"]
    assert cells[3] == ["", "'-"]
    assert cells[4:] == [[inside, "3"]]  # a line break begins no row of its own
    assert plain_cell(read_rows(path)[0]["id"]) == name


def test_nothing_that_can_run_code_is_called() -> None:
    source = Path(__file__).parents[2] / "src" / "vicinal"
    for path in source.rglob("*.py"):
        text = path.read_text("utf-8")
        for word in ("import pickle", "import joblib", "allow_pickle=True", " eval(", " exec("):
            assert word not in text, (path.name, word)
        assert text.count("torch.load(") == text.count("weights_only=True)"), path.name
