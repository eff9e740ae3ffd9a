"""Scenes over HTTP from a server on this machine that serves byte ranges."""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import deo
from deo.bands import BandSet
from deo.errors import SceneError
from deo.maps import compute
from deo.maps.cache import reading
from deo.maps.spool import Spool
from deo.maps.stream import RowBand
from deo.scene import handle
from deo.scene.gdal import REMOTE_SETTINGS
from deo.scene.opening import open_scene
from deo.scene.window import Window

SIZE = 512


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries."""
    monkeypatch.setattr("deo.scene.handle.PAUSES", (0.0, 0.0, 0.0))


def tiled(path: Path, *, seed: int = 0, **tags: str) -> np.ndarray:
    array = np.random.default_rng(seed).integers(1, 60_000, (3, SIZE, SIZE)).astype("uint16")
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=3, height=SIZE, width=SIZE, tiled=True,
        blockxsize=128, blockysize=128, crs="EPSG:32633", interleave="band",
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
    ) as file:  # fmt: skip
        file.write(array)
        file.descriptions = ("B04", "B03", "B02")
        file.update_tags(**tags)
    return array


def test_http__reads_a_window_by_ranges(server: Any, tmp_path: Path) -> None:
    array = tiled(tmp_path / "a" / "scene.tif", PROCESSING_BASELINE="03.01")
    before = dict(os.environ)
    with open_scene(f"http://{server.address}/a/scene.tif") as scene:
        values = scene.read(Window(row=130, col=5, height=60, width=70), BandSet("B02")).values
        assert scene.name == "scene.tif"
    np.testing.assert_array_equal(values[0], array[2, 130:190, 5:75])
    assert server.sent < (tmp_path / "a/scene.tif").stat().st_size / 3
    assert dict(os.environ) == before
    asked = {path.split("?")[0] for path in server.requests}
    assert asked == {"/a/scene.tif"}  # no listing, no sidecar files


def test_http__list_of_files_and_archive_in_the_address(server: Any, tmp_path: Path) -> None:
    folder = "sentinel-s2-l2a-cogs/36/Q/WD/2023/7/S2A_36QWD_20230701_0_L2A"
    for name, index in (("B04", 0), ("B8A", 1)):
        array = tiled(tmp_path / folder / "all.tif", seed=3)[index : index + 1]
        size = {"height": SIZE, "width": SIZE, "count": 1, "dtype": "uint16", "driver": "GTiff"}
        with rasterio.open(
            tmp_path / folder / f"{name}.tif", "w", crs="EPSG:32636",
            transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6), **size,
        ) as file:  # fmt: skip
            file.write(array)
            file.scales, file.offsets = (0.0001,), (-0.1,)
    urls = [f"http://{server.address}/{folder}/{name}.tif" for name in ("B04", "B8A")]
    with open_scene(urls) as scene:
        assert scene.bands == BandSet("B04,B8A")
        assert set(scene.radiometry.offset) == {0}
        assert "not applied a second time" in " ".join(scene.radiometry.evidence)


@pytest.mark.usefixtures("store")
def test_s3__goes_through_gdals_own_client(tmp_path: Path) -> None:
    array = tiled(tmp_path / "bucket" / "key" / "scene.tif", seed=7)
    with open_scene("s3://bucket/key/scene.tif", offset=0) as scene:
        values = scene.read(Window(row=0, col=0, height=9, width=9), BandSet("B04")).values
    np.testing.assert_array_equal(values[0], array[0, :9, :9])


def test_http__absent_and_failing_are_one_message(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REMOTE_SETTINGS, "GDAL_HTTP_MAX_RETRY", 0)  # type: ignore[arg-type]
    with pytest.raises(SceneError, match=r"http://.*gone.tif: cannot open it .*404"):
        open_scene(f"http://{server.address}/gone.tif")
    tiled(tmp_path / "breaks.tif", seed=9)
    with open_scene(f"http://{server.address}/breaks.tif", offset=0) as scene:
        server.broken = True
        with pytest.raises(SceneError, match=r"breaks.tif: cannot read rows 400..463"):
            scene.read(Window(row=400, col=300, height=64, width=64))


def micro(url: str, out: Path, **options: Any) -> Any:
    settings = {"model": "test_deo_swin", "untrained": True, "offset": 0, "contract": "s2"}
    return deo.extract(url, out, **settings, **options)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ETag": '"one"'},
        {"Last-Modified": "Wed, 01 Jan 2020 00:00:00 GMT"},
    ],
)
def test_http__a_fresh_signature_is_the_same_input(
    server: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
) -> None:
    server.headers = headers
    tiled(tmp_path / "scene.tif")
    url, out = f"http://{server.address}/scene.tif", tmp_path / "out.tif"
    micro(f"{url}?sig=SECRET1", out, stac=True)
    before = out.stat().st_mtime_ns
    micro(f"{url}?sig=SECRET2", out, resume=True)
    assert out.stat().st_mtime_ns == before
    kept = b"".join(each.read_bytes() for each in tmp_path.iterdir() if each.is_file())
    assert b"SECRET" not in kept
    assert "SECRET" not in caplog.text
    server.headers = {"ETag": '"two"'} if headers else {}
    if headers:
        micro(f"{url}?sig=SECRET3", out, resume=True)
        assert "made of another state of its input" in caplog.text


@pytest.mark.parametrize("changed", [True, False])
def test_http__an_object_that_changes_meanwhile_is_not_published(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    server.headers = {"ETag": '"one"'}
    tiled(tmp_path / "scene.tif")
    append = Spool.append

    def then_change(self: Spool, band: RowBand) -> None:
        append(self, band)
        server.headers = {"ETag": '"two"'}
        server.broken = not changed  # what cannot be learnt any more is no reason to fail

    url, out = f"http://me:SECRET@{server.address}/scene.tif?sig=SECRET", tmp_path / "out.tif"
    monkeypatch.setattr(Spool, "append", then_change)
    if changed:
        with pytest.raises(SceneError, match=rf"http://{server.address}/scene.tif changed") as told:
            micro(url, out, tile=512, overlap=0)
        assert "SECRET" not in str(told.value)
    else:
        micro(url, out, tile=512, overlap=0)
    assert out.exists() is not changed


def test_http__no_secret_waits_with_the_rows(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiled(tmp_path / "scene.tif")

    def fail(*_: Any) -> None:
        raise SceneError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(compute, "refuse_mixture", lambda inputs, spool: fail())
        with pytest.raises(SceneError, match="stopped"):
            micro(f"http://me:SECRET@{server.address}/scene.tif?sig=SECRET", tmp_path / "out.tif")
    kept = (tmp_path / "out.tif.partial" / "job.json").read_text()
    assert f"http://{server.address}/scene.tif" in kept
    assert "SECRET" not in kept
    done: list[int] = []
    url = f"http://{server.address}/scene.tif?sig=OTHER"
    micro(url, tmp_path / "out.tif", resume=True, progress=lambda tiles, of: done.append(tiles))
    assert not done, "the rows were kept"


@pytest.mark.parametrize("fault", ["reset", "cut", "short", "html"])
@pytest.mark.parametrize("before", [0, 1], ids=["header", "pixels"])
def test_fault__is_made_good_by_another_try(
    server: Any, tmp_path: Path, fault: str, before: int
) -> None:
    array = tiled(tmp_path / f"{fault}{before}.tif", seed=11)
    url = f"http://{server.address}/{fault}{before}.tif"
    server.faults = [] if before else [fault]
    with open_scene(url, offset=0) as scene:
        server.faults += [fault, fault] if before else []
        values = scene.read(Window(row=200, col=140, height=250, width=300)).values
    np.testing.assert_array_equal(values, array[:, 200:450, 140:440])
    assert not server.faults


def test_fault__that_stays_is_one_retriable_error(server: Any, tmp_path: Path) -> None:
    tiled(tmp_path / "cut.tif", seed=12)
    with open_scene(f"http://{server.address}/cut.tif?sig=SECRET", offset=0) as scene:
        server.faults = ["cut"] * 100
        with pytest.raises(SceneError, match=r"/cut.tif: cannot read rows .*after 4 tries") as met:
            scene.read(Window(row=200, col=140, height=250, width=300))
        assert met.value.retriable
        assert "SECRET" not in str(met.value)
        server.faults = []
        scene.read(Window(row=200, col=140, height=250, width=300))  # as good as new


@pytest.mark.parametrize("broken", [True, False], ids=["403", "404"])
def test_refused__is_asked_for_once_and_not_retriable(server: Any, broken: bool) -> None:
    server.broken = broken
    with pytest.raises(SceneError, match=r"response code: 40[34]") as met:
        open_scene(f"http://{server.address}/none{broken}.tif?sig=SECRET")
    assert not met.value.retriable
    assert "SECRET" not in str(met.value)
    assert len(server.requests) <= 2


def test_damaged_file__is_not_retriable(server: Any, tmp_path: Path) -> None:
    tiled(tmp_path / "whole.tif", seed=13)
    with rasterio.open(tmp_path / "whole.tif") as whole, rasterio.open(
        tmp_path / "bad.tif", "w", **whole.profile | {"compress": "deflate"}
    ) as file:  # fmt: skip
        file.write(whole.read())
        file.descriptions = whole.descriptions
    content = (tmp_path / "bad.tif").read_bytes()
    third = len(content) // 3
    (tmp_path / "bad.tif").write_bytes(content[:third] + bytes(third) + content[2 * third :])
    with (
        open_scene(f"http://{server.address}/bad.tif", offset=0) as scene,
        pytest.raises(SceneError, match="cannot read rows") as met,
    ):
        scene.read(Window(row=0, col=0, height=SIZE, width=SIZE))
    assert not met.value.retriable


def test_unreachable__is_retriable() -> None:
    with pytest.raises(SceneError, match=r"http://127.0.0.1:9/a.tif: .*connect") as met:
        open_scene("http://user:SECRET@127.0.0.1:9/a.tif?sig=SECRET")
    assert met.value.retriable
    assert "SECRET" not in str(met.value)


READ_ALL = """
import sys
from deo.maps import cache
from deo.scene.opening import open_scene
from deo.maps.windows import tiles
cache._CACHE_BYTES = 1
with open_scene(sys.argv[1:], offset=0) as scene, cache.reading([scene], 64) as readable:
    side = {"height": scene.height, "width": scene.width}
    for window in tiles(**side, tile=64, overlap=16, multiple=16):
        readable.read(window.clip(**side))
"""


def test_rows_of_tiles__fetch_every_byte_once(
    server: Any, band_files: Callable[..., list[str]], tmp_path: Path
) -> None:
    """A small likeness of a full tile: GDAL's caches of fetched bytes hold no row of blocks."""
    names = band_files(tmp_path, height=256, width=1024, block=128)
    environment = os.environ | {
        "CPL_VSIL_CURL_CACHE_SIZE": "32768",
        "VSI_CACHE_SIZE": "32768",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    urls = [f"http://{server.address}/{name}" for name in names]
    subprocess.run([sys.executable, "-c", READ_ALL, *urls], check=True, env=environment)
    stored = sum((tmp_path / name).stat().st_size for name in names)
    assert stored <= server.sent < 1.3 * stored


@pytest.mark.parametrize("interleave", ["files", "band", "pixel"])
def test_reading__side_by_side_reads_the_same(
    server: Any, band_files: Callable[..., list[str]], tmp_path: Path, interleave: str
) -> None:
    names = band_files(tmp_path, height=256, width=256, block=128)
    if interleave != "files":
        planes = [rasterio.open(tmp_path / name) for name in names]
        with rasterio.open(
            tmp_path / f"{interleave}.tif", "w",
            **planes[0].profile | {"count": 3, "interleave": interleave},
        ) as file:  # fmt: skip
            for index, plane in enumerate(planes, 1):
                file.write(plane.read(1), index)
                plane.close()
            file.descriptions = ("B04", "B03", "B02")
        names = [f"{interleave}.tif"]
    window = Window(row=60, col=70, height=150, width=140)
    server.delay = 0.1
    with open_scene([f"http://{server.address}/{name}" for name in names], offset=0) as scene:
        server.most = 0
        with reading([scene], 64) as readable:
            assert [t.name for t in threading.enumerate() if "lane" in t.name] == []
            pixels = readable.read(window, BandSet("B02,B04,B03"))
        assert not any("lane" in thread.name for thread in threading.enumerate())
    with open_scene([tmp_path / name for name in names], offset=0) as local:
        wanted = local.read(window, BandSet("B02,B04,B03"))
    np.testing.assert_array_equal(pixels.values, wanted.values)
    assert server.most >= (1 if interleave == "pixel" else 3)


@pytest.mark.parametrize("kind", ["files", "stack"])
def test_keep__a_sample_and_reading_fetch_every_byte_once(
    server: Any,
    band_files: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setattr("deo.scene.raster._REMEMBERED", 0)
    monkeypatch.setattr("deo.scene.scene.SAMPLE_SIZE", 100)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "kept"))
    (tmp_path / "kept").mkdir()
    names = band_files(tmp_path, height=256, width=256, block=64)
    if kind == "stack":
        tiled(tmp_path / "stack.tif", seed=21)
        names = ["stack.tif"]
    with open_scene([tmp_path / name for name in names], offset=0) as scene:
        sample, everything = scene.sample(), scene.read(window := scene.whole)
    with open_scene([f"http://{server.address}/{name}" for name in names], offset=0) as scene:
        np.testing.assert_array_equal(scene.sample().values, sample.values)
        assert len(list((tmp_path / "kept").iterdir())) == len(names)
        server.broken = True  # nothing more is asked for
        with reading([scene], 64) as readable:
            np.testing.assert_array_equal(readable.read(window).values, everything.values)
    stored = sum((tmp_path / name).stat().st_size for name in names)
    assert stored <= server.sent < 1.3 * stored
    assert not list((tmp_path / "kept").iterdir())


def test_keep__not_where_few_bands_are_used_or_no_room_is_left(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deo.scene.raster._REMEMBERED", 0)
    monkeypatch.setattr("deo.scene.handle._fetched", lambda path: pytest.fail(path))
    array = tiled(tmp_path / "few.tif", seed=22)
    with open_scene(f"http://{server.address}/few.tif", bands="B03", offset=0) as scene:
        np.testing.assert_array_equal(scene.sample().values[0], array[1])
    monkeypatch.undo()
    monkeypatch.setattr("deo.scene.raster._REMEMBERED", 0)
    monkeypatch.setattr("deo.scene.handle._ROOM", 2**60)
    with open_scene(f"http://{server.address}/few.tif", offset=0) as scene:
        np.testing.assert_array_equal(scene.sample().values, array)


@pytest.mark.parametrize("fault", ["cut", "reset"])
def test_keep__what_breaks_off_is_fetched_again(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr("deo.scene.raster._REMEMBERED", 0)
    monkeypatch.setattr("deo.scene.scene.SAMPLE_SIZE", 100)
    array = tiled(tmp_path / f"{fault}.tif", seed=23)
    with open_scene(f"http://{server.address}/{fault}.tif", offset=0) as scene:
        server.faults = [fault] * 2
        scene.sample()
        server.broken = True
        np.testing.assert_array_equal(scene.read(scene.whole).values, array)


def stalled(url: str) -> SceneError:
    with pytest.raises(SceneError) as met:
        open_scene(url, offset=0)
    return met.value


@pytest.mark.slow
def test_stall__is_named_and_retriable(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "1")
    monkeypatch.setitem(REMOTE_SETTINGS, "GDAL_HTTP_MAX_RETRY", 0)  # type: ignore[arg-type]
    monkeypatch.setattr("deo.scene.handle.PATIENCE", 0.5)
    tiled(tmp_path / "stall.tif", seed=24)
    server.faults = ["stall"] * 9
    error = stalled(f"http://{server.address}/stall.tif?sig=SECRET")
    assert f"stall.tif: cannot open it as a raster: no bytes for 1 s from {server.address}" in str(
        error
    )
    assert error.retriable
    assert "SECRET" not in str(error)


def test_stall__is_told_by_the_time_that_passed() -> None:
    error, path = SceneError("not recognized"), "/vsis3/bucket/a.tif"
    assert handle._told_of_stall(error, path, "open it", 29.0) is error
    told = handle._told_of_stall(error, path, "open it", 31.0)
    assert "/a.tif: cannot open it: no bytes for 30 s from bucket;" in str(told)
    assert told.retriable
