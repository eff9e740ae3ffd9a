"""What a network is tuned on: random patches of samples, as network inputs and labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deo.contracts import InputContract
from deo.errors import ConfigError
from deo.training.tasks.dataset import Split, Unit
from deo.training.tasks.inputs import network_input

LARGEST_TILE = 512
"""Larger samples are mapped and scored in tiles of this side, which memory holds everywhere."""

_MEMORY = 2 * 2**30  # bytes of inputs kept; the rest is read again


class Example(NamedTuple):
    """`image`: (C, H, W) or (2, C, H, W); `target`: () class, (K,) multi-hot or (H, W) mask."""

    image: NDArray[np.float32]
    target: NDArray[np.int64]


class Batch(NamedTuple):
    """Examples stacked along a first axis, and the names of their samples."""

    images: Tensor
    targets: Tensor
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Examples:
    """A split as network inputs. The contract sees whole samples; recent ones stay in memory."""

    split: Split
    unit: Unit
    contract: InputContract
    _kept: dict[int, Example] = field(default_factory=dict, init=False, repr=False)
    _bytes: list[int] = field(default_factory=lambda: [0], init=False, repr=False)

    def __len__(self) -> int:
        return len(self.split)

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Example:
        if index in self._kept:
            return self._kept[index]
        sample = self.split[index]
        example = Example(network_input(sample, self.unit, self.contract), sample.target)
        size = example.image.nbytes + example.target.nbytes
        if self._bytes[0] + size <= _MEMORY:
            self._bytes[0] += size
            self._kept[index] = example
        return example


def batches(
    examples: Examples,
    *,
    size: int,
    crop: int | None,
    flips: bool,
    seed: int,
    epoch: int,
    least: int = 1,
) -> Iterator[Batch]:
    """One epoch of shuffled random patches, a function of `seed` and `epoch` alone.

    With `crop`, an image gives as many patches as it holds without overlap, at least one, so that
    a large scene counts for more than a chip.

    Args:
        size: patches at once.
        crop: side of a patch; None: whole samples, which then have one shape.
        flips: mirror and turn by right angles at random.
        least: patches that the network can learn from at once; fewer at the end are left out.

    Raises:
        ConfigError: a sample is smaller than the patch, or whole samples differ in shape.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(_order(examples, crop)).tolist()
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        if len(chosen) < least:
            return
        images, targets = _stack([_patch(examples[index], crop, flips, rng) for index in chosen])
        yield Batch(images, targets, tuple(examples.split.names[index] for index in chosen))


class TrainingSize(NamedTuple):
    """`side`: of the tiles that a network sees when it maps, and when it is scored.

    `whole`: whether each sample is one such tile, as square and no larger.
    """

    side: int
    whole: bool


def training_size(examples: Examples, crop: int | None) -> TrainingSize:
    """The shortest side of the samples, up to `LARGEST_TILE`; of classifiers that of the patches.

    A mask is better at a size above that of the patches, since less of it lies at a border: of two
    networks tuned on patches of 128 pixels one scored 30.0, 32.8 and 34.9 in tiles of 128, 224 and
    448, the other 81.0, 81.6 and 81.4. The mean that a classifier takes is another at another size.
    """
    if crop is not None and examples[0].target.ndim < 2:
        return TrainingSize(crop, whole=False)
    sides = {side for example in examples for side in example.image.shape[-2:]}
    side = min(min(sides), LARGEST_TILE)
    return TrainingSize(side, whole=sides == {side})


def patch_count(examples: Examples, crop: int | None) -> int:
    """Patches in one epoch, see `batches`."""
    return len(_order(examples, crop))


def _order(examples: Examples, crop: int | None) -> list[int]:
    """Positions of the samples, each as often as it gives patches."""
    return [index for index in range(len(examples)) for _ in range(_count(examples, index, crop))]


def _count(examples: Examples, index: int, crop: int | None) -> int:
    if crop is None:
        return 1
    height, width = examples[index].image.shape[-2:]
    return max(1, int(height // crop) * int(width // crop))


def _patch(example: Example, crop: int | None, flips: bool, rng: np.random.Generator) -> Example:
    image, target = example
    if crop is not None:
        height, width = image.shape[-2:]
        if height < crop or width < crop:
            raise ConfigError(f"a sample is {height} x {width} pixels; choose --crop below {crop}")
        row, col = rng.integers(height - crop + 1), rng.integers(width - crop + 1)
        image = image[..., row : row + crop, col : col + crop]
        if target.ndim == 2:
            target = target[row : row + crop, col : col + crop]
    if not flips:
        return Example(image, target)
    turns = int(rng.integers(4)) if image.shape[-1] == image.shape[-2] else 0
    mirror = bool(rng.integers(2))
    if target.ndim == 2:
        target = _moved(target, turns, mirror)
    return Example(_moved(image, turns, mirror), target)


def _moved(array: NDArray[Any], turns: int, mirror: bool) -> NDArray[Any]:
    turned = np.rot90(array, turns, axes=(-2, -1))
    return turned[..., ::-1] if mirror else turned


def _stack(examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    shapes = {example.image.shape for example in examples}
    if len(shapes) > 1:
        raise ConfigError(f"samples differ in shape ({sorted(shapes)}); cut patches with --crop")
    images = torch.from_numpy(np.stack([example.image for example in examples]))
    targets = torch.from_numpy(np.stack([example.target for example in examples]))
    return images, targets
