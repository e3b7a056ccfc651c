"""Device, arithmetic and memory of a training step; compiled, or as one CUDA graph."""

from __future__ import annotations

import ctypes
import inspect
import logging
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from vicinal import distributed
from vicinal.errors import InputError, begun_by, option
from vicinal.recipes.recipe import Training

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
    if distributed.world_size() > 1:
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

    Args:
        step: Forward, backward and the optimiser's step; reads nothing back from the device.
        optimizer: Its groups' learning rates become tensors on the device, which the graph reads.
        training: The recipe's section.
        device: Where the training runs.
        say: Prints a line; called once, if the step cannot be recorded.
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
    """The step by ``capture``, after `WARM_UP` calls taken by ``aside``.

    Args:
        step: As in `graphed`.
        aside: Does what it is given, in a way that prepares for recording it.
        capture: Records without doing.
        say: As in `graphed`.
    """
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


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives all groups a learning rate, or their share of it, where a graph reads it if any."""
    for group in optimizer.param_groups:
        own = rate * group.get("share", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(own)
        else:
            group["lr"] = own


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
