"""Device, arithmetic and ranks of a training, started by ourselves, torchrun or Slurm; memory."""

from __future__ import annotations

import atexit
import ctypes
import inspect
import logging
import os
import platform
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store

from vicinal import distributed
from vicinal.errors import InputError, option

if TYPE_CHECKING:
    from lightning.fabric import Fabric


Precision = Literal["auto", "bf16", "float32"]


def resolve_device(device: str) -> Literal["cpu", "cuda"]:
    """Names the device behind ``auto``, ``cpu`` or ``cuda``."""
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
    """The device and the arithmetic of a run."""

    fabric: Fabric  # places modules, wraps their forward in autocast and runs backward
    device: Literal["cpu", "cuda"]  # ``cpu`` or ``cuda``
    precision: str  # ``bf16`` (networks in bfloat16, weights and losses in float32) or ``float32``


def open_engine(device: str, precision: Precision, *, devices: int = 1, nodes: int = 1) -> Engine:
    """Resolves ``auto`` and opens the engine of a run; `open_ranks` starts many ranks."""
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


def open_ranks(
    device: str, precision: Precision, *, devices: int | None, nodes: int | None
) -> Engine:
    """Opens the engine of a run on one or many ranks, starting those that are not there yet.

    Under torchrun its processes are the ranks. Otherwise, for several devices, the command line
    of this process is run again for each further one; on several nodes it has to be given on
    each, with ``MASTER_ADDR``, ``MASTER_PORT`` and ``NODE_RANK`` in the environment, or by srun.
    """
    devices, nodes = _torchrun(devices, nodes) if _under_torchrun() else (devices or 1, nodes or 1)
    if devices * nodes == 1:
        return open_engine(device, precision)
    if min(devices, nodes) < 1:
        raise InputError(
            f"{option('devices', devices)} {option('nodes', nodes)}: give numbers of at least 1"
        )
    found = torch.cuda.device_count()
    if resolve_device(device) == "cuda" and devices > found:
        raise InputError(
            f"{option('devices', devices)}: this machine has {found} CUDA devices; give at most "
            f"{found}, "
            f"or {option('device', 'cpu')}"
        )
    known = {"MASTER_ADDR", "NODE_RANK"} <= os.environ.keys() or "SLURM_PROCID" in os.environ
    if nodes > 1 and not _under_torchrun() and not known:
        raise InputError(
            f"{option('nodes', nodes)}: start it by torchrun or srun on every node, or with "
            "MASTER_ADDR, "
            "MASTER_PORT and NODE_RANK set; docs/launch.md shows how"
        )
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        _join("nccl" if resolve_device(device) == "cuda" else "gloo")
    engine = open_engine(device, precision, devices=devices, nodes=nodes)
    atexit.register(distributed.leave)
    return engine


def _join(backend: str) -> None:
    """Forms the group of the ranks that torchrun has started, which Fabric then finds there."""
    # The agents' store outlives the ranks and, since torch 2.5, keeps what lost ones wrote into
    # it: the next ones would wait for them at their addresses (pytorch issue 135712).
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(*place, world_size=world, is_master=False)  # type: ignore[attr-defined]
    fresh = PrefixStore(meeting(store, rank, world), store)
    dist.init_process_group(backend, store=fresh, rank=rank, world_size=world)


def meeting(store: Store, rank: int, world: int) -> str:
    """A name that the living ranks agree on, and that none before them has used."""
    me = uuid.uuid4().hex
    if rank > 0:
        store.set(f"vicinal/place/{rank}", me)
        name = str(store.get(f"vicinal/answer/{me}"), "utf-8")
        store.set(f"vicinal/heard/{name}/{rank}", "")
        return name
    for other in range(1, world):
        while not store.check([f"vicinal/heard/{me}/{other}"]):
            there = store.get(f"vicinal/place/{other}").decode()
            store.set(f"vicinal/answer/{there}", me)
            time.sleep(0.02)
    return me


def _under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ and "WORLD_SIZE" in os.environ


def _torchrun(devices: int | None, nodes: int | None) -> tuple[int, int]:
    """Ranks on each node and nodes, as torchrun has started them."""
    world, local = (int(os.environ[name]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if world % local:
        raise InputError(
            f"torchrun started {world} ranks, {local} here: start the same number on every node"
        )
    started = local, world // local
    if (devices or started[0], nodes or started[1]) != started:
        raise InputError(
            f"torchrun started {started[0]} ranks on each of {started[1]} nodes: "
            f"leave {option('devices')} and {option('nodes')} out, or give these numbers"
        )
    return started


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


# From glibc's malloc.h, which gives them no other name to Python.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
NEVER = -1
MIB = 2**20


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keeps freed memory for the next allocation instead of handing it back to the system.

    glibc maps every block above 32 MiB anew and unmaps it when it is freed. A batch's
    activations are such blocks, so each step would have the kernel find, clear and map
    hundreds of thousands of pages again. On leaving, what is free is handed back. Where
    the C library is another one, this does nothing.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    # Older versions refuse a threshold above 32 MiB; they can be told to map no block at all.
    if not libc.mallopt(M_MMAP_THRESHOLD, 1024 * MIB):
        libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        # Where the thresholds come to lie by themselves once large blocks have been freed.
        libc.mallopt(M_MMAP_MAX, 65536)
        libc.mallopt(M_MMAP_THRESHOLD, 32 * MIB)
        libc.mallopt(M_TRIM_THRESHOLD, 64 * MIB)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
