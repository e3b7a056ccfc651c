"""Ranks: the processes that train one encoder together, and what they tell each other.

On one process nothing here communicates or copies. Gradients follow one convention: every
rank's loss is the loss of the global batch, and `torch.nn.parallel.DistributedDataParallel`
takes the mean of the ranks' gradients; so what a rank's own rows add to the one loss is
multiplied by the number of ranks, which makes that mean their sum.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def world_size() -> int:
    """How many ranks there are; 1 where there is no process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def is_first() -> bool:
    """Whether this is rank 0, which alone writes files, logs and bars."""
    return rank() == 0


def share(rows: int) -> slice:
    """The rows of a global batch that are this rank's; sizes differ by one row at most."""
    return _share(rows, rank(), world_size())


def all_rows(mine: Tensor, rows: int) -> Tensor:
    """Every rank's rows in the order of the ranks; carries no gradient."""
    world = world_size()
    if world == 1:
        return mine
    most = -(-rows // world)
    padded = mine.new_zeros((most, *mine.shape[1:]))
    padded[: len(mine)] = mine
    gathered = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(gathered, padded)
    sizes = (_share(rows, number, world) for number in range(world))
    parts = [part[: size.stop - size.start] for part, size in zip(gathered, sizes, strict=True)]
    return torch.cat(parts)


def total(values: Tensor) -> Tensor:
    """The sum over all ranks, in place; carries no gradient."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def mean(values: Tensor) -> Tensor:
    """The mean over all ranks, in place; carries no gradient."""
    return total(values).div_(world_size()) if world_size() > 1 else values


def summed(value: Tensor) -> Tensor:
    """The sum over all ranks of what each has of its own rows, a term of the one loss."""
    if world_size() == 1:
        return value
    result: Tensor = _Summed.apply(value)
    return result


def from_first(work: Callable[[], T]) -> T:
    """Rank 0 does some work, and every rank gets its result, which must be picklable."""
    if world_size() == 1:
        return work()
    failed, result = None, None
    if is_first():
        try:
            result = work()
        except Exception as error:  # the others hear of it first, or they would wait for ever
            failed = error
    message: list[Any] = [failed is not None, result]
    dist.broadcast_object_list(message, group=_patient_group())
    if failed is not None:
        raise failed
    if message[0]:
        raise SystemExit(2)
    return message[1]  # type: ignore[no-any-return]


def gathered(value: T) -> list[T]:
    """Every rank's value, by rank, on every rank; values must be picklable."""
    if world_size() == 1:
        return [value]
    found = [value] * world_size()
    dist.all_gather_object(found, value, group=_patient_group())
    return found


def firsts(values: Tensor) -> Tensor:
    """Rank 0's numbers on every rank, in place: a few on the CPU, whatever is trained on."""
    if world_size() > 1:
        dist.broadcast(values, 0, group=_patient_group())
    return values


def in_turn(work: Callable[[], T]) -> T:
    """Lets the first rank of each machine work, then the others, which find its files there."""
    if world_size() == 1:
        return work()
    result, failed = None, None
    for first in (True, False):
        if (int(os.environ.get("LOCAL_RANK", rank())) == 0) == first:
            try:
                result = work()
            except Exception as error:
                failed = error
        failures = [False] * world_size()
        dist.all_gather_object(failures, failed is not None, group=_patient_group())
        if failed is not None:
            if any(failures[: rank()]):  # the lowest rank says it, once
                raise SystemExit(2)
            raise failed
        if any(failures):
            raise SystemExit(2)
    return result  # type: ignore[return-value]


def restarted() -> bool:
    """Whether torchrun restarted the ranks; each agent counts its own losses, so all are asked."""
    mine = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    if world_size() == 1:
        return mine
    answers = [False] * world_size()
    dist.all_gather_object(answers, mine, group=_patient_group())
    return any(answers)


def leave() -> None:
    """Ends this process's part in the group, if there is one, and the threads that served it.

    A gloo group's threads end with the last reference to it. One that still runs when the
    interpreter ends may want its lock then, to free a tensor, and is made to exit in the midst of
    C++ code, which aborts the process: "terminate called without an active exception".
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    dist.destroy_process_group()
    _patient_group.cache_clear()  # it holds the last reference to the second group
    gc.collect()  # as a model that was trained, which refers to itself, may to the first


def _share(rows: int, number: int, world: int) -> slice:
    return slice(rows * number // world, rows * (number + 1) // world)


@cache
def _patient_group() -> Any:
    """A group on the CPUs that waits for a day: decoding pictures takes its time."""
    return dist.new_group(backend="gloo", timeout=timedelta(days=1))


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return total(value.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * world_size()
