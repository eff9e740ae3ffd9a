"""What several tests of scenes need: a server on this machine, and rasters."""

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from deo.sensors.known.sentinel2 import SENTINEL2


class Server(ThreadingHTTPServer):
    """Serves the files of a folder, remembers requests, and breaks when told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.sent = 0
        self.requests: list[str] = []
        self.broken = False
        self.faults: list[str] = []  # of the next answers that carry a body
        self.under_way = self.most = 0
        self.delay = 0.0
        self.lock = threading.Lock()
        self.headers: dict[str, str] = {}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        with self.server.lock:
            self.server.under_way += 1
            self.server.most = max(self.server.most, self.server.under_way)
        time.sleep(self.server.delay)
        try:
            self._respond(body=body)
        except ConnectionError:  # the reader gave up
            self.close_connection = True
        finally:
            with self.server.lock:
                self.server.under_way -= 1

    def _respond(self, *, body: bool) -> None:
        self.server.requests.append(self.path)
        file = self.server.folder / self.path.split("?")[0].lstrip("/")
        if self.server.broken or not file.is_file():
            self.send_error(403 if self.server.broken else 404)
            return
        content = file.read_bytes()
        status, first, last = 200, 0, len(content) - 1
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match:
            status, first = 206, int(match[1])
            last = min(int(match[2] or last), last)
        fault = self.server.faults.pop(0) if body and self.server.faults else ""
        if fault == "html":
            status, content, first, last = 200, b"<html>log in</html>", 0, 18
        elif fault == "stall":
            time.sleep(2.5)
        elif fault == "short":
            last = first + (last - first) // 2
        elif fault.isdigit():
            self.send_error(int(fault))
            return
        self.send_response(status)
        self.send_header("Accept-Ranges", "bytes")
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(last - first + 1))
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        if body:
            sent = content[first : last + 1]
            if fault in ("cut", "reset"):
                sent = sent[: len(sent) // 2]
                self.close_connection = True
            self.server.sent += len(sent)
            self.wfile.write(sent)
            if fault == "reset":
                now = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
                self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server(tmp_path)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def store(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, as GDAL asks it for `s3://bucket/key`."""
    for key, value in {
        "AWS_S3_ENDPOINT": server.address,
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_NO_SIGN_REQUEST": "YES",
    }.items():
        monkeypatch.setenv(key, value)
    return server


HEIGHT, WIDTH = 37, 53
NAMES = tuple(band.name for band in SENTINEL2)
UTM = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6)}


def _tag_bands(file: Any, tags: list[dict[str, str]]) -> None:
    for index, each in enumerate(tags, 1):
        file.update_tags(index, **each)


LATER = {
    "descriptions": lambda file, value: setattr(file, "descriptions", value),
    "tags": lambda file, value: file.update_tags(**value),
    "band_tags": _tag_bands,
    "mask": lambda file, value: file.write_mask(value),
    "colorinterp": lambda file, value: setattr(file, "colorinterp", value),
    "scales": lambda file, value: setattr(file, "scales", value),
    "offsets": lambda file, value: setattr(file, "offsets", value),
    "colormap": lambda file, value: file.write_colormap(1, value),
}


def write_raster(path: Path, array: np.ndarray, **settings: Any) -> Path:
    """A GeoTIFF of `array` (C, H, W); settings are rasterio's, and what is put on the dataset."""
    later = {key: settings.pop(key) for key in list(settings) if key in LATER}
    profile = {"driver": "GTiff", "dtype": array.dtype, "count": len(array), **UTM, **settings}
    profile |= {"height": array.shape[1], "width": array.shape[2]}
    with rasterio.open(path, "w", **profile) as file:
        for key, value in later.items():
            LATER[key](file, value)
        file.write(array)
    return path


def random_numbers(count: int, dtype: str = "uint16", *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 250, (count, HEIGHT, WIDTH)).astype(dtype)


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """Writes a GeoTIFF: path, array (C, H, W), rasterio's settings."""
    return write_raster


@pytest.fixture(scope="session")
def numbers() -> Callable[..., np.ndarray]:
    """Makes small numbers (C, 37, 53): how many bands, type, seed."""
    return random_numbers


def write_bands(folder: Path, *, height: int, width: int, block: int) -> list[str]:
    """Three files of one band each, noise."""
    rng = np.random.default_rng(5)
    for name in ("B04", "B03", "B02"):
        with rasterio.open(
            folder / f"{name}.tif", "w", driver="GTiff", dtype="uint16", count=1, height=height,
            width=width, tiled=True, blockxsize=block, blockysize=block, crs="EPSG:32633",
            transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6),
        ) as file:  # fmt: skip
            file.write(rng.integers(1, 60_000, (1, height, width)).astype("uint16"))
    return [f"{name}.tif" for name in ("B04", "B03", "B02")]


@pytest.fixture(scope="session")
def band_files() -> Callable[..., list[str]]:
    """Writes three files of one band: folder, height, width, side of blocks; gives their names."""
    return write_bands


@pytest.fixture(scope="session")
def thirteen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raster(
        tmp_path_factory.mktemp("scene") / "thirteen.tif",
        random_numbers(13),
        nodata=0,
        descriptions=NAMES,
        tiled=True,
        blockxsize=16,
        blockysize=16,
    )
