"""Batched views against the published operators run sample by sample.

    python tests/benchmarks/views.py [--device cuda]

Both sides make 2 x 224 + 10 x 96 views of ten bands, one thread each on a CPU, in turns within one
run; the ratio is of the best times, the median of the pairs' ratios stands beside it. On a GPU the
per-sample side still runs on one CPU core: that is what it would replace there.
"""

import time
from collections.abc import Callable
from statistics import median

import click
import kornia
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from deo.bands import AERIAL_MEAN, AERIAL_STD, MODEL_BANDS
from deo.training.views import ViewSpec, make_views, published_views


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


@click.command()
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")
@click.option("--batch", default=16, help="Samples in a batched call.")
@click.option("--few", default=4, help="Samples timed one by one in each repeat.")
@click.option("--repeats", default=10)
@click.option("--threads", default=1, help="For both sides.")
def main(device: str, batch: int, few: int, repeats: int, threads: int) -> None:
    torch.set_num_threads(threads)
    options = {"batch": batch, "few": few, "repeats": repeats, "device": device}
    click.echo(f"samples/s, {device}, {threads} thread(s), 2 x 224 + 10 x 96 views of ten bands")
    for source in (96, 224):
        compare(source, published_views(), **options)
    click.echo("2 x 64 + 4 x 32 views of ten bands")
    compare(96, published_views(64, 32, 4), **options)


if __name__ == "__main__":
    main()
