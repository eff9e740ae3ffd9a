import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deo.bands import AERIAL_MEAN, AERIAL_STD, MODEL_BANDS, RGB_BANDS, BandSet, Pixels
from deo.contracts import CONTRACTS, Contract, fit_contract, model_bands
from deo.errors import BandError, ConfigError
from deo.sensors.known.sentinel2 import SENTINEL2

AERIAL = dict(zip(RGB_BANDS, zip(AERIAL_MEAN, AERIAL_STD, strict=True), strict=True))


class Whole:
    """A scene whose sample is all of it."""

    def __init__(self, pixels: Pixels, bands: BandSet) -> None:
        self.pixels, self.bands = pixels, bands

    def sample(self, bands: BandSet) -> Pixels:
        positions = list(bands.positions_in(self.bands.names))
        return Pixels(self.pixels.values[positions], self.pixels.valid)


def random_pixels(bands: BandSet, seed: int = 0, *, size: int = 9, holes: bool = True) -> Pixels:
    rng = np.random.default_rng(seed)
    values = rng.uniform(-50, 9000, (len(bands), size, size)).astype(np.float32)
    valid = rng.random((size, size)) > (0.3 if holes else -1)
    return Pixels(values, valid)


def fitted(name: str, bands: BandSet, pixels: Pixels) -> Contract:
    if name == "stats":
        rng = np.random.default_rng(3)
        mean, std = rng.uniform(100, 900, (2, len(bands)))
        return fit_contract(name, bands=bands, mean=mean.tolist(), std=std.tolist())
    return fit_contract(name, bands=bands, scene=Whole(pixels, bands))


def expected(contract: Contract, pixels: Pixels) -> np.ndarray:
    """The table of contracts, pixel by pixel in float64."""
    values, valid = pixels.values.astype(np.float64), pixels.valid
    out = np.zeros_like(values)
    rgb = [i for i, name in enumerate(contract.bands) if name in RGB_BANDS]
    maximum = max((values[i][valid].max(initial=0) for i in rgb), default=0)
    if contract.rgb_maximum is not None:
        maximum = contract.rgb_maximum
    for i, name in enumerate(contract.bands):
        plane = values[i]
        if contract.name in ("fixed", "pretrain", "scene") and i in rgb:
            if maximum > 1e-6:
                plane = plane / maximum
            plane = np.clip(plane, 0, 1)
            mean, std = AERIAL[name]
        else:
            mean, std = contract.mean[i], contract.std[i]
        out[i] = np.where(valid, (plane - mean) / std, 0)
    return out


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(CONTRACTS),
    st.lists(st.sampled_from([b.name for b in SENTINEL2]), min_size=1, unique=True),
    st.integers(0, 99),
    st.booleans(),
)
def test_apply__any_subset_matches_the_table(
    name: str, names: list[str], seed: int, holes: bool
) -> None:
    bands = BandSet(names)
    pixels = random_pixels(bands, seed, holes=holes)
    before = pixels.values.copy()
    contract = fitted(name, bands, pixels)
    out = contract.apply(pixels)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected(contract, pixels), atol=2e-5)
    np.testing.assert_array_equal(pixels.values, before)
    assert Contract.from_record(json.loads(json.dumps(contract.record()))) == contract


def test_apply__s2_uses_the_statistics_of_each_band() -> None:
    ones = Pixels(np.ones((10, 2, 2), np.float32), np.ones((2, 2), bool))
    out = fit_contract("s2", bands=MODEL_BANDS).apply(ones)
    wanted = (1 - np.array(MODEL_BANDS.mean)) / np.array(MODEL_BANDS.std)
    np.testing.assert_allclose(out[:, 0, 0], wanted, rtol=1e-6)


def test_apply__pretrain_ignores_what_is_not_valid_when_it_looks_for_the_maximum() -> None:
    values = np.full((3, 2, 2), 100, np.float32)
    values[:, 0, 0] = 60_000
    valid = np.ones((2, 2), bool)
    valid[0, 0] = False
    out = fit_contract("pretrain", bands=RGB_BANDS).apply(Pixels(values, valid))
    np.testing.assert_allclose(
        out[:, 1, 1], (1 - np.array(AERIAL_MEAN)) / np.array(AERIAL_STD), rtol=1e-6
    )
    assert (out[:, 0, 0] == 0).all()


@pytest.mark.parametrize("value", [0.0, -40.0, 5e-7])
def test_apply__pretrain_divides_by_no_tiny_maximum(value: float) -> None:
    pixels = Pixels(np.full((3, 2, 2), value, np.float32), np.ones((2, 2), bool))
    out = fit_contract("pretrain", bands=RGB_BANDS).apply(pixels)
    np.testing.assert_allclose(
        out[:, 0, 0], (max(value, 0) - np.array(AERIAL_MEAN)) / np.array(AERIAL_STD), rtol=1e-5
    )


@pytest.mark.parametrize("name", CONTRACTS)
def test_apply__nothing_valid_is_all_zero(name: str) -> None:
    pixels = random_pixels(MODEL_BANDS)._replace(valid=np.zeros((9, 9), bool))
    assert not fitted(name, MODEL_BANDS, pixels).apply(pixels).any()


def test_apply__tiles_of_a_scene_agree() -> None:
    pixels = random_pixels(MODEL_BANDS, size=20)
    contract = fitted("scene", MODEL_BANDS, pixels)
    whole = contract.apply(pixels)
    tile = contract.apply(Pixels(pixels.values[:, 3:11, 5:12], pixels.valid[3:11, 5:12]))
    np.testing.assert_array_equal(tile, whole[:, 3:11, 5:12])


def test_apply__fixed_knows_neither_the_image_nor_its_clouds() -> None:
    pixels = random_pixels(MODEL_BANDS, size=20, holes=False)
    contract = fit_contract("fixed", bands=MODEL_BANDS)
    whole = contract.apply(pixels)
    cloudy = pixels.values.copy()
    cloudy[:, :4, :4] = 12_000
    after = contract.apply(Pixels(cloudy, pixels.valid))
    np.testing.assert_array_equal(after[:, 4:], whole[:, 4:])
    rgb = list(contract.rgb_positions)
    white = (1 - np.array(AERIAL_MEAN)) / np.array(AERIAL_STD)
    np.testing.assert_allclose(after[rgb, 0, 0], white, rtol=1e-5)


def test_apply__channels_have_to_fit() -> None:
    with pytest.raises(ConfigError, match=r"10 channels .* \(3, 9, 9\)"):
        fit_contract("s2", bands=MODEL_BANDS).apply(random_pixels(RGB_BANDS))


def test_fit_contract__scene_takes_a_robust_maximum_of_valid_rgb_only() -> None:
    bands = BandSet("B08,B04,B03,B02")
    values = np.tile(np.linspace(0, 1000, 10_000, dtype=np.float32).reshape(100, 100), (4, 1, 1))
    values[0] = 50_000
    valid = np.ones((100, 100), bool)
    valid[0, :5] = False
    values[1, 0, :5] = 60_000
    contract = fit_contract("scene", bands=bands, scene=Whole(Pixels(values, valid), bands))
    assert contract.rgb_maximum == pytest.approx(999, abs=1)


def test_fit_contract__scene_without_rgb_measures_nothing() -> None:
    assert fit_contract("scene", bands=BandSet("B08,B11")).rgb_maximum is None
    assert fit_contract("fixed", bands=BandSet("B08,B11")).rgb_maximum is None


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"name": "zscore"}, "no contract 'zscore'"),
        ({"name": "scene"}, "pass scene="),
        ({"name": "stats"}, "mean and std go with"),
        ({"name": "stats", "mean": [1, 2, 3]}, "both are needed"),
        ({"name": "s2", "mean": [1, 2, 3], "std": [1, 2, 3]}, "mean and std go with"),
        ({"name": "stats", "mean": [1, 2], "std": [1, 2]}, "one finite number for each"),
        ({"name": "stats", "mean": [1, 2, 3], "std": [1, 2, 0]}, "above 0"),
        ({"name": "stats", "mean": [1, 2, float("nan")], "std": [1, 2, 3]}, "finite"),
    ],
)
def test_fit_contract__refuses(kwargs: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        fit_contract(bands=RGB_BANDS, **kwargs)


@pytest.mark.parametrize(
    "change",
    [
        {"name": None},
        {"bands": ["B04", "B99", "B02"]},
        {"bands": 3},
        {"mean": ["a", 1, 2]},
        {"std": [1, 2]},
        {"rgb_maximum": -1},
        {"surplus": 1},
    ],
)
def test_from_record__refuses_what_no_contract_wrote(change: dict) -> None:
    record = fit_contract("pretrain", bands=RGB_BANDS).record() | change
    with pytest.raises(ConfigError):
        Contract.from_record(record)
    with pytest.raises(ConfigError):
        Contract.from_record({})


def test_from_record__fixed_needs_its_maximum() -> None:
    """A file keeps the number it was made with, should the constant ever change."""
    record = fit_contract("fixed", bands=RGB_BANDS).record()
    assert Contract.from_record(record | {"rgb_maximum": 4000}).rgb_maximum == 4000
    del record["rgb_maximum"]
    with pytest.raises(ConfigError, match="needs an rgb_maximum"):
        Contract.from_record(record)


@pytest.mark.parametrize(
    ("present", "chosen", "wanted"),
    [
        ([band.name for band in SENTINEL2], False, MODEL_BANDS),
        (reversed(MODEL_BANDS.names), True, MODEL_BANDS),
        (["B02", "B03", "B04"], False, RGB_BANDS),
        (["B08", "B04", "B01"], True, BandSet(["B04", "B08"])),
    ],
)
def test_model_bands__by_what_the_scene_holds(present: Any, chosen: bool, wanted: BandSet) -> None:
    assert model_bands("scene", BandSet(present), chosen=chosen) == wanted


@pytest.mark.parametrize(
    ("present", "chosen"),
    [
        (MODEL_BANDS.names[:-1], False),
        (["B04", "B03", "B02", "B01"], False),
    ],
)
def test_model_bands__never_fewer_unsaid(present: Any, chosen: bool) -> None:
    with pytest.raises(BandError, match=r"lacks .* --bands"):
        model_bands("scene", BandSet(present), chosen=chosen)


def test_model_bands__refuses_rgb_among_nameless_bands_and_none_of_the_ten() -> None:
    with pytest.raises(BandError, match=r"B02 and 7 without a known name.*--bands B04,B03,B02"):
        model_bands("scene", RGB_BANDS, chosen=False, unnamed=7)
    assert model_bands("scene", RGB_BANDS, chosen=True, unnamed=7) == RGB_BANDS
    with pytest.raises(BandError, match="None of them is one of the ten"):
        model_bands("scene", BandSet("B01,B09"), chosen=True)
