"""What the commands write, held fixed: a rebuilt house must not change a byte of it.

`golden/frozen_*.json` hold hashes of what the code wrote before it was rearranged, and a few of the
numbers. Floating-point arithmetic differs between processors and libraries: on those
that made the record the bytes have to be equal, elsewhere the numbers have to agree closely.
`DEO_FREEZE=1 pytest tests/test_frozen.py` makes the record anew; a commit that does it says why.
"""

import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import rasterio
import timm
import torch
import zarr
from click.testing import CliRunner
from numpy.typing import NDArray
from rasterio.transform import from_origin
from safetensors import safe_open

from deo import MODEL_BANDS
from deo.cli import cli

GOLDEN = Path(__file__).parent / "golden"
VOLATILE = ("DEO_VERSION", "DEO_SOURCE", "DEO_SOURCE_ID")
"""Tags that name the version, or the very file that was read."""
TUNED = "DEO_WEIGHTS_SHA256"
"""Of a file of tuned weights: safetensors orders the metadata of a file at random."""

Record = dict[str, Any]


def deo(*arguments: str | Path) -> str:
    """Run a command; its output."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def thinned(array: NDArray[Any]) -> NDArray[np.float64]:
    """Sixteen numbers spread over an array."""
    flat = np.asarray(array, np.float64).ravel()
    return flat[np.linspace(0, flat.size - 1, 16).astype(int)]


def write_raster(path: Path, values: NDArray[Any], names: tuple[str, ...] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(values),
        height=values.shape[1],
        width=values.shape[2],
        dtype=values.dtype,
        nodata=0 if names else None,
        crs="EPSG:32633",
        transform=from_origin(500_000, 5_000_000, 10, 10),
    ) as file:
        file.write(values)
        if names:
            file.descriptions = names
            file.scales, file.offsets = (0.0001,) * len(values), (0.0,) * len(values)
    return path


def ground(seed: int, height: int, width: int) -> NDArray[np.uint16]:
    """Parcels of ten bands, made of whole numbers alone, equal on every machine."""
    rng = np.random.default_rng(seed)
    level = rng.integers(200, 3000, (10, height // 8 + 1, width // 8 + 1))
    parcels = level.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
    return (parcels + rng.integers(0, 150, parcels.shape)).astype(np.uint16)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a scene, labelled tiles and masks, on one thread."""
    folder = tmp_path_factory.mktemp("frozen")
    before, threads = Path.cwd(), torch.get_num_threads()
    torch.set_num_threads(1)
    os.chdir(folder)  # what is recorded names relative paths
    scene = ground(0, 160, 224)
    scene[:, 30:70, 50:120] = 0
    write_raster(folder / "scene.tif", scene, tuple(MODEL_BANDS))
    for index in range(8):
        image = ground(10 + index, 64, 64)
        write_raster(folder / f"masks/images/{index}.tif", image, tuple(MODEL_BANDS))
        water = (image[6:7] > 1500).astype(np.uint8)
        write_raster(folder / f"masks/masks/{index}.tif", water)
        label = "bright" if index % 2 else "dark"
        tile = (image // (1 if index % 2 else 2)).astype(np.uint16)
        write_raster(folder / f"tiles/{label}/{index}.tif", tile, tuple(MODEL_BANDS))
    yield folder
    os.chdir(before)
    torch.set_num_threads(threads)


def raster_record(path: Path) -> Record:
    with rasterio.open(path) as file:
        tags = {key: value for key, value in file.tags().items() if key not in VOLATILE}
        return {"values": file.read(), "mask": file.dataset_mask(), "tags": tags}


def extract_tif(folder: Path) -> Record:
    deo("extract", "scene.tif", "-o", "a.tif", "--layer", "all", "--tile", "96", "--quiet")
    deo("extract", "scene.tif", "-o", "b.tif", "--layer", "1", "--dtype", "int8", "--quiet")
    names = [*(f"a_layer{layer}.tif" for layer in range(4)), "b.tif"]
    return {
        f"{name} {key}": value
        for name in names
        for key, value in raster_record(folder / name).items()
    }


def extract_parquet(folder: Path) -> Record:
    deo("extract", "scene.tif", "-o", "a.parquet", "--chip", "64", "--quiet")
    table = pyarrow.parquet.ParquetFile(folder / "a.parquet").read()
    said = json.loads(table.schema.metadata[b"deo"])
    return {
        "embedding": np.array(table["embedding"].to_pylist(), np.float32),
        "columns": [f"{field.name}: {field.type}" for field in table.schema],
        "tags": {key: value for key, value in said.items() if key not in VOLATILE},
    }


def extract_zarr(folder: Path) -> Record:
    deo("extract", "scene.tif", "-o", "a.zarr", "--layer", "1", "--quiet")
    group: Any = zarr.open_group(folder / "a.zarr", mode="r")
    return {name: np.asarray(group[name][:]) for name in sorted(group.array_keys())}


def predict(folder: Path) -> Record:
    settings = ("--classes", "land,water", "--width", "16", "--epochs", "2", "--warmup", "0")
    deo("finetune", "--task", "segment", "--dataset", "folder", "--data", "masks", *settings,
        "--contract", "s2", "--batch-size", "3", "--head", "upernet", "--loss", "bce",
        "--valid", "0.15", "--no-baselines", "-o", "tuned")  # fmt: skip
    # fmt: off
    deo("predict", "tuned", "scene.tif", "-o", "map.tif", "--probabilities", "share.tif",
        "--tile", "96", "--overlap", "32", "--quiet")
    # fmt: on
    records = {name: raster_record(folder / name) for name in ("map.tif", "share.tif")}
    for record in records.values():
        del record["tags"][TUNED]
    return {
        f"{name} {key}": value for name, record in records.items() for key, value in record.items()
    }


def pretraining(folder: Path) -> Record:
    deo("prepare", "masks", "-o", "shards", "--size", "32", "--pattern", "images/*")
    run = ("--set", "steps=4", "--set", "run.workers=0", "--set", "run.log_every=1")
    deo("pretrain", "--recipe", "micro", "--data", "shards", "-o", "run", *run)
    deo("export", "run", "-o", "mine.safetensors")
    with safe_open(folder / "mine.safetensors", framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    losses = [record["loss"] for record in map(json.loads, lines) if "loss" in record]
    assert len(losses) == 4
    return {
        "shard": np.fromfile(next(iter(sorted((folder / "shards").glob("*.bin")))), np.uint16),
        "losses": np.array(losses),
        "names": list(tensors),
        "weights": np.concatenate([tensor.ravel() for tensor in tensors.values()]),
    }


def evaluation(folder: Path) -> Record:
    deo("evaluate", "knn", "--dataset", "folder", "--data", "tiles", "--json", "knn.json")
    result = json.loads((folder / "knn.json").read_text())
    timed = {"seconds", "deo", "version", "made", "date", "environment"}
    later = {"comparison", "predictions"}  # not in a result when the record was made
    return {"record": {key: result[key] for key in result.keys() - timed - later}}


PARTS: dict[str, Callable[[Path], Record]] = {
    part.__name__: part
    for part in (extract_tif, extract_parquet, extract_zarr, predict, pretraining, evaluation)
}


def machine() -> dict[str, str]:
    """What decides the last bits of floating-point results."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), ""
    )
    return {
        "processor": model or platform.processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "timm": timm.__version__,
    }


@pytest.mark.parametrize("part", PARTS)
def test_frozen__the_bytes_before_are_the_bytes_now(part: str, workplace: Path) -> None:
    made = PARTS[part](workplace)
    arrays = {key: value for key, value in made.items() if isinstance(value, np.ndarray)}
    hashes = {key: digest(value) for key, value in arrays.items()}
    facts = json.loads(json.dumps({k: v for k, v in made.items() if k not in arrays}))
    numbers = {f"{part} {key}": thinned(value) for key, value in arrays.items()}
    stored = GOLDEN / f"frozen_{part}.json"
    if os.environ.get("DEO_FREEZE"):
        content = {
            "machine": machine(),
            "hashes": hashes,
            "facts": facts,
            "numbers": {
                key: [float(f"{number:.9g}") for number in value] for key, value in numbers.items()
            },
        }
        stored.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
        return
    known = json.loads(stored.read_text())
    if known["machine"] == machine():
        assert facts == known["facts"]
        assert hashes == known["hashes"]
    assert numbers.keys() == known["numbers"].keys()
    for key, value in numbers.items():
        np.testing.assert_allclose(value, known["numbers"][key], rtol=1e-3, atol=1e-3, err_msg=key)
