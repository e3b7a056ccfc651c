"""Two augmented views of a batch of CIFAR-10 images: ours and the peers', views/s of one core."""

from __future__ import annotations

import gc
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from data import source
from measuring import interleaved, ratio, say, section, table, versions
from vicinal.images import load
from vicinal.recipes import read_recipe
from vicinal.views import Augment

BATCH = 256
ROUNDS = 7
PIL_GOAL = 10
PEERS = ("torchvision", "lightly", "kornia", "stable-pretraining")
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
CROP, JITTER, GREY, BLUR = (0.2, 1.0), (0.4, 0.4, 0.2, 0.1), 0.2, 0.5
"""The study's transform; the shipped recipe `seed` says the same, and is held to it below."""


class Contestant(NamedTuple):
    """One way to make views.

    Attributes:
        prepare: Images (B, H, W, 3) uint8 -> what a user's data set holds; not timed.
        views: That -> two views (B, 3, 32, 32) float32.
        repeats: Batches in one timed turn: more of what is soon done.
        own: Whether its transform is its own and not the study's.
    """

    prepare: Callable[[Tensor], object]
    views: Callable[[object], tuple[Tensor, Tensor]]
    repeats: int = 1
    own: bool = False


def images() -> Tensor:
    """The first real images (B, 32, 32, 3) uint8 that the recipe would train on."""
    with tempfile.TemporaryDirectory() as cache:
        found = load(source("cifar10"), size=32, limit=BATCH, data_dir=Path(cache)).train
        return torch.from_numpy(found.pixels[:].copy())


def pictures(pixels: Tensor) -> list[Image.Image]:
    return [Image.fromarray(picture) for picture in pixels.numpy()]


def planes(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).contiguous()


def one_by_one(transform: Callable[[object], Tensor]) -> Callable[[object], tuple[Tensor, Tensor]]:
    """Both views of each item, as a data set and its collation make them."""

    def views(items: object) -> tuple[Tensor, Tensor]:
        pairs = [(transform(item), transform(item)) for item in items]  # type: ignore[attr-defined]
        first, second = zip(*pairs, strict=True)
        return torch.stack(first), torch.stack(second)

    return views


def ours() -> Contestant:
    recipe = read_recipe("seed").views
    jitter = (recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue)
    said = (recipe.crop_scale, jitter, recipe.jitter, recipe.grey, recipe.blur, recipe.blur_kernel)
    assert said == (CROP, JITTER, 1, GREY, BLUR, 3), "the recipe is not the peers' transform"
    augment = Augment(recipe, MEAN, STD)
    generator = torch.Generator().manual_seed(0)

    def views(pixels: object) -> tuple[Tensor, Tensor]:
        assert isinstance(pixels, Tensor)
        return augment(pixels, generator), augment(pixels, generator)

    return Contestant(lambda pixels: pixels, views, repeats=8)


def torchvision_pil() -> Contestant:
    from torchvision import transforms as T  # noqa: N812 - everybody's name for it

    transform = T.Compose(
        [
            T.RandomResizedCrop(32, scale=CROP),
            T.RandomHorizontalFlip(),
            T.ColorJitter(*JITTER),
            T.RandomGrayscale(GREY),
            T.RandomApply([T.GaussianBlur(3)], BLUR),
            T.ToTensor(),
            T.Normalize(MEAN, STD),
        ]
    )
    return Contestant(pictures, one_by_one(transform))


def _v2() -> Callable[[object], Tensor]:
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.RandomResizedCrop(32, scale=CROP, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(*JITTER),
            v2.RandomGrayscale(GREY),
            v2.RandomApply([v2.GaussianBlur(3)], BLUR),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )


def torchvision_tensors() -> Contestant:
    return Contestant(lambda pixels: list(planes(pixels)), one_by_one(_v2()))


def torchvision_batch() -> Contestant:
    transform = _v2()
    return Contestant(planes, lambda batch: (transform(batch), transform(batch)), repeats=8)


def lightly_pil() -> Contestant:
    from lightly.transforms import VICRegTransform

    transform = VICRegTransform(input_size=32)

    def views(items: object) -> tuple[Tensor, Tensor]:
        pairs = [transform(item) for item in items]  # type: ignore[attr-defined]
        first, second = zip(*pairs, strict=True)
        return torch.stack(first), torch.stack(second)

    return Contestant(pictures, views, own=True)


def kornia_batch() -> Contestant:
    import kornia.augmentation as K  # noqa: N812 - as its documentation names it

    chain = K.AugmentationSequential(
        K.RandomResizedCrop((32, 32), scale=CROP),
        K.RandomHorizontalFlip(p=0.5),
        K.ColorJitter(*JITTER, p=1.0),
        K.RandomGrayscale(p=GREY),
        K.RandomGaussianBlur((3, 3), (0.1, 2.0), p=BLUR),
        K.Normalize(mean=torch.tensor(MEAN), std=torch.tensor(STD)),
        data_keys=["input"],
        same_on_batch=False,
    )

    def views(batch: object) -> tuple[Tensor, Tensor]:
        assert isinstance(batch, Tensor)
        scaled = batch.float() / 255
        return chain(scaled), chain(scaled)

    return Contestant(planes, views)


def stable_pretraining_batch() -> Contestant:
    from stable_pretraining.data import gpu_transforms as G  # noqa: N812 - short for a module

    chain = G.GPUCompose(
        [
            G.GPURandomResizedCrop(32, scale=CROP),
            G.GPURandomHorizontalFlip(p=0.5),
            G.GPUColorJitter(*JITTER, p=1.0),
            G.GPURandomGrayscale(p=GREY),
            G.GPUGaussianBlur(3, p=BLUR),
            G.GPUNormalize(MEAN, STD),
        ]
    )
    two = G.StackedMultiView(chain, n_views=2)

    def views(batch: object) -> tuple[Tensor, Tensor]:
        assert isinstance(batch, Tensor)
        first, second = two({"image": batch.float() / 255})["views"]
        return first["image"], second["image"]

    return Contestant(planes, views)


CONTESTANTS: dict[str, Callable[[], Contestant]] = {
    "ours": ours,
    "torchvision v1, PIL": torchvision_pil,
    "torchvision v2, tensor by tensor": torchvision_tensors,
    "torchvision v2, whole batch ¹": torchvision_batch,
    "lightly VICRegTransform, PIL ²": lightly_pil,
    "kornia, whole batch": kornia_batch,
    "stable-pretraining GPU transforms": stable_pretraining_batch,
}


class Look(NamedTuple):
    """What the views of a contestant are like.

    Attributes:
        mean: Over all numbers of both views.
        std: The same.
        distinct: How many different views a batch of one image alone gets.
    """

    mean: float
    std: float
    distinct: int


def look(name: str, contestant: Contestant, pixels: Tensor) -> Look:
    """Checks the shape of the work and describes what came out."""
    both = contestant.views(contestant.prepare(pixels))
    for views in both:
        right = views.shape == (len(pixels), 3, 32, 32) and views.dtype == torch.float32
        if not right or not views.isfinite().all():
            sys.exit(f"{name}: no finite float32 views of {len(pixels)} images: {views.shape}")
    together = torch.stack(both)
    same = contestant.prepare(pixels[:1].expand(len(pixels), -1, -1, -1).contiguous())
    distinct = len(torch.unique(contestant.views(same)[0].flatten(1), dim=0))
    return Look(together.mean().item(), together.std().item(), distinct)


def timed(contestants: dict[str, Contestant], pixels: Tensor) -> dict[str, list[float]]:
    """Seconds of one batch's two views, in each round."""

    def work(contestant: Contestant) -> Callable[[], None]:
        prepared = contestant.prepare(pixels)

        def turn() -> None:
            for _ in range(contestant.repeats):
                contestant.views(prepared)

        return turn

    works = {name: work(contestant) for name, contestant in contestants.items()}
    seconds = interleaved(works, rounds=ROUNDS)
    return {
        name: [each / contestants[name].repeats for each in taken]
        for name, taken in seconds.items()
    }


def row(name: str, seen: Look, seconds: dict[str, list[float]], own: bool) -> list[str]:
    against = "" if name == "ours" else f"{ratio(seconds[name], seconds['ours']):.1f}×"
    rate = 2 * BATCH / statistics.median(seconds[name])
    like = "its own" if own else f"{seen.mean:+.2f} ± {seen.std:.2f}"
    return [name, f"{float(f'{rate:.2g}'):,.0f}", against, str(seen.distinct), like]


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    pixels = images()
    contestants = {}
    for name, make in CONTESTANTS.items():
        say(name)
        contestants[name] = make()
    gc.freeze()  # the peers import a great deal, which every collection would walk through
    looks = {name: look(name, made, pixels) for name, made in contestants.items()}
    say("all of them in turn")
    seconds = timed(contestants, pixels)
    faster = ratio(seconds["torchvision v1, PIL"], seconds["ours"])
    section(
        "Views",
        f"How many augmented views a second does one core make? Both views of {BATCH} CIFAR-10 "
        "images (JPEG copy), the study's transform, one thread each.",
        [
            table(
                ["", "views/s", "ours is", f"different views, of {BATCH} ³", "mean ± std"],
                [row(n, looks[n], seconds, contestants[n].own) for n in contestants],
            )
        ],
        [
            f"torchvision v1 on PIL images: goal ≥ {PIL_GOAL}×: {faster:.1f}×, "
            + ("**met**" if faster >= PIL_GOAL else "**missed**")
            + ".",
            "¹ draws one set of parameters for the whole batch: less work, and no replacement, "
            "as all images get the same crop, colours and blur.",
            "² its own defaults: jitter with probability 0.8 and other strengths, solarisation, "
            "smaller crops.",
            f"³ of a batch of {BATCH} copies of one image, which should all look different. "
            "Mean and standard deviation are over all numbers of a batch's views, and say that "
            "the transforms do the same.",
            "PIL images are made beforehand, uint8 to float32 and stacking are timed. Peers: "
            f"{versions(*PEERS)}.",
        ],
    )


if __name__ == "__main__":
    main()
