import pytest
import torch

from deo.errors import ConfigError
from deo.models.devices import choose_device


def test_choose_device__cuda_where_there_is_any(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["tpu9", "cuda:99", "cpu:x", "meta", ""])
def test_choose_device__one_error_for_all_that_cannot_compute(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device '{name}' cannot be used.*choose cpu"):
        choose_device(name)
