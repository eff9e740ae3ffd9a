"""What `deo prepare` is told, and what a source is taken for."""

from pathlib import Path
from typing import Any

import pytest

from deo.errors import ConfigError, DataError
from deo.training.data.preparation import Preparation, recognise_source


def test_recognise_source__what_stands_there(tmp_path: Path, make: Any) -> None:
    data = make.fmow(tmp_path, table=False)
    assert recognise_source(data.sentinel) == "fmow"
    make.raster(tmp_path / "scenes" / "paris_1_2016.tif", make.image(13, 8))
    assert recognise_source(tmp_path / "scenes") == "scenes"
    (tmp_path / "a.h5").touch()
    assert recognise_source(tmp_path / "a.h5") == "samples"
    with pytest.raises(DataError, match="does not exist"):
        recognise_source(tmp_path / "nothing")


def test_preparation__settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    for options in ({"size": 0}, {"stride": 0}, {"valid": 1.1}, {"aerial": tmp_path}):
        with pytest.raises(ConfigError):
            Preparation(**{"source": tmp_path, "kind": "scenes", **options})
