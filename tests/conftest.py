"""Fixtures that every part of the suite may use."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.transform import from_origin

from deo.bands import MODEL_BANDS, BandSet, Pixels
from deo.contracts import Contract, fit_contract
from deo.maps.runner import FeatureModel
from deo.scene.window import Window

SHARED = Path(os.environ.get("DEO_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real scenes and golden numbers; tests that want it are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the real data folder {SHARED} (set DEO_SHARED)")
    return SHARED


_UNKNOWN: dict[str, Any] = {
    "definitions": {
        "fields": {"properties": {"processing:expression": {}, "classification:classes": {}}},
        "bands": {"items": {"properties": {"data_type": {}}}},
    }
}
"""What holds for everything, also in the parts that schemas at hand refer to."""


@pytest.fixture(scope="session")
def valid(shared: Path) -> Callable[[Any, str], None]:
    """Asserts that a document satisfies one of the specifications' schemas.

    References to schemas that are not at hand hold for everything; the snapshot of STAC is the
    last before 1.1.0, and stands for it and for 1.0.0.
    """
    jsonschema = pytest.importorskip("jsonschema")
    import referencing
    from referencing.jsonschema import DRAFT7

    folder = shared / "schemas"

    def load(path: Path) -> Any:
        return json.loads(path.read_text().replace("1.1.0-beta.1", "1.1.0"))

    def retrieve(uri: str) -> Any:
        name = uri.split("#")[0].rsplit("/", 1)[1]
        path = folder / "stac" / name
        known = "schemas.stacspec.org" in uri and path.is_file()
        content = load(path) if known else _UNKNOWN
        content.pop("$id", None)
        return referencing.Resource.from_contents(content, default_specification=DRAFT7)

    registry: Any = referencing.Registry(retrieve=retrieve)

    def check(document: Any, name: str) -> None:
        schema = load(folder / name)
        kind = jsonschema.validators.validator_for(schema)
        errors = list(kind(schema, registry=registry).iter_errors(document))
        assert not errors, "; ".join(jsonschema.exceptions.best_match([e]).message for e in errors)

    return check


def pytest_sessionstart() -> None:
    """Keep parallel workers to a core each, and their children able to differentiate.

    Autograd starts its threads with the first backward pass, one for each device that something,
    a test of exports for instance, made PyTorch believe in; a fork of such a process cannot
    differentiate. A first pass at the start finds no device and starts none.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)
    torch.ones(1, requires_grad=True).backward()


@dataclass(frozen=True, kw_only=True)
class HeldScene:
    """The readable part of a scene, in memory, counting what is read."""

    values: NDArray[np.float32]
    valid_pixels: NDArray[np.bool_]
    reads: list[Window]

    @property
    def height(self) -> int:
        return self.values.shape[1]

    @property
    def width(self) -> int:
        return self.values.shape[2]

    def read(self, window: Window, bands: BandSet) -> Pixels:
        self.reads.append(window)
        rows, cols = window.slices
        return Pixels(self.values[:, rows, cols].copy(), self.valid_pixels[rows, cols].copy())


@pytest.fixture
def held() -> Callable[..., HeldScene]:
    """Makes a scene in memory of ten random bands, with `hole` (two slices) not valid."""

    def make(height: int, width: int, *, hole: tuple[slice, slice] | None = None) -> HeldScene:
        rng = np.random.default_rng(height * 10_007 + width)
        values = rng.uniform(100, 4000, (10, height, width)).astype(np.float32)
        valid = np.ones((height, width), np.bool_)
        if hole is not None:
            valid[hole] = False
        return HeldScene(values=values, valid_pixels=valid, reads=[])

    return make


@pytest.fixture
def plain() -> Contract:
    """Every band z-scored: the same everywhere, so that tiles can be compared with the whole."""
    return fit_contract("s2", bands=MODEL_BANDS)


def pooled(images: torch.Tensor, stride: int) -> torch.Tensor:
    """Mean over cells: a model without context, whose tiles agree exactly in what they share."""
    return torch.nn.functional.avg_pool2d(images, stride)


@pytest.fixture
def local_model() -> FeatureModel:
    """Two layers, strides 4 and 8, that see nothing but their own cell."""
    return FeatureModel(
        call=lambda images: [pooled(images, 4), pooled(images, 8)[:, :3]],
        channels=(10, 3),
        reductions=(4, 8),
        bands=MODEL_BANDS,
        multiple=8,
        identity={"model": "toy", "weights": "none", "weights_sha256": "0" * 64},
    )


@pytest.fixture
def wide_model() -> FeatureModel:
    """One layer, stride 4, that mixes the mean of the whole tile into every cell."""
    return FeatureModel(
        call=lambda images: [pooled(images, 4) + images.mean(dim=(2, 3), keepdim=True)],
        channels=(10,),
        reductions=(4,),
        bands=MODEL_BANDS,
        multiple=4,
        identity={"model": "toy", "weights": "none", "weights_sha256": "0" * 64},
    )


@pytest.fixture
def scene_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a GeoTIFF of named bands on a 10 m UTM grid, nodata 0 in `hole`."""

    def make(
        height: int = 100,
        width: int = 120,
        *,
        bands: BandSet = MODEL_BANDS,
        hole: tuple[slice, slice] | None = None,
        name: str = "scene_20200102.tif",
    ) -> Path:
        rng = np.random.default_rng(7)
        low = rng.uniform(200, 3000, (len(bands), height // 10 + 1, width // 10 + 1))
        values = low.repeat(10, axis=1).repeat(10, axis=2)[:, :height, :width]
        values = (values + rng.uniform(0, 200, values.shape)).astype(np.uint16)
        if hole is not None:
            values[:, *hole] = 0
        path = tmp_path / name
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=len(bands),
            height=height,
            width=width,
            dtype="uint16",
            nodata=0,
            crs="EPSG:32633",
            transform=from_origin(500_000, 5_000_000, 10, 10),
        ) as file:
            file.write(values)
            file.descriptions = tuple(bands)
        return path

    return make


@pytest.fixture
def stac_item(scene_file: Callable[..., Path]) -> Callable[..., Any]:
    """Writes a scene as an item of one file a band, as Earth Search has them; returns the item.

    The files lie beside `item.json`, and neither their names nor their tags name a band.
    """

    def make(
        folder: Path, *, name: str = "S2A_scene_20200102", properties: Any = None, **asset: Any
    ) -> Any:
        folder.mkdir(parents=True, exist_ok=True)
        with rasterio.open(scene_file(60, 70, hole=(slice(0, 10), slice(0, 20)))) as file:
            values, profile = file.read(), {**file.profile, "count": 1, "tiled": False}
        assets = {}
        for index, band in enumerate(MODEL_BANDS.bands):
            with rasterio.open(folder / f"a{index}.tif", "w", **profile) as file:
                file.write(values[index], 1)
            assets[band.common_name] = {
                "href": f"./a{index}.tif",
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data", "reflectance"],
                "eo:bands": [{"name": band.common_name, "common_name": band.common_name}],
                "proj:shape": [60, 70],
                "proj:transform": [10, 0, 500_000, 0, -10, 5_000_000],
                **asset,
            }
        item = {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": name,
            "geometry": {"type": "Point", "coordinates": [15.0, 45.1]},
            "bbox": [15.0, 45.1, 15.0, 45.1],
            "properties": {
                "datetime": "2020-01-02T10:00:00Z",
                "platform": "sentinel-2a",
                "instruments": ["msi"],
                "proj:epsg": 32633,
                **(properties or {}),
            },
            "links": [],
            "assets": assets,
        }
        (folder / "item.json").write_text(json.dumps(item))
        return item

    return make
