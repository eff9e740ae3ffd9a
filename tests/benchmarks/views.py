"""Batched views against the published operators run sample by sample; the parts of a step.

    python tests/benchmarks/views.py [--device cuda] [--recipe swin_t]

Both sides make 2 x 224 + 10 x 96 views of ten bands, one thread each on a CPU, in turns within one
run; the ratio is of the best times, the median of the pairs' ratios stands beside it. On a GPU the
per-sample side still runs on one CPU core: that is what it would replace there. The step is one of
a recipe's, with untrained weights, each part ended by a synchronisation.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import click
import kornia
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from deo.bands import AERIAL_MEAN, AERIAL_STD, MODEL_BANDS
from deo.training.method.losses import GLOBAL_VIEWS
from deo.training.method.optical import OpticalFeatures
from deo.training.method.views import make_views
from deo.training.method.viewspecs import ViewSpec, published_views
from deo.training.recipes import recipe
from deo.training.run.distributed import Context
from deo.training.run.optim import advance, clip_global
from deo.training.run.state import build
from deo.training.run.step import objective, optical_input


class PublishedView(nn.Module):
    """One view of one (10, H, W) sample with torchvision's and kornia's own operators."""

    def __init__(self, spec: ViewSpec) -> None:
        super().__init__()
        self.crop = v2.Compose(
            [
                v2.RandomResizedCrop(
                    spec.size,
                    scale=spec.area,
                    ratio=spec.aspect,
                    interpolation=v2.InterpolationMode.BICUBIC,
                    antialias=True,
                ),
                v2.RandomHorizontalFlip(spec.horizontal_flip),
            ]
        )
        strengths = (spec.brightness, spec.contrast, spec.saturation, spec.hue)
        jitter = v2.RandomApply([v2.ColorJitter(*strengths)], p=spec.jitter)
        blur = kornia.augmentation.RandomGaussianBlur(
            (spec.blur_kernel, spec.blur_kernel), spec.blur_sigma, p=spec.blur, keepdim=True
        )
        self.colour = v2.Compose(
            [jitter, v2.RandomGrayscale(spec.grayscale), blur]
            + ([v2.RandomSolarize(0.5, spec.solarize)] if spec.solarize else [])
        )
        self.normalise = v2.Normalize(
            [*AERIAL_MEAN, *MODEL_BANDS.mean[3:]], [*AERIAL_STD, *MODEL_BANDS.std[3:]]
        )

    def forward(self, sample: Tensor) -> Tensor:
        view = self.crop(sample)
        rgb, peak = view[:3], view[:3].max()
        if peak > 1e-6:
            rgb = rgb / peak
        view[:3] = self.colour(rgb.clamp(0, 1))
        return self.normalise(view)


def seconds(work: Callable[[], object], device: str) -> float:
    begin = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def compare(
    source: int, specs: tuple[ViewSpec, ...], *, batch: int, few: int, repeats: int, device: str
) -> None:
    """Print samples/s of both sides for square sources of `source` pixels."""
    images = torch.rand(batch, len(MODEL_BANDS), source, source) * 3000
    there, samples = images.to(device), torch.arange(batch)
    published = [PublishedView(spec) for spec in specs]
    epoch = 0

    def batched() -> None:
        nonlocal epoch
        make_views(there, samples, specs, seed=0, epoch=epoch)
        epoch += 1

    def one_by_one() -> None:
        for sample in images[:few]:
            for view in published:
                view(sample)

    for work in (batched, batched, one_by_one):
        seconds(work, device)
    ours, theirs = [], []
    for _ in range(repeats):
        theirs.append(seconds(one_by_one, device) / few)
        ours.append(seconds(batched, device) / batch)
    ratio = median(slow / fast for slow, fast in zip(theirs, ours, strict=True))
    click.echo(
        f"source {source:3d}  batched {1 / min(ours):8.1f}/s  one by one {1 / min(theirs):6.1f}/s  "
        f"ratio {min(theirs) / min(ours):6.2f} (median of pairs {ratio:.2f})"
    )


def step_times(name: str, *, batch: int, repeats: int, device: str) -> None:
    """Print the median time of each part of `deo.training.run.step.train_step`."""
    config = recipe(name)
    config = replace(config, optical=replace(config.optical, pretrained=False))
    config = replace(config, run=replace(config.run, batch_size=batch))
    state = build(config, Context(device=torch.device(device)), steps_per_epoch=1000)
    source = config.views.global_size
    images = torch.rand(batch, len(MODEL_BANDS), source, source, device=device) * 3000
    times: dict[str, list[float]] = {}
    made: dict[str, Any] = {}

    def timed(part: str, work: Callable[[], Any]) -> None:
        begin = time.perf_counter()
        made[part] = work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.setdefault(part, []).append(time.perf_counter() - begin)

    def teachers() -> tuple[Tensor, OpticalFeatures | None]:
        seen = made["views"][:GLOBAL_VIEWS]
        with torch.no_grad(), state.autocast():
            target = state.teacher(seen)
        return target, None if state.optical is None else state.optical(optical_input(seen))

    def student() -> Tensor:
        with state.autocast():
            predictions = state.model(made["views"])
        return objective(state, predictions, *made["teachers"]).loss

    def optimiser() -> None:
        state.scaler.unscale_(state.optimizer)
        norm = clip_global(state.student.parameters(), config.optim.clip)
        advance(state.optimizer, state.scaler, norm)
        state.optimizer.zero_grad(set_to_none=True)
        state.average.update(0.996)

    for step in range(repeats + 2):
        timed("views", lambda step=step: state.views(images, torch.arange(batch), step))
        timed("teachers", teachers)
        timed("student", student)
        timed("backward", lambda: state.scaler.scale(made["student"]).backward())
        timed("optimiser", optimiser)
    middle = {part: median(values[2:]) for part, values in times.items()}
    total = sum(middle.values())
    parts = ", ".join(f"{k} {v * 1e3:.1f} ({v / total:.0%})" for k, v in middle.items())
    click.echo(f"step of {name}, {batch} samples, ms: {parts}; {batch / total:.1f} samples/s")


@click.command()
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")
@click.option("--batch", default=16, help="Samples in a batched call.")
@click.option("--few", default=4, help="Samples timed one by one in each repeat.")
@click.option("--repeats", default=10)
@click.option("--threads", default=1, help="For both sides.")
@click.option("--recipe", "name", help="Of the step; swin_t on a GPU, else micro.")
@click.option("--step-batch", default=8, help="Samples in the step.")
def main(
    device: str, batch: int, few: int, repeats: int, threads: int, name: str | None, step_batch: int
) -> None:
    torch.set_num_threads(threads)
    options = {"batch": batch, "few": few, "repeats": repeats, "device": device}
    click.echo(f"samples/s, {device}, {threads} thread(s), 2 x 224 + 10 x 96 views of ten bands")
    for source in (96, 224):
        compare(source, published_views(), **options)
    click.echo("2 x 64 + 4 x 32 views of ten bands")
    compare(96, published_views(64, 32, 4), **options)
    name = name or ("swin_t" if device == "cuda" else "micro")
    step_times(name, batch=step_batch, repeats=repeats, device=device)


if __name__ == "__main__":
    main()
