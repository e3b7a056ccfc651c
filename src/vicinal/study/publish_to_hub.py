"""An encoder to the Hugging Face Hub with its model card, and back, as safetensors only."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from vicinal import __version__
from vicinal.encoder.pretrained import encoder_file, is_start
from vicinal.encoder.saved import Preparation, load_encoder, read_metadata
from vicinal.errors import InputError, said_by
from vicinal.evaluations.own_view import read_kept
from vicinal.files import read_json, read_rows
from vicinal.recipes.recipe import Encoder
from vicinal.study.figures import as_text, headline

_CARD = """\
---
library_name: vicinal
pipeline_tag: image-feature-extraction
tags:
- vicreg
- self-supervised-learning
- image-embeddings
---

# {repo_id}

{what}

## How to load it

```python
import vicinal  # pip install '{install}'

encoder, preparation = vicinal.from_pretrained("{repo_id}")
pictures = vicinal.load(
    "PHOTOS", size=preparation.size, interpolation=preparation.interpolation
).train
print(vicinal.embed(encoder, pictures, preparation).array.shape)
```

The weights are safetensors, with the recipe's encoder section and the images' preparation as
metadata: size {size} (by {interpolation} interpolation), channels {channels}; with pixels in
[0, 1], mean {mean} and standard deviation {std}.
{figures}{recipe}"""


def public_recipe(text: str) -> str:
    """A recipe's TOML without the path of the file that its start's weights came from."""
    return re.sub(r'^(start = "timm:[^"@]*)@.*"$', r'\1@FILE"', text, flags=re.MULTILINE)


def model_card(encoder: Path, run: Path | None, repo_id: str) -> str:
    """Markdown with the Hub's header; of the data it says the kind and no path.

    Args:
        encoder: The encoder's file.
        run: The run folder it came from, for its figures and recipe; None where none is known.
        repo_id: The repository's name.

    Raises:
        InputError: If a file is not what Vicinal wrote.
    """
    recipe, preparation = read_metadata(encoder)
    toml = run / "recipe.toml" if run is not None else None
    text = None
    if toml is not None and toml.is_file():
        text = public_recipe(toml.read_text("utf-8"))
    return _CARD.format(
        repo_id=repo_id,
        what=_what(recipe, preparation, run),
        install="vicinal[timm,hub]" if recipe.backbone.startswith("timm:") else "vicinal[hub]",
        size=preparation.size,
        channels=preparation.channels,
        interpolation=preparation.interpolation,
        mean=[round(value, 4) for value in preparation.mean],
        std=[round(value, 4) for value in preparation.std],
        figures=_figures(run) if run is not None else "",
        recipe="" if text is None else f"\n## The recipe\n\n```toml\n{text.strip()}\n```\n",
    )


def _what(recipe: Encoder, preparation: Preparation, run: Path | None) -> str:
    size, channels = preparation.size, preparation.channels
    kind = "RGB" if channels == 3 else "grey"
    trained = ""
    if run is not None and (run / "run.json").is_file():
        # Not the rest of it: a folder's path is the user's own business.
        source = str(read_json(run / "run.json").get("data", "")).partition(":")[0]
        own = {"folder": "a folder of pictures", "parquet": "parquet files of pictures"}
        trained = f" on {own.get(source, source)}" if source else ""
    how = f"trained without labels{trained} by VICReg (arXiv 2105.04906) with Vicinal {__version__}"
    if recipe.start:
        whose = f"whose weights are those of `{recipe.start}`, which others have trained"
        how = f"{whose}, then {how}" if _went_on(run) else whose
    return (
        f"A `{recipe.backbone}` network from {kind} images of {size} × {size} pixels to "
        f"{recipe.numbers} numbers, {how}."
    )


def _went_on(run: Path | None) -> bool:
    """Whether a run's encoder is what training on made of its start."""
    if run is None or not (run / "recipe.toml").is_file():
        return False
    kept = read_kept(run)
    return kept is None or kept["kept"] == "after"


def _figures(run: Path) -> str:
    """A study's figures of this encoder, or a training's last losses."""
    if (run / "results.json").is_file():
        found = [
            (figure["what"], as_text(figure["value"], figure["kind"]))
            for figure in headline(run)["figures"]
            if figure["system"] in ("S1", "S2", "S3") or figure["what"].endswith(", S1")
        ]
    elif (run / "losses.csv").is_file():
        last = {row["split"]: float(row["total"]) for row in read_rows(run / "losses.csv")}
        found = [
            (f"objective, last epoch, {part} images", f"{loss:.4g}") for part, loss in last.items()
        ]
    else:
        return ""
    rows = "\n".join(f"| {what} | {text} |" for what, text in found)
    return f"\n## Figures\n\n| figure | value |\n| --- | --- |\n{rows}\n"


FILE = "encoder.safetensors"
"""The one file that is read of a repository; no name is taken from the Hub."""
_REPO = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*", re.ASCII)


def push_to_hub(run_or_encoder: str | Path, repo_id: str, *, private: bool = False) -> str:
    """Writes an encoder, its model card and its recipe into a repository, as one commit.

    The repository is made if there is none; what it held stays in its history. Log in first
    (``hf auth login``, or the variable ``HF_TOKEN``).

    Args:
        run_or_encoder: A run folder, whose figures and recipe go into the card, or an encoder's
            file. Of the pictures nothing is sent, nor where they lie.
        repo_id: ``name`` or ``owner/name``.
        private: Whether a repository that is made is private.

    Returns:
        The repository's address.

    Raises:
        InputError: If the encoder or the name cannot be used, huggingface_hub is missing, or the
            Hub refuses or cannot be reached.
    """
    _check_name(repo_id)
    given = Path(run_or_encoder)
    encoder = encoder_file(given)
    load_encoder(encoder)  # nothing goes out that does not load
    api = _hub().HfApi()
    with tempfile.TemporaryDirectory() as folder, _asking(repo_id, "took nothing"):
        repository = api.create_repo(repo_id, private=private, exist_ok=True)
        run = given if given.is_dir() else None
        card = model_card(encoder, run, repository.repo_id)
        (Path(folder) / "README.md").write_text(card, "utf-8")
        shutil.copyfile(encoder, Path(folder) / FILE)
        if run is not None and (run / "recipe.toml").is_file():
            recipe = public_recipe((run / "recipe.toml").read_text("utf-8"))
            (Path(folder) / "recipe.toml").write_text(recipe, "utf-8")
        api.upload_folder(
            repo_id=repository.repo_id, folder_path=folder, commit_message="Encoder by Vicinal"
        )
    return str(repository)


def from_pretrained(repo_id_or_path: str | Path) -> tuple[nn.Module, Preparation]:
    """Loads an encoder from a run folder, a file, or a repository of the Hugging Face Hub.

    Of a repository ``encoder.safetensors`` alone is fetched, once: it is kept in the Hub's own
    cache. It holds numbers and no code.

    Args:
        repo_id_or_path: A path, where there is something at it; ``pretrained``, ``timm:NAME`` or
            ``timm:NAME@FILE``; else ``owner/name``.

    Returns:
        The encoder in evaluation mode, images (B, C, S, S) float32, normalised, to
        representations (B, F) float32; and the images' preparation.

    Raises:
        InputError: If there is no such path or repository, huggingface_hub is missing, the Hub
            cannot be reached, or the file is not an encoder that Vicinal wrote.
    """
    if Path(repo_id_or_path).exists() or is_start(str(repo_id_or_path)):
        return load_encoder(encoder_file(Path(repo_id_or_path)))
    repo_id = str(repo_id_or_path)
    _check_name(repo_id)
    download = _hub().hf_hub_download
    with _asking(repo_id, f"gave no {FILE}"):
        fetched = download(repo_id, FILE)
    return load_encoder(fetched)


def _check_name(repo_id: str) -> None:
    """Refuses what could be read as a path or another address."""
    if not _REPO.fullmatch(repo_id) or ".." in repo_id or "--" in repo_id:
        raise InputError(
            f"{repo_id}: neither a path that exists nor a repository's name (owner/name, of "
            "letters, digits, '-', '_' and '.')"
        )


def _hub() -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError:
        raise InputError(
            "the Hugging Face Hub needs huggingface_hub: pip install 'vicinal[hub]'"
        ) from None
    return huggingface_hub


@contextmanager
def _asking(repo_id: str, failed: str) -> Iterator[None]:
    """Turns what a request to the Hub raises, of whichever HTTP library, into one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{repo_id}: the Hugging Face Hub {failed} ({said_by(error)}); check the name, the "
            "network and `hf auth login`"
        ) from error
