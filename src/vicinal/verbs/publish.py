"""publish: an encoder to the Hugging Face Hub, and back from there, as safetensors only."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from vicinal.encoder.pretrained import is_start
from vicinal.encoder.saved import Preparation, load_encoder
from vicinal.errors import InputError, said_by
from vicinal.study.card import model_card, public_recipe
from vicinal.encoder.cached import encoder_file

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
