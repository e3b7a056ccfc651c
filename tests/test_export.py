"""Exported encoders, loaded as their users would, against the encoder itself."""

import contextlib
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import vicinal
from vicinal.cli import main
from vicinal.encoder import build_encoder
from vicinal.encoder.export import FORMATS, Prepared, export
from vicinal.encoder.layers import FlipAveraged
from vicinal.encoder.saved import Preparation, save_encoder
from vicinal.errors import InputError
from vicinal.recipes.recipe import Encoder

Images = NDArray[np.float32]
MEAN, STD = (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)


def saved(
    folder: Path,
    recipe: Encoder,
    size: int,
    *,
    unit_length: bool = False,
    seen: Callable[[nn.Module], nn.Module] = lambda network: network,
) -> Path:
    """An encoder's file; a step of training gives BatchNorm statistics of its own."""
    torch.manual_seed(0)
    encoder = build_encoder(recipe, channels=3, size=size)
    encoder(torch.rand(8, 3, size, size))
    file = folder / "encoder.safetensors"
    preparation = Preparation(size, 3, MEAN, STD, unit_length=unit_length)
    save_encoder(seen(encoder), file, recipe=recipe, preparation=preparation)
    return file


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return saved(tmp_path, Encoder(backbone="plain", widths=(4, 6), dimension=40), size=12)


@pytest.fixture
def timm_encoder(tmp_path: Path) -> Path:
    pytest.importorskip("timm", reason="needs timm, an extra")
    return saved(tmp_path, Encoder(backbone="timm:test_vit", dimension=64), size=32)


def expected(file: Path, images: Images) -> Images:
    """The representations of images in [0, 1], normalised here."""
    network, _ = vicinal.load_encoder(file)
    mean, std = (np.array(v, dtype=np.float32).reshape(3, 1, 1) for v in (MEAN, STD))
    with torch.no_grad():
        return network(torch.from_numpy((images - mean) / std)).numpy()


def onnx(file: Path) -> Callable[[Images], Images]:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime, an extra")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [put.name for put in session.get_inputs()] == ["images"]
    return lambda images: session.run(["representations"], {"images": images})[0]


def torchscript(file: Path) -> Callable[[Images], Images]:
    network = torch.jit.load(file)
    return lambda images: network(torch.from_numpy(images)).numpy(force=True)


def program(file: Path) -> Callable[[Images], Images]:
    network = torch.export.load(file).module()
    return lambda images: network(torch.from_numpy(images)).numpy(force=True)


def safetensors(file: Path) -> Callable[[Images], Images]:
    return lambda images: expected(file, images)


@pytest.mark.parametrize(
    ("to", "suffix", "load"),
    [
        ("onnx", "onnx", onnx),
        ("torchscript", "pt", torchscript),
        ("torch.export", "pt2", program),
        ("safetensors", "safetensors", safetensors),
    ],
)
def test_gives_the_encoders_numbers_for_any_batch(
    to: str, suffix: str, load: Callable[[Path], Callable[[Images], Images]], encoder: Path
) -> None:
    for name in FORMATS[to].needs:
        pytest.importorskip(name, reason=f"needs {name}, an extra")
    out = encoder.with_name(f"out.{suffix}")
    made = export(encoder, to, out)
    assert made.max_difference <= 1e-5 * made.largest
    assert (made.dimensions, made.backbone) == (40, "plain")
    run = load(out)
    rng = np.random.default_rng(1)
    for batch in (1, 3, 8):
        images = rng.random((batch, 3, 12, 12), dtype=np.float32)
        np.testing.assert_allclose(run(images), expected(encoder, images), rtol=1e-4, atol=1e-6)
    assert sorted(path.name for path in encoder.parent.iterdir()) == [encoder.name, out.name]


def test_unit_length_is_in_the_file_where_the_rest_of_the_preparation_is(tmp_path: Path) -> None:
    recipe = Encoder(backbone="plain", widths=(4, 6), dimension=40)
    encoder = saved(tmp_path, recipe, size=12, unit_length=True)
    images = np.random.default_rng(1).random((3, 3, 12, 12), dtype=np.float32)
    raw = expected(encoder, images)
    whole = export(encoder, "torch.export", tmp_path / "out.pt2")
    found = program(tmp_path / "out.pt2")(images)
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    assert not np.allclose(lengths, 1)
    np.testing.assert_allclose(found, raw / lengths, rtol=1e-4, atol=1e-6)
    assert whole.to_json()["output"]["unit_length"] is True
    bare = export(encoder, "safetensors", tmp_path / "out.safetensors")
    np.testing.assert_allclose(expected(bare.out, images), raw)
    assert bare.to_json()["output"]["unit_length"] is False


def test_timm_loads_its_own_strictly(timm_encoder: Path) -> None:
    import timm

    out = timm_encoder.with_name("vit.safetensors")
    export(timm_encoder, "timm", out)
    network = timm.create_model("test_vit", num_classes=0, img_size=32)
    network.load_state_dict(load_file(out), strict=True)
    images = np.random.default_rng(1).random((2, 3, 32, 32), dtype=np.float32)
    with safe_open(out, "np") as file:
        noted = file.metadata()
    mean, std = (np.array(json.loads(noted[name]), np.float32) for name in ("mean", "std"))
    normalised = (images - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)
    with torch.no_grad():
        found = network.eval()(torch.from_numpy(normalised)).numpy()
    np.testing.assert_allclose(found, expected(timm_encoder, images), rtol=1e-5, atol=1e-6)
    assert noted["timm"] == "test_vit"


def test_what_is_more_than_timms_network_is_refused_in_a_line(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="needs timm, an extra")
    recipe = Encoder(backbone="timm:test_vit", dimension=64)
    file, out = saved(tmp_path, recipe, size=32, seen=FlipAveraged), tmp_path / "vit.safetensors"
    with pytest.raises(InputError, match=r"more than timm's 'timm:test_vit'.*torch\.export"):
        export(file, "timm", out)
    assert not out.exists()


def test_a_graph_sees_mirror_images_where_the_encoder_does(tmp_path: Path) -> None:
    recipe, out = Encoder(backbone="plain", widths=(4, 6), dimension=40), tmp_path / "mirrored.pt2"
    file = saved(tmp_path, recipe, size=12, seen=FlipAveraged)
    export(file, "torch.export", out)
    images = np.random.default_rng(1).random((3, 3, 12, 12), dtype=np.float32)
    for some in (images, images[:, :, :, ::-1].copy()):
        with torch.no_grad():
            found = torch.export.load(out).module()(torch.from_numpy(some)).numpy()
        np.testing.assert_allclose(found, expected(file, images), rtol=1e-4, atol=1e-5)


def test_timms_networks_go_to_onnx_too(timm_encoder: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs onnxscript, an extra")
    out = timm_encoder.with_name("vit.onnx")
    export(timm_encoder, "onnx", out)
    run = onnx(out)
    images = np.random.default_rng(1).random((3, 3, 32, 32), dtype=np.float32)
    np.testing.assert_allclose(run(images), expected(timm_encoder, images), rtol=1e-3, atol=1e-5)


def test_the_command_says_what_it_checked(encoder: Path) -> None:
    out = encoder.with_name("out.pt2")
    said = io.StringIO()
    arguments = ["vicinal", "export", str(encoder), "--to", "torch.export", "--out", str(out)]
    with (
        mock.patch.object(sys, "argv", [*arguments, "--json"]),
        contextlib.redirect_stdout(said),
        pytest.raises(SystemExit) as end,
    ):
        main()
    assert end.value.code == 0
    told = json.loads(said.getvalue())
    assert told["input"]["shape"] == ["batch", 3, 12, 12]
    assert told["output"]["shape"] == ["batch", 40]
    assert told["input"]["normalised"] is False
    assert told["max_difference"] <= 1e-5 * told["largest"]
    assert out.stat().st_size > 1000


@pytest.mark.parametrize(
    ("to", "name", "message"),
    [
        ("coreml", "x.mlmodel", "to='coreml': give one of onnx, torchscript, torch.export"),
        ("onnx", "x.pt", r"name must end in \.onnx"),
        ("timm", "x.safetensors", "is Vicinal's 'plain', none of timm's"),
        ("safetensors", "encoder.safetensors", "is there already"),
    ],
)
def test_refuses_with_one_line(to: str, name: str, message: str, encoder: Path) -> None:
    before = encoder.read_bytes()
    with pytest.raises(InputError, match=message) as caught:
        export(encoder, to, encoder.with_name(name))
    assert "\n" not in str(caught.value)
    assert [path.name for path in encoder.parent.iterdir()] == [encoder.name]
    assert encoder.read_bytes() == before


def test_names_the_extra_that_is_missing(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vicinal.encoder.export.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"onnxruntime, onnxscript not.*'vicinal\[onnx\]'"):
        export(encoder, "onnx", encoder.with_name("x.onnx"))


def test_a_file_that_computes_something_else_is_not_handed_out(
    encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = FORMATS["torch.export"]
    assert form.write is not None
    write = form.write

    def write_another(network: Prepared, file: Path) -> None:
        network.std.mul_(1.01)
        write(network, file)
        network.std.div_(1.01)

    out = encoder.with_name("x.pt2")
    monkeypatch.setitem(FORMATS, "torch.export", replace(form, write=write_another))
    with pytest.raises(InputError, match=r"numbers differ from PyTorch's by .*nothing was written"):
        export(encoder, "torch.export", out)
    assert not out.exists()


def test_an_encoder_of_nan_is_told_apart_from_a_bad_export(encoder: Path) -> None:
    network, preparation = vicinal.load_encoder(encoder)
    next(network.parameters()).data.fill_(torch.nan)
    broken = encoder.with_name("broken.safetensors")
    recipe = Encoder(backbone="plain", widths=(4, 6), dimension=40)
    save_encoder(network, broken, recipe=recipe, preparation=preparation)
    with pytest.raises(InputError, match="the encoder gives NaN"):
        export(broken, "torchscript", encoder.with_name("x.pt"))
