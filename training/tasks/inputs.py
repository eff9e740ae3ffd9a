"""From stored samples to network inputs: which bands, which contract, which statistics."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS, RGB_BANDS, BandSet, Pixels
from deo.contracts import CONTRACTS, Contract, fit_contract
from deo.errors import ConfigError
from deo.training.tasks.dataset import Layout, Sample, Split, Unit

_MEASURED = 500  # samples that statistics are measured on


class InputContract(Protocol):
    """What turns pixels into a tensor; `deo.contracts.Contract` is one."""

    @property
    def bands(self) -> BandSet: ...

    def apply(self, pixels: Pixels) -> NDArray[np.float32]:
        """(C, H, W) float32; 0 where not valid."""

    def record(self) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class SceneContract:
    """The contract `scene`, measured afresh on every image it is given whole."""

    bands: BandSet

    def apply(self, pixels: Pixels) -> NDArray[np.float32]:
        fitted = fit_contract("scene", bands=self.bands, scene=_Whole(pixels, self.bands))
        return fitted.apply(pixels)

    def record(self) -> dict[str, Any]:
        return {"name": "scene", "bands": list(self.bands)}


class _Whole(NamedTuple):
    """An image in memory as `fit_contract` measures scenes."""

    pixels: Pixels
    bands: BandSet

    def sample(self, bands: BandSet) -> Pixels:
        positions = list(bands.positions_in(self.bands.names))
        return self.pixels._replace(values=self.pixels.values[positions])


def choose_bands(layout: Layout) -> BandSet:
    """The model's ten bands, or those of them that the data hold, in the model's order.

    Raises:
        ConfigError: the data hold none of them.
    """
    known = [band for band in MODEL_BANDS if band in layout.bands]
    if not known:
        raise ConfigError(f"none of the model's bands {MODEL_BANDS} is among {layout.bands}")
    return BandSet(known)


def choose_contract(
    name: str | None,
    *,
    bands: BandSet,
    unit: Unit,
    stored: Mapping[str, Any] | None = None,
    train: Split | None = None,
) -> InputContract:
    """The contract asked for, or the one that fits the data and the weights.

    Unasked, display values of more than red, green and blue are standardised by their own
    statistics; else the contract stored with the weights counts; else `pretrain`.

    Args:
        unit: of the stored numbers; without a scale to digital numbers `s2` is refused.
        stored: record of the contract that came with the weights.
        train: measured for `stats`, unless the data set brings statistics.

    Raises:
        ConfigError: an unknown name, or one that does not fit the unit.
    """
    displayed = unit is Unit.BYTE
    if name is None:
        if displayed and set(bands) - set(RGB_BANDS):
            name = "stats"
        elif stored is not None and not displayed:
            name = str(stored["name"])
            if name in ("s2", "stats") and list(stored["bands"]) == list(bands):
                return Contract.from_record(stored)
        else:
            name = "pretrain"
    if name not in CONTRACTS:
        raise ConfigError(f"no contract {name!r}; choose one of {', '.join(CONTRACTS)}")
    if name == "scene":
        return SceneContract(bands=bands)
    if name == "s2" and displayed:
        raise ConfigError("contract s2 takes digital numbers; these data hold display values")
    if name != "stats":
        return fit_contract(name, bands=bands)
    if train is None:
        raise ConfigError("contract stats is measured on training data, and there are none")
    mean, std = statistics(train, unit)
    return fit_contract("stats", bands=bands, mean=mean, std=std)


def contract_from_record(record: Mapping[str, Any]) -> InputContract:
    """What `record()` of any contract wrote."""
    if record["name"] == "scene" and "rgb_maximum" not in record:
        return SceneContract(bands=BandSet(record["bands"]))
    return Contract.from_record(record)


def statistics(split: Split, unit: Unit) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per band: the data set's own, or measured, scaled by `unit`."""
    scale = scale_of(unit)
    published = getattr(split.layout, "statistics", None)
    if published is not None and (found := published(Path(split.root))) is not None:
        positions = split.bands.positions_in(split.layout.bands.names)
        return (
            tuple(found[0][position] * scale for position in positions),
            tuple(found[1][position] * scale for position in positions),
        )
    step = max(1, len(split) // _MEASURED)
    count, total, squares = 0, np.zeros(len(split.bands)), np.zeros(len(split.bands))
    for index in range(0, len(split), step):
        sample = split[index]
        dates = sample.image if sample.image.ndim == 4 else sample.image[None]
        seen = dates[:, :, sample.valid].astype(np.float64) * scale
        count += seen.shape[0] * seen.shape[2]
        total += seen.sum((0, 2))
        squares += (seen**2).sum((0, 2))
    mean = total / max(count, 1)
    spread = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0))
    return tuple(mean.tolist()), tuple(np.where(spread > 0, spread, 1.0).tolist())


def scale_of(unit: Unit) -> float:
    """What brings stored numbers to digital numbers, as far as they can be brought there."""
    return 1.0 if unit.value is None else float(unit.value)


def pixels_of(sample: Sample, unit: Unit) -> Pixels:
    """A single-date sample on the scale of digital numbers."""
    return Pixels(sample.image * np.float32(scale_of(unit)), sample.valid)


def network_input(sample: Sample, unit: Unit, contract: InputContract) -> NDArray[np.float32]:
    """(C, H, W), or (2, C, H, W) of a pair: each date through the contract by itself."""
    if sample.image.ndim == 3:
        return contract.apply(pixels_of(sample, unit))
    dates = [
        contract.apply(pixels_of(sample._replace(image=image), unit)) for image in sample.image
    ]
    return np.stack(dates)
