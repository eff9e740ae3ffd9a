"""What `deo prepare` is told, and what a source is taken for."""

from pathlib import Path
from typing import Any

import pytest

from deo.errors import ConfigError, DataError
from deo.training.data.plan import list_pieces
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


def test_preparation__several_scenes_and_nothing_else(tmp_path: Path, make: Any) -> None:
    for name in ("a", "b", "more/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        make.raster(tmp_path / f"{name}.tif", make.image(13, 8))
    first, *further = (tmp_path / name for name in ("a.tif", "b.tif", "more", "a.tif"))
    settings = Preparation(source=first, kind="scenes", further=tuple(further), size=4)
    pieces = {piece.scene for piece, _ in list_pieces(settings)}  # type: ignore[union-attr]
    assert sorted(Path(scene).name for scene in pieces) == ["a.tif", "b.tif", "c.tif"]
    assert settings.record()["further"] == [str(path) for path in further]
    assert "further" not in Preparation(source=first, kind="scenes").record()
    (tmp_path / "a.h5").touch()
    with pytest.raises(ConfigError, match=r"a.h5 \(samples\) cannot be prepared together"):
        Preparation(source=first, kind="scenes", further=(tmp_path / "a.h5",))
