import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vicinal.encoder import plain, projector
from vicinal.recipe import Training
from vicinal.training.muon import Muon, orthogonal
from vicinal.training.optimizers import build_optimizers


@given(rows=st.integers(1, 24), columns=st.integers(1, 24), seed=st.integers(0, 2**20))
@settings(max_examples=50, deadline=None)
def test_directions_keep_their_singular_vectors_and_get_values_near_1(
    rows: int, columns: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Singular values within a factor of 10: the iteration lifts smaller ones more slowly.
    u, _ = torch.linalg.qr(torch.randn(rows, rows, generator=generator))
    v, _ = torch.linalg.qr(torch.randn(columns, columns, generator=generator))
    rank = min(rows, columns)
    values = 0.1 + 0.9 * torch.rand(rank, generator=generator)
    matrix = u[:, :rank] @ torch.diag(values) @ v[:, :rank].T
    made = orthogonal(matrix[None])[0]
    turned = u[:, :rank].T @ made @ v[:, :rank]
    assert (turned.diagonal() > 0.6).all()
    assert (turned.diagonal() < 1.3).all()
    torch.testing.assert_close(turned, torch.diag(turned.diagonal()), atol=1e-3, rtol=0)


@pytest.mark.parametrize("shape", [(24, 60), (60, 24), (32, 32)])
def test_matrices_take_the_steps_of_torchs_own(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    steppers = (
        (ours, Muon([ours], lr=0.01, weight_decay=0.1)),
        (
            theirs,
            torch.optim.Muon([theirs], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        ),
    )
    for _ in range(4):
        gradient = torch.randn(shape, generator=generator)
        for parameter, optimizer in steppers:
            parameter.grad = gradient.clone()
            optimizer.step()
    # torch iterates in bfloat16, which has two or three digits.
    assert (ours - theirs).norm() < 0.03 * (ours - start).norm()


def test_filters_alike_step_as_they_would_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    starts = [torch.randn(6, 4, 3, 3, generator=generator) for _ in range(3)]
    gradients = [torch.randn(6, 4, 3, 3, generator=generator) for _ in range(3)]
    together = [nn.Parameter(start.clone()) for start in starts]
    for parameter, gradient in zip(together, gradients, strict=True):
        parameter.grad = gradient.clone()
    Muon(together, lr=0.1).step()
    for start, gradient, moved in zip(starts, gradients, together, strict=True):
        alone = nn.Parameter(start.flatten(1))
        alone.grad = gradient.flatten(1)
        Muon([alone], lr=0.1).step()
        torch.testing.assert_close(moved.detach().flatten(1), alone.detach())


def test_inner_filters_go_to_muon_and_everything_else_to_adamw() -> None:
    model = nn.Sequential(plain(3, 16, (4, 8), 32), projector(32, (16, 16)))
    adamw, muon = build_optimizers(model, Training(optimizer="muon"))
    held = [p for optimizer in (adamw, muon) for g in optimizer.param_groups for p in g["params"]]
    assert {id(p) for p in held} == {id(p) for p in model.parameters()}
    assert len(held) == len(list(model.parameters()))
    filters = muon.param_groups[0]["params"]
    assert [tuple(p.shape) for p in filters] == [(4, 4, 3, 3), (8, 4, 3, 3), (8, 8, 3, 3)]
