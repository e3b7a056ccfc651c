"""What the shell completes beside commands and options."""

from __future__ import annotations


def complete_source(incomplete: str) -> list[str]:
    """Every source of pictures; with its colon where something follows that."""
    from vicinal.images import source_names

    return [name for name in source_names() if name.startswith(incomplete)]


def complete_recipe(incomplete: str) -> list[str]:
    """The recipes that come with Vicinal."""
    from vicinal.recipes import recipe_names

    return [name for name in recipe_names() if name.startswith(incomplete)]


def complete_encoder(incomplete: str) -> list[str]:
    """Networks that others have trained, and the paths there are."""
    from glob import escape, glob

    named = [name for name in ("pretrained", "timm:") if name.startswith(incomplete)]
    return named + sorted(glob(f"{escape(incomplete)}*"))


def complete_start(incomplete: str) -> list[str]:
    """Networks that others have trained."""
    return [name for name in ("pretrained", "timm:") if name.startswith(incomplete)]


def complete_format(incomplete: str) -> list[str]:
    """What an encoder can be exported to."""
    names = ("onnx", "torchscript", "torch.export", "safetensors", "timm")
    return [name for name in names if name.startswith(incomplete)]
