"""torch.compile of the networks, where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import nn

from vicinal import ranks
from vicinal.errors import begun_by
from vicinal.recipe import Training

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compile_networks(
    model: nn.Module, training: Training, device: torch.device, say: Callable[[str], None]
) -> None:
    """Has the model's forward compiled if the recipe says so.

    The model keeps its weights, their names and what it is wrapped in. The loss is not compiled:
    it takes a small part of a step, and its weights, which differ from run to run, would have it
    compiled again each time. On several ranks nothing is compiled.

    Args:
        model: The encoder with its projector; its ``forward`` is replaced.
        training: The recipe's section.
        device: Where the training runs.
        say: Prints a line.
    """
    if compiles(training, device):
        model.forward = compiled(model.forward, "networks", say)


def compiles(training: Training, device: torch.device) -> bool:
    """Whether the recipe has this training compiled: not on several ranks."""
    # There BatchNorm exchanges numbers, which would cut the networks into pieces.
    if ranks.world_size() > 1:
        return False
    return training.compile == "on" or (training.compile == "auto" and device.type == "cuda")


def compiled(
    function: Callable[Arguments, Result], name: str, say: Callable[[str], None]
) -> Callable[Arguments, Result]:
    """The function by torch.compile, or as it is from where compiling fails on.

    Without gradients it runs as it is: test views after an epoch would cost a second compilation,
    which takes longer than it spares.

    Args:
        function: What to compile.
        name: What a complaint calls it.
        say: Prints a line; called once, if it cannot be compiled.
    """
    made: Callable[Arguments, Result] | None = None
    works: bool | None = None  # unknown before the first call, which compiles

    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        nonlocal made, works
        if works is False or not torch.is_grad_enabled():
            return function(*args, **kwargs)
        if made is None:
            made = torch.compile(function)
        if works:
            return made(*args, **kwargs)
        try:
            result = made(*args, **kwargs)
        except Exception as error:  # whatever a compiler, or its absence, raises
            works = False
            why = begun_by(error)
            say(f"torch.compile of the {name} failed ({why}): training goes on without it")
            return function(*args, **kwargs)
        works = True
        return result

    return call
