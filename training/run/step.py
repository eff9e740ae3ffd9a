"""One step of dual-teacher pretraining, and the run that repeats it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from deo.bands import RGB_BANDS
from deo.training.data.loading import Batch
from deo.training.method.clean import raw_targets, views_at
from deo.training.method.direct import direct_terms
from deo.training.method.losses import (
    GLOBAL_VIEWS,
    coding_rate_loss,
    distill_cls,
    distill_patch,
)
from deo.training.method.optical import OpticalFeatures
from deo.training.method.student import Predictions
from deo.training.method.views import view_places
from deo.training.method.viewspecs import view_specs
from deo.training.run.optim import advance, clip_each, clip_global, set_step
from deo.training.run.state import State

PUBLISHED_ALPHA = 0.5


class Terms(NamedTuple):
    """The objective and its parts: cosines are what is maximised, zero without optical teacher."""

    loss: Tensor
    comp: Tensor
    expa: Tensor
    cls: Tensor
    patch: Tensor
    effective_rank: Tensor
    head_cosine: Tensor


class StepRecord(NamedTuple):
    """What one step did. Tensors are scalars on the device, of this process: reading one waits.

    Args:
        step, epoch: counted from 0.
        loss: the objective.
        comp, expa: agreement with the EMA teacher, and the coding rate.
        cls, patch: cosines with the optical teacher.
        effective_rank, head_cosine: see `deo.training.method.losses.CodingRate`.
        grad_norm: before clipping; where it is not finite, the student was left as it was.
        lr, weight_decay, momentum: the step's rates.
    """

    step: int
    epoch: int
    loss: Tensor
    comp: Tensor
    expa: Tensor
    cls: Tensor
    patch: Tensor
    effective_rank: Tensor
    head_cosine: Tensor
    grad_norm: Tensor
    lr: float
    weight_decay: float
    momentum: float


class Observer(Protocol):
    """Sees every step of a run after it was taken: writes, saves, or ends it by raising."""

    def __call__(self, state: State, batch: Batch, record: StepRecord, /) -> None: ...


def fit(state: State, batches: Iterable[Batch], observers: Sequence[Observer]) -> None:
    """Take a step on every batch, in the order given, until there are no more.

    Args:
        batches: those of the steps from `state.step` on.
        observers: called in order after each step.

    Raises:
        DeoError: whatever reading, stepping or an observer says.
    """
    device = state.context.device
    for batch in batches:
        assert batch.step == state.step, f"batch of step {batch.step} at step {state.step}"
        images = batch.images.to(device, non_blocking=True).float()
        record = train_step(state, images, batch.samples)
        for observe in observers:
            observe(state, batch, record)


def train_step(state: State, images: Tensor, samples: Tensor) -> StepRecord:
    """Take one step on a batch; nothing waits for the device.

    Args:
        images: (B, C, H, W) on the device, as `deo.training.method.views` takes them.
        samples: (B,) int64 on the CPU, their numbers in the data.
    """
    step, epoch, rates = state.step, state.epoch, state.schedules(state.step)
    set_step(state.optimizer, lr=rates.lr, weight_decay=rates.weight_decay)

    views = state.views(images, state.keys(samples), epoch)
    global_views = views[:GLOBAL_VIEWS]
    # before the student's pass, whose activations are kept for the backward pass: in this order
    # the teacher's own are freed first and the peak of memory is lower
    target = ema_target(state, global_views)
    seen = optical_target(state, global_views)

    with state.autocast():
        predictions = state.model(views)
    # outside autocast: cosines and determinants of half-precision products lose their differences
    terms = objective(state, predictions, target, seen)
    if state.clean is not None:
        terms = directly(state, terms, predictions, images, samples)

    torch.autograd.backward(state.scaler.scale(terms.loss))
    state.scaler.unscale_(state.optimizer)  # the limit is meant for gradients as they are
    clip = clip_each if state.config.switches.clip_per_parameter else clip_global
    grad_norm = clip(state.student.parameters(), state.config.optim.clip)
    advance(state.optimizer, state.scaler, grad_norm)
    # None, not zeros: gradients take no memory during the next forward pass
    state.optimizer.zero_grad(set_to_none=True)
    state.average.update(rates.momentum)  # of a student left as it was too: the schedule goes on
    state.step += 1

    return StepRecord(
        step=step,
        epoch=epoch,
        **{name: value.detach() for name, value in terms._asdict().items()},
        grad_norm=grad_norm,
        **rates._asdict(),
    )


def ema_target(state: State, views: Sequence[Tensor]) -> Tensor | None:
    """(2 * B, z) of the EMA teacher; None where self-distillation has no weight."""
    if not (state.config.loss.coeff or state.config.loss.expansion):
        return None
    with torch.no_grad(), state.autocast():
        target: Tensor = state.teacher(views)
    return target


def optical_target(state: State, views: Sequence[Tensor]) -> OpticalFeatures | None:
    """Features of the global views; None where the optical teacher sees none of them."""
    if state.optical is None or state.clean is not None:
        return None
    # outside autocast: the optical teacher has a precision of its own, `optical.precision`
    return state.optical(optical_input(views))


def directly(
    state: State, terms: Terms, predictions: Predictions, images: Tensor, samples: Tensor
) -> Terms:
    """The terms of self-distillation, and those of direct distillation added to them.

    Args:
        images, samples: as in `train_step`.
    """
    assert state.clean is not None
    assert state.clean.standards is not None
    assert predictions.direct is not None
    config, of_ms = state.config, predictions.direct[0]
    height, width = images.shape[-2:]
    places = view_places(
        state.keys(samples),
        view_specs(config.views)[:GLOBAL_VIEWS],
        height=height,
        width=width,
        seed=config.run.seed,
        epoch=state.epoch,
    )
    grids = (of_ms.mid.shape[-1], of_ms.late.shape[-1], of_ms.cells.shape[-1])
    seen = views_at(state.clean(images, samples), places, grids=grids)
    direct = direct_terms(predictions.direct, state.clean.standards(raw_targets(seen)))
    loss = (
        terms.loss
        - config.loss.alpha * (direct.cls + direct.patch)
        + config.direct.statistics * direct.statistics
        + config.direct.similarity * direct.similarity
    )
    return terms._replace(loss=loss, cls=direct.cls, patch=direct.patch)


def optical_input(views: Sequence[Tensor]) -> Tensor:
    """Red, green and blue of the global views, (2 * B, 3, s, s)."""
    return torch.cat([view[:, : len(RGB_BANDS)] for view in views])


def objective(
    state: State, predictions: Predictions, target: Tensor | None, seen: OpticalFeatures | None
) -> Terms:
    """The weighted sum of coding rate and distillation, in fp32.

    Args:
        target: (2 * B, z) of the EMA teacher; without it the monitors are those of the student
            alone.
        seen: the optical teacher's features of the global views, or None.
    """
    loss, switches, context = state.config.loss, state.config.switches, state.context
    if target is None:
        target = predictions.z[: GLOBAL_VIEWS * state.config.run.batch_size].detach()
    # the coding rate is no mean over samples, so that of the whole batch is not the mean of its
    # parts: embeddings are gathered, where the published code took each process's alone
    several = context.world_size > 1 and not switches.local_gram
    rate = coding_rate_loss(
        predictions.z,
        target,
        eps=loss.eps,
        coeff=loss.coeff,
        expansion=loss.expansion,
        student_only=loss.student_only,
        gather=context.gather if several else None,
        processes=context.world_size,
        gram_dtype=state.dtype if switches.gram_autocast else None,
    )
    if seen is None or predictions.optical is None:
        nothing = torch.zeros_like(rate.comp)
        return Terms(cls=nothing, patch=nothing, **rate._asdict())
    answer = predictions.optical
    cls = distill_cls(answer.cls, seen.cls, same_view=not switches.cls_other_views)
    mid, late = distill_patch(answer.mid, seen.mid), distill_patch(answer.late, seen.late)
    patch = (mid.cosine + late.cosine) / 2
    alpha = PUBLISHED_ALPHA if switches.ignore_alpha else loss.alpha
    total = rate.loss - alpha * (patch + cls.cosine)
    return Terms(cls=cls.cosine, patch=patch, **rate._replace(loss=total)._asdict())
