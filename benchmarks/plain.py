"""VICReg in plain PyTorch: the paper's equations as they stand, in the loop one writes first."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import transforms

from vicinal.recipes.recipe import Recipe

GAMMA, EPSILON = 1.0, 1e-4


def equations(z_a: Tensor, z_b: Tensor) -> Tensor:
    """Bardes, Ponce, LeCun (ICLR 2022), equations 1 to 6, with the released code's means.

    That is invariance over n·d entries, the variance term averaged over the two views, and the
    D×D covariance of each; weights 25, 25, 1.

    Args:
        z_a: Embeddings (n, d) float32 of the first views.
        z_b: Embeddings (n, d) of the second views.
    """
    z_a, z_b = z_a.float(), z_b.float()
    invariance = (z_a - z_b).square().mean()
    variance, covariance = z_a.new_zeros(()), z_a.new_zeros(())
    for z in (z_a, z_b):
        deviation = torch.sqrt(z.var(dim=0) + EPSILON)
        variance = variance + torch.relu(GAMMA - deviation).mean() / 2
        centred = z - z.mean(dim=0)
        matrix = centred.T @ centred / (len(z) - 1)
        off_diagonal = matrix - torch.diag(matrix.diagonal())
        covariance = covariance + off_diagonal.square().sum() / z.shape[1]
    return 25 * invariance + 25 * variance + covariance


class TwoViews:
    """Two random views of a picture."""

    def __init__(self, recipe: Recipe, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        views = recipe.views
        jitter = transforms.ColorJitter(
            views.brightness, views.contrast, views.saturation, views.hue
        )
        self.view = transforms.Compose(
            [
                transforms.RandomResizedCrop(views.size, views.crop_scale),
                transforms.RandomHorizontalFlip(views.flip),
                transforms.RandomApply([jitter], views.jitter),
                transforms.RandomGrayscale(views.grey),
                transforms.RandomApply(
                    [transforms.GaussianBlur(views.blur_kernel, views.blur_sigma)], views.blur
                ),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        )

    def __call__(self, picture: Any) -> tuple[Tensor, Tensor]:
        """Two tensors (3, S, S)."""
        return self.view(picture), self.view(picture)


def loop(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    dataset: Any,
    recipe: Recipe,
    steps: int,
    device: str,
    stamp: Callable[[], None],
) -> None:
    """Trains for so many steps; ``stamp`` is called when each has been started."""
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=recipe.training.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=2 if device == "cpu" else os.cpu_count() or 2,
        pin_memory=device == "cuda",
    )
    model.to(device).train()
    done = 0
    while done < steps:
        for (first, second), _ in loader:
            first, second = (v.to(device, non_blocking=True) for v in (first, second))
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                z_a, z_b = model(first), model(second)
            loss = equations(z_a, z_b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            stamp()
            done += 1
            if done == steps:
                return
