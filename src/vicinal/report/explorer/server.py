"""The page over HTTP, to this machine alone and to nobody without its address."""

from __future__ import annotations

import contextlib
import io
import secrets
import socket
import threading
import time
import webbrowser
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from vicinal.errors import InputError
from vicinal.images.decoding import Span, decode_whole
from vicinal.report.explorer.columns import ExploreRun, read_explored
from vicinal.report.explorer.explorer_page import Page, build_page

HOST = "127.0.0.1"
MOST_AT_ONCE = 32
"""Connections that are answered at the same time; more wait."""
DECODERS = threading.Semaphore(2)  # large pictures in memory at the same time
LONGEST_LINE = 2_048
LARGEST_HEAD = 16_384
SECONDS = 5.0
"""For the whole head of a request: a client that sends a byte now and then keeps no thread."""
SECONDS_TO_SEND = 30.0
LONGEST_SIDE = 1024
"""Pixels; larger pictures are reduced."""
MOST_PIXELS = 100_000_000
"""Pixels that are decoded; of a JPEG, at the fraction of its size that is needed."""
MOST_BYTES = 200_000_000
HEADERS = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Found:
    """What answers a request: the bytes, their media type and the content policy."""

    content: bytes
    kind: str
    policy: str = "default-src 'none'; sandbox"


class ExplorerServer(ThreadingHTTPServer):
    """Serves one run's page, its columns, sheets and pictures, and nothing else.

    Attributes:
        address: The page's address, with the token that every request must have.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, run: ExploreRun, port: int) -> None:
        self.run = run
        self.page: Page = build_page(run, served=True)
        self._html = self.page.html.encode()
        self.paths: list[str | None] = run.points.column("path").to_pylist()
        self.token = secrets.token_urlsafe(24)
        self._free = threading.Semaphore(MOST_AT_ONCE)
        super().__init__((HOST, port), _Handler)
        self.address = f"http://{HOST}:{self.server_port}/{self.token}/"
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answers in a thread of its own, once one is free."""
        self._free.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers, and leaves its place to the next."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a client may close its connection at any time."""

    def find(self, path: str) -> Found:
        """What lies at a path, below the token.

        Raises:
            Refused: If there is nothing (404).
        """
        parts = path.split("/")
        if len(parts) < 3 or not secrets.compare_digest(parts[1].encode(), self.token.encode()):
            raise Refused(404)
        kind, *rest = parts[2:]
        if (kind, rest) == ("", []):
            policy = f"{self.page.policy}; frame-ancestors 'none'"
            return Found(self._html, "text/html; charset=utf-8", policy)
        if (kind, rest) == ("columns", []):
            return Found(self.page.columns, "application/octet-stream")
        if len(rest) != 1 or not (rest[0].isascii() and rest[0].isdigit() and len(rest[0]) < 10):
            raise Refused(404)
        read = {"sheets": self._sheet, "originals": self._original}.get(kind)
        content = None if read is None else read(int(rest[0]))
        if content is None:
            raise Refused(404)
        return Found(content, "image/webp")

    def _sheet(self, number: int) -> bytes | None:
        sheets = self.run.pictures.sheets
        if number >= len(sheets):
            return None
        try:
            return (self.run.pictures.folder / sheets[number]).read_bytes()
        except OSError:
            return None

    def _original(self, row: int) -> bytes | None:
        path = self.paths[row] if row < len(self.paths) else None
        if path is None:
            return None
        span = self.run.figures["data"].get("span")
        with DECODERS:
            return read_original(path, None if span is None else (span[0], span[1]))


class Refused(Exception):  # noqa: N818, an answer rather than an error
    """A request that gets an error status instead of what it asks for.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _RequestHead(io.RawIOBase):
    """A connection's bytes up to the limits of a head: 431 beyond its size, 408 beyond its time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._until = connection, time.monotonic() + SECONDS
        self._left = LARGEST_HEAD

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        seconds = self._until - time.monotonic()
        if self._left <= 0 or seconds <= 0:
            raise Refused(431 if self._left <= 0 else 408)
        self._connection.settimeout(seconds)
        try:
            count = self._connection.recv_into(buffer)
        except TimeoutError:
            raise Refused(408) from None
        self._left -= count
        return count


class _Handler(BaseHTTPRequestHandler):
    """Answers one request a connection; `http.server` reads it."""

    server: ExplorerServer
    server_version = "Vicinal"
    sys_version = ""
    raw_requestline: bytes

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(_RequestHead(self.connection))
        self.command = self.requestline = ""
        self.request_version = self.protocol_version

    def handle(self) -> None:
        try:
            self.handle_one_request()
        except Refused as refused:
            self.send_error(refused.status)
        except OSError:
            return  # the other side went away

    def parse_request(self) -> bool:
        """Reads the head, and refuses what our page never asks for.

        Raises:
            Refused: For another method, a body, another host, or a request by another page.
        """
        if len(self.raw_requestline) > LONGEST_LINE:
            raise Refused(414)
        if not super().parse_request():
            return False
        if self.command not in ("GET", "HEAD"):
            raise Refused(405)
        if not self.request_version.startswith("HTTP/1."):
            raise Refused(505)
        if self.headers.get("Transfer-Encoding") or self.headers.get("Content-Length", "0") != "0":
            raise Refused(413)
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            raise Refused(421)
        origins = {f"http://{host}" for host in self.server.hosts}
        if any(origin not in origins for origin in self.headers.get_all("Origin", [])):
            raise Refused(403)
        if self.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
            raise Refused(403)
        return True

    def do_GET(self) -> None:
        self._answer(200, self.server.find(self.path))

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, status: int, found: Found) -> None:
        self.connection.settimeout(SECONDS_TO_SEND)
        self.send_response(status)
        self.send_header("Content-Type", found.kind)
        self.send_header("Content-Length", str(len(found.content)))
        self.send_header("Content-Security-Policy", found.policy)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(found.content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers with the status alone, and nothing of what was asked."""
        self.request_version = self.protocol_version  # a head even to HTTP/0.9
        text = self.responses.get(code, ("refused", ""))[0]
        with contextlib.suppress(OSError):
            self._answer(code, Found(f"{code} {text}\n".encode(), "text/plain; charset=utf-8"))
            _let_go(self.connection)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: paths hold the token."""


def _let_go(connection: socket.socket) -> None:
    """Takes a little of what is still coming, so that the answer is not lost with it."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(0.2)
    for _ in range(16):
        if not connection.recv(4096):
            return


def open_server(run: str | Path, port: int = 0) -> ExplorerServer:
    """A server of a run's page that listens, and answers once ``serve_forever`` is called.

    Raises:
        InputError: If there is nothing to explore in it, or the port cannot be had.
    """
    explored = read_explored(Path(run))
    try:
        return ExplorerServer(explored, port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"port {port}: {reason}; leave it out for a free one") from None


def serve_explorer(run: str | Path, *, port: int = 0, show: bool = False) -> None:
    """Serves a run's page on this machine until Ctrl-C, and prints its address.

    Only 127.0.0.1 is listened to, and only requests with the address's random token are
    answered: with the page, its columns and sheets, and the run's own pictures, decoded and
    written anew.

    Args:
        run: The run folder of ``explore`` or ``study``, of any number of pictures.
        port: The port; 0 for a free one.
        show: Whether to open the page in the browser.

    Raises:
        InputError: If it is no such run folder, or the port cannot be had.
    """
    with open_server(run, port) as server:
        print(f"{server.address}\nOnly this machine can open it. Ctrl-C stops.", flush=True)
        if show:
            webbrowser.open(server.address)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def read_original(path: str | Path, span: Span | None = None) -> bytes | None:
    """The picture in a file as WebP: upright, opaque and whole, at most 1,024 pixels a side.

    Args:
        path: The file.
        span: The values of pictures of more than 8 bits that become black and white; None for
            the least and the greatest of this one.

    Returns:
        None where there is none to be had.
    """
    path = Path(path)
    content = io.BytesIO()
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        shown = decode_whole(path, path.name, LONGEST_SIDE, span=span, max_pixels=MOST_PIXELS)
        shown.save(content, "WEBP", quality=90, method=2)
    except (InputError, OSError, MemoryError):
        return None
    return content.getvalue()
