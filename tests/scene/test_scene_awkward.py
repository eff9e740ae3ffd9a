"""Rasters that are damaged, absurd or not what they seem: success or one clear error, quickly."""

import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio

from deo.contracts import fit_contract
from deo.errors import DeoError, SceneError
from deo.scene.opening import open_scene
from deo.scene.window import Window

NAMES = ("B04", "B03", "B02", "B08", "B05")


def use(path: Path, bands: tuple[str, ...] | None) -> None:
    """What an extraction does with a scene, at two corners of it."""
    with open_scene(path, bands=bands) as scene:
        contract = fit_contract("scene", bands=scene.bands, scene=scene)
        height, width = min(scene.height, 64), min(scene.width, 64)
        for row, col in ((0, 0), (scene.height - height, scene.width - width)):
            pixels = scene.read(Window(row=row, col=col, height=height, width=width))
            assert np.isfinite(contract.apply(pixels)).all()


def attempt(path: Path) -> list[str]:
    """Names of the errors met with no bands, or one to five, given; anything else escapes."""
    met = []
    for count in range(6):
        try:
            use(path, NAMES[:count] or None)
            met.append("success")
        except DeoError as error:
            met.append(type(error).__name__)
    return met


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.tif"
    array = np.random.default_rng(0).integers(1, 9000, (3, 96, 80)).astype("uint16")
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=3, height=96, width=80, tiled=True,
        blockxsize=32, blockysize=32, compress="deflate", crs="EPSG:32633", nodata=0,
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(array)
        file.descriptions = ("B04", "B03", "B02")
    return path


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Cut, flip bits, overwrite header bytes, or blank a stretch."""
    damaged = bytearray(content)
    kind = rng.randrange(4)
    if kind == 0:
        return bytes(damaged[: rng.randrange(len(damaged))])
    if kind == 1:
        for _ in range(rng.randrange(1, 40)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        for _ in range(rng.randrange(1, 8)):
            damaged[rng.randrange(min(600, len(damaged)))] = rng.choice(
                [0, 255, rng.randrange(256)]
            )
    else:
        start = rng.randrange(len(damaged))
        damaged[start : start + 200] = b"\xff" * len(damaged[start : start + 200])
    return bytes(damaged)


def test_mutations__of_a_small_file(
    small: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rng, content = random.Random(0), small.read_bytes()
    begun, met = time.perf_counter(), set()
    for _ in range(25):
        path = tmp_path / "damaged.tif"
        path.write_bytes(mutate(content, rng))
        met |= set(attempt(path))
    assert {"success", "SceneError"} <= met
    assert time.perf_counter() - begun < 30
    assert capfd.readouterr().err == ""


def test_damaged__the_error_names_the_window(small: Path) -> None:
    content = small.read_bytes()
    third = len(content) // 3
    small.write_bytes(content[:third] + bytes(third) + content[2 * third :])
    with (
        open_scene(small, offset=0) as scene,
        pytest.raises(SceneError, match=r"cannot read rows 5\.\.95, columns 3\.\.79: \w+"),
    ):
        scene.read(Window(row=5, col=3, height=91, width=77))


def test_absurd_header__nothing_of_its_size_is_allocated(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=3, height=200_000, width=200_000,
        tiled=True, crs="EPSG:32633", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
        sparse_ok=True, bigtiff="YES", nodata=0, blockxsize=128, blockysize=128,
    ) as file:  # fmt: skip
        file.descriptions = ("B04", "B03", "B02")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    use(path, None)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB


def test_one_giant_block__is_refused(tmp_path: Path) -> None:
    path = tmp_path / "B04.tif"
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=1, height=40_000, width=20_000,
        blockysize=40_000, sparse_ok=True, crs="EPSG:32633", compress="deflate",
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ):  # fmt: skip
        pass
    with pytest.raises(SceneError, match=r"in one block of 1\.5 GiB; rewrite it tiled"):
        open_scene(path)


def test_complex_numbers__are_refused(tmp_path: Path) -> None:
    path = tmp_path / "B04.tif"
    with rasterio.open(
        path, "w", driver="GTiff", dtype="complex64", count=1, height=4, width=4,
        crs="EPSG:32633", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(np.ones((1, 4, 4), "complex64"))
    with pytest.raises(SceneError, match="complex numbers"):
        open_scene(path)


AWKWARD = {
    # what opening with one to five bands named comes to; without names, all but one are refused
    "RGB.byte.tif": "success",
    "all-nodata.tif": "success",
    "byte_truncated.tif": "SceneError",
    "cog_cmap.tif": "BandError",
    "cog_gcps.tif": "success",
    "cog_scale.tif": "RadiometryError",
    "corrupt.tif": "SceneError",
    "corrupted_deflate_singlestrip.tif": "BandError",
    "float.tif": "success",
    "huge4GB.tif": "SceneError",
    "image_missing_nodata.tif": "success",
    "inverted_lat.tif": "success",
    "rotated.tif": "success",
    "test_11555.tif": "success",
}


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward__ends_in_success_or_one_error(
    shared: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    begun = time.perf_counter()
    met = attempt(shared / "data/awkward" / name)
    assert time.perf_counter() - begun < 20
    assert met[0] == ("success" if name == "all-nodata.tif" else "BandError")
    assert AWKWARD[name] in met[1:]
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_awkward__mutations_in_bounded_time_and_memory(shared: Path, tmp_path: Path) -> None:
    rng = random.Random(1)
    files = [shared / "data/awkward" / name for name in AWKWARD]
    for _ in range(150):
        path = tmp_path / "damaged.tif"
        path.write_bytes(mutate(rng.choice(files).read_bytes(), rng))
        begun = time.perf_counter()
        attempt(path)
        assert time.perf_counter() - begun < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 3 * 2**20  # KiB


@pytest.mark.slow
def test_library__says_nothing_on_stderr_but_the_note(small: Path) -> None:
    code = f"from deo.scene.opening import open_scene; open_scene({str(small)!r}).sample()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert len(done.stderr.splitlines()) == 1
    assert "--offset -1000" in done.stderr
