from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from deo.errors import ModelError, OutputError
from deo.maps.class_map import NODATA, check, colours, room, write_class_map
from deo.maps.sinks import ClassMapSink, CogSink

Make = Callable[..., Any]


def shares(height: int = 40, width: int = 30) -> np.ndarray:
    """Probabilities of three classes, (rows, classes, columns), nodata in a corner."""
    values = np.random.default_rng(2).dirichlet([1, 1, 1], (height, width))
    probabilities = values.transpose(0, 2, 1).astype(np.float32)
    probabilities[:5, :, :7] = np.nan
    return probabilities


def test_colours__differ_between_classes() -> None:
    table = colours(20)
    assert len({table[label] for label in range(20)}) == 20
    assert table[NODATA][3] == 0


def test_write_class_map__holds_the_most_probable_class(
    hold: Make, info: Make, tmp_path: Path
) -> None:
    probabilities, path = shares(), tmp_path / "map.tif"
    about = info(names=("ground", "water", "ice"))
    write_class_map(hold(probabilities), about, path, tmp_path / "scratch.tif")
    with rasterio.open(path) as file:
        labels = file.read(1)
        assert (file.nodata, file.dtypes, file.crs) == (NODATA, ("uint8",), about.crs)
        assert file.transform == about.transform
        assert [file.tags(1)[f"CLASS_{label}"] for label in range(3)] == list(about.names)
        assert {key: file.tags()[key] for key in about.tags} == about.tags
        assert file.colormap(1)[2] == colours(3)[2]
    assert (labels[:5, :7] == NODATA).all()
    wanted = np.nan_to_num(probabilities).argmax(1)
    valid = np.isfinite(probabilities[:, 0])
    np.testing.assert_array_equal(labels[valid], wanted[valid])
    assert list(tmp_path.iterdir()) == [path]


def test_write_class_map__has_the_colours_that_are_chosen(
    hold: Make, info: Make, tmp_path: Path
) -> None:
    path, about = tmp_path / "map.tif", info(names=("ground", "water", "ice"))
    write_class_map(hold(shares()), about, path, tmp_path / "s.tif", chosen={"ice": (1, 2, 3)})
    with rasterio.open(path) as file:
        assert [file.colormap(1)[at] for at in range(3)] == [
            colours(3)[0], colours(3)[1], (1, 2, 3, 255)
        ]  # fmt: skip


def test_write_class_map__overviews_show_classes_that_are_there(
    hold: Make, info: Make, tmp_path: Path
) -> None:
    """Classes have no mean: between 0 and 2 lies no 1."""
    probabilities = np.zeros((40, 3, 1200), np.float32)
    probabilities[::2, 0], probabilities[1::2, 2] = 1, 1
    about = info(names=("a", "b", "c"))
    write_class_map(hold(probabilities), about, tmp_path / "map.tif", tmp_path / "scratch.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.overviews(1) == [2, 4]
        assert set(np.unique(file.read(1, out_shape=(20, 600)))) <= {0, 2}


def test_class_map__is_known_from_a_map_of_features(hold: Make, info: Make, tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    write_class_map(hold(shares()), info(3), path, tmp_path / "scratch.tif")
    assert ClassMapSink().read_tags(path) == info().tags
    assert CogSink().read_tags(path) is None
    path.write_bytes(path.read_bytes()[:-100])
    assert "cut off" in str(ClassMapSink().damage(path))


def test_class_map__refuses_a_disk_that_refuses(hold: Make, info: Make, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"map\.tif"):
        write_class_map(hold(shares()), info(3), tmp_path / "map.tif", tmp_path / "no" / "x.tif")


def test_check__classes_that_a_byte_holds(info: Make) -> None:
    check(info(255))
    with pytest.raises(ModelError, match="256 classes do not fit"):
        check(info(256))


def test_room__is_a_byte_a_cell_and_overviews(hold: Make) -> None:
    rows = hold(shares(600, 600))
    assert room(rows.shape).output == 600 * 600 + 300 * 300
    assert room(rows.shape).scratch == 4 * 512 * 512 + 512 * 512
