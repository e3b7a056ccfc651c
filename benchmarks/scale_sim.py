"""Simulates the two exact ways to VICReg's statistics of a global batch, and checks the simulation.

Per step, R ranks hold n = B / R rows of an embedding Z (B, D) each. Both ways give the covariance
term and its gradient exactly:

- ``gather``: all-gather Z, then every rank forms the smaller side of the whole batch and the
  gradient of its own rows: 2 B D min(B, D) operations for the product, 2 n D min(B, D) for the
  gradient; (R − 1) / R · 4 B D bytes come in.
- ``reduce``: every rank forms its own D × D sum, 2 n D² operations, which are added up by an
  all-reduce of 4 D² bytes, ring: 2 (R − 1) / R of them sent; 2 n D² operations for the gradient.

A collective takes latency + bytes / bandwidth, fitted for each number of ranks on sizes of their
own; a product takes operations / rate and the sum of squares a time for each entry, both measured.
Here products are timed in processor time and collectives on the clock, from a barrier on: ranks
that share cores with each other and with other programs would otherwise measure their turns.
``python benchmarks/scale_sim.py`` runs 1, 2 and 4 ranks by gloo, holds prediction against
measurement, and then predicts for named hardware.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from measuring import machine, say, section, table, versions

RANKS = (1, 2, 4)
BATCHES = (128, 512, 1024)
WIDTHS = (128, 512, 1024)
FITTED = (2**10, 2**21)  # floats of the two messages that a collective is fitted on
REPEATS = 9
T = TypeVar("T")


@dataclass(frozen=True)
class Machine:
    """What the simulation knows of some ranks.

    Attributes:
        name: What they are.
        rate: Operations a second of a rank in such products, float32.
        entry: Seconds for each entry of a matrix whose squares are summed.
        latency: Seconds of a collective without bytes, by name: gather, reduce.
        bandwidth: Bytes a second through a rank, likewise.
    """

    name: str
    rate: float
    entry: float
    latency: dict[str, float]
    bandwidth: dict[str, float]


def traffic(way: str, ranks: int, batch: int, width: int) -> float:
    """Bytes through each rank's link."""
    share = (ranks - 1) / ranks
    return share * 4 * batch * width if way == "gather" else 2 * share * 4 * width**2


def operations(way: str, ranks: int, batch: int, width: int) -> float:
    """Floating-point operations of each rank, both products."""
    own = batch / ranks
    if way == "gather":
        return 2 * (batch + own) * width * min(batch, width)
    return 4 * own * width**2


def predicted(way: str, held: Machine, ranks: int, batch: int, width: int) -> float:
    """Seconds of a step's statistics."""
    side = min(batch, width) if way == "gather" else width
    seconds = operations(way, ranks, batch, width) / held.rate + held.entry * side**2
    if ranks > 1:
        moved = traffic(way, ranks, batch, width) / held.bandwidth[way]
        seconds += held.latency[way] + moved
    return seconds


# Stated, not measured: data sheets and what is commonly reached. A way's two latencies are alike.
NAMED = {
    "8 × H200, one node (NVLink)": (8, 40e12, 4e-12, 20e-6, 350e9),
    "64 × H200, 8 nodes (400 Gb/s a GPU)": (64, 40e12, 4e-12, 60e-6, 40e9),
    "512 × H200, 64 nodes (400 Gb/s a GPU)": (512, 40e12, 4e-12, 150e-6, 40e9),
    "16 CPU nodes, 32 cores (25 Gb/s)": (16, 1e12, 1e-10, 100e-6, 2.5e9),
}


def main() -> None:
    """Measures, fits, compares and prints the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="Keep what was measured in this file.")
    asked = parser.parse_args()
    measured = {ranks: measure(ranks) for ranks in RANKS}
    if asked.json is not None:
        asked.json.write_text(json.dumps(measured))
    rows, ratios, right, decided = compared(measured)
    section(
        "Exact statistics of a global batch: communication against compute",
        "Gather the embeddings, or add up D × D sums?",
        [
            table(
                ["ranks", "batch B", "width D", "gather ms", "said", "reduce ms", "said", "less"],
                rows,
            ),
            table(
                ["ranks", "batch B", "width D", "gather µs", "reduce µs", "less"],
                foretold(),
            ),
        ],
        [
            f"First table: measured here by gloo ({machine()}), the least of {REPEATS} rounds, one "
            "thread a rank, processor time of products plus real time of collectives. Latency, "
            "bandwidth and rate are fitted on messages and products of "
            f"other sizes. Said ÷ measured: median {statistics.median(ratios):.2f}, quartiles "
            + " to ".join(f"{q:.2f}" for q in statistics.quantiles(ratios, n=4)[::2])
            + f"; where the two ways differ by a third or more, the simulation names the quicker "
            f"one in {right} of {decided} cases.",
            "Second table: stated rates, not measured: "
            + "; ".join(
                f"{name}: {rate / 1e12:g} TFLOP/s in float32, {latency * 1e6:g} µs, "
                f"{bandwidth / 1e9:g} GB/s"
                for name, (_, rate, _, latency, bandwidth) in NAMED.items()
            )
            + ".",
            "The rule: by bytes, gather costs less while B < 2 D. By operations, reduce costs less "
            "from B > D on, for every rank of the gather does the whole product.",
            versions("torch"),
        ],
    )


def measure(ranks: int) -> dict[str, object]:
    """Runs the ranks as processes of their own, and returns the slowest rank's seconds."""
    with tempfile.TemporaryDirectory() as scratch:
        mp.spawn(_rank, args=(ranks, scratch), nprocs=ranks)
        return json.loads((Path(scratch) / "measured.json").read_text())


def _rank(rank: int, ranks: int, scratch: str) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{scratch}/store", ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    torch.manual_seed(rank)
    side = torch.randn(384, 384)
    rate = 2 * 384**3 / _least(lambda clock: clock.compute(lambda: side @ side))
    large = torch.randn(640, 640)
    entry = _least(lambda clock: clock.compute(lambda: large.square().sum())) / 640**2
    collectives = {
        way: [
            _least(lambda clock, way=way, size=size: _message(clock, way, ranks, size))
            for size in FITTED
        ]
        for way in ("gather", "reduce")
    }
    steps = {}
    for batch in BATCHES:
        for width in WIDTHS:
            own = torch.randn(batch // ranks, width)
            for way, step in (("gather", gathered), ("reduce", reduced)):
                took = _least(lambda clock, step=step, own=own: step(own, clock))
                steps[f"{way} {batch} {width}"] = took
    if rank == 0:
        say(f"{ranks} ranks: {rate / 1e9:.1f} GFLOP/s, {collectives}")
        found = {"rate": rate, "entry": entry, "collectives": collectives, "steps": steps}
        (Path(scratch) / "measured.json").write_text(json.dumps(found))
    dist.destroy_process_group()


class Clock:
    """Adds up processor time of what is computed and real time of what is exchanged."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def compute(self, work: Callable[[], T]) -> T:
        """Runs ``work`` and counts its processor time on this thread."""
        began = time.thread_time()
        result = work()
        self.seconds += time.thread_time() - began
        return result

    def exchange(self, work: Callable[[], object]) -> None:
        """Runs a collective, which all ranks begin at once, and counts the time it takes."""
        if dist.get_world_size() == 1:
            return
        dist.barrier()
        began = time.perf_counter()
        work()
        self.seconds += time.perf_counter() - began


def gathered(own: Tensor, clock: Clock) -> tuple[Tensor, Tensor]:
    """The sum of squares of ZᵀZ and its gradient for the rank's own rows (n, D), by gathering."""
    ranks, rank = dist.get_world_size(), dist.get_rank()
    parts = [torch.zeros_like(own) for _ in range(ranks)] if ranks > 1 else [own]
    clock.exchange(lambda: dist.all_gather(parts, own))

    def work() -> tuple[Tensor, Tensor]:
        whole = torch.cat(parts) if ranks > 1 else own
        if len(whole) < whole.shape[1]:
            side = whole @ whole.T
            mine = side[rank * len(own) : (rank + 1) * len(own)]
            return side.square().sum(), 4 * (mine @ whole)
        side = whole.T @ whole
        return side.square().sum(), 4 * (own @ side)

    return clock.compute(work)


def reduced(own: Tensor, clock: Clock) -> tuple[Tensor, Tensor]:
    """The same by adding up D × D sums."""
    side = clock.compute(lambda: own.T @ own)
    clock.exchange(lambda: dist.all_reduce(side))
    return clock.compute(lambda: (side.square().sum(), 4 * (own @ side)))


def _message(clock: Clock, way: str, ranks: int, size: int) -> None:
    """A collective of so many floats: gathered from all, or added up."""
    if way == "reduce":
        whole = torch.ones(size)
        clock.exchange(lambda: dist.all_reduce(whole))
    else:
        part = torch.ones(size // ranks)
        parts = [torch.zeros_like(part) for _ in range(ranks)]
        clock.exchange(lambda: dist.all_gather(parts, part))


def _least(work: Callable[[Clock], object]) -> float:
    """The least seconds of some rounds, the slowest rank's in each round."""
    work(Clock())
    least = float("inf")
    for _ in range(REPEATS):
        clock = Clock()
        work(clock)
        slowest = torch.tensor(clock.seconds)
        dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
        least = min(least, float(slowest))
    return least


def fitted(ranks: int, measured: dict) -> Machine:
    """Latency and bandwidth from two messages of each collective."""
    latency, bandwidth = {}, {}
    for way, (small, large) in measured["collectives"].items():
        factor = 4 * (ranks - 1) / ranks * (2 if way == "reduce" else 1)
        slope = max(1e-15, (large - small) / (factor * (FITTED[1] - FITTED[0]) or 1))
        bandwidth[way] = 1 / slope
        latency[way] = max(0.0, small - factor * FITTED[0] * slope)
    return Machine("here", measured["rate"], measured["entry"], latency, bandwidth)


def compared(measured: dict[int, dict]) -> tuple[list[list[str]], list[float], int, int]:
    """Rows of the first table, said ÷ measured, and how often the quicker way is named."""
    rows, ratios, right, decided = [], [], 0, 0
    for ranks, found in measured.items():
        held = fitted(ranks, found)
        for batch in BATCHES:
            for width in WIDTHS:
                ways = ("gather", "reduce")
                took = [found["steps"][f"{way} {batch} {width}"] for way in ways]
                said = [predicted(way, held, ranks, batch, width) for way in ways]
                ratios += [b / a for a, b in zip(took, said, strict=True)]
                if max(took) > 4 / 3 * min(took):
                    decided += 1
                    right += (took[0] < took[1]) == (said[0] < said[1])
                times = [f"{1e3 * t:.2f}" for pair in zip(took, said, strict=True) for t in pair]
                rows.append([str(ranks), str(batch), str(width), *times, less(took)])
    return rows, ratios, right, decided


def foretold() -> list[list[str]]:
    """Rows of the second table."""
    rows = []
    for name, (ranks, rate, entry, latency, bandwidth) in NAMED.items():
        both = ("gather", "reduce")
        held = Machine(
            name, rate, entry, dict.fromkeys(both, latency), dict.fromkeys(both, bandwidth)
        )
        for batch in (1024, 4096, 16_384):
            for width in (2048, 8192):
                said = [predicted(way, held, ranks, batch, width) for way in both]
                times = [f"{1e6 * t:,.0f}" for t in said]
                rows.append([name, f"{batch:,}", f"{width:,}", *times, less(said)])
    return rows


def less(seconds: Sequence[float]) -> str:
    """Which way takes less, gather or reduce."""
    return "gather" if seconds[0] < seconds[1] else "reduce"


if __name__ == "__main__":
    main()
