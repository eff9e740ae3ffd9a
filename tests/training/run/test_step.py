"""One step: what it changes, in every mode and precision, and what each switch does."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deo.errors import ConfigError
from deo.training.config import Config, Optim, Run
from deo.training.method.config import Direct, Loss, Model, Optical, Switches, Views
from deo.training.method.layers import Widths
from deo.training.method.optical import OpticalFeatures
from deo.training.run.distributed import Context
from deo.training.run.state import State, autocast_dtype, build, compile_blocks
from deo.training.run.step import StepRecord, train_step

SAMPLES = 4
FIELDS = ("loss", "comp", "expa", "cls", "patch", "effective_rank", "head_cosine", "grad_norm")


class Pixels:
    """An optical teacher without weights: pooled pixels and their squares."""

    widths = Widths(3, 3, 6)
    licence = "none"

    def __call__(self, images: Tensor) -> OpticalFeatures:
        small = F.adaptive_avg_pool2d(images, 4)
        return OpticalFeatures(small.mean((2, 3)), small, torch.cat([small, small.square()], 1))


def config(**changes: Any) -> Config:
    base = Config(
        model=Model(name="test_deo_vit", head_hidden=16, z=8),
        views=Views(global_size=48, local_size=32, local_crops=1),
        optim=Optim(lr=1e-2, warmup_steps=0),
        run=Run(steps=8, batch_size=SAMPLES, precision="fp32", device="cpu"),
    )
    return replace(base, **changes)


def state(optical: Any = None, **changes: Any) -> State:
    made = build(config(**changes), Context(), steps_per_epoch=4, optical=optical)
    if made.clean is not None:
        made.clean.measure(list(images().numpy()))
    return made


def images(seed: int = 0) -> Tensor:
    return 3000 * torch.rand(SAMPLES, 10, 40, 40, generator=torch.Generator().manual_seed(seed))


def steps(run: State, count: int = 1) -> list[StepRecord]:
    return [train_step(run, images(i), torch.arange(SAMPLES) + SAMPLES * i) for i in range(count)]


def weights(run: State) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in run.student.state_dict().items()}


def test_train_step__moves_student_and_teacher_and_records() -> None:
    run = state(Pixels())
    student, teacher = weights(run), {k: v.clone() for k, v in run.teacher.state_dict().items()}
    records = steps(run, 5)
    assert [r.step for r in records] == [0, 1, 2, 3, 4]
    assert [r.epoch for r in records] == [0, 0, 0, 0, 1]
    assert (run.step, run.epoch, run.steps) == (5, 1, 8)
    for record in records:
        values = torch.stack([getattr(record, name) for name in FIELDS])
        assert values.isfinite().all()
        assert not values.requires_grad
        want = -record.comp - record.expa - (record.cls + record.patch) / 2
        torch.testing.assert_close(record.loss, want)
    moved = weights(run)
    assert not [name for name in student if torch.equal(student[name], moved[name])]
    assert any(not torch.equal(teacher[k], v) for k, v in run.teacher.state_dict().items())


def test_train_step__same_seed_same_run_to_the_bit() -> None:
    first, second = state(Pixels()), state(Pixels())
    for a, b in zip(steps(first, 3), steps(second, 3), strict=True):
        assert a == b
    for name, value in weights(first).items():
        assert torch.equal(value, second.student.state_dict()[name])
    other = state(Pixels(), run=replace(config().run, seed=1))
    assert steps(other)[0].loss != steps(state(Pixels()))[0].loss


@pytest.mark.parametrize(
    ("kind", "optical"), [("ms", None), ("rgb", None), ("rgb", Pixels()), ("ms", Pixels())]
)
def test_train_step__with_and_without_optical_teacher_and_bands(kind: Any, optical: Any) -> None:
    run = state(optical, model=replace(config().model, input=kind))
    record = steps(run, 2)[-1]
    assert record.loss.isfinite()
    assert (record.cls != 0) == (record.patch != 0) == (optical is not None)


DIRECT = Direct(maximum=3000.0, similarity=2.0, statistics=1.0)


def test_train_step__distils_directly() -> None:
    run = state(Pixels(), direct=DIRECT)
    before = weights(run)
    records = steps(run, 2)
    assert all(record.loss.isfinite() for record in records)
    assert not [name for name, value in weights(run).items() if torch.equal(value, before[name])]
    alone = replace(config().loss, coeff=0.0, expansion=0.0)
    for part in ("similarity", "statistics"):
        without = state(Pixels(), direct=replace(DIRECT, **{part: 0.0}), loss=alone)
        assert steps(without)[0].loss != steps(state(Pixels(), direct=DIRECT, loss=alone))[0].loss


def test_train_step__without_weight_self_distillation_asks_no_teacher() -> None:
    run = state(Pixels(), direct=DIRECT, loss=Loss(coeff=0.0, expansion=0.0))
    run.teacher.register_forward_hook(lambda module, args, out: pytest.fail("asked"))
    record = steps(run)[0]
    assert record.effective_rank >= 1


def test_train_step__kept_maps_are_those_seen_afresh() -> None:
    fresh, kept = (state(Pixels(), direct=replace(DIRECT, keep=keep)) for keep in (False, True))
    for a, b in zip(steps(fresh, 2), steps(kept, 2), strict=True):
        torch.testing.assert_close(a.loss, b.loss, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "needs an optical teacher"),
        ({"optical": Pixels(), "model": replace(Model(name="test_deo_vit"), input="rgb")}, "rgb"),
        ({"optical": Pixels(), "views": lambda images, keys, epoch: []}, "view maker of your own"),
    ],
)
def test_build__refuses_direct_distillation_that_cannot_work(options: Any, match: str) -> None:
    own = {name: options.get(name) for name in ("optical", "views")}
    changes = {name: value for name, value in options.items() if name == "model"}
    with pytest.raises(ConfigError, match=match):
        build(config(direct=DIRECT, **changes), Context(), steps_per_epoch=4, **own)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_train_step__half_precision_keeps_losses_in_fp32(precision: Any) -> None:
    half = state(Pixels(), run=replace(config().run, precision=precision))
    assert half.scaler.is_enabled() == (precision == "fp16")
    rounded, full = steps(half)[0], steps(state(Pixels()))[0]
    assert rounded.loss.dtype == torch.float32
    torch.testing.assert_close(rounded.loss, full.loss, rtol=0.1, atol=0.1)
    assert rounded.loss != full.loss


def test_autocast_dtype__is_chosen_by_the_hardware() -> None:
    cpu = torch.device("cpu")
    got = {name: autocast_dtype(name, cpu) for name in ("auto", "fp32", "bf16", "fp16")}
    assert got == {"auto": None, "fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def test_train_step__without_a_finite_gradient_nothing_is_learned() -> None:
    run = state(Pixels())
    steps(run)
    before, moments = weights(run), [s["exp_avg"].clone() for s in run.optimizer.state.values()]
    broken = images()
    broken[1, 7] = torch.inf
    record = train_step(run, broken, torch.arange(SAMPLES))
    assert not record.grad_norm.isfinite()
    for name, value in weights(run).items():
        assert torch.equal(value, before[name]), name
    for old, now in zip(moments, run.optimizer.state.values(), strict=True):
        assert torch.equal(old, now["exp_avg"])
    assert steps(run)[0].grad_norm.isfinite()
    assert run.step == 3


def original(**on: bool) -> Switches:
    return replace(Switches(), **on)


def first_record(switches: Switches, **changes: Any) -> StepRecord:
    return steps(state(Pixels(), switches=switches, **changes))[0]


def test_switch__ignore_alpha() -> None:
    strong = {"loss": Loss(alpha=5.0)}
    published = first_record(Switches())
    assert first_record(original(ignore_alpha=True), **strong).loss == published.loss
    assert first_record(Switches(), **strong).loss != published.loss


def test_switch__cls_other_views() -> None:
    others, every = first_record(Switches()), first_record(original(cls_other_views=False))
    assert others.cls != every.cls
    assert others.expa == every.expa


def test_switch__equal_draws() -> None:
    fair, equal = state(), state(switches=original(equal_draws=True))
    samples = torch.tensor([7, 3, 9, 1])
    assert torch.equal(fair.keys(samples), samples)
    assert torch.equal(equal.keys(samples), torch.arange(4))
    equal.step = 2
    assert torch.equal(equal.keys(samples), torch.arange(8, 12)), "new draws at every step"


def test_switch__gram_autocast() -> None:
    half = {"run": replace(config().run, precision="bf16")}
    mended, rounded = (
        first_record(Switches(), **half),
        first_record(original(gram_autocast=True), **half),
    )
    assert mended.comp == rounded.comp
    assert 0 < abs(mended.expa - rounded.expa) < 0.1
    assert first_record(Switches()).expa == first_record(original(gram_autocast=True)).expa


def test_switch__swapped_layers_and_teacher_drop_path_reach_the_networks() -> None:
    deep = replace(config().model, drop_path=0.5)
    run = state(
        Pixels(), model=deep, switches=original(swapped_layers=True, teacher_drop_path=True)
    )
    assert run.student.swapped
    assert run.teacher.training
    mended = state(Pixels(), model=deep)
    assert not mended.student.swapped
    assert not mended.teacher.training
    assert mended.student.training


def test_switch__clip_per_parameter() -> None:
    # with an eps far above every gradient AdamW's first step is that of plain gradient descent
    plain = Optim(lr=2e6, eps=1e6, clip=1e-3, weight_decay=0, weight_decay_end=0, warmup_steps=0)
    norms = []
    for each in (False, True):
        run = state(Pixels(), optim=plain, switches=original(clip_per_parameter=each))
        start, lr = weights(run), steps(run)[0].lr / plain.eps
        moved = [(start[name] - now).norm() / lr for name, now in weights(run).items()]
        norms.append(torch.stack(moved))
    together, apart = norms
    assert together.norm() == pytest.approx(1e-3, rel=0.1)
    assert apart.max() == pytest.approx(1e-3, rel=0.1)
    assert apart.norm() > 3e-3


def test_switch__decay_tables() -> None:
    groups = [
        len(state(switches=original(decay_tables=on)).optimizer.param_groups[0]["params"])
        for on in (False, True)
    ]
    assert groups[1] == groups[0] + 2  # pos_embed and cls_token


def test_switch__optical_view_statistics() -> None:
    optical = Optical(
        name="dinov2_small", pretrained=False, options={"depth": 1, "embed_dim": 32, "num_heads": 2}
    )
    shifts = []
    for on in (False, True):
        run = build(
            config(optical=optical, switches=original(optical_view_statistics=on)),
            Context(),
            steps_per_epoch=4,
        )
        shifts.append(run.optical.get_buffer("shift").abs().max())  # type: ignore[union-attr]
    assert shifts[0] > 0.05
    assert shifts[1] == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the compiler trips over its own warnings
def test_compile_blocks__computes_the_same() -> None:
    plain, compiled = state(Pixels()), state(Pixels())
    names = list(compiled.student.state_dict())
    compile_blocks([*compiled.student.trunk.blocks, *compiled.teacher.trunk.blocks])
    assert list(compiled.student.state_dict()) == names
    for a, b in zip(steps(plain, 2), steps(compiled, 2), strict=True):
        torch.testing.assert_close(a.loss, b.loss, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_train_step__never_waits_for_the_device(precision: Any) -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    made = [torch.randn(SAMPLES, 10, size, size, device=device) for size in (48, 48, 32)]
    run = build(
        config(run=replace(config().run, precision=precision)),
        Context(device=device),
        steps_per_epoch=4,
        optical=Pixels(),
        views=lambda images, keys, epoch: made,
    )
    steps(run)
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps(run, 2)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert steps(run)[0].loss.isfinite()
