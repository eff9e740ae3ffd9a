"""Broken rasters end in success or in a `DeoError`, soon and within bounded memory."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from deo.bands import MODEL_BANDS, BandSet

SECONDS_EACH = 20
GIBIBYTES = 3

# One process imports once and goes through all files: argv is output folder, files...
# A file that takes too long or crashes the process ends it, and the last line names that file.
SCRIPT = f"""
import faulthandler, json, os, resource, signal, sys, time, torch
torch.set_num_threads(1)
import rasterio
import deo
from deo.sensors.known.sentinel2 import SENTINEL2

def bands_of(path):
    try:
        with rasterio.open(path) as file:
            if file.count >= 10:
                return None
            if any(file.descriptions):
                return deo.BandSet(file.descriptions)
            return deo.BandSet([band.name for band in SENTINEL2[1:][:file.count]] or ["B02"])
    except Exception:
        return None

extractions = {{}}  # by bands: a model is loaded once

faulthandler.register(signal.SIGPROF, chain=True)  # says where, then ends the process
for number, path in enumerate(sys.argv[2:]):
    print(json.dumps({{"path": path}}), flush=True)
    signal.setitimer(signal.ITIMER_PROF, {SECONDS_EACH})  # of processor time
    began, out = time.process_time(), f"{{sys.argv[1]}}/{{number}}.tif"
    try:
        bands = bands_of(path)
        if bands not in extractions:
            extractions[bands] = deo.Extraction(
                model="test_deo_swin", untrained=True, bands=bands, tile=256, overlap=0)
        deo.extract(path, out, extraction=extractions[bands])
        end = "success"
    except deo.DeoError as error:
        end = type(error).__name__
        assert str(error).strip(), "an empty message"
        assert not os.path.exists(out), "something under the final name"
    signal.setitimer(signal.ITIMER_PROF, 0)
    seconds = time.process_time() - began
    print(json.dumps({{"path": path, "end": end, "seconds": seconds}}), flush=True)
print(json.dumps({{"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}}))
"""


def run(files: list[Path], folder: Path) -> list[str]:
    """How each file ended."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(folder), *map(str, files)],
        capture_output=True,
        text=True,
        timeout=300 + SECONDS_EACH * len(files),
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"{lines[-1:]} {done.stderr[-3000:]}"
    assert lines[-1]["peak"] < GIBIBYTES
    return [line["end"] for line in lines if "end" in line]


def mutate(raw: bytes, rng: np.random.Generator) -> bytes:
    """Truncate, flip bytes, or write an absurd number into the header."""
    changed = bytearray(raw)
    kind = rng.integers(4)
    if kind == 0:
        return bytes(changed[: rng.integers(len(raw))])
    if kind == 1:
        for place in rng.integers(len(raw), size=rng.integers(1, 30)):
            changed[place] ^= 1 << rng.integers(8)
    elif kind == 2:
        for place in rng.integers(min(len(raw), 600), size=rng.integers(1, 6)):
            changed[place] = rng.integers(256)
    else:
        place = 2 * rng.integers(2, min(len(raw) - 8, 400) // 2)
        value = rng.choice([0, 1, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**24, 10**5])
        changed[place : place + 4] = int(value).to_bytes(4, "little")
    return bytes(changed)


def seeds(scene_file: Callable[..., Path]) -> list[Path]:
    """Sound files of several layouts: strips, tiles, compressed, big-endian, one band, floats."""
    plain = scene_file(90, 110, name="strips.tif")
    layouts = {
        "tiled.tif": {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate"},
        "lzw.tif": {"compress": "lzw", "predictor": 2, "interleave": "band"},
        "big_endian.tif": {"ENDIANNESS": "BIG"},
        "float.tif": {"dtype": "float32", "nodata": None},
    }
    files = [plain, scene_file(64, 64, bands=BandSet(["B04"]), name="single.tif")]
    with rasterio.open(plain) as file:
        values, profile = file.read(), file.profile
    for name, layout in layouts.items():
        files.append(plain.with_name(name))
        settings = {**profile, **layout}
        with rasterio.open(files[-1], "w", **settings) as file:
            file.write(values.astype(settings["dtype"]))
            file.descriptions = tuple(MODEL_BANDS)
    return files


def mutations(files: list[Path], folder: Path, *, count: int, seed: int) -> list[Path]:
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        source = files[number % len(files)]
        made.append(folder / f"{number}_{source.name}")
        made[-1].write_bytes(mutate(source.read_bytes(), rng))
    return made


def test_fuzz__broken_files_end_in_success_or_a_clear_error(
    scene_file: Callable[..., Path], tmp_path: Path
) -> None:
    files = seeds(scene_file)
    ends = run(files + mutations(files, tmp_path, count=40, seed=0), tmp_path)
    assert ends[: len(files)] == ["success"] * len(files)
    assert len(set(ends)) > 1, "some of the mutations broke something"


def test_fuzz__real_awkward_files(shared: Path, tmp_path: Path) -> None:
    files = sorted((shared / "data" / "awkward").glob("*.tif"))
    ends = run(files, tmp_path)
    assert len(ends) == len(files)
    assert "success" in ends


@pytest.mark.slow
def test_fuzz__mutations_of_real_awkward_files(
    shared: Path, scene_file: Callable[..., Path], tmp_path: Path
) -> None:
    files = sorted((shared / "data" / "awkward").glob("*.tif")) + seeds(scene_file)
    for seed in range(5):
        folder = tmp_path / str(seed)
        folder.mkdir()
        run(mutations(files, folder, count=100, seed=100 + seed), folder)
