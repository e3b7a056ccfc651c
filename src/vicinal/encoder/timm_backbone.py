"""Any network of timm as the encoder: ``encoder.backbone = "timm:resnet18"``."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from vicinal.errors import InputError

PREFIX = "timm:"
"""The prefix of a backbone that timm builds."""


def timm_backbone(name: str, channels: int, size: int, dimension: int) -> nn.Module:
    """A network of timm without its classifier, of random weights; nothing is downloaded.

    Wightman, PyTorch Image Models, doi 10.5281/zenodo.4414861. The module is timm's own, so that
    its state dict is one that ``timm.create_model(name, num_classes=0)`` loads.
    """
    network = created(name, channels, size)
    convolutions = [layer for layer in network.modules() if type(layer) is nn.Conv2d]
    hooks = [layer.register_forward_pre_hook(_mind_small_maps) for layer in convolutions]
    try:
        with torch.no_grad():
            found = network.eval()(torch.zeros(1, channels, size, size))
    except (AssertionError, IndexError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"views.size: timm's {name} takes no images of {size} pixels ({reason}); "
            "give another size or another backbone"
        ) from None
    for hook in hooks:
        hook.remove()
    if not isinstance(found, torch.Tensor) or found.ndim != 2:
        raise InputError(
            f"encoder.backbone: timm's {name} does not give one vector per image; use another"
        )
    if found.shape[1] != dimension:
        raise InputError(
            f"encoder.dimension: timm's {name} has {found.shape[1]}, found {dimension}; "
            f"give encoder.dimension = {found.shape[1]}"
        )
    return network.train()


class Float32Conv2d(nn.Conv2d):
    """A convolution that stays in float32 under a CPU's autocast.

    Where a map is so small that parts of a kernel meet nothing but padding, oneDNN leaves their
    gradient in bfloat16 as it found the memory: NaN, at worst (PyTorch 2.15, measured). timm's
    networks halve maps five times, whatever the size of the images.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, K, H', W')."""
        if input.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(input.float())
        return super().forward(input)


def _mind_small_maps(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Gives a convolution that class if its kernel reaches beyond the map."""
    assert isinstance(layer, nn.Conv2d)
    if min(inputs[0].shape[2:]) <= max(layer.kernel_size) // 2:
        # Not a new module: that would draw weights, and the state dict is timm's.
        layer.__class__ = Float32Conv2d


def created(name: str, channels: int, size: int | None) -> nn.Module:
    """The network that timm builds, of random weights and without its classifier."""
    timm = checked_timm(name)
    arguments: dict[str, Any] = {"pretrained": False, "num_classes": 0, "in_chans": channels}
    if size is None:
        return _module(timm.create_model(name, **arguments))
    try:
        return _module(timm.create_model(name, **arguments, img_size=size))
    except (AssertionError, TypeError, ValueError) as error:
        if not isinstance(error, TypeError) or "img_size" not in str(error):
            reason = " ".join(str(error).split())
            raise InputError(
                f"encoder.backbone: timm cannot build {name} for {channels} channels of {size} "
                f"pixels ({reason}); use another size or backbone"
            ) from None
    return _module(timm.create_model(name, **arguments))  # convolutions take any size


def checked_timm(name: str) -> Any:
    """The package timm, which has a model of that name."""
    try:
        import timm
    except ModuleNotFoundError:
        raise InputError(
            f"encoder.backbone {PREFIX}{name}: needs timm: pip install 'vicinal[timm]'"
        ) from None
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=1, cutoff=0.6)
        hint = f"did you mean {PREFIX}{close[0]}? " if close else ""
        raise InputError(
            f"encoder.backbone: timm has no model {name!r}; {hint}timm.list_models() names them"
        )
    return timm


def _module(network: Any) -> nn.Module:
    assert isinstance(network, nn.Module)
    return network
