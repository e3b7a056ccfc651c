"""An objective as a module for anybody's loop, and the random slices that some objectives take."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from vicinal.errors import InputError
from vicinal.objectives.terms import Terms

SLICES = 256
"""Slices a step, where nothing else is asked for."""


def slices(dimensions: int, count: int, *drawn: int) -> Tensor:
    """Random directions (D, S) float32, columns of unit length, on the CPU.

    Args:
        dimensions: D.
        count: S.
        drawn: What they are drawn from, such as seed, epoch and step: the same for the same.
    """
    entropy = np.random.SeedSequence(drawn).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(entropy >> np.uint64(1)))
    return F.normalize(torch.randn(dimensions, count, generator=generator), dim=0)


class Criterion(nn.Module):
    """An objective as a module: returns the total, a scalar to minimise.

    It has no weights and works on any device, under any autocast.

    Args:
        settings: Keyword arguments of the objective, all but ``rows``. One that takes slices has
            two more: ``slices``, how many directions a call draws (256), and ``seed`` (0). They
            come from the seed and the number of the call, which the module's state holds, so
            that a training that is resumed with it goes on with the slices it would have had.

    Attributes:
        settings: Keyword arguments that every call gives to the objective.
        parts: The last call's unweighted terms by name, scalars, detached; empty before the first.

    Raises:
        InputError: If a setting is none, or its value is none of a few that are allowed.
    """

    function: ClassVar[Callable[..., Terms]]
    sliced: ClassVar[bool] = False

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        if self.sliced:
            self._slices, self._seed = settings.pop("slices", SLICES), settings.pop("seed", 0)
            self._calls = 0
        known = inspect.signature(self.function).parameters.values()
        names = [p.name for p in known if p.kind is p.KEYWORD_ONLY and p.name != "rows"]
        names += ["slices", "seed"] if self.sliced else []
        for name in settings:
            if name not in names:
                raise InputError(f"{type(self).__name__} has no {name!r}: it has {names}")
        self.settings = settings
        self.parts: Mapping[str, Tensor] = {}

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """The total, a scalar, of two views' embeddings (B, D), B ≥ 2."""
        drawn = []
        if self.sliced:
            directions = slices(z_a.shape[1], self._slices, self._seed, self._calls)
            drawn, self._calls = [directions.to(z_a.device)], self._calls + 1
        terms = type(self).function(z_a, z_b, *drawn, **self.settings)
        self.parts = terms.parts
        return terms.total

    def extra_repr(self) -> str:
        """The settings, as ``print`` shows a module's."""
        return ", ".join(f"{name}={value!r}" for name, value in self.settings.items())

    def get_extra_state(self) -> int:
        """How many calls there were, for the slices of the next."""
        return self._calls if self.sliced else 0

    def set_extra_state(self, state: int) -> None:
        """Goes on after so many calls."""
        self._calls = state
