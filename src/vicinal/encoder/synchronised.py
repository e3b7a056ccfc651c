"""BatchNorm over the images of all ranks: the same layers, so the same weights and files.

torch's own SyncBatchNorm refuses CPUs, so there its arithmetic is done here: float32 means and
variances of each rank's images joined as Chan, Golub and LeVeque (1979) join them, and the two
sums of the gradient added up over the ranks.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor, nn

from vicinal import ranks


def synchronise(network: nn.Module, device: torch.device) -> None:
    """Has every BatchNorm layer of a network take the statistics of all ranks' images.

    On a GPU they become torch's SyncBatchNorm, on a CPU `CpuSyncBatchNorm`; on one process
    they stay what they are. Names, weights and random numbers do not change.

    Args:
        network: Any network; changed in place.
        device: What it will be trained on.
    """
    if ranks.world_size() == 1:
        return
    for layer in network.modules():
        if type(layer) not in (nn.BatchNorm1d, nn.BatchNorm2d):
            continue
        # Not a new module, as in `vicinal.encoder.winograd`.
        if device.type == "cpu":
            layer.__class__ = CpuSyncBatchNorm
        else:
            layer.__class__ = nn.SyncBatchNorm
            setattr(layer, "process_group", None)  # noqa: B010 - which its constructor sets


class CpuSyncBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm of (B, C) or (B, C, H, W) over the images of all ranks, on CPUs."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises in training by all ranks' mean and variance, else by the running ones."""
        if not self.training:
            output: Tensor = super().forward(input)
            return output
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        output, mean, variance = _Normalised.apply(input, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)
        return output

    def _check_input_dim(self, input: Tensor) -> None:
        """Takes any (B, C, …): the layer it was has other checks for each number of dimensions."""


class _Normalised(torch.autograd.Function):
    """Batch normalisation, and the mean and the unbiased variance (C,) of all ranks."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        over = [d for d in range(images.ndim) if d != 1]
        variance, mean = torch.var_mean(images.float(), over, correction=0)
        count = mean.new_full((1,), images.numel() // images.shape[1])
        every = ranks.all_rows(torch.cat((count, mean, variance))[None], ranks.world_size())
        counts, means, variances = torch.split(every, [1, len(mean), len(mean)], dim=1)
        shares = counts / counts.sum()
        mean = (shares * means).sum(dim=0)
        variance = (shares * (variances + (means - mean).square())).sum(dim=0)
        ctx.eps, ctx.count = eps, counts.sum()
        ctx.save_for_backward(images, weight, mean, variance)
        unbiased = variance * (ctx.count / (ctx.count - 1))
        ctx.mark_non_differentiable(mean, unbiased)
        return F.batch_norm(images, mean, variance, weight, bias, eps=eps), mean, unbiased

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_output: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        images, weight, mean, variance = ctx.saved_tensors
        # Of given statistics first; then what the images do through the statistics.
        direct, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            of_output, images, weight, mean, variance, None, None, False, ctx.eps, [True] * 3
        )
        by_weight, by_bias = ranks.total(torch.stack((of_weight, of_bias))) / ctx.count
        inverse = torch.rsqrt(variance + ctx.eps)
        slope = weight * inverse.square() * by_weight
        shape = (1, -1, *[1] * (images.ndim - 2))
        through = torch.addcmul(
            (weight * inverse * by_bias - slope * mean).view(shape), images, slope.view(shape)
        )
        return (direct - through).to(images.dtype), of_weight, of_bias, None
