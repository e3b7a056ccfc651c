import torch

from vicinal.recipes.recipe import Views
from vicinal.views.augment import draw_parameters, moved, packed, unpacked


def test_parameters_come_out_of_one_tensor_as_they_went_in() -> None:
    for batch in (1, 3, 5):  # odd counts of bytes between the types
        drawn = draw_parameters(Views(), (32, 32, 3), batch, torch.Generator().manual_seed(batch))
        values = [*drawn, torch.empty(0, dtype=torch.long), torch.tensor([0.5])]
        there = packed(values)
        assert there.dtype == torch.uint8
        assert there.ndim == 1
        for value, again in zip(values, unpacked(there, values), strict=True):
            assert value.dtype == again.dtype
            assert torch.equal(value, again)


def test_on_the_cpu_nothing_moves() -> None:
    value = torch.arange(3)
    assert moved([value], torch.device("cpu"))[0] is value
