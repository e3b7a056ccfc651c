"""Encoders to the Hugging Face Hub and back, through a stand-in of it on this machine."""

import base64
import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

import forked
import vicinal
from vicinal.encoder import build_encoder
from vicinal.encoder.saved import Preparation, save_encoder
from vicinal.errors import InputError
from vicinal.files import write_csv, write_json
from vicinal.recipes import to_toml
from vicinal.recipes.recipe import Encoder, Recipe

pytest.importorskip("huggingface_hub", reason="needs huggingface_hub, an extra")
COMMIT = "0" * 40


class Hub(ThreadingHTTPServer):
    """The Hub's routes that making a repository, one commit and a download take."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Route)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Route(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, body: bytes, **headers: str) -> None:
        self.send_response(200 if body else 404)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def say(self, data: Any) -> None:
        self.answer(json.dumps(data).encode(), Content_Type="application/json")

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)
        if self.path == "/api/repos/create":
            name = json.loads(sent)["name"]
            self.say({"url": f"{self.server.address}/me/{name}"})
        elif self.path == "/api/validate-yaml":  # the card's header
            self.say({"errors": [], "warnings": []})
        elif self.path == "/api/models/me/photos/preupload/main":
            names = [file["path"] for file in json.loads(sent)["files"]]
            modes = [
                {"path": n, "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for n in names
            ]
            self.say({"files": modes})
        elif self.path == "/api/models/me/photos/commit/main":
            for line in sent.splitlines():
                part = json.loads(line)
                if part["key"] == "file":
                    content = base64.b64decode(part["value"]["content"])
                    self.server.files[part["value"]["path"]] = content
            address = f"{self.server.address}/me/photos/commit/{COMMIT}"
            self.say({"success": True, "commitUrl": address, "commitOid": COMMIT})
        else:
            self.answer(b"")

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        where, _, name = self.path.partition("/resolve/main/")
        if where in ("/api/models/me/photos", "/api/models/me/photos/revision/main"):
            siblings = [{"rfilename": name} for name in self.server.files]
            self.say({"id": "me/photos", "sha": COMMIT, "siblings": siblings})
            return
        body = self.server.files.get(name, b"") if where == "/me/photos" else b""
        tag = hashlib.sha256(body).hexdigest()
        self.answer(body, ETag=f'"{tag}"', X_Repo_Commit=COMMIT)

    do_HEAD = do_GET  # noqa: N815 - http.server's name


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder as `vicinal train` leaves it."""
    recipe = Recipe(name="mine", encoder=Encoder(backbone="small", widths=(4,), dimension=6))
    torch.manual_seed(0)
    encoder = build_encoder(recipe.encoder, channels=3, size=8)
    folder = tmp_path / "run"
    folder.mkdir()
    preparation = Preparation(8, 3, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    save_encoder(
        encoder,
        folder / "encoder.safetensors",
        recipe=recipe.encoder,
        preparation=preparation,
    )
    (folder / "recipe.toml").write_text(to_toml(recipe), "utf-8")
    write_json(folder / "run.json", {"verb": "train", "data": "folder:/home/me/secret"})
    rows = [("train", 1, 9.0), ("train", 2, 7.125), ("test", 2, 8.5)]
    write_csv(folder / "losses.csv", ("split", "epoch", "total"), rows)
    return folder


def python(program: str, *arguments: str | Path, endpoint: str, home: Path) -> Any:
    environment = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_TOKEN": "hf_standin",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    return forked.run(*arguments, program=AFRESH + program, cwd=Path.cwd(), env=environment)


# What a forked process has imported already has read where the Hub is.
AFRESH = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
    del sys.modules[name]
"""
ROUND_TRIP = """
import sys, torch, vicinal
print(vicinal.push_to_hub(sys.argv[1], "photos"))
encoder, preparation = vicinal.from_pretrained("me/photos")
torch.save([encoder(torch.ones(2, 3, 8, 8)), preparation.mean], sys.argv[2])
"""


def test_an_encoder_goes_there_and_comes_back(hub: Hub, run: Path, tmp_path: Path) -> None:
    back = tmp_path / "back.pt"
    done = python(ROUND_TRIP, run, back, endpoint=hub.address, home=tmp_path / "home")
    assert done.returncode == 0, (done.stderr, hub.asked)
    assert done.stdout.splitlines()[-1] == f"{hub.address}/me/photos"
    assert sorted(hub.files) == ["README.md", "encoder.safetensors", "recipe.toml"]
    encoder, preparation = vicinal.load_encoder(run / "encoder.safetensors")
    output, mean = torch.load(back)
    assert torch.equal(output, encoder(torch.ones(2, 3, 8, 8)))
    assert mean == preparation.mean
    card = hub.files["README.md"].decode()
    assert 'vicinal.from_pretrained("me/photos")' in card
    assert "| objective, last epoch, train images | 7.125 |" in card
    assert 'backbone = "small"' in card
    sent = b"".join(hub.files.values())
    assert b"secret" not in sent


def test_a_hub_out_of_reach_is_one_line(run: Path, tmp_path: Path) -> None:
    program = "import sys, vicinal\nvicinal.push_to_hub(sys.argv[1], 'me/photos')"
    done = python(program, run, endpoint="http://127.0.0.1:9", home=tmp_path / "home")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "vicinal.errors.InputError: me/photos: the Hugging Face Hub took nothing"
    )
    assert "network" in last


def test_what_is_not_vicinals_is_refused(hub: Hub, tmp_path: Path) -> None:
    program = "import sys, vicinal\nvicinal.from_pretrained('me/photos')"
    hub.files["pytorch_model.bin"] = b"\x80pickle"
    done = python(program, endpoint=hub.address, home=tmp_path / "home")
    assert "me/photos: the Hugging Face Hub gave no encoder.safetensors" in done.stderr
    hub.files["encoder.safetensors"] = b"\x80pickle"
    done = python(program, endpoint=hub.address, home=tmp_path / "home")
    assert "not an encoder that Vicinal wrote" in done.stderr
    assert not any(path.endswith("pytorch_model.bin") for path in hub.asked)


@pytest.mark.parametrize(
    "name",
    ["../me/photos", "me/../photos", "/etc/nothing", "me/a/b", "http://x/y", "me--photos", ""],
)
def test_names_that_could_be_paths_never_reach_the_hub(
    name: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # touching it would raise otherwise
    with pytest.raises(InputError, match="repository's name"):
        vicinal.push_to_hub(run, name)
    if name:  # "" is the folder we are in
        with pytest.raises(InputError, match="repository's name"):
            vicinal.from_pretrained(name)


def test_paths_need_no_hub(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert vicinal.from_pretrained(run)[1].size == 8
    assert vicinal.from_pretrained(str(run / "encoder.safetensors"))[1].channels == 3
    with pytest.raises(InputError, match=r"pip install 'vicinal\[hub\]'"):
        vicinal.from_pretrained("me/photos")


def test_weights_that_are_not_the_recipes_are_refused(run: Path) -> None:
    other = build_encoder(Encoder(backbone="small", widths=(5,), dimension=6), channels=3, size=8)
    file = run / "other.safetensors"
    recipe = Encoder(backbone="small", widths=(4,), dimension=6)
    save_encoder(other, file, recipe=recipe, preparation=Preparation(8, 3, (0.0,) * 3, (1.0,) * 3))
    with pytest.raises(InputError, match="weights are not those of the encoder") as caught:
        vicinal.from_pretrained(file)
    assert "\n" not in str(caught.value)
