import pytest
import torch

from vicinal.errors import InputError
from vicinal.training import device


def test_cuda_where_there_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="use device='cpu'"):
        device.resolve_device("cuda")
    assert device.resolve_device("auto") == "cpu"


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "float32")])
def test_auto_is_bf16_only_where_it_is_native(
    native: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_cpu_has_bf16", lambda: native)
    assert device.resolve_precision("auto", "cpu") == expected
    assert device.resolve_precision("float32", "cpu") == "float32"
    assert device.resolve_precision("bf16", "cpu") == "bf16"


def test_networks_run_in_the_precision_asked_for() -> None:
    layer = torch.nn.Linear(4, 4)
    for precision, dtype in (("bf16", torch.bfloat16), ("float32", torch.float32)):
        fabric = device.open_engine("cpu", precision).fabric  # type: ignore[arg-type]
        seen = []
        wrapped = fabric.setup(torch.nn.Sequential(layer))
        layer.register_forward_hook(lambda _m, _i, output, seen=seen: seen.append(output.dtype))
        wrapped(torch.ones(2, 4))
        assert seen[-1] == dtype
