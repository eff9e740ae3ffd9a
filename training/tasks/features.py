"""Frozen features of chips: from a backbone, any timm model, or no model at all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from deo.bands import BandSet, Pixels
from deo.contracts import InputContract
from deo.training.tasks.backbones import BAND_STATISTICS, RAW_BANDS


class FeatureSource(Protocol):
    """Turns pixels into vectors, one per chip or one per pixel."""

    @property
    def bands(self) -> BandSet: ...

    @property
    def record(self) -> Mapping[str, Any]:
        """What the numbers came from: JSON-able."""

    def pooled(self, chips: Sequence[Pixels]) -> NDArray[np.float32]:
        """(N chips) -> (N, D)."""

    def per_pixel(self, pixels: Pixels) -> NDArray[np.float32]:
        """(C, H, W) -> (D, H, W)."""


@dataclass(frozen=True, kw_only=True)
class BandFeatures:
    """The baseline without a model: per-band mean and, with `spread`, standard deviation."""

    bands: BandSet
    spread: bool = True

    @property
    def record(self) -> Mapping[str, Any]:
        return {"model": BAND_STATISTICS if self.spread else RAW_BANDS}

    def pooled(self, chips: Sequence[Pixels]) -> NDArray[np.float32]:
        rows = []
        for chip in chips:
            seen = chip.values[:, chip.valid] if chip.valid.any() else chip.values.reshape(
                len(chip.values), -1
            )  # fmt: skip
            rows.append(
                np.concatenate((seen.mean(1), seen.std(1)) if self.spread else (seen.mean(1),))
            )
        return np.stack(rows)

    def per_pixel(self, pixels: Pixels) -> NDArray[np.float32]:
        return pixels.values


@dataclass(frozen=True, kw_only=True)
class NetworkFeatures:
    """Maps of a `features_only` model, frozen and in evaluation mode.

    Args:
        model: (B, bands, H, W) -> list of NCHW maps, finest first.
        contract: from pixels to the model's input.
        identity: model, weights, hash: JSON-able.
        layers: maps that count, as positions; `(-1,)` is the last stage alone.
        size: chips are resized to this side first; None: as they are. Bilinear for pooled
            features; for features per pixel every pixel is repeated, so that with `size` the
            patch's side times the chip's, each pixel fills one patch.
        batch: chips at once.
    """

    model: nn.Module
    contract: InputContract
    identity: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[int, ...] = (-1,)
    size: int | None = None
    batch: int = 64
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.model.to(self.device).eval()

    @property
    def bands(self) -> BandSet:
        return self.contract.bands

    @property
    def record(self) -> Mapping[str, Any]:
        return {
            **self.identity,
            "contract": self.contract.record(),
            "layers": list(self.layers),
            "size": self.size,
        }

    def pooled(self, chips: Sequence[Pixels]) -> NDArray[np.float32]:
        """Spatial means of the chosen layers, joined."""
        rows = []
        for group in _same_shapes(chips, self.batch):
            images = np.stack([self.contract.apply(chip) for chip in group])
            maps = self._maps(images, mode="bilinear")
            rows.append(torch.cat([features.mean((2, 3)) for features in maps], 1).cpu().numpy())
        return np.concatenate(rows)

    def per_pixel(self, pixels: Pixels) -> NDArray[np.float32]:
        """The chosen layers, upsampled (bilinear) to the pixels and joined."""
        maps = self._maps(self.contract.apply(pixels)[None], mode="nearest-exact")
        shape = pixels.valid.shape
        grown = [
            F.interpolate(features, size=shape, mode="bilinear", align_corners=False)[0]
            for features in maps
        ]
        return torch.cat(grown).cpu().numpy()

    @torch.inference_mode()
    def _maps(self, images: NDArray[np.float32], *, mode: str) -> list[Tensor]:
        tensor = torch.from_numpy(images).to(self.device)
        if self.size is not None:
            tensor = F.interpolate(tensor, size=self.size, mode=mode)
        maps: Sequence[Tensor] = self.model(tensor)
        return [channels_first(maps[layer], self.model).float() for layer in self.layers]


def channels_first(features: Tensor, model: nn.Module) -> Tensor:
    """NCHW whatever the model's own format (timm's Swin gives NHWC)."""
    if getattr(model, "output_fmt", "NCHW") == "NHWC":
        return features.permute(0, 3, 1, 2).contiguous()
    return features


def _same_shapes(chips: Sequence[Pixels], most: int) -> Iterator[Sequence[Pixels]]:
    """Consecutive runs of chips of one shape, at most `most` long."""
    start = 0
    for index in range(1, len(chips) + 1):
        full = index - start == most
        if index == len(chips) or full or chips[index].valid.shape != chips[start].valid.shape:
            yield chips[start:index]
            start = index
