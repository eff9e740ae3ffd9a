"""Which band a channel is, where a file does not say."""

import pytest

from deo.bands import MODEL_BANDS
from deo.errors import BandError
from deo.training.data.channels import AUTHORS_ORDER, ESA_ORDER, band_order


def test_band_order__unnamed_channels_by_their_number() -> None:
    assert band_order(10, None, thirteen=ESA_ORDER) == list(MODEL_BANDS)
    assert band_order(13, None, thirteen=ESA_ORDER) == list(ESA_ORDER)
    assert sorted(AUTHORS_ORDER) == sorted(ESA_ORDER)
    with pytest.raises(BandError, match="7 channels without names"):
        band_order(7, None, thirteen=ESA_ORDER)


def test_band_order__names_win_and_have_to_be_as_many() -> None:
    assert band_order(2, ["B08", "B04"], thirteen=ESA_ORDER) == ["B08", "B04"]
    with pytest.raises(BandError, match="2 band names for 3 channels"):
        band_order(3, ["B08", "B04"], thirteen=ESA_ORDER)
