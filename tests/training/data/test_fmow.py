"""fMoW: exact pairing, and what is listed as skipped."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.bands import MODEL_BANDS
from deo.errors import DataError
from deo.sensors.known.sentinel2 import SENTINEL2
from deo.training.data.fmow import Key, find_aerial, find_sentinel, pair_records
from deo.training.data.preparation import Preparation
from deo.training.data.prepare import prepare
from deo.training.data.shards import Shards

ESA = [band.name for band in SENTINEL2]


CHOSEN = [ESA.index(name) for name in MODEL_BANDS]


@pytest.mark.parametrize("table", [False, True])
def test_fmow__pairs_exactly_and_lists_what_it_skips(
    tmp_path: Path, table: bool, make: Any, listed: Any
) -> None:
    data = make.fmow(tmp_path, table=table)
    plan = Preparation(source=data.sentinel, kind="fmow", aerial=data.aerial, size=16)
    report = prepare(plan, tmp_path / "out")
    shards = Shards(tmp_path / "out")
    assert report.samples == len(shards) == 3
    assert listed.origins(tmp_path / "out") == [
        "train/airport/airport_0/airport_0_3+aerial",
        "train/airport/airport_0/airport_0_100",
        "train/car_dealership/car_dealership_7/car_dealership_7_12",
    ]
    paired, alone = data.images["airport", 0, 3], data.images["airport", 0, 100]
    np.testing.assert_array_equal(shards[0][3:], paired[CHOSEN][3:])
    assert set(np.unique(shards[0][:3])) == {40}
    np.testing.assert_array_equal(shards[1], alone[CHOSEN])
    skipped = listed.reasons(tmp_path / "out")
    assert "has 1 of 13 bands (a null download)" in skipped["train/airport/airport_1/airport_1_0"]
    assert "cannot be read" in skipped["train/airport/airport_2/airport_2_0"]
    assert len(skipped) == report.skipped == (3 if table else 2)
    if table:
        assert skipped["train/airport/airport_9/airport_9_9"] == "listed, not on disk"


def test_fmow__unpaired_records_can_be_skipped(tmp_path: Path, make: Any, listed: Any) -> None:
    data = make.fmow(tmp_path, table=False)
    plan = Preparation(
        source=data.sentinel, kind="fmow", aerial=data.aerial, size=16, unpaired="skip"
    )
    assert prepare(plan, tmp_path / "out").samples == 1
    assert (
        list(listed.reasons(tmp_path / "out").values()).count("no aerial image of this record") == 4
    )


def test_fmow__splits_must_agree(tmp_path: Path, make: Any) -> None:
    data = make.fmow(tmp_path, table=False)
    sentinel = find_sentinel(data.sentinel)
    aerial = find_aerial(data.aerial)
    assert Key("val", "car_dealership", 7, 12) in aerial
    inside = find_aerial(data.aerial / "train" / "airport")
    assert {key.split for key in inside} == {""}
    assert [one.aerial is not None for one in pair_records(sentinel, inside)].count(True) == 1
    several = aerial | {Key("", "airport", 0, 3): Path("x")}
    with pytest.raises(DataError, match="numbered anew"):
        pair_records(sentinel, several)


def test_fmow__a_table_without_a_column_is_said(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("category,location_id\nairport,1\n")
    with pytest.raises(DataError, match="lacks the column image_id"):
        find_sentinel(tmp_path)
    (tmp_path / "train.csv").write_text("category,location_id,image_id\nairport,x,1\n")
    with pytest.raises(DataError, match="line 2"):
        find_sentinel(tmp_path)
