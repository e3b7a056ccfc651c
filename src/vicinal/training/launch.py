"""Starting on many ranks: by ourselves, by torchrun, or as Slurm starts them."""

from __future__ import annotations

import atexit
import os
import time
import uuid

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store

from vicinal import distributed
from vicinal.errors import InputError, option
from vicinal.training.device import Engine, Precision, open_engine, resolve_device


def open_ranks(
    device: str, precision: Precision, *, devices: int | None, nodes: int | None
) -> Engine:
    """Opens the engine of a run on one or many ranks, starting those that are not there yet.

    Under torchrun its processes are the ranks. Otherwise, for several devices, the command line
    of this process is run again for each further one; on several nodes it has to be given on
    each, with ``MASTER_ADDR``, ``MASTER_PORT`` and ``NODE_RANK`` in the environment, or by srun.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: The recipe's.
        devices: Ranks on each node; None for torchrun's number, else 1.
        nodes: Nodes; None for torchrun's number, else 1.

    Raises:
        InputError: If these devices are not to be had, or torchrun started another number.
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
    """Forms the group of the ranks that torchrun has started, which Fabric then finds there.

    The agents' store outlives the ranks and, since torch 2.5, keeps what lost ones wrote into
    it: the next ones would wait for them at their addresses (pytorch issue 135712).
    """
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(*place, world_size=world, is_master=False)  # type: ignore[attr-defined]
    fresh = PrefixStore(meeting(store, rank, world), store)
    dist.init_process_group(backend, store=fresh, rank=rank, world_size=world)


def meeting(store: Store, rank: int, world: int) -> str:
    """A name that the living ranks agree on, and that none before them has used.

    Rank 0 answers whoever stands at each rank's place until the living one has been heard.

    Args:
        store: Where all meet; it may hold what earlier ranks wrote.
        rank: This rank.
        world: How many ranks there are.
    """
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
        raise InputError(f"torchrun started {world} ranks, {local} here: give every node as many")
    started = local, world // local
    if (devices or started[0], nodes or started[1]) != started:
        raise InputError(
            f"torchrun started {started[0]} ranks on each of {started[1]} nodes: "
            f"leave {option('devices')} and {option('nodes')} out, or give these numbers"
        )
    return started
