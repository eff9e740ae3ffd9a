"""From stored samples to network inputs: which bands, which contract, which statistics."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.bands import MODEL_BANDS, RGB_BANDS, BandSet, Pixels
from deo.contracts import (
    CONSTANT,
    CONTRACTS,
    DEFAULT_CONTRACT,
    Contract,
    InputContract,
    fit_contract,
)
from deo.errors import ConfigError
from deo.training.tasks.dataset import (
    BandMoments,
    Layout,
    PublishesMoments,
    Sample,
    Split,
    Unit,
)

_MEASURED = 500  # samples that statistics are measured on
_BYTE_MAXIMUM = 255.0  # of display values: what `fixed` divides them by


@dataclass(frozen=True, kw_only=True)
class PerImageContract:
    """The contract `scene` of data sets: measured afresh on every image.

    A `Contract` has its maximum already, measured on the one scene that it is for. A data set
    holds many scenes, so here it is measured when an image comes.
    """

    bands: BandSet

    @property
    def per_image(self) -> bool:
        return bool(set(self.bands) & set(RGB_BANDS))

    def apply(self, pixels: Pixels) -> NDArray[np.float32]:
        """(C, H, W) float32; 0 where not valid."""
        image = _WholeImage(pixels, self.bands)
        return fit_contract("scene", bands=self.bands, scene=image).apply(pixels)

    def record(self) -> dict[str, Any]:
        return {"name": "scene", "bands": list(self.bands)}


class _WholeImage(NamedTuple):
    """An image in memory, for `fit_contract`, which measures scenes on a sample of their pixels."""

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
    stored = [band for band in MODEL_BANDS if band in layout.bands]
    if not stored:
        raise ConfigError(f"none of the model's bands {MODEL_BANDS} is among {layout.bands}")
    return BandSet(stored)


def choose_contract(
    name: str | None,
    *,
    bands: BandSet,
    unit: Unit,
    stored: Mapping[str, Any] | None = None,
    train: Split | None = None,
    mapped: bool = False,
) -> InputContract:
    """The contract that is asked for, or the one that fits the data and the weights.

    If none is asked for: `stats` for display values with bands other than red, green and blue;
    otherwise the contract stored with the weights, if there is one and the data hold no display
    values; otherwise `pretrain`. For a network that is to map scenes, `fixed` stands for every
    contract that is measured on single images.

    Args:
        unit: of the stored numbers. `s2` is refused where they cannot become digital numbers.
        stored: record of the contract that came with the weights.
        train: measured for `stats`, unless the data set brings statistics.
        mapped: the network is tuned, so that it may map scenes later.

    Raises:
        ConfigError: the name is unknown, or the contract does not fit the unit.
    """
    if name is None:
        name = "pretrain"
        if unit is Unit.BYTE:
            name = "stats" if set(bands) - set(RGB_BANDS) else "pretrain"
        elif stored is not None:
            name = str(stored["name"])
            # its numbers hold for the same bands only; `pretrain` and `scene` are made afresh
            if name in CONSTANT and list(stored["bands"]) == list(bands):
                return Contract.from_record(stored)
        if mapped and name not in CONSTANT:
            name = DEFAULT_CONTRACT
    if name not in CONTRACTS:
        raise ConfigError(f"no contract {name!r}; choose one of {', '.join(CONTRACTS)}")
    if name == "scene":
        return PerImageContract(bands=bands)
    if name == "s2" and unit is Unit.BYTE:
        raise ConfigError("contract s2 takes digital numbers; these data hold display values")
    if name == "fixed" and unit is Unit.BYTE:
        return replace(fit_contract(name, bands=bands), rgb_maximum=_BYTE_MAXIMUM)
    if name != "stats":
        return fit_contract(name, bands=bands)
    if train is None:
        raise ConfigError("contract stats is measured on training data, and there are none")
    mean, std = statistics(train, unit)
    return fit_contract("stats", bands=bands, mean=mean, std=std)


def contract_from_record(record: Mapping[str, Any]) -> InputContract:
    """The contract whose `record()` this is.

    Raises:
        ConfigError: it is no contract's record.
    """
    if record["name"] == "scene" and "rgb_maximum" not in record:
        return PerImageContract(bands=BandSet(record["bands"]))
    return Contract.from_record(record)


def statistics(split: Split, unit: Unit) -> BandMoments:
    """Published with the data set, or else measured on the split; in digital numbers by `unit`."""
    layout = split.layout
    published = layout.statistics(split.root) if isinstance(layout, PublishesMoments) else None
    if published is None:
        return _measured(split, unit)
    positions = split.bands.positions_in(layout.bands.names)
    return BandMoments(
        tuple(published.mean[position] * unit.scale for position in positions),
        tuple(published.std[position] * unit.scale for position in positions),
    )


def _measured(split: Split, unit: Unit) -> BandMoments:
    # evenly spread over the split: neighbours in its order are often of one class or place
    step = max(1, len(split) // _MEASURED)
    count, total, squares = 0, np.zeros(len(split.bands)), np.zeros(len(split.bands))
    for index in range(0, len(split), step):
        sample = split[index]
        dates = sample.image if sample.image.ndim == 4 else sample.image[None]
        values = dates[:, :, sample.valid].astype(np.float64) * unit.scale  # (dates, C, pixels)
        count += values.shape[0] * values.shape[2]
        total += values.sum((0, 2))
        squares += (values**2).sum((0, 2))
    mean = total / max(count, 1)
    # rounding may leave a variance just below 0 where a band is the same everywhere
    spread = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0))
    return BandMoments(tuple(mean.tolist()), tuple(np.where(spread > 0, spread, 1.0).tolist()))


def pixels_of(sample: Sample, unit: Unit) -> Pixels:
    """A sample of one date, in digital numbers where `unit` allows it."""
    return Pixels(sample.image * np.float32(unit.scale), sample.valid)


def network_input(sample: Sample, unit: Unit, contract: InputContract) -> NDArray[np.float32]:
    """(C, H, W), or (2, C, H, W) of a pair: each date through the contract by itself."""
    if sample.image.ndim == 3:
        return contract.apply(pixels_of(sample, unit))
    dates = [
        contract.apply(pixels_of(sample._replace(image=image), unit)) for image in sample.image
    ]
    return np.stack(dates)
