"""Shared by objectives: terms, the checks of two views, the whole batch, and a module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from vicinal.distributed import all_rows, share, world_size
from vicinal.errors import InputError


@dataclass(frozen=True)
class Terms:
    """What an objective returns.

    Attributes:
        total: Scalar to minimise.
        parts: The named terms, scalars, unweighted and detached, for the log.
    """

    total: Tensor
    parts: Mapping[str, Tensor]


def precise(z: Tensor) -> Tensor:
    """Embeddings (B, D) in float32; float64 stays float64."""
    return z if z.dtype == torch.float64 else z.float()


def exact(z: Tensor) -> torch.autocast:
    """A context where products of such embeddings keep their dtype, whatever autocast says."""
    return torch.autocast(z.device.type, enabled=False)


def check_views(z_a: Tensor, z_b: Tensor, rows: int | None) -> None:
    """Refuses what no objective can be taken of."""
    if z_a.shape != z_b.shape or z_a.ndim != 2:
        raise ValueError(f"need two (B, D) tensors of one shape, found {z_a.shape} and {z_b.shape}")
    if (rows or len(z_a)) < 2:
        raise ValueError(f"an objective needs at least 2 rows, found a batch of {len(z_a)}")


def centre(z: Tensor) -> Tensor:
    """Embeddings (B, D) with each dimension's mean subtracted."""
    return z - z.mean(dim=0)


def whole_batch(z_a: Tensor, z_b: Tensor, rows: int | None) -> tuple[Tensor, Tensor]:
    """Both views' embeddings of the whole batch in float32, of which statistics are exact.

    For objectives that no sum of each rank's own would give: every rank gets all rows and takes
    the whole loss, and its gradient is that of its own rows, for which nothing is exchanged.

    Shapes: z_a (B, D); z_b (B, D); the result (B, D).
    """
    check_views(z_a, z_b, rows)
    z_a, z_b = precise(z_a), precise(z_b)
    if rows is None:
        return z_a, z_b
    return _AllRows.apply(z_a, rows), _AllRows.apply(z_b, rows)


class _AllRows(torch.autograd.Function):
    """`all_rows` with the gradient of this rank's own."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, rows: int) -> Tensor:
        ctx.rows = rows
        return all_rows(z.contiguous(), rows)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        return upstream[share(ctx.rows)] * world_size(), None


SLICES = 256
"""Slices a step, where nothing else is asked for."""


def slices(dimensions: int, count: int, *drawn: int) -> Tensor:
    """Random directions (D, S) float32, columns of unit length, on the CPU."""
    entropy = np.random.SeedSequence(drawn).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(entropy >> np.uint64(1)))
    return F.normalize(torch.randn(dimensions, count, generator=generator), dim=0)


class Criterion(nn.Module):
    """An objective as a module for anybody's loop: returns the total, a scalar to minimise.

    It has no weights and works on any device, under any autocast.

    Args:
        settings: Keyword arguments of the objective, all but ``rows``. One that takes slices has
            two more: ``slices``, how many directions a call draws (256), and ``seed`` (0). They
            come from the seed and the number of the call, which the module's state holds, so
            that a training that is resumed with it goes on with the slices it would have had.

    Attributes:
        settings: Keyword arguments that every call gives to the objective, defaults too.
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
        defaults = {p.name: p.default for p in known if p.kind is p.KEYWORD_ONLY}
        del defaults["rows"]
        hints = get_type_hints(self.function)
        for name, value in settings.items():
            if name not in defaults:
                names = [*defaults, *(("slices", "seed") if self.sliced else ())]
                raise InputError(f"{type(self).__name__} has no {name!r}: it has {names}")
            allowed = get_args(hints[name]) if get_origin(hints[name]) is Literal else (value,)
            if value not in allowed:
                raise InputError(f"{name} {value!r}: give one of {', '.join(allowed)}")
        self.settings = defaults | settings
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
