"""Training and the objective on a GPU, ours beside the peers' and the paper's equations.

Training: images/s from pixels to the optimiser, the same encoder, projector, optimiser settings
and precision (bf16); peers as their documentation shows them. Goal: 3 times theirs. Objective:
milliseconds and memory, forward and backward, of two (n, d) float32 embeddings. Goal at n=2048,
d=8192: a third of the time, a fourth of the memory.
"""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from gpu import arguments, parsed, sitting, synchronise, where
from measuring import extra_memory, interleaved, ratio, say, table
from objective import embeddings
from plain import equations
from trainers import SETTLED, TRAINERS, images, train
from vicinal.files import read_json, write_json
from vicinal.objectives import PRESETS, vicreg
from vicinal.recipes import override, read_recipe

PACKAGES = {"lightly": "lightly", "stable-pretraining": "stable_pretraining"}
ROUNDS = 5
Loss = Callable[[Tensor, Tensor], Tensor]


def main() -> None:
    parser = arguments(__doc__, "gpu-peers")
    parser.add_argument("--recipe", default="gpu")
    parser.add_argument("--trainers", nargs="+", default=list(TRAINERS), choices=list(TRAINERS))
    parser.add_argument("--steps", type=int, default=60, help="Timed steps of each training.")
    parser.add_argument("--rows", type=int, default=2048, help="n of the objective.")
    parser.add_argument("--dimensions", type=int, default=8192, help="d of the objective.")
    asked = parsed(parser)
    path = asked.out / "peers.json"
    kept: dict[str, Any] = read_json(path) if path.is_file() else {"training": {}}
    with sitting(asked.minutes):
        images()  # decoded once, here, for every process
        for name in asked.trainers:
            if name in kept["training"] or not installed(name) or redundant(name, asked.device):
                continue
            kept["training"][name] = rate(name, asked)
            write_json(path, kept)
        size = f"{asked.rows}×{asked.dimensions}"
        if kept.get("size") != size:
            kept |= {"size": size, "objective": objectives(asked)}
            write_json(path, kept)
    report(kept, asked.device)


def installed(name: str) -> bool:
    """Whether the trainer's package is there, with a line if not."""
    there = name not in PACKAGES or find_spec(PACKAGES[name]) is not None
    if not there:
        say(f"{name}: not installed, left out; pip install 'vicinal[bench]'")
    return there


def redundant(name: str, device: str) -> bool:
    """On a GPU all train in bf16, so ours in float32 is no fair row; on a CPU the other way."""
    return name == ("ours" if device == "cuda" else "ours, bf16")


def rate(name: str, asked: Any) -> float:
    """Images a second of one trainer over steady steps, in a process of its own."""
    recipe = override(read_recipe(asked.recipe), asked.set)
    context = multiprocessing.get_context("spawn")
    steps = SETTLED + asked.steps
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        run = pool.submit(train, name, asked.recipe, tuple(asked.set), steps, asked.device).result()
    seconds = (run.ends[-1] - run.ends[-1 - asked.steps]) / asked.steps
    say(f"{name}: {recipe.training.batch_size / seconds:,.0f} images/s")
    return recipe.training.batch_size / seconds


def objectives(asked: Any) -> dict[str, dict[str, float]]:
    """Milliseconds and extra bytes of each loss, forward and backward, all in turn."""
    losses: dict[str, Loss] = {
        "ours": lambda a, b: vicreg(a, b, **PRESETS["paper"]).total,
        "the paper's equations": equations,
    }
    if installed("lightly"):
        from lightly.loss import VICRegLoss as Lightly

        losses["lightly"] = Lightly()
    if installed("stable-pretraining"):
        from stable_pretraining.losses import VICRegLoss as StablePretraining

        losses["stable-pretraining"] = StablePretraining()
    views = embeddings(asked.rows, asked.dimensions)
    z_a, z_b = (z.detach().to(asked.device).requires_grad_() for z in views)

    def step(name: str) -> Callable[[], None]:
        def work() -> None:
            torch.autograd.grad(losses[name](z_a, z_b), (z_a, z_b))
            synchronise(asked.device)

        return work

    works = {name: step(name) for name in losses}
    memory = {name: peak(work, asked.device) for name, work in works.items()}
    seconds = interleaved(works, rounds=ROUNDS)
    return {
        name: {
            "ms": 1000 * statistics.median(seconds[name]),
            "ratio": ratio(seconds[name], seconds["ours"]),
            "bytes": memory[name],
        }
        for name in losses
    }


def peak(work: Callable[[], None], device: str) -> int:
    """Most bytes that the work held beyond those before it."""
    if device == "cpu":
        return extra_memory(work)
    work()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return torch.cuda.max_memory_allocated() - before


def report(kept: dict[str, Any], device: str) -> None:
    """Both tables; the goals stand in the headings."""
    rates = kept["training"]
    own = rates.get("ours, bf16" if device == "cuda" else "ours")
    rows = [
        (name, f"{value:,.0f}", f"{own / value:.2f}×" if own else "–")
        for name, value in rates.items()
    ]
    print(table(("trainer", "images/s", "ours is (goal ≥ 3×)"), rows) + "\n")
    if "objective" in kept:
        rows = []
        for name, one in kept["objective"].items():
            share = one["bytes"] / max(kept["objective"]["ours"]["bytes"], 1)
            memory = f"{one['bytes'] / 2**20:,.0f}"
            rows.append((name, f"{one['ms']:.3g}", f"{one['ratio']:.2f}×", memory, f"{share:.1f}×"))
        header = (f"objective, {kept['size']}", "ms", "× ours", "extra MiB", "× ours")
        print(table(header, rows))
    print(f"\n{where(device)}")


if __name__ == "__main__":
    main()
