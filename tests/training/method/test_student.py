"""The student on both kinds of trunk, at odd sizes."""

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from deo.errors import ModelError
from deo.training.method.config import Direct, Model
from deo.training.method.layers import Widths, student_layers
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


@pytest.mark.parametrize("name", TRUNKS)
def test_student__shapes_for_several_sizes(name: str) -> None:
    student = Student(micro(name), optical=WIDTHS)
    z, optical, _ = student(views(64, 64, 48, 32, 32))
    assert z.shape == (10, 8)
    assert optical is not None
    assert optical.cls.shape == (10, 20)
    grids = {"test_deo_swin": (4, 2), "test_deo_vit": (4, 4)}[name]
    assert optical.mid.shape == (4, 12, grids[0], grids[0])
    assert optical.late.shape == (4, 28, grids[1], grids[1])
    for x in (z, *optical):
        torch.testing.assert_close(x.norm(dim=1), torch.ones_like(x[:, 0]))


@pytest.mark.parametrize("name", TRUNKS)
def test_student__views_do_not_see_each_other(name: str) -> None:
    student = perturbed(Student(micro(name), optical=WIDTHS)).eval()
    several = views(64, 64, 32)
    together = student(several)
    for i, view in enumerate(several):
        alone = student([view, view])
        torch.testing.assert_close(together.z[2 * i : 2 * i + 2], alone.z[:2])
        torch.testing.assert_close(together.optical.cls[2 * i : 2 * i + 2], alone.optical.cls[:2])


@pytest.mark.parametrize("name", TRUNKS)
def test_student__maps_are_those_of_the_rgb_stem(name: str) -> None:
    student = perturbed(Student(micro(name), optical=WIDTHS)).eval()
    pair = views(64, 64)
    net, layers = student.trunk.net, student_layers(student.trunk.net)
    taps: dict[str, Tensor] = {}
    stage = net.layers if name == "test_deo_swin" else net.blocks
    for layer, index in layers._asdict().items():
        stage[index].register_forward_hook(
            lambda module, args, out, layer=layer: taps.__setitem__(layer, out)
        )
    optical = student(pair).optical
    for layer, got in (("mid", optical.mid), ("late", optical.late)):
        tokens = taps[layer]
        if tokens.ndim == 3:
            tokens = tokens[:, 1:].unflatten(1, (4, 4))
        want = getattr(student, f"head_{layer}")(tokens).permute(0, 3, 1, 2)
        torch.testing.assert_close(got, want)


def test_student__swapped_exchanges_the_maps_of_a_vit_only() -> None:
    for name in TRUNKS:
        widths = Widths(12, 12, 12)
        plain = perturbed(Student(micro(name), optical=widths)).eval()
        swapped = Student(micro(name), optical=widths, swapped=True).eval()
        swapped.load_state_dict(plain.state_dict())
        want, got = plain(views(64, 64)).optical, swapped(views(64, 64)).optical
        if name == "test_deo_vit":
            want = want._replace(mid=want.late, late=want.mid)
        torch.testing.assert_close(tuple(got), tuple(want))


@pytest.mark.parametrize(
    ("kind", "optical", "stems"),
    [
        ("ms", WIDTHS, {"ms", "rgb"}),
        ("ms", None, {"ms"}),
        ("rgb", WIDTHS, {"rgb"}),
        ("rgb", None, {"rgb"}),
    ],
)
def test_student__has_a_gradient_for_every_parameter(
    kind: Literal["ms", "rgb"], optical: Widths | None, stems: set[str]
) -> None:
    student = perturbed(Student(micro("test_deo_swin", input=kind), optical=optical))
    assert set(student.trunk.net.patch_embed.widths) == stems
    prediction = student(views(64, 64, 32))
    assert (prediction.optical is None) == (optical is None)
    outputs = [prediction.z, *(prediction.optical or ())]
    sum((x * torch.randn_like(x)).sum() for x in outputs).backward()  # type: ignore[union-attr]
    assert not [n for n, p in student.named_parameters() if p.grad is None or not p.grad.any()]


def test_student__rgb_alone_ignores_the_other_bands() -> None:
    student = perturbed(Student(micro("test_deo_vit", input="rgb"), optical=None)).eval()
    pair = views(64, 64)
    torch.testing.assert_close(student(pair).z, student([view[:, :3] for view in pair]).z)


@pytest.mark.parametrize(
    ("name", "options", "grids"),
    [
        ("test_deo_vit", {"patch_size": 8, "img_size": 40}, ((5, 5), (5, 5))),
        ("test_deo_swin", {"window_size": 3, "patch_size": 2}, ((5, 5), (3, 3))),
    ],
)
def test_student__any_patch_window_and_image_size(
    name: str, options: dict[str, int], grids: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    student = Student(micro(name, options=options), optical=WIDTHS)
    optical = student(views(40, 40, 24)).optical
    assert (optical.mid.shape[2:], optical.late.shape[2:]) == grids


def test_student__half_precision_outputs_are_normalised_in_fp32() -> None:
    student = Student(micro("test_deo_vit"), optical=WIDTHS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = student(views(64, 64)).z
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.norm(dim=1), torch.ones(4))


def test_student__refuses_other_models() -> None:
    for name in ("resnet18", "deo_swin_x"):
        with pytest.raises(ModelError, match=rf"unknown model '{name}'; known are deo_swin_t"):
            Student(micro(name), optical=None)


@pytest.mark.parametrize("name", TRUNKS)
@pytest.mark.parametrize("finer", [False, True])
def test_student__both_stems_answer_directly(name: str, finer: bool) -> None:
    direct = Direct(maximum=3000.0, finer=finer)
    student = Student(micro(name), optical=WIDTHS, direct=direct)
    z, optical, answers = student(views(64, 64, 32))
    assert z.shape == (6, 8)
    assert optical is None
    assert answers is not None
    of_ms, of_rgb = answers
    assert (of_ms.cls.shape, of_rgb.cls.shape) == ((4, 40), (2, 40)), "RGB: the first view alone"
    assert (of_ms.cells.shape[1], of_ms.statistics.shape) == (15, (4, 30))
    side = {"test_deo_swin": (8 if finer else 4, 4 if finer else 2), "test_deo_vit": (4, 4)}[name]
    assert (of_ms.mid.shape, of_ms.late.shape) == ((4, 12, *side[:1] * 2), (4, 28, *side[1:] * 2))
    sum(x.square().mean() for x in (z, *of_ms, *of_rgb)).backward()
    assert not [n for n, p in student.named_parameters() if p.grad is None]
