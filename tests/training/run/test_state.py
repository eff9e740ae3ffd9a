"""What a run carries from step to step, built from its configuration."""

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch

from deo.errors import ConfigError, WeightsError
from deo.models.weights import save_weights
from deo.training.config import Config
from deo.training.method.config import Views
from deo.training.method.viewspecs import view_specs
from deo.training.recipes import recipe
from deo.training.run.distributed import Context
from deo.training.run.state import autocast_dtype, build, build_schedules


def test_autocast_dtype__is_chosen_by_the_hardware() -> None:
    cpu = torch.device("cpu")
    got = {name: autocast_dtype(name, cpu) for name in ("auto", "fp32", "bf16", "fp16")}
    assert got == {"auto": None, "fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def test_autocast_dtype__what_the_device_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"run\.precision is bf16, which mps lacks"):
        autocast_dtype("bf16", torch.device("mps"))


def test_build_schedules__steps_take_the_place_of_epochs() -> None:
    config = recipe("micro")
    world = Context().world_size
    schedules = build_schedules(config, steps_per_epoch=3, world_size=world)
    assert schedules.lr.steps == 3 * config.run.epochs
    short = replace(config, run=replace(config.run, steps=4))
    schedules = build_schedules(short, steps_per_epoch=3, world_size=world)
    assert (schedules.lr.steps, schedules.lr.warmup) == (4, 4)


def test_build_schedules__the_rate_grows_with_the_samples_per_step(tiny_config: Config) -> None:
    rates = [
        build_schedules(tiny_config, steps_per_epoch=6, world_size=size).lr.base for size in (1, 4)
    ]
    assert rates[0] == pytest.approx(tiny_config.optim.lr * 4 / 256)
    assert rates[1] == pytest.approx(4 * rates[0])


def test_view_specs__two_global_ones_first() -> None:
    config = Config(views=Views(global_size=64, local_size=32, local_crops=3, band_gain=0.1))
    specs = view_specs(config.views)
    assert [spec.size for spec in specs] == [64, 64, 32, 32, 32]
    assert [spec.area for spec in specs] == [(0.4, 1.0)] * 2 + [(0.05, 0.4)] * 3
    assert {spec.band_gain for spec in specs} == {0.1}


def test_build__the_seed_alone_decides_the_weights(tiny_config: Config) -> None:
    def weights(seed: int, rank: int = 0) -> list[torch.Tensor]:
        config = replace(tiny_config, run=replace(tiny_config.run, seed=seed))
        state = build(config, Context(rank=rank), steps_per_epoch=6)
        assert (state.step, state.epoch, state.steps) == (0, 0, 8)
        shared = dict(state.student.named_parameters())
        for name, parameter in state.teacher.named_parameters():  # starts as a copy
            assert torch.equal(parameter, shared[name]), name
        return list(shared.values())

    first, again, other = weights(3), weights(3, rank=1), weights(4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_keys__by_number_or_with_the_published_fault_by_place(tiny_config: Config) -> None:
    state = build(tiny_config, Context(), steps_per_epoch=6)
    samples = torch.tensor([9, 4, 7])
    assert state.keys(samples).tolist() == [9, 4, 7]
    state.config = replace(tiny_config, switches=replace(tiny_config.switches, equal_draws=True))
    state.step = 2
    assert state.keys(samples).tolist() == [6, 7, 8]


def test_build__starts_from_given_weights(tiny_config: Config, tmp_path: Path) -> None:
    path = tmp_path / "start.safetensors"
    given = timm.create_model(tiny_config.model.name, in_chans=10, num_classes=0)
    save_weights(given, path)
    model = replace(tiny_config.model, weights=str(path))
    state = build(replace(tiny_config, model=model), Context(), steps_per_epoch=6)
    for name, value in given.state_dict().items():
        assert torch.equal(state.student.trunk.net.state_dict()[name], value), name
        assert torch.equal(state.teacher.trunk.net.state_dict()[name], value), name
    narrow = replace(tiny_config.model, weights=str(path), input="rgb")
    with pytest.raises(WeightsError):
        build(replace(tiny_config, model=narrow), Context(), steps_per_epoch=6)
