"""Every objective's time, forward and backward, beside lightly's and stable-pretraining's.

python benchmarks/objectives.py [--rows 256,1024] [--dimensions 512,2048,8192] [--rounds 5]

Contestants take turns in one process, and a ratio is the median of the rounds' ratios. Peers have
our settings where they have the same loss; what differs is in a note. VICReg is in objective.py.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from measuring import interleaved, ratio, say, section, table
from objective import embeddings
from vicinal.objectives import barlow, ntxent, sigreg, slices, tcr, visreg

SLICES = 256
Loss = Callable[[Tensor, Tensor], Tensor]


def contestants(dimensions: int) -> dict[str, dict[str, Loss]]:
    """By objective: ours, and each peer's that there is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lightly import loss as lightly
        from lightly.loss.dcl_loss import DCLLoss
        from lightly.loss.emp_ssl_loss import EMPSSLLoss
        from lightly.loss.lejepa_loss import LeJEPALoss
        from lightly.loss.visreg_loss import VISRegLoss
    emp, lejepa = EMPSSLLoss(), LeJEPALoss(sigreg_num_vectors=SLICES)
    vis = VISRegLoss(lambda_param=0.6, num_slices=SLICES)

    def drawn() -> Tensor:
        return slices(dimensions, SLICES, 0)  # drawn each time, as the peers do

    def stacked(loss: Callable[..., Tensor]) -> Loss:
        def call(a: Tensor, b: Tensor) -> Tensor:
            views = torch.stack([a, b])
            return loss(local_proj=views[1:], global_proj=views[:1])

        return call

    found: dict[str, dict[str, Loss]] = {
        "barlow": {
            "ours": lambda a, b: barlow(a, b).total,
            "lightly": lightly.BarlowTwinsLoss(lambda_param=0.0051),
        },
        "sigreg": {
            "ours": lambda a, b: sigreg(a, b, drawn()).total,
            "lightly": stacked(lejepa),
        },
        "visreg": {"ours": lambda a, b: visreg(a, b, drawn()).total, "lightly": stacked(vis)},
        "ntxent": {
            "ours": lambda a, b: ntxent(a, b).total,
            "lightly": lightly.NTXentLoss(temperature=0.2),
        },
        "ntxent, decoupled": {
            "ours": lambda a, b: ntxent(a, b, decoupled=True).total,
            "lightly": DCLLoss(temperature=0.1),
        },
        "tcr": {"ours": lambda a, b: tcr(a, b).total, "lightly": lambda a, b: emp([a, b])},
    }
    try:
        from stable_pretraining.losses import BarlowTwinsLoss, NTXEntLoss
        from stable_pretraining.methods.lejepa import LeJEPA, SlicedEppsPulley
    except ImportError as error:
        say(f"without stable-pretraining: {error}")
        return found
    sliced = SlicedEppsPulley(num_slices=SLICES)
    found["barlow"]["stable-pretraining"] = BarlowTwinsLoss(lambd=0.0051)
    found["ntxent"]["stable-pretraining"] = NTXEntLoss(temperature=0.2)
    found["sigreg"]["stable-pretraining"] = lambda a, b: LeJEPA._compute_loss(
        torch.stack([a, b]), 2, sliced, 0.05
    )[0]
    return found


def row(name: str, losses: dict[str, Loss], rows: int, dimensions: int, rounds: int) -> list[str]:
    """One line of the table."""
    z = embeddings(rows, dimensions)
    works = {
        who: lambda loss=loss: torch.autograd.grad(loss(*z), z)  # type: ignore[misc]
        for who, loss in losses.items()
    }
    seconds = interleaved(works, rounds=rounds)
    cells = [name, str(rows), str(dimensions), f"{1000 * statistics.median(seconds['ours']):,.3g}"]
    for peer in ("lightly", "stable-pretraining"):
        if peer not in seconds:
            cells += ["–", "–"]
            continue
        cells.append(f"{1000 * statistics.median(seconds[peer]):,.4g}")
        cells.append(f"{ratio(seconds[peer], seconds['ours']):.1f}×")
    say(" | ".join(cells))
    return cells


def main() -> None:
    """Measures what is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", default="256,1024")
    parser.add_argument("--dimensions", default="512,2048,8192")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        row(name, losses, int(rows), int(dimensions), asked.rounds)
        for dimensions in asked.dimensions.split(",")
        for rows in asked.rows.split(",")
        for name, losses in contestants(int(dimensions)).items()
    ]
    header = ["objective", "n", "d", "ours, ms", "lightly, ms", "", "stable-pretraining, ms", ""]
    section(
        "Objectives",
        "How long does each objective of two (n, d) float32 embeddings take, forward and backward, "
        "in one thread?",
        [table(header, lines)],
        [
            f"{SLICES} slices, drawn in each call by all. Of TCR lightly's adds the logdet that "
            "the paper subtracts; stable-pretraining's Barlow divides by the unbiased deviation "
            "and its SIGReg pools the views; lightly's SIGReg and VISReg pull to the first view. "
            "The work is the same, the values are not.",
        ],
    )


if __name__ == "__main__":
    main()
