"""Parameter groups, clipping, and steps left out."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deo.training.config import Optim
from deo.training.method.config import Model
from deo.training.method.student import Student
from deo.training.run.optim import (
    advance,
    build_optimizer,
    clip_each,
    clip_global,
    parameter_groups,
    set_step,
)


def names_by_decay(student: nn.Module, **options: Any) -> dict[bool, set[str]]:
    """Names of the parameters that decay (True) and of those that do not."""
    names = {parameter: name for name, parameter in student.named_parameters()}
    groups = parameter_groups(student, weight_decay=0.1, **options)
    return {
        decays: {names[p] for g in groups if (g["weight_decay"] > 0) == decays for p in g["params"]}
        for decays in (True, False)
    }


@pytest.mark.parametrize("name", ["test_deo_swin", "test_deo_vit"])
def test_parameter_groups__tables_decay_only_as_published(name: str) -> None:
    student = Student(Model(name=name, head_hidden=8, z=4), optical=None)
    mended, original = names_by_decay(student), names_by_decay(student, decay_tables=True)
    moved = original[True] - mended[True]
    tables = {"test_deo_swin": {"relative_position_bias_table"}}
    assert {name.rsplit(".", 1)[1] for name in moved} == tables.get(
        name, {"pos_embed", "cls_token"}
    )
    shapes = {name: parameter.ndim for name, parameter in student.named_parameters()}
    for split in (mended, original):
        assert split[True] | split[False] == shapes.keys()
        assert all(shapes[n] > 1 and not n.endswith(".bias") for n in split[True])


def test_parameter_groups__deeper_layers_learn_faster() -> None:
    trunk = Student(Model(name="test_deo_vit", head_hidden=8, z=4), optical=None).trunk.net
    groups = parameter_groups(trunk, weight_decay=0.1, layer_decay=0.5)
    scales = [group["lr_scale"] for group in groups]
    assert sum(len(group["params"]) for group in groups) == len(list(trunk.parameters()))
    assert scales == sorted(scales)
    assert scales[-1] == 1.0
    assert all(later in (earlier, earlier * 2) for earlier, later in pairwise(scales))


def module_with_gradients() -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    module(torch.randn(5, 4)).square().sum().backward()
    return module


def gradients(module: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in module.parameters() if p.grad is not None]


@pytest.mark.parametrize("limit", [0.1, 1e4])
def test_clip_each__equals_clipping_one_by_one(limit: float) -> None:
    ours, theirs = module_with_gradients(), module_with_gradients()
    before = torch.cat([g.flatten() for g in gradients(ours)]).norm()
    norm = clip_each(ours.parameters(), limit)
    for parameter in theirs.parameters():
        nn.utils.clip_grad_norm_([parameter], limit)
    torch.testing.assert_close(gradients(ours), gradients(theirs))
    torch.testing.assert_close(norm, before)


@pytest.mark.parametrize("limit", [0.1, 1e4])
def test_clip_global__keeps_the_direction(limit: float) -> None:
    module = module_with_gradients()
    before = torch.cat([g.flatten() for g in gradients(module)])
    norm = clip_global(module.parameters(), limit)
    after = torch.cat([g.flatten() for g in gradients(module)])
    torch.testing.assert_close(norm, before.norm())
    torch.testing.assert_close(after, before * min(1.0, limit / float(norm)), rtol=1e-4, atol=0)


def test_clip__zero_only_measures() -> None:
    for clip in (clip_each, clip_global):
        module = module_with_gradients()
        before = gradients(module)
        assert clip(module.parameters(), 0.0) > 0
        torch.testing.assert_close(gradients(module), before, rtol=0, atol=0)


def test_optimizer__steps_and_leaves_out_what_is_not_finite() -> None:
    module = module_with_gradients()
    optimizer = build_optimizer(module, Optim())
    set_step(optimizer, lr=0.1, weight_decay=0.5)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    start = [p.detach().clone() for p in module.parameters()]
    advance(optimizer, scaler, torch.tensor(torch.nan))
    torch.testing.assert_close(list(module.parameters()), start, rtol=0, atol=0)
    advance(optimizer, scaler, torch.tensor(1.0))
    for parameter, old in zip(module.parameters(), start, strict=True):
        assert not torch.equal(parameter, old)
        assert parameter.isfinite().all()
