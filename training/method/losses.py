"""The objective of DEO pretraining as pure functions: coding rate, class and patch distillation.

Embeddings of several views arrive stacked along the batch, view by view: row `j * B + b` is
sample `b` in view `j`. The two global views come first. Everything is computed in fp32, or in
fp64 when the inputs are: in half precision the determinant of a nearly singular matrix would be
noise, and torch has no Cholesky factorisation. Source: the DEO paper (arXiv 2602.19863) for the
sum of terms, SimDINO (arXiv 2502.10385) for the coding rate.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

GLOBAL_VIEWS = 2

DUAL_RATIO = 4
"""The dual form is taken where it has so many times fewer rows. Nearer to square it saves little,
and the direct form has the published code's rounding (1e-4 of an ill-conditioned gradient)."""

Gather = Callable[[Tensor], Tensor]
"""(B, ...) on each process -> (B * processes, ...) on every process, differentiable."""


class CodingRate(NamedTuple):
    """Scalars of `coding_rate_loss`.

    Args:
        loss: what is minimised, `-coeff * comp - expansion * expa`.
        comp: mean cosine of EMA teacher and student over pairs of different views; high is good.
        expa: coding rate of the global views; high is good.
        effective_rank: (sum of eigenvalues)^2 / (sum of squared eigenvalues) of the Gram matrix,
            1 when every sample is embedded alike; at most min(p, samples). No gradient.
        head_cosine: mean product of different samples over their mean square, 1 when every
            sample is embedded alike. No gradient.
    """

    loss: Tensor
    comp: Tensor
    expa: Tensor
    effective_rank: Tensor
    head_cosine: Tensor


class Distillation(NamedTuple):
    """Scalars of a distillation term: `loss` is `-cosine`, the mean over what was compared."""

    loss: Tensor
    cosine: Tensor


class _Spectrum(NamedTuple):
    """Scalars of one view's Gram matrix."""

    logdet: Tensor
    effective_rank: Tensor
    head_cosine: Tensor


def coding_rate_loss(
    student: Tensor,
    ema: Tensor,
    *,
    eps: float,
    coeff: float = 1.0,
    expansion: float = 1.0,
    student_only: bool = False,
    gather: Gather | None = None,
    processes: int = 1,
    gram_dtype: torch.dtype | None = None,
) -> CodingRate:
    """Pull views of one sample together, and spread the samples over the space.

    The slow loop, for n views, p features and B samples on each of W processes::

        for i in 0, 1:
            for j in range(n):
                if j != i:
                    comp += cos(ema[i], student[j]).mean() / (2 * n - 2)
            z = (student[i] + ema[i]) / 2
            expa += gamma / 4 * logdet(eye(p) + p / (B * W * eps) * z.T @ z)
        loss = -coeff * comp - expansion * expa          # gamma = (p + W * B) / (p * W * B)

    Where samples are far fewer than features, logdet(eye(B) + p / (B * W * eps) * z @ z.T) is
    taken instead, which is equal.

    Args:
        student: (n * B, p), n >= 2 views, the global ones first.
        ema: (2 * B, p), the EMA teacher's embedding of the global views.
        eps: distortion allowed by the code; larger values weaken the expansion.
        coeff: weight of the compression.
        expansion: weight of the expansion.
        student_only: expand the student's embedding instead of its mean with the EMA teacher's.
        gather: makes the Gram matrix that of all processes. None is the published local form,
            in which the objective depends on the number of processes.
        processes: W.
        gram_dtype: the product is rounded through this type, as under the published autocast.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    students, teachers = _views(student, ema)
    comp = _other_view_cosine(students, teachers, same_view=False)
    z = students[:GLOBAL_VIEWS]
    z = z if student_only else (z + teachers) / 2
    samples, p = z.shape[1] * processes, z.shape[2]
    if gather is not None:
        # gather joins processes along the first dimension, and that has to be the samples
        z = gather(z.transpose(0, 1).contiguous()).transpose(0, 1)
    scale = p / (samples * eps)
    first, second = (_spectrum(view, scale=scale, gram_dtype=gram_dtype) for view in z)
    # The coding rate is half a log-determinant, here the mean of two views. gamma, between one and
    # two times 1 / min(p, samples), the most eigenvalues that can grow, keeps it of a cosine's size
    # at any width and batch. It is the published heuristic; the weights in the recipes assume it.
    expa = (p + samples) / (p * samples) * (first.logdet + second.logdet) / 4
    return CodingRate(
        loss=-coeff * comp - expansion * expa,
        comp=comp,
        expa=expa,
        effective_rank=(first.effective_rank + second.effective_rank) / 2,
        head_cosine=(first.head_cosine + second.head_cosine) / 2,
    )


def distill_cls(student: Tensor, optical: Tensor, *, same_view: bool = False) -> Distillation:
    """Cosine of every student view with the optical teacher's class feature of the others.

    The slow loop::

        for i in 0, 1:
            for j in range(n):
                if same_view or j != i:
                    cosine += cos(optical[i], student[j]).mean() / pairs

    Args:
        student: (n * B, d), the global views first.
        optical: (2 * B, d), the optical teacher's class feature of the global views.
        same_view: count the pairs j == i too, which the published objective leaves out.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    students, teachers = _views(student, optical)
    cosine = _other_view_cosine(students, teachers, same_view=same_view)
    return Distillation(loss=-cosine, cosine=cosine)


def distill_patch(student: Tensor, optical: Tensor) -> Distillation:
    """Mean cosine of two feature maps, place by place, on the optical teacher's grid.

    The slow loop::

        student = bilinear(student, optical.shape[2:])                  # align_corners=False
        for y, x in grid:
            cosine += cos(student[:, :, y, x], optical[:, :, y, x]).mean() / (h * w)

    Args:
        student: (M, d, H, W).
        optical: (M, d, h, w).

    Raises:
        ValueError: numbers of maps or widths differ.
    """
    if student.ndim != 4 or optical.ndim != 4 or student.shape[:2] != optical.shape[:2]:
        raise ValueError(
            f"student maps {tuple(student.shape)} and teacher maps {tuple(optical.shape)} must be "
            "(M, d, height, width) with equal M and d"
        )
    student, optical = _full(student), _full(optical)
    if student.shape != optical.shape:
        # the student's map is resampled, so that the target stays what the teacher said
        student = F.interpolate(
            student, optical.shape[2:], mode="bilinear", align_corners=False, antialias=False
        )
    cosine = F.cosine_similarity(student, optical, dim=1).mean()
    return Distillation(loss=-cosine, cosine=cosine)


def _full(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


class _Views(NamedTuple):
    """Embeddings by view: students (n, B, d), teachers (2, B, d)."""

    students: Tensor
    teachers: Tensor


def _views(student: Tensor, teacher: Tensor) -> _Views:
    samples, width = teacher.shape[0] // GLOBAL_VIEWS, teacher.shape[-1]
    fits = student.ndim == teacher.ndim == 2 and student.shape[1] == teacher.shape[1]
    if not fits or samples == 0 or teacher.shape[0] % GLOBAL_VIEWS or student.shape[0] % samples:
        raise ValueError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} must be "
            "(n * B, width) and (2 * B, width)"
        )
    if student.shape[0] // samples < GLOBAL_VIEWS:
        raise ValueError(f"{student.shape[0] // samples} student view; at least 2 are needed")
    return _Views(
        students=_full(student).reshape(-1, samples, width),
        teachers=_full(teacher).reshape(-1, samples, width),
    )


def _other_view_cosine(students: Tensor, teachers: Tensor, *, same_view: bool) -> Tensor:
    """Mean cosine of (2, B, d) teachers with (n, B, d) students of other views (or of all).

    The sum over the students is taken before the product: n + 2 products instead of 2 n.
    """
    students, teachers = F.normalize(students, dim=2), F.normalize(teachers, dim=2)
    total = (teachers.sum(0) * students.sum(0)).sum(1).mean()
    n = students.shape[0]
    if same_view:
        return total / (GLOBAL_VIEWS * n)
    same = (teachers * students[:GLOBAL_VIEWS]).sum((0, 2)).mean()
    return (total - same) / (GLOBAL_VIEWS * (n - 1))


def _spectrum(z: Tensor, *, scale: float, gram_dtype: torch.dtype | None) -> _Spectrum:
    """Of the Gram matrix of z (samples, p), in the cheaper of the two equal forms.

    det(1 + s z.T z) = det(1 + s z z.T) (Sylvester): the two have the same eigenvalues but for ones,
    and a factorisation costs the cube of the smaller side.
    """
    samples, p = z.shape
    rounded = z if gram_dtype is None else z.to(gram_dtype)
    dual = DUAL_RATIO * samples < p
    gram = (rounded @ rounded.T if dual else rounded.T @ rounded).to(z.dtype)
    identity = torch.eye(gram.shape[0], dtype=gram.dtype, device=gram.device)
    # a product of the factor's diagonal, in logarithms: the determinant itself would overflow.
    # cholesky_ex, since cholesky waits for the device to report its failures
    factor, info = torch.linalg.cholesky_ex(identity + scale * gram)
    logdet = 2 * factor.diagonal().log().sum()
    logdet = torch.where(info == 0, logdet, torch.full_like(logdet, torch.nan))
    with torch.no_grad():
        # The rank is the participation ratio. It takes no eigenvalues, only their sum, which is the
        # trace, and the sum of their squares, which is that of the squared entries. The products of
        # all pairs of samples add up to the square of the samples' sum; the trace holds those of
        # each sample with itself.
        trace = gram.diagonal().sum()
        different = z.sum(0).square().sum() - trace
        return _Spectrum(
            logdet=logdet,
            effective_rank=trace.square() / gram.square().sum(),
            head_cosine=different / (trace * max(samples - 1, 1)),
        )
