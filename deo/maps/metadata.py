"""What every output says about how it was made."""

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from affine import Affine
from numpy.typing import NDArray

from deo.contracts import InputContract
from deo.describe.embeddings import Embeddings
from deo.files.records import plain
from deo.maps.quantise import INT8_NODATA
from deo.maps.runner import FeatureModel
from deo.maps.windows import Tiling
from deo.scene.scene import Scene

PREFIX = "DEO_"
Numbers = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class MapInfo:
    """One layer's map: where it lies and what it is.

    Args:
        layer: number among the model's layers, 0 the finest.
        stride: pixels of the scene per cell.
        crs, transform: of the map's cells, as rasterio has them; `crs` may be None.
        dtype: float32, float16 or int8 in the output.
        tags: what is written into the output, keys beginning with `DEO_`.
        names: of the channels.
        source: the scene's name.
        datetime: when the scene was sensed, where its name says so.
        task: of the Machine Learning Model extension's, where channels are probabilities of
            classes; None: they are features.
    """

    layer: int
    stride: int
    crs: Any
    transform: Affine
    dtype: str
    tags: Mapping[str, str]
    names: tuple[str, ...]
    source: str
    datetime: dt.datetime | None = None
    task: str | None = None

    def place(self, cols: Numbers, rows: Numbers) -> tuple[Numbers, Numbers]:
        """Coordinates (x, y) of cell corners."""
        t = self.transform
        return t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f

    def embeddings(self, *, chip: int | None = None) -> Embeddings:
        """What specifications of embeddings ask for, of cells or of chips of `chip` pixels."""
        model, sha256 = self.tags["DEO_MODEL"], self.tags.get("DEO_WEIGHTS_SHA256", "")
        weights = weights_address(self.tags.get("DEO_WEIGHTS", ""))
        return Embeddings(
            dimensions=len(self.names),
            dtype=self.dtype,
            model=weights or f"urn:deo:model:{quote(model)}:{sha256}",
            sources=(f"urn:deo:scene:{quote(self.source)}",),  # its address may hold a secret
            chip=chip,
            nodata=INT8_NODATA if self.dtype == "int8" else None,
        )


def scale_transform(transform: Affine, stride: int) -> Affine:
    """The transform of cells of `stride` pixels, with the same upper-left corner."""
    t = transform
    return Affine(t.a * stride, t.b * stride, t.c, t.d * stride, t.e * stride, t.f)


def weights_address(weights: str) -> str | None:
    """Where the weights lie that a tag names, as a URL when they are public."""
    kind, _, place = weights.partition(":")
    if kind != "hub" or "@" not in place:
        return None
    repo, _, rest = place.partition("@")
    revision, _, file = rest.partition("/")
    return f"https://huggingface.co/{repo}/resolve/{revision}/{file}"


def sensing_time(name: str) -> dt.datetime | None:
    """The first date in a scene's name (`20151130`, `20151130T052312`), at noon without a time."""
    for match in re.finditer(r"(?<!\d)(20\d{6})(?:T(\d{6}))?(?!\d)", name):
        try:
            when = dt.datetime.strptime(match[1] + (match[2] or "120000"), "%Y%m%d%H%M%S")
        except ValueError:
            continue
        return when.replace(tzinfo=dt.UTC)
    return None


def map_info(
    scene: Scene,
    model: FeatureModel,
    contract: InputContract,
    tiling: Tiling,
    *,
    position: int,
    layer: int,
    dtype: str = "float32",
    chip: int | None = None,
    components: str | None = None,
    names: tuple[str, ...] | None = None,
    task: str | None = None,
    source_id: str | None = None,
) -> MapInfo:
    """Describe the map of the layer at `position` of the model's list, called `layer` by users.

    Args:
        dtype: of the output.
        chip: side of the chips in pixels, for an output that holds chips.
        components: how features became the components that the output holds instead.
        names: of the channels; None: numbered features.
        task: as in `MapInfo`.
        source_id: the digest of the scene's `Inputs`, for an output that may be found again.
    """
    stride = model.reductions[position]
    facts = {
        **_model_facts(model, contract, tiling),
        **_scene_facts(scene),
        "LAYER": str(layer),
        "STRIDE": str(stride),
        "DTYPE": dtype,
        **({} if chip is None else {"CHIP": str(chip)}),
        **({} if components is None else {"COMPONENTS": components}),
        **({} if source_id is None else {"SOURCE_ID": source_id}),
    }
    return MapInfo(
        layer=layer,
        stride=stride,
        crs=scene.crs,
        transform=scale_transform(scene.transform, stride),
        dtype=dtype,
        tags={f"{PREFIX}{key}": value for key, value in facts.items()},
        names=names or tuple(f"feature {index}" for index in range(model.channels[position])),
        source=scene.name,
        datetime=sensing_time(scene.name),
        task=task,
    )


def _model_facts(model: FeatureModel, contract: InputContract, tiling: Tiling) -> dict[str, str]:
    """What computed the map, and in which portions."""
    return {
        "VERSION": version("deo"),
        **{key.upper(): value for key, value in model.identity.items()},
        "BANDS": str(model.bands),
        "CONTRACT": json.dumps(plain(contract.record()), sort_keys=True),
        "TILE": f"{tiling.rows.tile} x {tiling.cols.tile}",
        "OVERLAP": str(tiling.overlap),
        "PRECISION": model.precision,
    }


def _scene_facts(scene: Scene) -> dict[str, str]:
    """What was mapped, how its numbers were read and where it lies."""
    grid = {
        "crs": None if scene.crs is None else scene.crs.to_string(),
        "transform": list(scene.transform)[:6],
        "height": scene.height,
        "width": scene.width,
    }
    return {
        "RADIOMETRY": json.dumps(plain(scene.radiometry.record()), sort_keys=True),
        "MASK": scene.mask_source,
        **({"MASKS": json.dumps(plain(scene.mask_records))} if scene.masks else {}),
        "SOURCE": scene.name,
        "GRID": json.dumps(grid),
    }
