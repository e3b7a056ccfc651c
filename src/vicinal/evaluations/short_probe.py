"""The short probe: one linear layer trained for a few epochs, as the study's exercise did."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from vicinal import cores
from vicinal.errors import InputError
from vicinal.evaluations.probe_result import ProbeResult, judge, labelled_pair
from vicinal.representations.representations import Representations


def short_probe(
    train: Representations,
    test: Representations,
    *,
    epochs: int = 10,
    learning_rate: float = 3e-4,
    batch_size: int = 256,
    seed: int = 0,
    device: str = "cpu",
) -> ProbeResult:
    """Fits one linear layer to raw representations with Adam and a fixed number of epochs.

    Nothing is standardised and the optimiser stops long before it converges, so the scale of
    the representations counts: where it has collapsed, accuracy falls to chance even if classes
    can still be told apart, which ``converged_probe`` asks. The test images choose nothing.

    Args:
        train: Labelled representations (N, F) to fit.
        test: Labelled representations (M, F) to judge on.
        epochs: Passes over ``train``, each in a new order.
        learning_rate: Adam's, constant.
        batch_size: Representations a step; the last batch of an epoch may be smaller.
        seed: Seed of the layer's initial weights and of the orders.
        device: Where the layer is trained, ``cpu`` or ``cuda``, from the same weights and orders.

    Returns:
        The result, its accuracy named ``probe_accuracy_short``.

    Raises:
        InputError: As `labelled_pair`, or if a number is out of range.
    """
    labels = labelled_pair(train, test)
    if epochs < 1 or batch_size < 1 or learning_rate <= 0:
        raise InputError(
            "the short probe needs epochs and batch_size of at least 1 and a learning_rate "
            f"above 0, found {epochs}, {batch_size} and {learning_rate}"
        )
    points = _tensor(train.array).to(device)
    targets = torch.tensor(
        labels.train, device=device
    )  # a copy: what was read from a file is not writable
    with torch.random.fork_rng(devices=[]):  # leaves the caller's generator as it was
        torch.manual_seed(seed)
        layer = torch.nn.Linear(points.shape[1], labels.classes).to(device)
    adam = torch.optim.Adam(layer.parameters(), lr=learning_rate, fused=True)
    with cores.at_most(1):
        for epoch in range(epochs):
            order = np.random.default_rng((seed, epoch)).permutation(len(points))
            for batch in torch.split(torch.from_numpy(order).to(device), batch_size):
                adam.zero_grad(set_to_none=True)
                loss = functional.cross_entropy(layer(points[batch]), targets[batch])
                loss.backward()  # type: ignore[no-untyped-call]
                adam.step()
    return judge(
        "probe_accuracy_short",
        labels,
        _answers(layer, points),
        _answers(layer, _tensor(test.array).to(device)),
        seed=seed,
    )


def _tensor(array: NDArray[np.float32]) -> torch.Tensor:
    # A copy where the array is read-only, as a memory map is: torch warns about those.
    writeable = np.require(array, dtype=np.float32, requirements=["C", "W"])
    return torch.from_numpy(writeable)


@torch.no_grad()
def _answers(layer: torch.nn.Linear, points: torch.Tensor) -> NDArray[np.int64]:
    answers: NDArray[np.int64] = layer(points).argmax(dim=1).cpu().numpy()
    return answers
