"""The server answers its own page's requests, and nothing and nobody else."""

import concurrent.futures
import http.client
import io
import random
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from vicinal.errors import InputError
from vicinal.report.explorer import server as serving
from vicinal.report.explorer.server import ExplorerServer, open_server, read_original

AT_ONCE = 32


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, make_explored: Callable[..., Path]
) -> Iterator[ExplorerServer]:
    """A server of twelve pictures, ten of which are still where they were."""
    folder = tmp_path_factory.mktemp("served")
    pixels = np.random.default_rng(0).integers(0, 255, (12, 40, 40, 3), dtype=np.uint8)
    paths = [str(folder / f"{row}.png") for row in range(12)]
    for path, picture in zip(paths[:10], pixels, strict=False):
        Image.fromarray(picture).resize((120, 80)).save(path)
    Image.new("RGB", (1500, 1000), "teal").save(paths[3])
    Path(paths[10]).write_text("no picture, but a secret")
    (folder / "secret.txt").write_text("secret")
    run = make_explored(folder / "run", pixels, paths=paths, clusters=2)
    with open_server(run) as opened:
        thread = threading.Thread(target=opened.serve_forever, args=(0.05,))
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


def ask(
    served: ExplorerServer, path: str, method: str = "GET", **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """Status, content and headers of an answer; ``path`` is below the token."""
    connection = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=600)
    try:
        connection.request(method, f"/{served.token}/{path}", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.headers)
    finally:
        connection.close()


def send(served: ExplorerServer, request: bytes) -> bytes:
    """The first line of the answer to raw bytes."""
    with socket.create_connection(("127.0.0.1", served.server_port), timeout=600) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            return answer.readline().strip()


def test_the_page_and_its_data_are_served(served: ExplorerServer) -> None:
    status, html, headers = ask(served, "")
    assert status == 200
    assert b"<title>PHOTOS" in html
    assert b"data:image/webp;base64" not in html
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert ask(served, "columns")[1] == served.page.columns
    sheet = ask(served, "sheets/0")[1]
    assert sheet == (served.run.pictures.folder / "sheet-000.webp").read_bytes()
    assert ask(served, "sheets/0", "HEAD")[1] == b""


def test_a_picture_is_decoded_and_written_anew(served: ExplorerServer) -> None:
    status, content, headers = ask(served, "originals/3")
    assert (status, headers["Content-Type"]) == (200, "image/webp")
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (1024, 683)
        assert image.format == "WEBP"


@pytest.mark.parametrize(
    "path",
    [
        "originals/10", "originals/11", "originals/12", "originals/-1", "originals/99999999999",
        "originals/", "originals", "originals/../secret.txt", "originals/%2e%2e/secret.txt",
        "originals/٣", "sheets/1", "sheets/index.parquet", "../secret.txt", "explore.json",
        "sheets", "sheets/", "points.parquet", "columns/", "columns?x", "sheets/0/0",
    ],
)  # fmt: skip
def test_nothing_else_is_there(served: ExplorerServer, path: str) -> None:
    head = f"GET /{served.token}/{path} HTTP/1.1\r\nHost: 127.0.0.1:{served.server_port}\r\n\r\n"
    assert send(served, head.encode()) == b"HTTP/1.0 404 Not Found"


def test_no_address_without_the_token(served: ExplorerServer) -> None:
    host = f"Host: 127.0.0.1:{served.server_port}"
    for path in ("/", "/x/", f"/{served.token}", f"/{served.token[:-1]}/"):
        answer = send(served, f"GET {path} HTTP/1.1\r\n{host}\r\n\r\n".encode())
        assert answer == b"HTTP/1.0 404 Not Found", path


def test_other_pages_and_other_names_are_refused(served: ExplorerServer) -> None:
    port = served.server_port
    assert ask(served, "", Host=f"evil.example:{port}")[0] == 421
    assert ask(served, "", Host="127.0.0.1")[0] == 421
    assert ask(served, "", Host=f"localhost:{port}")[0] == 200
    assert ask(served, "columns", Origin="http://evil.example")[0] == 403
    assert ask(served, "columns", Origin="null")[0] == 403
    assert ask(served, "columns", Origin=f"http://127.0.0.1:{port}")[0] == 200
    assert ask(served, "columns", **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    two = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHost: evil\r\n\r\n"
    assert send(served, two.encode()) == b"HTTP/1.0 421 Misdirected Request"


def test_only_looking_is_allowed_and_only_briefly(served: ExplorerServer) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"):
        assert ask(served, "", method)[0] in (405, 413), method
    host = f"Host: 127.0.0.1:{served.server_port}\r\n"
    for head, status in {
        f"GET / HTTP/1.1\r\n{host}Content-Length: 3\r\n\r\nabc": b"413",
        f"GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n": b"413",
        f"GET /{'a' * 3000} HTTP/1.1\r\n{host}\r\n": b"414",
        f"GET / HTTP/1.1\r\n{host}{'X: y' * 5000}": b"431",
        f"GET / HTTP/1.1\r\n{'X: y' * 100}\r\n" * 40: b"431",
        "GET /\r\n\r\n": b"505",
        "\x00\x01\x02\r\n\r\n": b"400",
        "GET / HTTP/9.9.9\r\n\r\n": b"400",
    }.items():
        assert send(served, head.encode()).split()[1] == status, head[:60]


def test_only_this_machine_is_listened_to(served: ExplorerServer) -> None:
    assert served.server_address[0] == "127.0.0.1"


def test_a_slow_request_is_let_go(served: ExplorerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vicinal.report.explorer.server.SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", served.server_port), timeout=600) as connection:
        connection.sendall(b"GET / HT")
        assert connection.recv(100).startswith(b"HTTP/1.0 408")


def test_two_servers_have_two_tokens(served: ExplorerServer) -> None:
    with open_server(served.run.folder) as other:
        assert other.token != served.token
        assert len(other.token) >= 32
    with pytest.raises(InputError, match="port"):
        open_server(served.run.folder, served.server_port)
    with pytest.raises(InputError, match="port"):
        open_server(served.run.folder, 70_000)


def test_the_address_is_told_and_ctrl_c_stops(
    served: ExplorerServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def interrupted(server: ExplorerServer) -> None:
        asked.append(server.address)
        raise KeyboardInterrupt

    monkeypatch.setattr(ExplorerServer, "serve_forever", interrupted)
    monkeypatch.setattr(serving.webbrowser, "open", asked.append)
    serving.serve_explorer(served.run.folder, show=True)
    assert capsys.readouterr().out.splitlines()[0] == asked[0] == asked[1]
    assert asked[0].startswith("http://127.0.0.1:")


def test_only_pictures_are_read(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.new("CMYK", (8, 8)).save(tmp_path / "cmyk.jpg")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    for name in ("deep.png", "cmyk.jpg", "clear.png"):
        content = read_original(tmp_path / name)
        assert content is not None, name
    with Image.open(io.BytesIO(content)) as image:
        assert min(image.convert("L").getdata()) > 250  # what is clear is white
    (tmp_path / "script.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    for name in ("script.eps", "absent.png", ".", "/dev/zero"):
        assert read_original(tmp_path / name) is None, name


def test_a_served_page_shows_the_pictures_themselves(
    open_page: Callable[..., Page], served: ExplorerServer
) -> None:
    page = open_page(served.address, "row=3&tab=picture")
    page.wait_for_selector('img.large[data-row="3"]')
    assert page.evaluate("document.querySelector('img.large').naturalWidth") == 1024
    page.wait_for_selector("[aria-label=Nearest] canvas[data-drawn]", state="attached")
    page.fill("#find", "00005")
    expect(page.locator("#hits")).to_have_text("1 hit")


# In a process of its own: what counts lines here keeps something of every thread there was.
SERVER = """
import sys
from vicinal.report.explorer.server import open_server
server = open_server(sys.argv[1])
print(server.server_port, server.token, flush=True)
server.serve_forever()
"""


@pytest.fixture
def apart(served: ExplorerServer) -> Iterator[tuple[SimpleNamespace, Path]]:
    """The run's server again: what `ask` and `send` need of it, and its folder in /proc."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, served.run.folder], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port, token = process.stdout.readline().split()
            yield SimpleNamespace(server_port=int(port), token=token), Path(f"/proc/{process.pid}")
        finally:
            process.kill()


def memory(process: Path) -> float:
    """Resident memory now, in MiB."""
    pages = int((process / "statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs Linux's /proc")
@pytest.mark.parametrize("requests", [1_000, pytest.param(10_000, marks=pytest.mark.ci)])
def test_thousands_of_requests_at_once(requests: int, apart: tuple[SimpleNamespace, Path]) -> None:
    served, process = apart
    rng = random.Random(0)
    good = f"Host: 127.0.0.1:{served.server_port}\r\n\r\n"
    kinds = [
        (f"GET /{served.token}/sheets/0 HTTP/1.1\r\n{good}".encode(), b"200"),
        (f"HEAD /{served.token}/ HTTP/1.1\r\n{good}".encode(), b"200"),
        (f"GET /{served.token}/originals/11 HTTP/1.1\r\n{good}".encode(), b"404"),
        (f"GET /wrong/ HTTP/1.1\r\n{good}".encode(), b"404"),
        (b"GET / HTTP/1.1\r\nHost: evil\r\n\r\n", b"421"),
        (b"GET /" + b"a" * 9000, b"414"),
        (b"BREW / HTTP/1.1\r\n\r\n", b"405"),
        (rng.randbytes(200) + b"\r\n\r\n", b"4"),
        (b"", b""),
        (b"GET /half a li", b""),
    ]

    def one(number: int) -> bool:
        request, status = kinds[number % len(kinds)]
        line = send(served, request).split()
        return (line[1:2] or [b""])[0].startswith(status)

    held = []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as clients:
        threads = len(list((process / "task").iterdir()))
        for _ in range(5):
            assert all(clients.map(one, range(requests // 5)))
            held.append(memory(process))
        # A leak grows with every fifth, buffers with some.
        assert np.diff(held).min() < 0.25
        assert len(list((process / "task").iterdir())) <= threads + serving.MOST_AT_ONCE
    assert ask(served, "")[0] == 200
