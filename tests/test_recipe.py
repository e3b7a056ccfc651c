"""Recipes: read, checked, overridden, written and read back."""

import ast
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicinal.errors import InputError
from vicinal.recipes import field_names, override, read_recipe, recipe, recipe_names, to_toml
from vicinal.recipes.recipe import Recipe


def test_the_seed_recipe_is_the_studys_to_the_letter() -> None:
    seed = read_recipe("seed")
    assert seed == Recipe()
    own = {"barlow", "sigreg", "visreg", "ntxent", "tcr"}
    assert seed.objective.model_dump(exclude=own) == {
        "name": "vicreg",
        "invariance": 25,
        "variance": 25,
        "covariance": 1,
        "target_std": 1,
        "epsilon": 1e-4,
        "convention": "study",
    }
    training = seed.training
    assert (training.optimizer, training.learning_rate, training.betas) == (
        "adam",
        3e-4,
        (0.9, 0.999),
    )
    assert (training.weight_decay, training.batch_size, training.epochs) == (1e-6, 256, 30)
    assert (seed.encoder.backbone, seed.encoder.dimension) == ("resnet18", 128)
    assert seed.projector.widths == (512, 512, 512)
    views = seed.views
    assert (views.crop_scale, views.flip, views.jitter, views.grey) == ((0.2, 1), 0.5, 1, 0.2)
    assert (views.brightness, views.contrast, views.saturation, views.hue) == (0.4, 0.4, 0.2, 0.1)
    assert (views.blur, views.blur_kernel, seed.mined.epochs) == (0.5, 3, 1)


def test_the_gpu_recipe_is_the_studys_but_for_its_arithmetic() -> None:
    gpu = read_recipe("gpu")
    quick = {"precision": "auto", "compile": "auto", "test_images": 2048}
    training = gpu.training.model_copy(update={n: getattr(Recipe().training, n) for n in quick})
    assert {name: getattr(gpu.training, name) for name in quick} == quick
    assert gpu.model_copy(update={"name": "seed", "training": training}) == Recipe()


def test_the_record_recipe_starts_from_solo_learns() -> None:
    record = read_recipe("record")
    views, training, objective = record.views, record.training, record.objective
    assert (views.jitter, views.grey, views.solarise, views.blur) == (0.8, 0.2, 0.1, 0)
    assert (views.brightness, views.contrast, views.saturation, views.hue) == (0.4, 0.4, 0.2, 0.1)
    assert (views.crop_scale, views.flip) == ((0.2, 1), 0.5)
    assert (training.optimizer, training.learning_rate) == ("lars", 0.3)
    assert (training.weight_decay, training.momentum, training.trust) == (1e-4, 0.9, 0.02)
    assert (training.trust_clip, training.schedule) == (True, "cosine")
    assert (training.epochs, training.warmup_epochs, training.batch_size) == (1000, 10, 256)
    assert record.projector.widths == (2048, 2048, 2048)
    assert objective.convention == "solo"
    assert (objective.invariance, objective.variance, objective.covariance) == (25, 25, 1)


def test_every_field_is_read_somewhere() -> None:
    source = Path(recipe.__file__).parents[1]
    read = {
        node.attr
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    # The numbers of the other objectives go to them as they are, and they refuse unknown ones.
    names = [n for n in field_names() if n.count(".") < 2]
    fields = {name.rpartition(".")[2] for name in names}
    assert fields <= read, fields - read
    assert "no_such_field" not in read


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_read_and_are_named_after_their_files(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.name == name
    assert Recipe.model_validate(tomllib.loads(to_toml(recipe))) == recipe


@given(
    st.floats(0, 1e6),
    st.lists(st.integers(1, 9999), min_size=1, max_size=5),
    st.text(st.characters(exclude_categories=["C"]), min_size=1),
)
def test_written_recipes_read_back_equal(weight: float, widths: list[int], name: str) -> None:
    data = Recipe().model_dump(mode="json")
    data["objective"]["variance"], data["projector"]["widths"], data["name"] = weight, widths, name
    recipe = Recipe.model_validate(data)
    assert Recipe.model_validate(tomllib.loads(to_toml(recipe))) == recipe


def test_overrides_change_what_they_name() -> None:
    changed = override(
        Recipe(), ["objective.variance=0", "projector.widths=[8, 8]", "training.optimizer=adamw"]
    )
    assert changed.objective.variance == 0
    assert changed.projector.widths == (8, 8)
    assert changed.training.optimizer == "adamw"
    assert changed.objective.covariance == Recipe().objective.covariance


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("objective.varience=0", "did you mean objective.variance"),
        ("objectiv.variance=0", "did you mean objective.variance"),
        ("objective.varience=0", "valid names: objective.name, objective.invariance"),
        ("nonsense=1", "valid names: encoder, evaluation"),
        ("objective.variance=-1", "greater than or equal to 0"),
        ("training.epochs=two", "valid integer"),
        ("training.epochs=0", "greater than or equal to 1"),
        (
            "encoder.backbone=vgg",
            "= 'vgg': should be 'resnet18', 'resnet18_pooled', 'small' or 'plain'",
        ),
        ("encoder.backbone=timm:hf-hub:a/b", "'timm:' and a model's name"),
        ("views.blur_kernel=4", "odd"),
        ("views.crop_scale=[0.9, 0.1]", "must not exceed"),
        ("epochs", "section.field=value"),
        ("objective=3", "objective"),
    ],
)
def test_a_bad_override_gets_one_line_that_helps(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        override(Recipe(), [setting])
    assert "\n" not in str(caught.value)


def test_recipe_files_are_checked_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("name = 'mine'\n[views]\nsize = 16\n")
    assert read_recipe(str(file)).views.size == 16
    file.write_text("[views]\nsise = 16\n")
    with pytest.raises(InputError, match=r"mine.toml: no field 'views.sise'; did you mean views"):
        read_recipe(str(file))
    file.write_text("[views\n")
    with pytest.raises(InputError, match="not TOML"):
        read_recipe(str(file))
    with pytest.raises(InputError, match="digits, gpu, laptop, photos, pretrained, record, seed"):
        read_recipe("sede")


def test_field_names_lists_every_leaf() -> None:
    names = list(field_names())
    assert "objective.variance" in names
    assert "seed" in names
    assert len(names) == len(set(names))


def test_epochs_that_are_kept_must_come() -> None:
    assert override(read_recipe("seed"), ["training.keep_epochs=[1, 30]"]).training.keep_epochs
    with pytest.raises(InputError, match="keep_epochs has 31, but there are only 30 epochs"):
        override(read_recipe("seed"), ["training.keep_epochs=[1, 31]"])


def test_without_variance_no_more_epochs_are_trained_than_with_it() -> None:
    assert override(read_recipe("seed"), ["no_variance.epochs=3"]).no_variance.epochs == 3
    with pytest.raises(InputError, match=r"no_variance.epochs = 31: must not exceed .*, 30"):
        override(read_recipe("seed"), ["no_variance.epochs=31"])
