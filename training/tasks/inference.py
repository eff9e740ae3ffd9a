"""A tuned network over samples in memory: scores, labels, confusion matrices per unit."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deo.errors import DataError
from deo.maps.windows import tiles
from deo.training.tasks.heads import Classifier, Network
from deo.training.tasks.outcome import Units, block_confusions, tile_confusions
from deo.training.tasks.patches import Examples
from deo.training.tasks.task import Benchmark, Task

_LARGEST = 1024  # samples up to this side are predicted whole


def confusions(
    network: Network,
    examples: Examples,
    benchmark: Benchmark,
    *,
    crop: int | None = None,
    device: str = "cpu",
) -> Units:
    """One matrix per tile, or per block of a mask.

    Args:
        crop: side that the network was tuned on; larger samples are covered by overlapping
            windows of it. None: whole samples.

    Raises:
        DataError: a score is not finite, so that no class can be read from it.
    """
    matrices: list[NDArray[np.int64]] = []
    samples: list[str] = []
    for index, name in enumerate(examples.split.names):
        image, target = examples[index]
        scores = sample_scores(network, torch.from_numpy(image), crop=crop, device=device)
        if not scores.isfinite().all():
            raise DataError(
                f"the network's scores of {name} are not finite: its "
                "weights are not, or the sample's pixels"
            )
        if benchmark.task in (Task.CLASSIFY, Task.MULTILABEL):
            multilabel = benchmark.task is Task.MULTILABEL
            label = (scores > 0).long() if multilabel else scores.argmax(0)
            matrices += list(tile_confusions(target[None], label.numpy()[None], benchmark))
        else:
            matrices += block_confusions(
                target, scores.argmax(0).numpy(), classes=benchmark.class_count
            )
        samples += [name] * (len(matrices) - len(samples))
    return Units(np.stack(matrices), tuple(samples))


@torch.inference_mode()
def sample_scores(
    network: Network, image: Tensor, *, crop: int | None = None, device: str = "cpu"
) -> Tensor:
    """Scores of one sample, on the CPU: (K,) for tiles, (K, H, W) for masks.

    Masks of samples larger than `crop` are the mean over windows that overlap by a quarter.
    """
    network.eval()
    height, width = image.shape[-2:]
    side = crop or _LARGEST
    if max(height, width) <= side or isinstance(network, Classifier):
        whole: Tensor = network(image[None].to(device))[0].float().cpu()
        return whole
    total, weight = torch.zeros(()), torch.zeros(height, width)
    for window in tiles(height=height, width=width, tile=side, overlap=side // 4, multiple=1):
        rows, cols = window.slices
        part = network(image[None, ..., rows, cols].to(device))[0].float().cpu()
        if not total.ndim:
            total = torch.zeros(len(part), height, width)
        total[:, rows, cols] += part
        weight[rows, cols] += 1
    return total / weight
