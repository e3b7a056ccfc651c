import pytest
import torch
from torch import nn

from vicinal.encoder import projector


def test_the_studys_projector() -> None:
    layers = list(projector(128, (512, 512, 512)))
    kinds = [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear]
    assert [type(layer) for layer in layers] == kinds
    shapes = [tuple(x.weight.shape) for x in layers if isinstance(x, nn.Linear)]
    assert shapes == [(512, 128), (512, 512), (512, 512)]


@pytest.mark.parametrize(("dimension", "widths"), [(4, (7,)), (6, (3, 9)), (5, (8, 2, 11))])
def test_embeddings_have_the_last_width(dimension: int, widths: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = projector(dimension, widths)
    z = network(torch.randn(16, dimension))
    assert z.shape == (16, widths[-1])
    z.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert (z < 0).any()  # the last layer is plain


def test_one_width_is_a_linear_layer() -> None:
    (layer,) = projector(4, (7,))
    x = torch.randn(3, 4)
    torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias)
