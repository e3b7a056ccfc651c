"""The head of a request, read within limits of size and time."""

from __future__ import annotations

import socket
import time

LONGEST_LINE = 2_048
LARGEST_HEAD = 16_384
SECONDS = 5.0
"""For the whole head: one byte now and then keeps no thread."""


class Refused(Exception):  # noqa: N818, an answer rather than an error
    """A request that gets an error status instead of what it asks for.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def read_head(connection: socket.socket) -> bytes:
    """Reads up to the empty line that ends a head; empty where the other side closed first.

    Raises:
        Refused: If the first line (414), the head (431) or the time it takes (408) is beyond its
            limit, or something follows the head (413): no request here has a body.
    """
    until = time.monotonic() + SECONDS
    head = b""
    while b"\r\n\r\n" not in head:
        left = until - time.monotonic()
        if left <= 0:
            raise Refused(408)
        connection.settimeout(left)
        try:
            more = connection.recv(4096)
        except TimeoutError:
            raise Refused(408) from None
        if not more:
            return b""
        head += more
        if len(head.split(b"\r\n", 1)[0]) > LONGEST_LINE:
            raise Refused(414)
        if len(head) > LARGEST_HEAD:
            raise Refused(431)
    if not head.endswith(b"\r\n\r\n"):
        raise Refused(413)
    return head
