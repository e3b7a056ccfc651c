"""Our VICReg loss against lightly's and stable-pretraining's: time, memory, agreement."""

from __future__ import annotations

import gc
import statistics
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from measuring import extra_memory, interleaved, ratio, say, section, table, versions
from vicinal.objectives import PRESETS, vicreg

BATCHES = (256, 1024, 2048)
DIMENSIONS = (512, 2048, 8192)
AGREEMENT = 1e-4
TIME_GOAL, MEMORY_GOAL, GOAL_CELL = 50, 1 / 10, (256, 8192)
MEBIBYTE = 2**20

Loss = Callable[[Tensor, Tensor], Tensor]


class Cell(NamedTuple):
    """What was measured at one size.

    Attributes:
        batch: Rows of the embeddings.
        dimensions: Their columns.
        seconds: Of each round, by contestant.
        memory: Extra bytes, by contestant.
        disagreement: Greatest relative difference of loss or gradients, by peer.
    """

    batch: int
    dimensions: int
    seconds: dict[str, list[float]]
    memory: dict[str, int]
    disagreement: dict[str, float]


def losses() -> dict[str, Loss]:
    """Ours first, then the peers with their defaults, which are the paper's 25, 25, 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lightly.loss import VICRegLoss as Lightly
        from stable_pretraining.losses import VICRegLoss as StablePretraining
    return {
        "ours": lambda z_a, z_b: vicreg(z_a, z_b, **PRESETS["paper"]).total,
        "lightly": Lightly(),
        "stable-pretraining": StablePretraining(),
    }


def embeddings(batch: int, dimensions: int) -> tuple[Tensor, Tensor]:
    """Two views (B, D) of which all three terms have something to say."""
    generator = torch.Generator().manual_seed(batch + dimensions)
    # Neighbouring dimensions correlate, as in training; deviations lie around 0.7, below 1.
    base = torch.randn(batch, dimensions, generator=generator)
    base = 0.6 * base + 0.4 * base.roll(1, dims=1)
    noise = 0.2 * torch.randn(2, batch, dimensions, generator=generator)
    return (base + noise[0]).requires_grad_(), (base + noise[1]).requires_grad_()


def measured(batch: int, dimensions: int, contestants: dict[str, Loss]) -> Cell:
    """One cell: memory first, whose results are compared, then times in turn."""
    began = time.perf_counter()
    z_a, z_b = embeddings(batch, dimensions)
    found: dict[str, tuple[Tensor, ...]] = {}

    def step(name: str) -> None:
        total = contestants[name](z_a, z_b)
        # The gradients are made anew and dropped, so that they count as extra memory.
        found[name] = (total.detach(), *torch.autograd.grad(total, (z_a, z_b)))

    memory, disagreement = {}, {}
    for name in contestants:
        memory[name] = extra_memory(lambda name=name: step(name))  # type: ignore[misc]
        disagreement[name] = max(
            float((theirs - ours).norm() / ours.norm())
            for ours, theirs in zip(found["ours"], found[name], strict=True)
        )
        if name != "ours":
            del found[name]
    worst = max(disagreement.values())
    if not worst <= AGREEMENT:
        raise SystemExit(f"losses disagree at {batch}×{dimensions}: {disagreement}")
    works = {name: lambda name=name: step(name) for name in contestants}  # type: ignore[misc]
    # What was measured for memory has warmed everything up.
    seconds = interleaved(works, rounds=rounds(batch, dimensions), warm_up=0)
    say(f"{batch}×{dimensions}: {time.perf_counter() - began:.0f} s, differs by {worst:.0e}")
    return Cell(batch, dimensions, seconds, memory, disagreement)


def rounds(batch: int, dimensions: int) -> int:
    """Fewer rounds where a peer needs seconds; at least 3."""
    cost = batch * dimensions**2 / (256 * 8192**2)
    return 3 if cost > 1 else 5 if cost > 0.2 else 15


def times_row(cell: Cell) -> list[str]:
    ours, *peers = cell.seconds
    median = {name: 1000 * statistics.median(cell.seconds[name]) for name in cell.seconds}
    ratios = [ratio(cell.seconds[name], cell.seconds[ours]) for name in peers]
    return [
        f"{cell.batch}",
        f"{cell.dimensions}",
        *(
            f"{median[name]:,.3g}" if median[name] < 100 else f"{median[name]:,.0f}"
            for name in cell.seconds
        ),
        *(f"{r:.1f}×" for r in ratios),
    ]


def memory_row(cell: Cell) -> list[str]:
    ours, *peers = cell.memory
    return [
        f"{cell.batch}",
        f"{cell.dimensions}",
        *(f"{cell.memory[name] / MEBIBYTE:,.0f}" for name in cell.memory),
        *(f"1/{cell.memory[name] / max(cell.memory[ours], 1):.1f}" for name in peers),
    ]


def goals(cells: list[Cell]) -> list[str]:
    """The goals and whether they are met, against each peer."""
    (cell,) = (c for c in cells if (c.batch, c.dimensions) == GOAL_CELL)
    ours, *peers = cell.seconds
    lines = []
    for peer in peers:
        faster = ratio(cell.seconds[peer], cell.seconds[ours])
        smaller = cell.memory[ours] / cell.memory[peer]
        least, at = min(
            (ratio(c.seconds[peer], c.seconds[ours]), f"n={c.batch}, d={c.dimensions}")
            for c in cells
        )
        lines += [
            f"{peer}, n={GOAL_CELL[0]}, d={GOAL_CELL[1]}, time: goal ≥ {TIME_GOAL}×: "
            f"{faster:.0f}×, {verdict(faster >= TIME_GOAL)}",
            f"{peer}, there, extra memory: goal ≤ 1/{1 / MEMORY_GOAL:.0f}: 1/{1 / smaller:.0f}, "
            f"{verdict(smaller <= MEMORY_GOAL)}",
            f"{peer}, anywhere: goal never slower: least {least:.2f}× (at {at}), "
            f"{verdict(least >= 1)}",
        ]
    return lines


def verdict(met: bool) -> str:
    return "**met**" if met else "**missed**"


def main() -> None:
    contestants = losses()
    gc.freeze()  # the peers import a great deal, which every collection would walk through
    cells = [measured(n, d, contestants) for d in DIMENSIONS for n in BATCHES]
    peers = [name for name in contestants if name != "ours"]
    against = [f"against {peer}" for peer in peers]
    worst = {peer: max(cell.disagreement[peer] for cell in cells) for peer in peers}
    section(
        "Objective",
        "How long does the loss of two (n, d) float32 embeddings take, forward and backward, and "
        "how much memory?",
        [
            table(
                ["n", "d", *(f"{name}, ms" for name in contestants), *against],
                [times_row(cell) for cell in cells],
            ),
            table(
                ["n", "d", *(f"{name}, extra MiB" for name in contestants), *against],
                [memory_row(cell) for cell in cells],
            ),
        ],
        [
            *goals(cells),
            "The same work: losses and gradients to both views differ by at most "
            + ", ".join(f"{worst[peer]:.0e} ({peer})" for peer in peers)
            + " of their norm, over all cells.",
            "Extra memory counts the gradients, which are as large as the embeddings.",
            f"Peers with their defaults: {versions('lightly', 'stable-pretraining')}.",
        ],
    )


if __name__ == "__main__":
    main()
