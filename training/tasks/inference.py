"""A tuned network over samples in memory: probabilities, labels, confusion matrices per unit."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deo.errors import DataError
from deo.maps.windows import default_overlap, tiles
from deo.training.tasks.heads import Classifier, Network
from deo.training.tasks.outcome import Units, block_confusions, tile_confusions
from deo.training.tasks.patches import Examples
from deo.training.tasks.task import Benchmark, Task


def confusions(
    network: Network,
    examples: Examples,
    benchmark: Benchmark,
    *,
    size: int,
    device: str = "cpu",
) -> Units:
    """One matrix per tile, or per block of a mask.

    Args:
        size: side of the tiles that the network sees; see `sample_probabilities`.

    Raises:
        DataError: a score is not finite, so that no class can be read from it.
    """
    matrices: list[NDArray[np.int64]] = []
    samples: list[str] = []
    for index, name in enumerate(examples.split.names):
        image, target = examples[index]
        shares = sample_probabilities(network, torch.from_numpy(image), size=size, device=device)
        if not shares.isfinite().all():
            raise DataError(
                f"the network's scores of {name} are not finite: its "
                "weights are not, or the sample's pixels"
            )
        if benchmark.task in (Task.CLASSIFY, Task.MULTILABEL):
            multilabel = benchmark.task is Task.MULTILABEL
            label = (shares > 0.5).long() if multilabel else shares.argmax(0)
            matrices += list(tile_confusions(target[None], label.numpy()[None], benchmark))
        else:
            matrices += block_confusions(
                target, shares.argmax(0).numpy(), classes=benchmark.class_count
            )
        samples += [name] * (len(matrices) - len(samples))
    return Units(np.stack(matrices), tuple(samples))


@torch.inference_mode()
def sample_probabilities(
    network: Network, image: Tensor, *, size: int, device: str = "cpu"
) -> Tensor:
    """Of one sample, on the CPU: (K,) for tiles, (K, H, W) for masks.

    A sample larger than `size` is covered by the tiles that a map of it would have, blended by the
    same weights, so that a score is that of the map. A tile classifier's windows weigh the same.
    """
    network.eval()
    height, width = image.shape[-2:]
    tiling = tiles(
        height=height, width=width, tile=size, overlap=default_overlap(size, 1), multiple=1
    )
    if len(tiling) == 1:
        return network.probabilities(image[None].to(device))[0].float().cpu()
    total = torch.zeros(())
    for row in range(len(tiling.rows.starts)):
        for col, window in enumerate(tiling.row_of_tiles(row)):
            rows, cols = window.slices
            part = network.probabilities(image[None, ..., rows, cols].to(device))[0].float().cpu()
            if isinstance(network, Classifier):
                total = total + part / len(tiling)
                continue
            if not total.ndim:
                total = torch.zeros(len(part), height, width)
            weight = np.outer(tiling.rows.weights(row, 1), tiling.cols.weights(col, 1))
            total[:, rows, cols] += part * torch.from_numpy(weight)
    return total
