"""Both views at once give what one after the other gives, in numbers and in statistics."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vicinal import cores
from vicinal.objectives import vicreg
from vicinal.recipes import read_recipe
from vicinal.recipes.recipe import Training
from vicinal.training import step
from vicinal.training.device import open_engine
from vicinal.training.loop import ArrayBatches, pretrain
from vicinal.training.start import networks
from vicinal.training.step import TwoViews
from vicinal.views import Augment, GeneratedNeighbours


def small(batch_norm: type[nn.Module] = nn.BatchNorm2d) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), batch_norm(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 16)]
    return nn.Sequential(*layers)


def views(seed: int) -> tuple[Tensor, Tensor]:
    first, second = torch.randn(2, 12, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return first, second * 2 + 1


def one_after_the_other(model: nn.Module, seeds: range) -> list[Tensor]:
    """Gradients of torch's own arithmetic: the first view, then the second, then back."""
    for seed in seeds:
        view_a, view_b = views(seed)
        model.zero_grad()
        vicreg(model(view_a), model(view_b)).total.backward()
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_and_statistics_are_those_of_one_view_after_the_other(threads: int) -> None:
    model = small()
    expected = copy.deepcopy(model)
    fabric = open_engine("cpu", "float32").fabric
    wrapped = fabric.setup_module(model)
    cores.set_threads(threads)
    try:
        both = TwoViews(model, wrapped, fabric, Training())
        assert both.sides == threads
        for seed in range(3):
            model.zero_grad()
            cores.change(1)
            both.gradient(*views(seed), vicreg)
    finally:
        cores.set_threads(None)
    with cores.at_most(1):
        gradients = one_after_the_other(expected, range(3))
    for ours, theirs in zip(model.parameters(), gradients, strict=True):
        assert ours.grad is not None
        assert torch.equal(ours.grad, theirs)
    for name, theirs in expected.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], theirs, rtol=1e-6, atol=1e-7)


def test_held_statistics_stay_and_are_used() -> None:
    model = small()
    fabric = open_engine("cpu", "float32").fabric
    both = TwoViews(model, fabric.setup_module(model), fabric, Training())
    norm = model[1]
    norm.running_mean += 3
    norm.eval()
    before = copy.deepcopy(norm.state_dict())
    z_a, z_b = both.embeddings(*views(0))
    for z, view in zip((z_a, z_b), views(0), strict=True):
        assert torch.equal(z, model(view))
    both.gradient(*views(0), vicreg)
    assert all(torch.equal(norm.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm2d(3, momentum=None)])
def test_layers_that_draw_or_count_have_their_views_one_after_the_other(layer: nn.Module) -> None:
    assert step.can_be_twinned(small())
    assert not step.can_be_twinned(nn.Sequential(layer, small()))


def test_a_training_has_the_same_bytes_on_one_thread_and_on_two(tmp_path: Path) -> None:
    recipe = read_recipe("digits")
    pixels = np.random.default_rng(0).integers(256, size=(96, 8, 8, 1), dtype=np.uint8)
    pairs = GeneratedNeighbours(Augment(recipe.views, (0.5,), (0.5,)))
    found = []
    for threads in (1, 2):
        run = tmp_path / str(threads)
        run.mkdir()
        cores.set_threads(threads)
        try:
            fabric = open_engine("cpu", "float32").fabric
            small_recipe = recipe.model_copy(
                update={"training": recipe.training.model_copy(update={"batch_size": 32})}
            )
            material = ArrayBatches(pixels, pairs)
            encoder = pretrain(material, material, small_recipe, run, fabric, epochs=2, quiet=True)
        finally:
            cores.set_threads(None)
        found.append(encoder.state_dict())
    assert networks(recipe, (8, 8, 1))[0].state_dict().keys() == found[0].keys()
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


def test_pieces_are_done_in_order_with_threads_of_their_own() -> None:
    cores.set_threads(2)
    try:
        with torch.no_grad():
            told = list(
                cores.side_by_side(
                    lambda n: (n, torch.get_num_threads(), torch.is_grad_enabled()), range(7)
                )
            )
    finally:
        cores.set_threads(None)
    assert told == [(n, 1, False) for n in range(7)]


def test_what_goes_wrong_in_a_piece_is_raised_here() -> None:
    cores.set_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            list(cores.side_by_side(lambda n: 1 / n, [1, 0, 2]))
    finally:
        cores.set_threads(None)
