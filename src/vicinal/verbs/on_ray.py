"""Work on the workers of a Ray cluster, which is found or refused within a minute.

Ray by itself tries for a quarter of an hour to reach a head that is not there, and prints a line
of its own every few seconds. So the address is tried before Ray hears of it.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from vicinal.errors import InputError, option

_CONNECT = 10  # seconds to reach the head's port
_ANSWER = 50  # seconds for a Ray to answer there, of which importing Ray is a part
_MOST_BLOCKS = 10_000  # of Ray Data: a block is what a dead worker does again


def ray_module() -> Any:
    """The module ray, an optional one.

    Raises:
        InputError: If it is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise InputError(
            f"{option('engine', 'ray')} needs Ray: pip install 'vicinal[ray]'"
        ) from None
    return ray


@contextmanager
def connected(ray: Any) -> Iterator[Any]:
    """The module, connected to RAY_ADDRESS's cluster or, without one, to one made here.

    A connection that is there already is used, and left.

    Raises:
        InputError: If there is no cluster at the address.
    """
    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get("RAY_ADDRESS", "")
    if address:
        _reach(address)
    try:
        # "local", or Ray looks for the cluster that it last heard of, which may be long gone.
        ray.init(address or "local", logging_level="error", log_to_driver=False)
    except Exception as error:  # of every kind, by what is wrong and by Ray's version
        raise _refused(address, str(error)) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def mapped(
    ray: Any,
    work: type,
    made: Sequence[Any],
    items: Sequence[dict[str, str]],
    *,
    gpus: bool,
) -> Iterator[dict[str, Any]]:
    """Rows that a pool of actors makes of items; what a dead worker held is done by another.

    Args:
        ray: A connected Ray.
        work: The actors' class: called with a batch of one row, it returns another.
        made: What an actor is made with, but for its last argument: its CPUs.
        items: The rows.
        gpus: Whether an actor is a GPU with its share of CPUs, where there are any; or a CPU.

    Raises:
        InputError: If the cluster has no CPU.
    """
    there = ray.cluster_resources()
    cpus, devices = int(there.get("CPU", 0)), int(there.get("GPU", 0)) if gpus else 0
    if cpus < 1:
        raise InputError(
            f"{option('engine', 'ray')}: the cluster has no CPU to work on; add a machine by "
            "`ray start --address=HEAD:6379`"
        )
    workers = devices or cpus
    each = max(1, cpus // workers)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # its plan, in several lines
    blocks = min(len(items), _MOST_BLOCKS)
    rows = ray.data.from_items(list(items), override_num_blocks=blocks).map_batches(
        work,
        fn_constructor_args=(*made, each),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, blocks)),
        num_cpus=each,
        **({"num_gpus": 1} if devices else {}),
    )
    yield from rows.iter_rows()


def _reach(address: str) -> None:
    """Refuses an address where no Ray answers; one that is none is left to Ray."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT).close()
        except (OSError, OverflowError, UnicodeError) as error:
            raise _refused(address, getattr(error, "strerror", None) or str(error)) from None
    elif address != "auto":
        return
    if address.startswith("ray://"):
        return  # Ray's client waits half a minute itself
    ask = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--skip-version-check"]
    try:
        subprocess.run(ask, check=True, timeout=_ANSWER, capture_output=True)  # noqa: S603
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        raise _refused(address, "no Ray answers there") from None


def _refused(address: str, reason: str) -> InputError:
    lines = reason.strip().splitlines() or ["no reason given"]
    said = lines[0][:200].rstrip(".")
    if not address:
        return InputError(f"{option('engine', 'ray')}: Ray did not start on this machine ({said})")
    return InputError(
        f"{option('engine', 'ray')}: no cluster at RAY_ADDRESS={address} ({said}); start one by "
        "`ray start --head` and name its HOST:6379, or unset it for one on this machine"
    )
