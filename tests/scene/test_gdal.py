"""GDAL's settings, its spelling of paths, and its failures as ours."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deo.errors import SceneError
from deo.scene.gdal import REMOTE_SETTINGS, gdal, gdal_path, public
from deo.scene.opening import open_scene
from deo.scene.window import Window


def test_mute__drops_rasterios_decoding_fault_only() -> None:
    seen: list = []
    before, sys.unraisablehook = sys.unraisablehook, seen.append
    try:
        with gdal("x.tif", "read it"):
            for error, place in (
                (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "rasterio._env.log_error"),
                (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "elsewhere"),
                (ValueError("other"), "rasterio._env.log_error"),
            ):
                sys.unraisablehook(SimpleNamespace(exc_value=error, object=place))  # type: ignore[arg-type]
        assert [type(fault.exc_value) for fault in seen] == [UnicodeDecodeError, ValueError]
        assert sys.unraisablehook == seen.append
    finally:
        sys.unraisablehook = before


def test_mute__lets_uncaught_errors_through(capfd: pytest.CaptureFixture[str]) -> None:
    before = sys.excepthook
    with gdal("x.tif", "read it"):
        fault = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")
        sys.excepthook(UnicodeDecodeError, fault, None)
        sys.excepthook(ValueError, ValueError("other"), None)
    assert sys.excepthook is before
    assert "bad" not in (shown := capfd.readouterr().err)
    assert "ValueError: other" in shown


def test_settings__the_four_of_cloud_reading_are_on() -> None:
    assert REMOTE_SETTINGS["GDAL_DISABLE_READDIR_ON_OPEN"] == "EMPTY_DIR"
    for key in ("GDAL_HTTP_MULTIPLEX", "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES", "VSI_CACHE"):
        assert REMOTE_SETTINGS[key] in ("YES", "TRUE")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("s3://bucket/a/b.tif", "/vsis3/bucket/a/b.tif"),
        ("https://host/a.tif?sig=1", "/vsicurl/https://host/a.tif?sig=1"),
        ("/data/a.tif", "/data/a.tif"),
        ("/vsizip/x.zip/a.tif", "/vsizip/x.zip/a.tif"),
    ],
)
def test_gdal_path__spellings(given: str, wanted: str) -> None:
    assert gdal_path(given) == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("https://host/a.tif?sig=1&b=2", "https://host/a.tif"),
        ("https://me:pw@host/a.tif", "https://host/a.tif"),
        ("https://host/a/b.tif?sig=1&x=2", "https://host/a/b.tif"),
        ("https://me:secret@host:8080/b.tif#part", "https://host:8080/b.tif"),
        ("/vsis3/bucket/b.tif?sig=1", "/vsis3/bucket/b.tif"),
        ("/vsicurl/https://me:pw@host/a.tif?sig=1", "/vsicurl/https://host/a.tif"),
        ("s3://bucket/a#1.tif", "s3://bucket/a#1.tif"),
        ("s3://bucket/a.tif", "s3://bucket/a.tif"),
        ("/data/what?.tif", "/data/what?.tif"),
    ],
)
def test_public__hides_what_signs(given: str, wanted: str) -> None:
    assert public(given) == wanted


@pytest.mark.parametrize("error", [MemoryError(), np.empty])
def test_memory__is_one_message(error: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        if isinstance(error, MemoryError):
            raise error
        error(2**50)

    array = np.ones((3, 32, 32), np.uint16)
    with open_scene(array, bands="B04,B03,B02", offset=0) as scene:
        monkeypatch.setattr("deo.scene.scene.Scene._read_group", fail)
        with pytest.raises(SceneError, match=r"out of memory .*smaller --tile") as met:
            scene.read(Window(row=0, col=0, height=32, width=32))
    assert not met.value.retriable
