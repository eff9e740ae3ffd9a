"""A model as extraction sees it, and how it is called without running out of memory."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deo.bands import BandSet
from deo.errors import ModelError
from deo.maps.windows import Tiling, default_overlap, default_tile, tiles
from deo.scene.scene import Scene

log = logging.getLogger(__name__)

CPU = torch.device("cpu")
PRECISIONS: Mapping[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


@dataclass(frozen=True, kw_only=True)
class FeatureModel:
    """A model as extraction sees it: a callable and the facts about its maps.

    Args:
        call: (B, bands, H, W) -> one (B, channels, H / reduction, W / reduction) map per layer.
        channels, reductions: of each map, in the order `call` returns them.
        bands: what the channels of the input are.
        multiple: input sides at which no stage of the model pads are multiples of this.
        device, precision: where and in what arithmetic `call` runs (fp32, bf16, fp16).
        identity: what is written into outputs about the model (name, weights, hash, ...).
    """

    call: Callable[[Tensor], Sequence[Tensor]]
    channels: tuple[int, ...]
    reductions: tuple[int, ...]
    bands: BandSet
    multiple: int
    device: torch.device = CPU
    precision: str = "fp32"
    identity: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.channels or len(self.channels) != len(self.reductions):
            raise ModelError(
                f"a feature model has as many channels as reductions and at least one; got "
                f"{self.channels} and {self.reductions}"
            )
        if self.precision not in PRECISIONS:
            raise ModelError(
                f"unknown precision {self.precision!r}; choose one of {', '.join(PRECISIONS)}"
            )

    @property
    def stride(self) -> int:
        """The coarsest reduction, on whose grid tiles start."""
        return max(self.reductions)

    @property
    def batch_size(self) -> int:
        """Tiles per call where nobody says how many."""
        return 32 if self.device.type == "cuda" else 4  # as fast on a CPU as 8, in half the memory


def plan_tiles(
    scene: Scene, model: FeatureModel, *, tile: int | None, overlap: int | None
) -> Tiling:
    """The tiles in which a model sees a scene; None stands for the usual size and overlap.

    Raises:
        ConfigError: a size that cannot work; the message names one that does.
    """
    side = default_tile(model.multiple) if tile is None else tile
    return tiles(
        height=scene.height,
        width=scene.width,
        tile=side,
        overlap=default_overlap(side, model.stride) if overlap is None else overlap,
        multiple=model.stride,
    )


class Runner:
    """Calls the model on batches no larger than the device has shown to hold."""

    def __init__(self, model: FeatureModel, batch_size: int) -> None:
        self.model, self.limit = model, batch_size

    def __call__(self, images: Tensor) -> list[NDArray[np.float32]]:
        """(B, bands, H, W) -> per layer (B, channels, h, w), on the host."""
        done: list[list[NDArray[np.float32]]] = []
        start = 0
        while start < len(images):
            part = images[start : start + self.limit]
            try:
                done.append(self._run(part))
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                self._halve(len(part), images.shape[2:], error)
                continue
            start += len(part)
        return [np.concatenate(parts) for parts in zip(*done, strict=True)]

    def _run(self, images: Tensor) -> list[NDArray[np.float32]]:
        model = self.model
        with (
            torch.inference_mode(),
            torch.autocast(
                model.device.type,
                dtype=PRECISIONS[model.precision],
                enabled=model.precision != "fp32",
            ),
        ):
            maps = model.call(images.to(model.device, non_blocking=True))
            host = [tensor.float().cpu().numpy() for tensor in maps]
        self._check(images, host)
        return host

    def _check(self, images: Tensor, maps: Sequence[NDArray[np.float32]]) -> None:
        count, _, height, width = images.shape
        wanted = [
            (count, channels, height // stride, width // stride)
            for channels, stride in zip(self.model.channels, self.model.reductions, strict=True)
        ]
        if [features.shape for features in maps] != wanted:
            raise ModelError(
                f"the model returned maps of shape {[features.shape for features in maps]}; its "
                f"channels and reductions promise {wanted} for an input of {tuple(images.shape)}"
            )
        if not all(np.isfinite(features.sum(dtype=np.float64)) for features in maps):
            raise ModelError(
                f"the model returned values that are not finite in {self.model.precision}; "
                "use --precision fp32 or bf16, and check the input with `deo info`"
            )

    def _halve(self, size: int, shape: Sequence[int], error: BaseException) -> None:
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        if size == 1:
            raise ModelError(
                f"one tile of {shape[0]} x {shape[1]} pixels does not fit into the memory of "
                f"{self.model.device}; use a smaller --tile or another --device"
            ) from error
        self.limit = size // 2
        log.warning(
            "%s is out of memory with %d tiles at once; going on with %d",
            self.model.device,
            size,
            self.limit,
        )


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text
