"""Sensors are found by looking: one more file is one more sensor, from names to digital numbers."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import BandError
from deo.scene.opening import open_scene
from deo.sensors import known, registry
from deo.sensors.registry import bands_by_name, canonical_name, path_evidence, sensors

TOY = """
import re

from deo.sensors.evidence import Evidence
from deo.sensors.table import Band, Sensor


def _band(name, common_name, wavelength):
    return Band(name=name, common_name=common_name, wavelength=wavelength, resolution=30,
                mean=1000.0, std=500.0, aliases=("b" + name[1:],), words=frozenset([common_name]))


def path_evidence(path):
    return (Evidence(fact="toy product", scale=0.5, offset=-10.0),) if "TOY9_" in path else ()


SENSOR = Sensor(
    name="Toy",
    bands=(_band("T1", "red", 650.0), _band("T2", "nir", 860.0)),
    sign=re.compile(r"TOY9_|toysat", re.IGNORECASE),
    spelling=re.compile(r"[bt]\\d", re.IGNORECASE),
    ancillary=frozenset(["CLD"]),
    own_image=re.compile(r"TOY9_"),
    zero_is_missing=True,
    path_evidence=path_evidence,
)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for files, while a sensor named Toy is known."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "toy.py").write_text(TOY)
    monkeypatch.setattr(known, "__path__", [*known.__path__, str(folder)])
    forget()
    yield tmp_path
    sys.modules.pop(f"{known.__name__}.toy", None)
    monkeypatch.undo()
    forget()


def forget() -> None:
    for cached in (registry.sensors, registry.bands_by_name, registry.sensor_of):
        cached.cache_clear()


def write(
    path: Path, descriptions: tuple[str, ...] = (), tags: dict[str, str] | None = None
) -> Path:
    profile = {"driver": "GTiff", "width": 8, "height": 6, "count": 2, "dtype": "uint16"}
    numbers = np.arange(2 * 6 * 8, dtype=np.uint16).reshape(2, 6, 8)
    with rasterio.open(
        path, "w", transform=from_origin(0, 0, 30, 30), crs=32633, **profile
    ) as file:
        file.write(numbers)
        file.update_tags(**(tags or {}))
        if descriptions:
            file.descriptions = descriptions
    return path


def test_sensors__without_another() -> None:
    assert [sensor.name for sensor in sensors()] == ["Sentinel-2"]
    assert list(bands_by_name()) == [band.name for band in registry.DEFAULT_SENSOR.bands]
    assert canonical_name("T1") is None


def test_another_sensor__is_read_by_its_own_names_numbers_and_zeros(toy: Path) -> None:
    path = write(toy / "TOY9_scene.tif", ("B1", "B2 (nir)"))
    with open_scene(path) as scene:
        assert scene.bands == BandSet("T1,T2")
        values, valid = scene.sample(size=8)
        assert scene.mask_source == "digital number 0 (Toy convention)"
        assert "toy product" in scene.radiometry.evidence
        assert not valid[0, 0]
        assert np.count_nonzero(~valid) == 1
        assert values[1, 5, 7] == 95 * 0.5 - 10
        with pytest.raises(BandError, match="missing bands B04"):
            scene.sample(MODEL_BANDS)


def test_another_sensor__is_recognised_by_a_tag_or_a_band_of_its_own(toy: Path) -> None:
    for number, path in enumerate(
        [
            write(toy / "a.tif", ("B1", "B2"), {"platform": "ToySat-9"}),
            write(toy / "b.tif", ("T1", "T2")),
        ]
    ):
        with open_scene(path) as scene:
            assert scene.bands == BandSet("T1,T2"), number


def test_another_sensor__leaves_the_default_as_it_was(toy: Path) -> None:
    assert [sensor.name for sensor in sensors()] == ["Sentinel-2", "Toy"]
    assert canonical_name("b1") == "B01"
    assert canonical_name("red") == "B04"
    assert canonical_name("t1") == "T1"
    assert path_evidence("/data/x.tif") == ()
    with open_scene(write(toy / "c.tif", ("B4", "B8"))) as scene:
        assert scene.bands == BandSet("B04,B08")


def test_sensors__with_one_band_name_are_refused(toy: Path) -> None:
    (toy / "plugins" / "toy.py").write_text(TOY.replace('"T1"', '"B04"').replace('"T2"', '"B05"'))
    sys.modules.pop(f"{known.__name__}.toy", None)
    forget()
    with pytest.raises(BandError, match="Sentinel-2 and Toy both have a band B04"):
        sensors()
