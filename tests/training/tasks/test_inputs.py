"""From samples to network inputs: bands, contracts, statistics."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.bands import MODEL_BANDS, PRODUCT_BANDS, RGB_BANDS, BandSet
from deo.contracts import FIXED_MAXIMUM, Contract, fit_contract
from deo.errors import ConfigError
from deo.training.tasks.dataset import BandMoments, Sample, Split, Unit
from deo.training.tasks.inputs import (
    PerImageContract,
    choose_bands,
    choose_contract,
    contract_from_record,
    network_input,
    pixels_of,
    statistics,
)

TWO = BandSet(["B04", "B08"])


class Noise:
    """Band i has mean 100 * (i + 1); one pixel is not valid and far off."""

    def __init__(self, bands: BandSet = TWO) -> None:
        self.bands = bands

    def problems(self, root: Path) -> Iterator[str]:
        yield from ()

    def splits(self, root: Path) -> Mapping[str, tuple[str, ...]]:
        return {}

    def read(self, root: Path, name: str) -> Sample:
        rng = np.random.default_rng(int(name))
        levels = 100 * np.arange(1, len(self.bands) + 1)[:, None, None]
        image = rng.normal(levels, 10, (len(self.bands), 8, 8)).astype(np.float32)
        image[:, 0, 0] = 9999
        valid = np.ones((8, 8), bool)
        valid[0, 0] = False
        return Sample(image, np.asarray(0), valid)


class Published(Noise):
    def statistics(self, root: Path) -> BandMoments | None:
        return BandMoments((1.0, 2.0), (3.0, 4.0))


def split(layout: Noise, bands: BandSet = TWO) -> Split:
    names = tuple(str(number) for number in range(6))
    return Split(root=Path(), layout=layout, names=names, bands=bands, classes=1)


def test_choose_bands__the_models_order() -> None:
    assert choose_bands(Noise(PRODUCT_BANDS)) == MODEL_BANDS
    assert choose_bands(Noise(BandSet(["B01", "B02", "B04"]))) == BandSet(["B04", "B02"])
    with pytest.raises(ConfigError, match="none of the model's bands"):
        choose_bands(Noise(BandSet(["B01", "B10"])))


S2 = fit_contract("s2", bands=TWO).record()


@pytest.mark.parametrize(
    ("bands", "unit", "stored", "wanted"),
    [
        (TWO, Unit.DN, None, ("pretrain", "fixed")),
        (TWO, Unit.DN, S2, ("s2", "s2")),
        (RGB_BANDS, Unit.DN, S2, ("s2", "s2")),
        (TWO, Unit.DN, {"name": "scene", "bands": list(TWO)}, ("scene", "fixed")),
        (TWO, Unit.DN, fit_contract("pretrain", bands=TWO).record(), ("pretrain", "fixed")),
        (TWO, Unit.BYTE, S2, ("stats", "stats")),
        (RGB_BANDS, Unit.BYTE, S2, ("pretrain", "fixed")),
    ],
)
def test_choose_contract__unasked(
    bands: BandSet, unit: Unit, stored: dict[str, Any] | None, wanted: tuple[str, str]
) -> None:
    """A network that may map scenes gets no contract that is measured on single images."""
    train = split(Noise(bands), bands)
    for mapped, name in zip((False, True), wanted, strict=True):
        contract = choose_contract(
            None, bands=bands, unit=unit, stored=stored, train=train, mapped=mapped
        )
        assert contract.record()["name"] == name
        assert contract.bands == bands


def test_choose_contract__fixed_maximum_by_unit() -> None:
    for unit, maximum in ((Unit.DN, FIXED_MAXIMUM), (Unit.BYTE, 255)):
        contract = choose_contract("fixed", bands=RGB_BANDS, unit=unit)
        assert contract.record()["rgb_maximum"] == maximum


def test_choose_contract__statistics_stored_with_weights_are_taken() -> None:
    stored = fit_contract("stats", bands=TWO, mean=(5, 6), std=(7, 8))
    chosen = choose_contract(None, bands=TWO, unit=Unit.DN, stored=stored.record())
    assert chosen == stored
    with pytest.raises(ConfigError, match="there are none"):  # other bands: measured anew
        choose_contract(None, bands=RGB_BANDS, unit=Unit.DN, stored=stored.record())


def test_choose_contract__what_it_refuses() -> None:
    with pytest.raises(ConfigError, match="no contract 'mean'; choose one of"):
        choose_contract("mean", bands=TWO, unit=Unit.DN)
    with pytest.raises(ConfigError, match="these data hold display values"):
        choose_contract("s2", bands=TWO, unit=Unit.BYTE)


def test_statistics__published_or_measured_in_digital_numbers() -> None:
    assert statistics(split(Published()), Unit.REFLECTANCE) == ((1e4, 2e4), (3e4, 4e4))
    swapped = split(Published(), BandSet(["B08", "B04"]))
    assert statistics(swapped, Unit.DN) == ((2, 1), (4, 3))
    measured = statistics(split(Noise()), Unit.DN)
    samples = list(split(Noise()))
    values = np.concatenate([one.image[:, one.valid] for one in samples], 1).astype(np.float64)
    np.testing.assert_allclose(measured.mean, values.mean(1))
    np.testing.assert_allclose(measured.std, values.std(1), rtol=1e-6)


def test_per_image_contract__is_the_scene_contract_of_each_image() -> None:
    """What is not valid counts neither in the maximum nor in the output."""
    contract = PerImageContract(bands=TWO)
    sample = split(Noise())[0]
    pixels = pixels_of(sample, Unit.DN)
    maximum = float(np.percentile(sample.image[:1, sample.valid], 99.9))
    plain = fit_contract("pretrain", bands=TWO)
    fitted = Contract(name="scene", bands=TWO, mean=plain.mean, std=plain.std, rgb_maximum=maximum)
    assert np.array_equal(contract.apply(pixels), fitted.apply(pixels))
    assert contract_from_record(contract.record()) == contract
    assert contract_from_record(fitted.record()) == fitted


def test_network_input__each_date_by_itself() -> None:
    contract = fit_contract("pretrain", bands=TWO)
    one, other = (split(Noise())[index] for index in (0, 1))
    pair = one._replace(image=np.stack((one.image, other.image)))
    both = network_input(pair, Unit.DN, contract)
    for date, sample in zip(both, (one, other), strict=True):
        assert np.array_equal(date, network_input(sample, Unit.DN, contract))
