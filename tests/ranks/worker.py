"""One of four processes that train together: `worker.py NUMBER FOLDER`, see test_ranks.py.

Groups of 2, 3 and 4 ranks form one after the other; rank 0 of each keeps what it found.
"""

import importlib
import sys
from itertools import count
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vicinal import distributed
from vicinal.encoder.layers import synchronise
from vicinal.objectives import OBJECTIVES, directions, of_recipe, vicreg
from vicinal.recipes.recipe import Objective
from vicinal.training.budget import Budget

exchange = importlib.import_module("vicinal.objectives.vicreg")  # its name is the function's too

CASES = {"few": (24, 40), "many": (50, 12), "uneven": (25, 31)}
"""Rows and width of the embeddings: n < d, n > d, and n that none of 2, 3, 4 divides."""


def embeddings(case: str) -> tuple[Tensor, Tensor]:
    rows, width = CASES[case]
    drawn = torch.randn(2, rows, width, generator=torch.Generator().manual_seed(0))
    # Dimensions above and below the hinge, that lean on each other.
    scale = torch.linspace(0.2, 3, width)
    a = drawn[0] * scale + 0.5 * drawn[0].roll(1, dims=1) + 1
    return a, a + 0.3 * drawn[1]


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 8, bias=False),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Linear(8, 20, bias=False),  # a bias has no gradient but rounding
    )


def images() -> tuple[Tensor, Tensor]:
    drawn = torch.rand(2, 25, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    return drawn[0], drawn[0] + 0.2 * drawn[1]


def of_embeddings(case: str, *, gather: bool | None) -> dict[str, Tensor]:
    """The loss, and the gradient of all rows as DDP's mean would have it."""
    if gather is not None:
        exchange.gathers = lambda *_: gather
    return of_objective(case, "vicreg")


def of_objective(case: str, name: str) -> dict[str, Tensor]:
    """The same of any objective."""
    whole = embeddings(case)
    rows = len(whole[0])
    mine = [z[distributed.share(rows)].clone().requires_grad_() for z in whole]
    settings = Objective.model_validate({"name": name})
    drawn = directions(settings, whole[0].shape[1], 0)
    terms = of_recipe(mine[0], mine[1], settings, rows, *drawn)
    terms.total.backward()  # type: ignore[no-untyped-call]
    found = {"total": terms.total.detach(), **terms.parts}
    for name, z in zip("ab", mine, strict=True):
        assert z.grad is not None
        found[f"gradient of {name}"] = distributed.all_rows(z.grad, rows) / distributed.world_size()
    return found


def of_network() -> dict[str, Tensor]:
    """Loss, gradients and running statistics of a network with BatchNorm under DDP."""
    model = network()
    synchronise(model, torch.device("cpu"))
    wrapped = DistributedDataParallel(model)
    a, b = (part[distributed.share(len(part))] for part in images())
    total = vicreg(wrapped(a), wrapped(b), rows=25).total
    total.backward()  # type: ignore[no-untyped-call]
    found = {"total": total.detach()}
    found |= {f"gradient of {n}": p.grad for n, p in model.named_parameters() if p.grad is not None}
    found |= {n: b for n, b in model.named_buffers() if "running" in n}
    model.eval()
    return found | {"evaluated": model(images()[0])}


def of_half_precision() -> Tensor:
    """BatchNorm's output of bfloat16 activations, all ranks' rows."""
    layer = nn.Sequential(nn.BatchNorm2d(3))
    synchronise(layer, torch.device("cpu"))
    batch = torch.randn(25, 3, 4, 4, generator=torch.Generator().manual_seed(3)) + 2
    mine = batch[distributed.share(25)].bfloat16().to(memory_format=torch.channels_last)
    output: Tensor = layer(mine.requires_grad_())
    output.float().square().sum().backward()  # type: ignore[no-untyped-call]
    assert output.dtype == torch.bfloat16
    assert mine.grad is not None
    assert mine.grad.dtype == torch.bfloat16
    return distributed.all_rows(output.detach(), 25)


def refused_everywhere() -> str:
    """What a rank other than the first raises when the first's own work fails."""

    def work() -> None:
        raise ValueError("only here")

    try:
        distributed.from_first(work)
    except ValueError as error:
        return str(error)
    except SystemExit as error:
        return f"exit {error.code}"
    return "nothing"


def places_by_own_clocks() -> list[float]:
    """The places in a schedule of one minute, by ranks each of whose clocks is another's."""
    clock = count(1.0, 0.5 + distributed.rank())
    budget = Budget(50, 10, minutes=1.0, clock=lambda: next(clock))
    places = []
    for step in range(budget.steps):
        places.append(budget.place(step))
        if budget.over(step + 1):
            break
    return places


def measure() -> dict[str, Any]:
    chosen = exchange.gathers
    found: dict[str, Any] = {"objective": {}}
    for case in CASES:
        for name, gather in (("chosen", None), ("gather", True), ("reduce", False)):
            exchange.gathers = chosen
            found["objective"][case, name] = of_embeddings(case, gather=gather)
    exchange.gathers = chosen
    found["others"] = {name: of_objective("uneven", name) for name in OBJECTIVES}
    whole = embeddings("many")
    own = vicreg(*(z[distributed.share(50)] for z in whole)).total
    found["per-rank"] = distributed.mean(own.clone())
    found["network"] = of_network()
    found["half"] = of_half_precision()
    refusals: list[Any] = [None] * distributed.world_size()
    dist.all_gather_object(refusals, refused_everywhere())
    found["refusals"] = refusals
    places: list[Any] = [None] * distributed.world_size()
    dist.all_gather_object(places, places_by_own_clocks())
    found["places"] = places
    found["in turn"] = distributed.in_turn(lambda: 7)
    return found


def work(number: int, folder: Path) -> None:
    torch.set_num_threads(1)
    for world in (2, 3, 4):
        if number < world:
            store = dist.FileStore(str(folder / f"store-{world}"), world)
            dist.init_process_group("gloo", store=store, rank=number, world_size=world)
            found = measure()
            if distributed.is_first():
                torch.save(found, folder / f"{world}.pt")
            distributed.leave()
            # A group that is still held has threads, which abort an interpreter that ends.
            assert distributed._patient_group.cache_info().currsize == 0


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]))
