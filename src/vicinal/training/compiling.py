"""A training step compiled by torch.compile, and replayed as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from vicinal import distributed
from vicinal.errors import begun_by
from vicinal.recipes.recipe import Training

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compile_networks(
    model: nn.Module, training: Training, device: torch.device, say: Callable[[str], None]
) -> None:
    """Compiles the model's forward if the recipe says so.

    The model keeps its weights, their names and what it is wrapped in. The loss is not compiled:
    it takes a small part of a step, and its weights, which differ from run to run, would have it
    compiled again each time. On several ranks nothing is compiled.
    """
    if compiles(training, device):
        model.forward = compiled(model.forward, "networks", say)


def compiles(training: Training, device: torch.device) -> bool:
    """Whether the recipe has this training compiled: not on several ranks."""
    # There BatchNorm exchanges numbers, which would cut the networks into pieces.
    if distributed.world_size() > 1:
        return False
    return training.compile == "on" or (training.compile == "auto" and device.type == "cuda")


def compiled(
    function: Callable[Arguments, Result], name: str, say: Callable[[str], None]
) -> Callable[Arguments, Result]:
    """The function by torch.compile, or as it is from where compiling fails on.

    Without gradients it runs as it is: test views after an epoch would cost a second compilation,
    which takes longer than it spares.
    """
    chosen: Callable[Arguments, Result] | None = None  # until the first call, which compiles

    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        nonlocal chosen
        if not torch.is_grad_enabled():
            return function(*args, **kwargs)
        if chosen is not None:
            return chosen(*args, **kwargs)
        try:
            fast = torch.compile(function)
            result = fast(*args, **kwargs)
        except Exception as error:  # whatever a compiler, or its absence, raises
            why = begun_by(error)
            say(f"torch.compile of the {name} failed ({why}): training goes on without it")
            fast, result = function, function(*args, **kwargs)
        chosen = fast
        return result

    return call


Step = Callable[..., Tensor]
"""One step of a training on two views (B, C, H, W) and slices, if any, to its loss's terms (T,)."""
Capture = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]
"""Records what a function does, and returns what does it again and where its result lies then."""

WARM_UP = 3
"""Steps taken as they come before one is recorded: compiling, cuDNN's trials, the first states."""


def graphed(
    step: Step,
    optimizer: torch.optim.Optimizer,
    training: Training,
    device: torch.device,
    say: Callable[[str], None],
) -> Step:
    """The step, replayed as a CUDA graph from the fourth call on, where the recipe compiles.

    A step of a small network is over before the host has started the next one's kernels; a graph
    starts them all at once. Every call must have tensors of the same shapes, and the optimiser's
    state must stay where it is: make another one after loading a checkpoint. On a CPU, on several
    ranks and with ``training.compile = "off"`` it is the step itself.
    """
    if device.type != "cuda" or not compiles(training, device):
        return step
    _read_from_device(optimizer, device)
    return replayed(step, _aside, _cuda_graph, say)


def replayed(
    step: Step,
    aside: Callable[[Callable[[], Tensor]], Tensor],
    capture: Capture,
    say: Callable[[str], None],
) -> Step:
    """The step by ``capture``, after `WARM_UP` calls taken by ``aside``."""
    taken = 0
    replay: Callable[[], None] | None = None
    held: list[Tensor]
    terms: Tensor

    def call(*given: Tensor) -> Tensor:
        nonlocal taken, replay, held, terms
        taken += 1
        if taken <= WARM_UP:
            return aside(lambda: step(*given))
        if taken == WARM_UP + 1:
            held = [torch.empty_like(one) for one in given]
            try:
                replay, terms = capture(lambda: step(*held))
            except Exception as error:  # whatever an operator that cannot be recorded raises
                say(f"no CUDA graph of a step ({begun_by(error)}): training goes on without it")
        if replay is None:
            return step(*given)
        for place, one in zip(held, given, strict=True):
            place.copy_(one)
        replay()
        return terms

    return call


def _read_from_device(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), device=device)
        if "capturable" in group:
            group["capturable"] = True


def _aside(work: Callable[[], Tensor]) -> Tensor:
    """Does the work on a stream of its own, as what is to be recorded must have been done."""
    here, there = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    there.wait_stream(here)
    with torch.cuda.stream(there):
        result = work()
    here.wait_stream(there)
    return result


def _cuda_graph(work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    graph = torch.cuda.CUDAGraph()
    # Other threads, such as one that reads a file ahead, may use the device meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = work()
    return graph.replay, result
