"""Does a training on two ranks end cleanly? Ends one again and again beside busy neighbours.

    python benchmarks/endings.py --count 200

Each ending is that of two whole processes, started as torchrun's agent starts them, that train on
the digits for one short epoch by `vicinal train`. They are forked from one process that has
imported everything, so that an ending costs a second or two and not twenty; they finish as any
Python process does, which is the point. Prints how many ended with which exit status, and exits
with status 1 if any was not 0.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NoReturn

from neighbours import busy
from vicinal.cli import main

RANKS = 2
IMPORTED = (
    *("vicinal.cli.output", "vicinal.study.train", "lightning.fabric.strategies.ddp"),
    *("torchvision.models", "torch._dynamo", "sklearn.datasets", "filelock"),
)
"""What takes a rank longest, imported before any is forked."""
TRAIN = (
    *("train", "digits", "--limit", "100", "--device", "cpu"),
    *("--set", "training.epochs=1", "--set", "training.batch_size=50"),
    *("--set", "training.warmup_epochs=0", "--set", "encoder.widths=[8]"),
    *("--set", "encoder.dimension=8", "--set", "projector.widths=[16,16]"),
)


STORES = """
import sys
from torch.distributed import TCPStore
for _ in sys.stdin:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    print(store.port, flush=True)
"""
"""Torchrun's agent, as far as a rank sees it: another process, with a store for each ending."""


def started(rank: int, port: int, number: int, folder: Path) -> int:
    """The process of a rank, which trains and ends as `vicinal train` under torchrun does."""
    process = os.fork()
    if process == 0:
        trained(rank, port, number, folder)
    return process


def trained(rank: int, port: int, number: int, folder: Path) -> NoReturn:
    """Runs the command with what torchrun's agent gives a rank."""
    os.environ |= {
        "TORCHELASTIC_RUN_ID": f"ending-{number}",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(RANKS),
        "LOCAL_WORLD_SIZE": str(RANKS),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    said = os.open(folder / f"{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.argv = ["vicinal", *TRAIN, "--run", str(folder / "run")]
    main()
    sys.exit(0)


def ending(number: int, stores: subprocess.Popen[str]) -> list[int]:
    """The exit statuses of one training's ranks; a negative one is the signal that ended it."""
    assert stores.stdin is not None
    assert stores.stdout is not None
    print(number, file=stores.stdin, flush=True)
    port = int(stores.stdout.readline())
    folder = Path(tempfile.mkdtemp())  # no context manager: the forked ranks would leave it too
    processes = [started(rank, port, number, folder) for rank in range(RANKS)]
    statuses = [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in processes]
    for rank, status in enumerate(statuses):
        if status != 0:
            said = (folder / f"{rank}.txt").read_text("utf-8", "replace")
            print(f"ending {number}, rank {rank}, status {status}: {said[-2000:]}", flush=True)
    shutil.rmtree(folder)
    return statuses


def endings() -> None:
    """Reads the command line, ends trainings and says how."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="Trainings to end.")
    parser.add_argument("--neighbours", type=int, default=2, help="Busy processes beside them.")
    asked = parser.parse_args()
    for name in IMPORTED:
        importlib.import_module(name)
    stores = subprocess.Popen(
        [sys.executable, "-c", STORES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    statuses: Counter[int] = Counter()
    began = time.monotonic()
    with busy(asked.neighbours):
        for number in range(asked.count):
            statuses.update(ending(number, stores))
    told = ", ".join(f"{count} with status {status}" for status, count in sorted(statuses.items()))
    print(
        f"{asked.count} endings of {RANKS} ranks beside {asked.neighbours} busy neighbours: {told} "
        f"({time.monotonic() - began:.0f} s)"
    )
    sys.exit(0 if set(statuses) == {0} else 1)


if __name__ == "__main__":
    endings()
