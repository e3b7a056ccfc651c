"""Which device and which arithmetic a run uses."""

from __future__ import annotations

import inspect
import logging
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from vicinal.errors import InputError, option

if TYPE_CHECKING:
    from lightning.fabric import Fabric

Precision = Literal["auto", "bf16", "float32"]


def resolve_device(device: str) -> Literal["cpu", "cuda"]:
    """Names the device behind ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: If the name is another, or CUDA is asked for and there is none.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"{option('device', device)}: give auto, cpu or cuda")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise InputError(
            f"{option('device', 'cuda')}: PyTorch finds no CUDA device here; use "
            f"{option('device', 'cpu')}"
        )
    return "cuda" if available and device != "cpu" else "cpu"


def resolve_precision(precision: Precision, device: Literal["cpu", "cuda"]) -> str:
    """Names the arithmetic behind ``auto``: bf16 where the processor has it natively."""
    if precision != "auto":
        return precision
    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = _cpu_has_bf16()
    return "bf16" if native else "float32"


@dataclass(frozen=True)
class Engine:
    """Where and how a run computes.

    Attributes:
        fabric: Places modules, wraps their forward in autocast and runs backward.
        device: ``cpu`` or ``cuda``.
        precision: ``bf16`` (networks in bfloat16, weights and losses in float32) or ``float32``.
    """

    fabric: Fabric
    device: Literal["cpu", "cuda"]
    precision: str


def open_engine(device: str, precision: Precision, *, devices: int = 1, nodes: int = 1) -> Engine:
    """Resolves ``auto`` and opens the engine of a run; `vicinal.training.launch` has many ranks.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: The recipe's.
        devices: Ranks on each node, one a device.
        nodes: Nodes.

    Raises:
        InputError: If the device is not to be had.
    """
    # Slow to import, and only training needs it.
    from lightning.fabric import Fabric
    from lightning.fabric.strategies.ddp import DDPStrategy

    # Its one line about precision says less than ours does.
    logging.getLogger("lightning.fabric.utilities.rank_zero").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric.utilities.distributed").setLevel(logging.WARNING)
    place = resolve_device(device)
    arithmetic = resolve_precision(precision, place)
    if place == "cuda":
        # Every step has the same shapes, so it pays to try cuDNN's algorithms once.
        torch.backends.cudnn.benchmark = True
    many = devices * nodes > 1
    fabric = Fabric(
        accelerator=place,
        devices=devices,
        num_nodes=nodes,
        strategy=DDPStrategy(**_no_sent_buffers()) if many else "auto",
        precision="bf16-mixed" if arithmetic == "bf16" else "32-true",
    )
    if many:
        fabric.launch()
    return Engine(fabric, place, arithmetic)


def _no_sent_buffers() -> dict[str, Any]:
    """Every rank's BatchNorm has the same running statistics: none has to be sent every step."""
    known = inspect.signature(torch.nn.parallel.DistributedDataParallel).parameters
    renamed = "forward_sync_buffers"  # of later torch versions, which warn of the old name
    return {renamed if renamed in known else "broadcast_buffers": False}


def _cpu_has_bf16() -> bool:
    # oneDNN's own check also accepts processors that emulate bfloat16, where it is slower.
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    has = (
        getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile")
    )
    return any(check() for check in has if check is not None)
