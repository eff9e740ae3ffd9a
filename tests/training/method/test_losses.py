"""The losses against their own docstrings, the dual form, and what collapse looks like."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deo.training.method import losses
from deo.training.method.losses import coding_rate_loss, distill_cls, distill_patch


def embeddings(rows: int, width: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    return F.normalize(x, dim=1).requires_grad_()


def coding_rate_by_loop(student: Tensor, teacher: Tensor, *, eps: float, coeff: float) -> Tensor:
    samples, p = teacher.shape[0] // 2, teacher.shape[1]
    students, teachers = student.split(samples), teacher.split(samples)
    n = len(students)
    comp = expa = torch.zeros((), dtype=student.dtype)
    for i in range(2):
        for j in range(n):
            if j != i:
                cosine = F.cosine_similarity(teachers[i], students[j], dim=1)
                comp = comp + cosine.mean() / (2 * n - 2)
        z = (students[i] + teachers[i]) / 2
        gram = torch.eye(p, dtype=z.dtype) + p / (samples * eps) * z.T @ z
        expa = expa + (p + samples) / (p * samples) / 4 * torch.logdet(gram)
    return -coeff * comp - expa


@pytest.mark.parametrize(("samples", "p"), [(3, 40), (30, 6), (8, 8), (1, 5)])
def test_coding_rate_loss__equals_its_slow_loop(samples: int, p: int) -> None:
    student, teacher = embeddings(5 * samples, p), embeddings(2 * samples, p, seed=1)
    fast = coding_rate_loss(student, teacher, eps=0.1, coeff=1.5).loss
    slow = coding_rate_by_loop(student, teacher, eps=0.1, coeff=1.5)
    torch.testing.assert_close(fast, slow)
    got = torch.autograd.grad(fast, (student, teacher))
    torch.testing.assert_close(got, torch.autograd.grad(slow, (student, teacher)))


def test_coding_rate_loss__forms_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = embeddings(12, 40), embeddings(6, 40, seed=1)
    dual = coding_rate_loss(student, teacher, eps=0.05)
    dual_gradient = torch.autograd.grad(dual.loss, student)
    monkeypatch.setattr(losses, "DUAL_RATIO", 1000)
    direct = coding_rate_loss(student, teacher, eps=0.05)
    torch.testing.assert_close(tuple(dual), tuple(direct))
    torch.testing.assert_close(dual_gradient, torch.autograd.grad(direct.loss, student))


def test_coding_rate_loss__gradients() -> None:
    student, teacher = embeddings(8, 3), embeddings(4, 3, seed=1)

    def loss(s: Tensor, t: Tensor) -> Tensor:
        return coding_rate_loss(s, t, eps=0.5).loss

    assert torch.autograd.gradcheck(loss, (student, teacher))


def test_coding_rate_loss__switches_of_the_published_code() -> None:
    student, teacher = embeddings(24, 16), embeddings(12, 16, seed=1)
    one = coding_rate_loss(student, teacher, eps=0.05)
    two = coding_rate_loss(student, teacher, eps=0.05, processes=2)
    assert two.expa < 0.7 * one.expa, "the local form depends on the number of processes"
    student, teacher = student.float(), teacher.float()
    half = coding_rate_loss(student, teacher, eps=0.05, gram_dtype=torch.float16)
    assert 1e-6 < abs(half.expa - one.expa) < 1e-2
    assert half.expa.dtype == torch.float32


def test_coding_rate_loss__bfloat16_inputs_are_computed_in_fp32() -> None:
    student, teacher = embeddings(24, 16).bfloat16(), embeddings(12, 16, seed=1).bfloat16()
    got = coding_rate_loss(student, teacher, eps=0.05)
    want = coding_rate_loss(student.double(), teacher.double(), eps=0.05)
    assert got.loss.dtype == torch.float32
    torch.testing.assert_close(got.loss.double(), want.loss, rtol=1e-5, atol=0)


def test_coding_rate_loss__not_finite_input_shows() -> None:
    student = embeddings(8, 3).detach()
    student[1, 1] = torch.nan
    assert coding_rate_loss(student, embeddings(4, 3), eps=0.5).expa.isnan()


def test_coding_rate_loss__monitors_tell_spread_from_collapse() -> None:
    spread, alike = embeddings(64, 16).detach(), torch.ones(64, 16, dtype=torch.float64)
    good = coding_rate_loss(spread, spread, eps=0.05)
    assert abs(good.head_cosine) < 0.05
    assert 11 < good.effective_rank < 16
    bad = coding_rate_loss(alike, alike, eps=0.05)
    torch.testing.assert_close(bad.head_cosine, torch.ones_like(bad.head_cosine))
    torch.testing.assert_close(bad.effective_rank, torch.ones_like(bad.head_cosine))


def descend(*, expansion: float) -> losses.CodingRate:
    """A linear student learns to agree with its own average about noisy views of offset points."""
    torch.manual_seed(0)
    points = torch.randn(64, 32) + 1
    student, teacher = torch.nn.Linear(32, 32), torch.nn.Linear(32, 32)
    teacher.load_state_dict(student.state_dict())
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)
    for _ in range(60):
        views = torch.cat([points + 0.5 * torch.randn_like(points) for _ in range(3)])
        with torch.no_grad():
            target = F.normalize(teacher(views[:128]), dim=1)
        prediction = F.normalize(student(views), dim=1)
        rate = coding_rate_loss(prediction, target, eps=0.05, expansion=expansion)
        optimizer.zero_grad()
        rate.loss.backward()
        optimizer.step()
        with torch.no_grad():
            for mean, new in zip(teacher.parameters(), student.parameters(), strict=True):
                mean.lerp_(new, 0.1)
    return rate


def test_coding_rate_loss__without_expansion_the_embedding_collapses() -> None:
    with_it, without = descend(expansion=1.0), descend(expansion=0.0)
    assert abs(with_it.head_cosine) < 0.1
    assert without.head_cosine > 0.8
    assert with_it.effective_rank > 3 * without.effective_rank


def test_distill_cls__equals_its_slow_loop() -> None:
    student, teacher = embeddings(15, 7), embeddings(6, 7, seed=1)
    students, teachers = student.split(3), teacher.split(3)
    pairs = {
        (i, j): F.cosine_similarity(teachers[i], students[j], dim=1).mean()
        for i in range(2)
        for j in range(5)
    }
    others = torch.stack([cosine for (i, j), cosine in pairs.items() if i != j]).mean()
    every = torch.stack(list(pairs.values())).mean()
    torch.testing.assert_close(distill_cls(student, teacher).cosine, others)
    torch.testing.assert_close(distill_cls(student, teacher, same_view=True).cosine, every)


def test_distill_patch__grids_of_any_size() -> None:
    student = torch.randn(2, 5, 7, 9, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 5, 16, 11, dtype=torch.float64)
    resized = F.interpolate(student, (16, 11), mode="bilinear", align_corners=False)
    places = [
        F.cosine_similarity(resized[:, :, y, x], teacher[:, :, y, x], dim=1).mean()
        for y in range(16)
        for x in range(11)
    ]
    torch.testing.assert_close(distill_patch(student, teacher).cosine, torch.stack(places).mean())


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ((7, 4), (6, 4)),
        ((9, 4), (6, 5)),
        ((9, 4), (5, 4)),
        ((3, 4), (6, 4)),
        ((9, 4, 1), (6, 4, 1)),
    ],
)
def test_losses__refuse_shapes_that_do_not_fit(
    student: tuple[int, ...], teacher: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="student"):
        coding_rate_loss(torch.ones(student), torch.ones(teacher), eps=0.1)
    with pytest.raises(ValueError, match="student"):
        distill_cls(torch.ones(student), torch.ones(teacher))


def test_distill_patch__refuses_another_width() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\)"):
        distill_patch(torch.ones(2, 3, 4, 4), torch.ones(2, 5, 4, 4))
