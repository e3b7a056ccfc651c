"""What do the convolutions of a training on a CPU gain over oneDNN's own?

One view forward and backward through a recipe's network in bfloat16 (float32 where the processor
has no bfloat16), with torch's layers as they are and with `FastConv2d` in their place; for the
networks that read every stage also without laying out the pooled maps' gradient as the maps are.
Then 3×3 layers alone, of shapes that networks have. Ratios of paired rounds.
"""

from __future__ import annotations

import argparse
import copy
import importlib
from collections.abc import Callable
from unittest import mock

import torch
from torch import Tensor, nn

from measuring import interleaved, machine, ratio, say, section, table
from vicinal.encoder import build_encoder
from vicinal.encoder.layers import FastConv2d, use_fast_convolutions
from vicinal.recipes import read_recipe
from vicinal.training.device import resolve_precision

LAYERS = (  # channels in, side, channels out, stride
    (64, 30, 64, 1),
    (128, 15, 128, 1),
    (128, 8, 128, 1),
    (128, 8, 256, 2),
    (256, 8, 256, 1),
    (256, 4, 256, 1),
    (256, 8, 512, 2),
    (512, 4, 512, 1),
    (512, 2, 512, 1),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", nargs="+", default=("seed", "laptop", "photos"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    bf16 = resolve_precision("auto", torch.device("cpu")) == "bf16"
    networks = [network_gain(name, asked.rounds, bf16=bf16) for name in asked.recipes]
    layers = [layer_gain(*shape, asked.rounds, bf16=bf16) for shape in LAYERS]
    numbers = "bfloat16" if bf16 else "float32"
    section(
        "Convolutions on a CPU",
        "What do the convolutions of a training gain over oneDNN's own? One view forward and "
        f"backward in {numbers}, median of {asked.rounds} rounds.",
        [
            table(("network", "batch", "oneDNN / ours", "layout / ours"), networks),
            table(("layer, batch 128", "made by", "oneDNN / ours"), layers),
        ],
        [f"{machine()}, torch {torch.__version__}"],
    )


def network_gain(name: str, rounds: int, *, bf16: bool) -> tuple[str, ...]:
    """The row of a recipe's network."""
    recipe = read_recipe(name)
    size, batch = recipe.views.size, recipe.training.batch_size
    torch.manual_seed(0)
    plain = build_encoder(recipe.encoder, channels=3, size=size)
    plain = plain.to(memory_format=torch.channels_last).train()
    fast = copy.deepcopy(plain)
    use_fast_convolutions(fast)
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)

    def laid_out_otherwise() -> None:
        # By its module's name: the package has a function of that name.
        small = importlib.import_module("vicinal.encoder.small")
        with mock.patch.object(small, "_channels_last", lambda maps: maps):
            there_and_back(fast, images, bf16=bf16)

    found = interleaved(
        {
            "oneDNN": lambda: there_and_back(plain, images, bf16=bf16),
            "layout": laid_out_otherwise,
            "ours": lambda: there_and_back(fast, images, bf16=bf16),
        },
        rounds=rounds,
    )
    reads_stages = recipe.encoder.backbone == "plain"
    layout = f"{ratio(found['layout'], found['ours']):.2f}" if reads_stages else "–"
    say(f"{name} measured")
    return name, f"{batch}", f"{ratio(found['oneDNN'], found['ours']):.2f}", layout


def layer_gain(
    channels: int, side: int, maps: int, stride: int, rounds: int, *, bf16: bool
) -> tuple[str, ...]:
    """The row of one layer, fed as a network feeds it."""
    ours = FastConv2d(channels, maps, 3, stride=stride, padding=1, bias=False)
    theirs = nn.Conv2d(channels, maps, 3, stride=stride, padding=1, bias=False)
    dtype = torch.bfloat16 if bf16 else torch.float32
    images = torch.randn(128, channels, side, side, dtype=dtype, requires_grad=True)
    images.data = images.data.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        made = ours(images).grad_fn.name().partition("Backward")[0].strip("_")

    def passing(layer: nn.Module) -> Callable[[], None]:
        return lambda: there_and_back(
            layer.to(memory_format=torch.channels_last), images, bf16=bf16
        )

    found = interleaved({"oneDNN": passing(theirs), "ours": passing(ours)}, rounds=rounds)
    shape = f"{channels} → {maps}, {side}×{side}, stride {stride}"
    say(f"{shape} measured")
    return shape, made, f"{ratio(found['oneDNN'], found['ours']):.2f}"


def there_and_back(network: nn.Module, images: Tensor, *, bf16: bool) -> None:
    """The forward and the backward pass, as a training step does them."""
    network.zero_grad()
    images.grad = None
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        output = network(images)
    output.float().square().mean().backward()


if __name__ == "__main__":
    main()
