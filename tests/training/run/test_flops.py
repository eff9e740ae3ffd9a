"""Arithmetic of a step, and the peak of known devices."""

from dataclasses import replace

import pytest
import torch

from deo.training.config import Config
from deo.training.run.distributed import Context
from deo.training.run.flops import estimate_flops, peak_flops
from deo.training.run.state import build


def test_peak_flops__unknown_on_cpu() -> None:
    assert peak_flops(torch.device("cpu")) is None


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA A1000", None),
    ],
)
def test_peak_flops__by_a_word_of_the_name(
    name: str, peak: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_flops(torch.device("cuda")) == peak


def test_estimate_flops__grows_with_the_batch_and_draws_nothing(tiny_config: Config) -> None:
    state = build(tiny_config, Context(), steps_per_epoch=6)
    before = torch.get_rng_state()
    one = estimate_flops(state)
    assert torch.equal(torch.get_rng_state(), before)
    # at least three passes of the stem over two global views of 32 x 32, patches of 4
    width = state.student.trunk.net.embed_dim
    assert one > 3 * 2 * 4 * 64 * 2 * (10 * 4 * 4) * width
    state.config = replace(tiny_config, run=replace(tiny_config.run, batch_size=8))
    assert estimate_flops(state) == 2 * one
