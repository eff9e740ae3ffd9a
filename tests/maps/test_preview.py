import math
from pathlib import Path

import pytest
from affine import Affine
from rasterio.crs import CRS

from deo.errors import OutputError
from deo.maps.preview import check_picture, metres_across
from deo.scene.grid import Turn


@pytest.mark.parametrize(
    ("epsg", "transform", "wanted"),
    [
        (32633, Affine(10, 0, 0, 0, -10, 0), 1000),
        (4326, Affine(1e-4, 0, 10, 0, -1e-4, 60.005), 0.01 * 111_320 * 0.5),
        (2263, Affine(10, 0, 0, 0, -10, 0), 1000 * 0.3048006),
        (32633, Affine(6, -8, 0, 8, 6, 0), 1000),
        (
            4807,
            Affine(1e-4, 0, 10, 0, -1e-4, 100 / 3),
            0.01 * 0.9 * 111_320 * math.cos(math.pi / 6),
        ),
    ],
)
def test_metres_across__by_the_reference_system(
    epsg: int, transform: Affine, wanted: float
) -> None:
    metres = metres_across(CRS.from_epsg(epsg), transform, height=100, width=100)
    assert metres == pytest.approx(wanted, rel=1e-3)
    assert metres_across(None, transform, height=100, width=100) is None


@pytest.mark.parametrize("crs", ["IAU_2015:30100", 'LOCAL_CS["mine",UNIT["metre",1]]'])
def test_metres_across__of_other_bodies_and_local_systems(crs: str) -> None:
    """Degrees of the Moon are no degrees of the Earth; metres are metres."""
    metres = metres_across(CRS.from_user_input(crs), Affine(1, 0, 0, 0, -1, 0), height=10, width=10)
    assert metres == (None if "IAU" in crs else 10)


def test_metres_across__of_a_raster_on_its_side() -> None:
    transform = Affine(0, 20, 0, 10, 0, 0)
    utm = CRS.from_epsg(32633)
    assert metres_across(utm, transform, height=3, width=7, turn=Turn(swap=True)) == 60
    degrees = CRS.from_epsg(4326)
    metres = metres_across(
        degrees, Affine(0, 1e-4, 10, 1e-4, 0, 59.995), height=50, width=100, turn=Turn(swap=True)
    )
    assert metres == pytest.approx(0.005 * 111_320 * 0.5, rel=1e-3)


def test_check_picture__refuses_other_names(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\*\.png"):
        check_picture(tmp_path / "picture.jpg")
    with pytest.raises(OutputError, match="no folder"):
        check_picture(tmp_path / "missing" / "picture.png")


def test_check_picture__refuses_a_folder_and_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "pictures.png").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        check_picture(tmp_path / "pictures.png")
    assert [path.name for path in tmp_path.iterdir()] == ["pictures.png"]
