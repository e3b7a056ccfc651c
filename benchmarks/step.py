"""Where the time of one training step goes: the profile of our own loop, by kind of work."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function, schedule

from measuring import say, section, table
from trainers import images
from vicinal.recipes import read_recipe
from vicinal.recipes.recipe import Recipe
from vicinal.training import loop, step
from vicinal.training.device import Engine, Precision, open_engine, resolve_precision
from vicinal.views import Augment, GeneratedNeighbours, Pairs, channel_statistics

RECIPES = ("seed", "laptop")
WAIT, WARM_UP, STEPS = 1, 1, 3
GOAL = 85
"""Least share of convolutions in a step of the seed encoder, in per cent."""

VIEWS, LOSS, OPTIMISER, REST = "views", "loss", "optimiser", "rest"
FORWARD, BACKWARD = "convolutions, forward", "convolutions, backward"
OUR_CONVOLUTIONS = ("_Winograd", "_OneProduct")
POINTWISE, LINEAR = "batch norm, ReLU, additions, pooling", "linear layers"
KINDS = (FORWARD, BACKWARD, POINTWISE, LINEAR, VIEWS, LOSS, OPTIMISER, REST)

# Which kind an operator of the networks is, by a part of its name, the first that fits.
NAMED = (
    ("convolution_backward", BACKWARD),
    ("ConvolutionBackward", BACKWARD),
    ("convolution", FORWARD),
    ("conv2d", FORWARD),
    *((name, LINEAR) for name in ("aten::linear", "aten::addmm", "aten::mm", "AddmmBackward")),
    ("TBackward", LINEAR),
    *(
        (name, POINTWISE)
        for name in (
            *("batch_norm", "BatchNormBackward", "relu", "ReluBackward", "threshold_backward"),
            *("aten::add", "AddBackward", "adaptive_avg_pool", "aten::mean", "MeanBackward"),
            *("clamp_min", "aten::flatten", "ViewBackward", "ReshapeAliasBackward"),
        )
    ),
)
COPIES = ("aten::copy_", "aten::contiguous", "aten::clone", "aten::to_mkldnn", "aten::_to_copy")


@dataclass(frozen=True)
class Watched:
    """Pairs with a name in the profile, which also tell it that a step begins."""

    pairs: Pairs
    profiler: Any

    def __call__(
        self, pixels: Tensor, index: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """As `vicinal.views.Pairs`."""
        self.profiler.step()
        with record_function(VIEWS):
            return self.pairs(pixels, index, generator)


@dataclass(frozen=True)
class Profile:
    """A step's microseconds by kind, its operators' counts, and copies outside the views."""

    spent: dict[str, float]
    counts: Counter[str]
    copies: Counter[tuple[str, str]]
    copying: float

    def share(self, *kinds: str) -> float:
        """Per cent of the step."""
        return 100 * sum(self.spent[kind] for kind in kinds) / sum(self.spent.values())


def main() -> None:
    precisions: list[Precision] = ["float32"]
    if resolve_precision("auto", "cpu") == "bf16":
        precisions.append("bf16")
    profiles = {}
    for name in RECIPES:
        for precision in precisions:
            say(f"profiling {name}, {precision}")
            engine = open_engine("cpu", precision)
            made = profiled(read_recipe(name), images().pixels, engine)
            profiles[f"{name}, {precision}"] = made
    rows = [(kind, *(f"{made.share(kind):.1f} %" for made in profiles.values())) for kind in KINDS]
    seconds = (f"{sum(made.spent.values()) / 1e6:.2f} s" for made in profiles.values())
    section(
        "One step",
        "Where does the time of a training step go? CIFAR-10 (JPEG copy), the recipes' "
        f"batches, mean of {STEPS} steps of our own loop under torch.profiler.",
        [table(("part", *profiles), [*rows, ("a step", *seconds)])],
        [
            *(goal(name, made) for name, made in profiles.items() if "seed" in name),
            *(said(name, made) for name, made in profiles.items()),
            "Reordering inside a oneDNN convolution counts as convolution: the profiler does not "
            "see it. Backward operators count where their forward ones do.",
        ],
    )


def goal(name: str, made: Profile) -> str:
    """The share of convolutions, with the goal beside it."""
    share = made.share(FORWARD, BACKWARD)
    verdict = "met" if share >= GOAL else "missed"
    return f"{name}: convolutions take {share:.1f} % of a step, goal ≥ {GOAL} %: {verdict}"


def profiled(recipe: Recipe, pixels: NDArray[np.uint8], engine: Engine) -> Profile:
    """Trains a few steps as `vicinal study` does and reads the profile of the last ones.

    On a GPU the times are those of the kernels that an operator has started.
    """
    augment = Augment(recipe.views, *channel_statistics(pixels))
    on_gpu = engine.device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    steps = (WAIT + WARM_UP + STEPS) * recipe.training.batch_size
    unnamed = step.objective
    step.objective = labelled(LOSS, unnamed)
    plan = schedule(wait=WAIT + 1, warmup=WARM_UP, active=STEPS, repeat=1)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            profile(activities=activities, schedule=plan) as profiler,
        ):
            watched = Watched(GeneratedNeighbours(augment), profiler)
            # Two test images: asking for their views ends the last step.
            train, test = (
                loop.ArrayBatches(part, watched) for part in (pixels[:steps], pixels[-2:])
            )
            loop.pretrain(train, test, recipe, Path(folder), engine.fabric, epochs=1)
    finally:
        step.objective = unnamed
    return summed(profiler.events(), "self_device_time_total" if on_gpu else "self_cpu_time_total")


def labelled(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its calls named in the profile."""

    def call(*args: Any) -> Any:
        with record_function(name):
            return function(*args)

    return call


def summed(events: Any, time: str) -> Profile:
    """The profile of a step, on average over the profiled ones; ``time`` names what is added."""
    spent: dict[str, float] = defaultdict(float)
    counts: Counter[str] = Counter()
    copies: Counter[tuple[str, str]] = Counter()
    copying = 0.0
    # What runs on a GPU is counted where the host started it; there it would be there twice.
    started = [e for e in events if e.device_type == DeviceType.CPU]
    # By time, not by lineage: on a GPU the backward pass has a thread of its own.
    steps = [e.time_range for e in started if e.name.startswith("ProfilerStep")]
    # An operator and its backward carry one number, so the loss's can be told apart.
    loss = {e.sequence_nr for e in started if e.sequence_nr >= 0 and LOSS in lineage(e)}
    for event in started:
        names, began = list(lineage(event)), event.time_range.start
        if not any(step.start <= began < step.end for step in steps):
            continue
        kind = kind_of(event, names, loss)
        spent[kind] += getattr(event, time) / STEPS
        counts[event.name] += 1
        if event.name in COPIES and kind not in (VIEWS, LOSS):
            copies[event.name, kind] += 1
            copying += getattr(event, time) / STEPS
    return Profile(dict.fromkeys(KINDS, 0.0) | spent, counts, copies, copying)


def kind_of(event: Any, names: list[str], loss: set[int]) -> str:
    """The kind of work of an event, from its own name outwards to the step's."""
    if VIEWS in names:
        return VIEWS
    if any(name.startswith("Optimizer.") for name in names):
        return OPTIMISER
    if LOSS in names or any(number in loss for number in backward_numbers(event)):
        return LOSS
    # Its matrix products are a convolution's, whatever they are called themselves.
    ours = [name for name in names if name.startswith(OUR_CONVOLUTIONS)]
    if ours:
        return BACKWARD if any("Backward" in name for name in ours) else FORWARD
    for name in names:
        for part, kind in NAMED:
            if part in name:
                return kind
    return REST


def lineage(event: Any) -> Iterator[str]:
    """Names of an event and of those that it is part of, outwards."""
    while event is not None:
        yield event.name
        event = event.cpu_parent


def backward_numbers(event: Any) -> Iterator[int]:
    """Numbers of the backward nodes that an event is part of."""
    while event is not None:
        if event.name.startswith("autograd::engine") and event.sequence_nr >= 0:
            yield event.sequence_nr
        event = event.cpu_parent


def said(name: str, made: Profile) -> str:
    """A recipe's copies between layouts and its optimiser's calls."""
    fused = sum(n for op, n in made.counts.items() if op.startswith("aten::_fused_adam")) / STEPS
    share = 100 * made.copying / sum(made.spent.values())
    where: Counter[str] = Counter()
    for (_, kind), count in made.copies.items():
        where[kind] += count
    listed = ", ".join(f"{n / STEPS:.0f} in {kind}" for kind, n in where.most_common())
    return (
        f"{name}: copies and changes of layout outside views and loss take {share:.1f} % of a step "
        f"({listed or 'none'}); the optimiser is {fused:g} fused call"
    )


if __name__ == "__main__":
    main()
