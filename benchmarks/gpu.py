"""What the GPU scripts have in common: a device or one clear line, and a sitting that ends.

Each script ends within a sitting (``--minutes``, 9 by default) and goes on from its files when it
is called again, so that it also fits where no command may run for longer.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from data import folder
from measuring import machine, say


class TimeUp(BaseException):
    """The sitting is over; not an Exception, so that nothing on the way takes it for a failure."""


def arguments(description: str | None, out: str) -> argparse.ArgumentParser:
    """A parser with what every script takes; ``out`` is where its files go by default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, default=Path("runs") / out, help="Folder of its files.")
    parser.add_argument("--minutes", type=float, default=9.0, help="Length of a sitting.")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="Changes to the recipe."
    )
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The command line; ends the script with status 2 where there is no device as asked."""
    asked = parser.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        say("no CUDA device here: this measures a GPU; --device cpu tries the script out")
        sys.exit(2)
    asked.out.mkdir(parents=True, exist_ok=True)
    return asked


@contextmanager
def sitting(minutes: float) -> Iterator[None]:
    """Stops what runs inside once the minutes are over, and says how to go on."""

    def stop(_signal: int, _frame: types.FrameType | None) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes)
    try:
        yield
    except TimeUp:
        say(f"{minutes:g} minutes are over: the same command again goes on from here")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def cifar10() -> tuple[str, str]:
    """CIFAR-10 and MNIST as `vicinal.load` takes them: the parquet files, else torchvision's."""
    if "VICINAL_DATA" in os.environ or (Path(__file__).parents[2] / "shared" / "data").is_dir():
        held = folder()
        return (
            f"parquet:{held}/cifar10-{{split}}.parquet",
            f"parquet:{held}/mnist-{{split}}.parquet",
        )
    return "cifar10", "mnist"


def where(device: str) -> str:
    """The device and torch's version, for under a table."""
    name = torch.cuda.get_device_name() if device == "cuda" else machine()
    return f"{name}; torch {torch.__version__}"


def synchronise(device: str) -> None:
    """Waits until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
