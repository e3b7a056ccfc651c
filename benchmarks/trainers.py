"""The same training three times: ours, and two peers' as their documentation shows them.

Each trains a recipe's encoder and projector on the same pixels for a number of steps, in the
process it is called in, and says when each step ended.
"""

from __future__ import annotations

import functools
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import plain
from data import source
from vicinal.encoder import build_encoder, projector
from vicinal.images import load
from vicinal.images.image_set import ImageSet
from vicinal.recipes import override, read_recipe
from vicinal.recipes.recipe import Recipe
from vicinal.training.device import Precision, open_engine
from vicinal.training.loop import ArrayBatches, pretrain
from vicinal.views import Augment, GeneratedNeighbours, Pairs, channel_statistics


@dataclass(frozen=True)
class Run:
    """What a training says of itself.

    Attributes:
        ends: When each step ended, seconds of `time.perf_counter`; the first is step 1's
            beginning where the trainer can tell it, else the end of its first step.
        numbers: Numbers in the state of encoder and projector, buffers counted.
    """

    ends: list[float]
    numbers: int


@dataclass(frozen=True)
class Timed:
    """Pairs that note when they are asked for, which is when a step begins."""

    pairs: Pairs
    device: str = "cpu"
    stamps: list[float] = field(default_factory=list)

    def __call__(
        self, pixels: Tensor, index: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """As `vicinal.views.Pairs`."""
        stamp(self.stamps, self.device)
        return self.pairs(pixels, index, generator)


SETTLED = 5
"""Steps until a GPU's queue, its compiler and its clock have settled."""


def stamp(stamps: list[float], device: str, last: int = 0) -> None:
    """Notes the time; waits for a GPU while it settles and for stamp ``last``, not in between."""
    if device == "cuda" and (len(stamps) <= SETTLED or len(stamps) == last - 1):
        torch.cuda.synchronize()
    stamps.append(time.perf_counter())


@functools.cache
def images() -> ImageSet:
    """CIFAR-10's training images (JPEG copy)."""
    return load(source("cifar10"), size=32).train


def ours(recipe: Recipe, steps: int, device: str, precision: Precision) -> Run:
    """`pretrain` on the engine that ``vicinal study`` opens, one epoch of ``steps`` steps."""
    pixels = images().pixels
    augment = Augment(recipe.views, *channel_statistics(pixels))
    timed = Timed(GeneratedNeighbours(augment), device)
    train = ArrayBatches(pixels[: steps * recipe.training.batch_size], timed)
    # Two test images cost nothing, and asking for their views marks the last step's end.
    test = ArrayBatches(pixels[-2:], timed)
    engine = open_engine(device, precision)
    with tempfile.TemporaryDirectory() as folder:
        pretrain(train, test, recipe, Path(folder), engine.fabric, epochs=1)
        state = torch.load(Path(folder) / "checkpoint.pt", weights_only=True)["model"]
    return Run(timed.stamps, sum(values.numel() for values in state.values()))


class Pictures:
    """PIL images with labels, as torchvision's CIFAR10 gives them."""

    def __init__(self, pixels: NDArray[np.uint8], transform: Callable[[Any], Any] | None) -> None:
        self.pixels = pixels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = Image.fromarray(self.pixels[index])
        return (image if self.transform is None else self.transform(image)), 0


def lightly_script(recipe: Recipe, steps: int, device: str) -> Run:
    """LightningModule, VICRegLoss and VICRegTransform, as in lightly's VICReg example."""
    import pytorch_lightning as pl
    from lightly.data import LightlyDataset
    from lightly.loss import VICRegLoss
    from lightly.transforms import VICRegTransform

    class VICReg(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.projection_head = _networks(recipe)
            self.criterion = VICRegLoss()

        def forward(self, x: Tensor) -> Tensor:
            return self.projection_head(self.backbone(x).flatten(start_dim=1))

        def training_step(self, batch: Any, _: int) -> Tensor:
            (x0, x1), _, _ = batch
            return self.criterion(self.forward(x0), self.forward(x1))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            kind, settings = _optimizer(recipe)
            return kind(self.parameters(), **settings)

    views, (mean, std) = recipe.views, channel_statistics(images().pixels)
    transform = VICRegTransform(
        input_size=views.size,
        cj_prob=views.jitter,
        cj_strength=1.0,
        cj_bright=views.brightness,
        cj_contrast=views.contrast,
        cj_sat=views.saturation,
        cj_hue=views.hue,
        min_scale=views.crop_scale[0],
        random_gray_scale=views.grey,
        solarize_prob=0.0,
        gaussian_blur=views.blur,
        sigmas=views.blur_sigma,
        hf_prob=views.flip,
        normalize={"mean": list(mean), "std": list(std)},
    )
    dataset = LightlyDataset.from_torch_dataset(
        Pictures(images().pixels, None), transform=transform
    )
    torch.manual_seed(recipe.seed)
    module, clock = VICReg(), _clock(pl, device, steps)
    trainer = _trainer(pl, steps, clock, device)
    trainer.fit(module, _loader(dataset, recipe, device))
    return Run(clock.stamps, _numbers(module.backbone, module.projection_head))


def stable_pretraining_script(recipe: Recipe, steps: int, device: str) -> Run:
    """Module, DataModule and Manager with its VICReg forward, loss and transforms."""
    import lightning.pytorch as pl
    import stable_pretraining as spt
    from stable_pretraining.data import transforms
    from stable_pretraining.forward import vicreg

    spt.set(verbose="ERROR", progress_bar="none", default_loggers={"registry": False})
    views, (mean, std) = recipe.views, channel_statistics(images().pixels)
    view = transforms.Compose(
        transforms.RGB(),
        transforms.RandomResizedCrop((views.size, views.size), scale=views.crop_scale),
        transforms.RandomHorizontalFlip(p=views.flip),
        transforms.ColorJitter(
            views.brightness, views.contrast, views.saturation, views.hue, p=views.jitter
        ),
        transforms.RandomGrayscale(p=views.grey),
        transforms.PILGaussianBlur(sigma=views.blur_sigma, p=views.blur),
        transforms.ToImage(mean=list(mean), std=list(std)),
    )
    dataset = spt.data.FromTorchDataset(
        Pictures(images().pixels, None),
        names=["image", "label"],
        transform=transforms.MultiViewTransform([view, view]),
    )
    torch.manual_seed(recipe.seed)
    backbone, head = _networks(recipe)
    kind, settings = _optimizer(recipe)
    module = spt.Module(
        backbone=backbone,
        projector=head,
        forward=vicreg,
        vicreg_loss=spt.losses.VICRegLoss(),
        optim={"optimizer": functools.partial(kind, **settings), "scheduler": "ConstantLR"},
    )
    clock = _clock(pl, device, steps)
    with tempfile.TemporaryDirectory() as folder:
        spt.set(cache_dir=folder)
        data = spt.data.DataModule(train=_loader(dataset, recipe, device))
        spt.Manager(_trainer(pl, steps, clock, device), module, data, seed=recipe.seed)()
    return Run(clock.stamps, _numbers(backbone, head))


def plain_script(recipe: Recipe, steps: int, device: str) -> Run:
    """The paper's equations in a loop of plain PyTorch, torchvision's transforms on PIL images."""
    views = plain.TwoViews(recipe, *channel_statistics(images().pixels))
    torch.manual_seed(recipe.seed)
    backbone, head = _networks(recipe)
    model = nn.Sequential(backbone, head).to(device)
    kind, settings = _optimizer(recipe)
    stamps: list[float] = []
    plain.loop(
        model,
        kind(model.parameters(), **settings),
        Pictures(images().pixels, views),
        recipe,
        steps,
        device,
        lambda: stamp(stamps, device, last=steps),
    )
    return Run(stamps, _numbers(backbone, head))


TRAINERS: dict[str, Callable[[Recipe, int, str], Run]] = {
    "ours, bf16": functools.partial(ours, precision="bf16"),
    "ours": functools.partial(ours, precision="float32"),
    "lightly": lightly_script,
    "stable-pretraining": stable_pretraining_script,
    "plain PyTorch": plain_script,
}


def train(
    name: str, recipe: str, settings: tuple[str, ...], steps: int, device: str = "cpu"
) -> Run:
    """Runs one trainer; to be called in a process of its own, whose standard output it shuts."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    warnings.simplefilter("ignore")
    for chatty in ("lightning.pytorch", "pytorch_lightning", "lightning.fabric"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    return TRAINERS[name](override(read_recipe(recipe), settings), steps, device)


def _networks(recipe: Recipe) -> tuple[nn.Module, nn.Module]:
    encoder = build_encoder(recipe.encoder, channels=3, size=recipe.views.size)
    return encoder, projector(recipe.encoder.dimension, recipe.projector.widths)


def _optimizer(recipe: Recipe) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    training = recipe.training
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[training.optimizer]
    return kind, {
        "lr": training.learning_rate,
        "betas": training.betas,
        "weight_decay": training.weight_decay,
    }


def _loader(dataset: Any, recipe: Recipe, device: str) -> Any:
    return torch.utils.data.DataLoader(
        dataset,
        batch_size=recipe.training.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=2 if device == "cpu" else os.cpu_count() or 2,
        pin_memory=device == "cuda",
    )


def _clock(pl: Any, device: str, steps: int) -> Any:
    class Clock(pl.Callback):
        """Notes when each step ends."""

        def __init__(self) -> None:
            self.stamps: list[float] = []

        def on_train_batch_end(self, *_: Any) -> None:
            stamp(self.stamps, device, last=steps)

    return Clock()


def _trainer(pl: Any, steps: int, clock: Any, device: str) -> Any:
    trainer = pl.Trainer(
        max_steps=steps,
        accelerator=device,
        devices=1,
        precision="bf16-mixed" if device == "cuda" else "32-true",
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    # stable-pretraining puts monitors and dumps of its own into every trainer of an
    # environment that it is installed in: they would cost both peers time.
    trainer.callbacks = [
        c for c in trainer.callbacks if not type(c).__module__.startswith("stable_pretraining")
    ]
    return trainer


def _numbers(*modules: nn.Module) -> int:
    return sum(values.numel() for m in modules for values in m.state_dict().values())
