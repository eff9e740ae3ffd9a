import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

import deo
from deo.contracts import Contract
from deo.maps.metadata import map_info, scale_transform, sensing_time
from deo.maps.runner import FeatureModel, plan_tiles

Make = Callable[..., Any]


def test_place__of_cell_corners(info: Make) -> None:
    turned = scale_transform(Affine(1, 2, 30, 4, -5, 60), 8)
    about = replace(info(), transform=turned)
    x, y = about.place(np.array([0, 1, 0]), np.array([0, 0, 1]))
    assert (x[0], y[0]) == (30, 60)
    assert (x[1] - x[0], y[1] - y[0]) == (8, 32)
    assert (x[2] - x[0], y[2] - y[0]) == (16, -40)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mumbai_1_20151130.tif", "2015-11-30T12:00:00+00:00"),
        (
            "S2B_MSIL2A_20230823T095559_N0509_R122_T34UCF_20230823T124759.SAFE",
            "2023-08-23T09:55:59+00:00",
        ),
        ("Spain_7370579_S2Hand.tif", None),
        ("tile_20991399.tif", None),
    ],
)
def test_sensing_time__only_from_a_real_date(name: str, wanted: str | None) -> None:
    sensed = sensing_time(name)
    assert (sensed.isoformat() if sensed else None) == wanted


def test_map_info__says_how_a_map_was_made(
    scene_file: Callable[..., Path], local_model: FeatureModel, plain: Contract
) -> None:
    with deo.open_scene(scene_file()) as scene:
        tiling = plan_tiles(scene, local_model, tile=64, overlap=16)
        about = map_info(
            scene, local_model, plain, tiling, position=1, layer=5, dtype="int8", source_id="abc"
        )
        chips = map_info(scene, local_model, plain, tiling, position=0, layer=4, chip=32)
    assert (about.layer, about.stride, about.dtype) == (5, 8, "int8")
    assert about.names == ("feature 0", "feature 1", "feature 2")
    assert about.transform == Affine(80, 0, 500_000, 0, -80, 5_000_000)
    assert about.datetime is not None
    tags = about.tags
    assert all(key.startswith("DEO_") for key in tags)
    assert {
        "DEO_MODEL": "toy",
        "DEO_STRIDE": "8",
        "DEO_TILE": "64 x 64",
        "DEO_OVERLAP": "16",
        "DEO_SOURCE": "scene_20200102.tif",
        "DEO_SOURCE_ID": "abc",
    }.items() <= tags.items()
    assert json.loads(tags["DEO_CONTRACT"])["name"] == "s2"
    assert json.loads(tags["DEO_GRID"]) == {
        "crs": "EPSG:32633",
        "transform": [10, 0, 500_000, 0, -10, 5_000_000],
        "height": 100,
        "width": 120,
    }
    assert "DEO_CHIP" not in tags
    assert chips.tags["DEO_CHIP"] == "32"
    assert "DEO_SOURCE_ID" not in chips.tags
