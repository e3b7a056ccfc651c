"""The model card of an encoder: what it is, how it did, how to load it."""

from __future__ import annotations

import re
from pathlib import Path

from vicinal import __version__
from vicinal.encoder.saved import Preparation, read_metadata
from vicinal.files import read_json, read_rows
from vicinal.recipe import Encoder
from vicinal.study.better import read_kept
from vicinal.study.summary import as_text, headline

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
            (figure["what"], as_text(figure["value"], figure["name"]))
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
