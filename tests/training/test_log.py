"""Looking at a GPU's numbers without waiting for it, played by a device of three methods."""

from typing import Any

import pytest
import torch

from vicinal.training.log import NonBlockingRead


class OnDevice:
    """A tensor of a GPU, as far as `NonBlockingRead` can see."""

    device = torch.device("cuda")

    def __init__(self, value: float) -> None:
        self.value = value

    def to(self, place: str, *, non_blocking: bool) -> torch.Tensor:
        assert (place, non_blocking) == ("cpu", True)
        return torch.tensor([self.value])


class Event:
    """Has happened when told so."""

    happened = False

    def record(self) -> None:
        pass

    def query(self) -> bool:
        return Event.happened


def test_numbers_on_the_cpu_are_seen_at_once() -> None:
    values = torch.arange(4.0)
    assert torch.equal(NonBlockingRead()(values), values)  # type: ignore[arg-type]


def test_numbers_of_a_gpu_are_seen_once_they_have_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Event", Event)
    glance: Any = NonBlockingRead()
    assert glance(OnDevice(1.0)) is None  # on its way
    assert glance(OnDevice(2.0)) is None  # and still on its way: 2 is not looked at
    Event.happened = True
    assert glance(OnDevice(3.0)) == torch.tensor([1.0])
    assert glance(OnDevice(4.0)) == torch.tensor([3.0])
