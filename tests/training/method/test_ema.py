"""The EMA teacher and the average that moves it."""

from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deo.errors import ModelError
from deo.training.method.config import Model
from deo.training.method.ema import Average, EmaTeacher
from deo.training.method.layers import Widths
from deo.training.method.student import Student

TRUNKS = ("test_deo_swin", "test_deo_vit")
WIDTHS = Widths(cls=20, mid=12, late=28)


def micro(name: str, **changes: object) -> Model:
    return Model(name=name, head_hidden=16, z=8, **changes)  # type: ignore[arg-type]


def views(*sizes: int, channels: int = 10, samples: int = 2) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(samples, channels, size, size) for size in sizes]


def perturbed(module: nn.Module) -> nn.Module:
    """Away from the initial heads, whose small weights make every output alike."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize("kind", ["ms", "rgb"])
@pytest.mark.parametrize("name", TRUNKS)
def test_average__by_name(name: str, kind: Literal["ms", "rgb"]) -> None:
    model = micro(name, input=kind)
    student, teacher = perturbed(Student(model, optical=WIDTHS)), EmaTeacher(model)
    before = {n: p.clone() for n, p in teacher.named_parameters()}
    Average(teacher, student).update(0.75)
    source = dict(student.named_parameters())
    for parameter, value in teacher.named_parameters():
        want = 0.75 * before[parameter] + 0.25 * source[parameter]
        torch.testing.assert_close(value, want, msg=parameter)
        assert not value.requires_grad
    Average(teacher, student).update(0.0)
    pair = views(64, 64)
    torch.testing.assert_close(teacher(pair), student.eval()(pair).z)


def test_average__mismatch_is_an_error() -> None:
    student, teacher = nn.Linear(3, 2), nn.Linear(3, 2)
    teacher.extra = nn.Linear(1, 1)
    with pytest.raises(ModelError, match=r"2 parameters .*extra\.weight"):
        Average(teacher, student)
    with pytest.raises(ModelError, match=r"weight is \(2, 4\) .* \(2, 3\)"):
        Average(nn.Linear(4, 2), student)


def test_ema_teacher__stochastic_depth_only_on_request() -> None:
    model = micro("test_deo_swin", drop_path=0.5)
    pair = views(64, 64)
    calm, wild = perturbed(EmaTeacher(model)), perturbed(EmaTeacher(model, stochastic=True))
    assert torch.equal(calm(pair), calm(pair))
    assert not torch.equal(wild(pair), wild(pair))
    assert F.cosine_similarity(calm(pair), wild(pair)).min() > 0
