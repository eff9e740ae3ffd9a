"""How often `deo.extract` fetches what a server stores: bytes served to bytes stored.

    python tests/benchmarks/extract_reads.py --width 10980 --height 2048 --latency 0.05

Writes ten bands, serves them by ranges with a delay, and extracts them twice, each in a process of
its own: with GDAL's cache held to 64 MiB, and with the one that `deo` chooses. `--layout` says how
the bands are stored: as the public archives keep them, four at 10 m and six at 20 m, in a COG each
(`cog`) or a JPEG 2000 each (`jp2`); or all at 10 m in one file, a tiled GeoTIFF without overviews
(`stack`) or a JPEG 2000 (`jp2-stack`). `--files` takes other ones.
Prints, for each: bytes served to bytes stored, requests, requests under way on average (over the
time with any) and at most, wall clock, processor time and peak memory; then whether the outputs
are equal. Wanted: at most 1.3 times the bytes at the width of a Sentinel-2 tile.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.shutil import copy
from rasterio.transform import from_origin
from repeated_scene import real_pixels

from deo import MODEL_BANDS

FINE = ("B02", "B03", "B04", "B08")
_COG = {"driver": "COG", "compress": "deflate", "level": "1", "predictor": "2"}
_PLAIN = {
    "driver": "GTiff", "compress": "deflate", "zlevel": "1", "predictor": "2", "tiled": "yes",
    "blockxsize": "512", "blockysize": "512", "interleave": "band",
}  # fmt: skip
_JP2 = {
    "driver": "JP2OpenJPEG", "reversible": "yes", "quality": "100",
    "blockxsize": "1024", "blockysize": "1024",
}  # fmt: skip
LAYOUTS: dict[str, tuple[str, dict[str, str]]] = {
    "cog": (".tif", _COG),
    "jp2": (".jp2", _JP2),
    "stack": (".tif", _PLAIN),
    "jp2-stack": (".jp2", _JP2),
}
"""Suffix and creation options of each layout."""
RUN = """
import resource, sys, deo
sources = sys.argv[2:] if len(sys.argv) > 3 else sys.argv[2]
deo.extract(sources, sys.argv[1], model="test_deo_swin", untrained=True, offset=0,
            bands=deo.MODEL_BANDS)
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


class Server(ThreadingHTTPServer):
    """Serves byte ranges of a folder's files after `latency` seconds, and counts."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, latency: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.latency = folder, latency
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        self.sent = self.requests = self.under_way = self.most = 0
        self.seconds = self.busy = 0.0  # of all requests together; with any under way
        self.changed = time.perf_counter()

    def count(self, step: int) -> None:
        with self.lock:
            now = time.perf_counter()
            self.seconds += self.under_way * (now - self.changed)
            self.busy += bool(self.under_way) * (now - self.changed)
            self.changed = now
            self.under_way += step
            self.requests += step > 0
            self.most = max(self.most, self.under_way)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.server.count(1)
        try:
            time.sleep(self.server.latency)
            self._send(self.server.folder / self.path.lstrip("/"))
        except ConnectionError:  # the reader has what it wanted
            self.close_connection = True
        finally:
            self.server.count(-1)

    def _send(self, file: Path) -> None:
        if not file.is_file():
            self.send_error(404)
            return
        size = file.stat().st_size
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(match[1]) if match else 0
        last = min(int(match[2] or size), size - 1) if match else size - 1
        self.send_response(206 if match else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        if match:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if self.command == "GET":
            with file.open("rb") as content:
                content.seek(first)
                self.wfile.write(content.read(last - first + 1))
            with self.server.lock:
                self.server.sent += last - first + 1

    def log_message(self, format: str, *args: Any) -> None:
        pass


def write_bands(folder: Path, *, height: int, width: int, layout: str) -> list[Path]:
    """Ten bands in one of the layouts that the module describes."""
    pixels = real_pixels()
    together = layout.endswith("stack")
    groups = [tuple(MODEL_BANDS)] if together else [(band,) for band in MODEL_BANDS]
    files = []
    for bands in groups:
        step = 1 if together or bands[0] in FINE else 2
        rows, cols = np.arange(height // step), np.arange(width // step)
        files.append(folder / f"{'scene' if together else bands[0]}{LAYOUTS[layout][0]}")
        with rasterio.MemoryFile() as memory:
            with memory.open(
                driver="GTiff", count=len(bands), height=len(rows), width=len(cols),
                dtype="uint16", nodata=0, crs="EPSG:32643",
                transform=from_origin(300_000, 2_200_000, 10 * step, 10 * step),
                interleave="band",
            ) as file:  # fmt: skip
                for index, band in enumerate(bands, 1):
                    plane = pixels[tuple(MODEL_BANDS).index(band)]
                    plane = plane[rows % pixels.shape[1]][:, cols % pixels.shape[2]]
                    file.write(plane, index)
                    file.set_band_description(index, band)
            with memory.open() as file:
                copy(file, files[-1], **LAYOUTS[layout][1])
    return files


def extract(server: Server, names: list[str], out: Path, cache: str | None) -> None:
    """Extract in a process of its own and print what the server saw."""
    server.reset()
    urls = [f"http://127.0.0.1:{server.server_port}/{name}" for name in names]
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    environment.pop("GDAL_CACHEMAX", None)
    if cache is not None:
        environment["GDAL_CACHEMAX"] = cache
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN, out, *urls],
        stdout=subprocess.PIPE, text=True, check=True, env=environment,
    )  # fmt: skip
    wall = time.perf_counter() - began
    cpu, peak = map(float, done.stdout.split())
    stored = sum((server.folder / name).stat().st_size for name in names)
    print(
        f"cache of {f'{cache} MiB' if cache else 'our choice'}: "
        f"{server.sent / stored:.2f} times the {stored / 2**20:.0f} MiB stored, "
        f"{server.requests} requests, {server.seconds / max(server.busy, 1e-9):.1f} under way "
        f"(at most {server.most}), {wall:.1f} s, {cpu:.1f} s of processor, peak {peak:.0f} MiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=10_980)
    parser.add_argument("--height", type=int, default=2048)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds before each answer")
    parser.add_argument("--layout", choices=LAYOUTS, default="cog")
    parser.add_argument("--files", type=Path, nargs="+", help="of one folder, instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        files = options.files or write_bands(
            Path(scratch),
            height=options.height,
            width=options.width,
            layout=options.layout,
        )
        server = Server(files[0].parent, options.latency)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        outputs = [Path(scratch) / "small" / "out.tif", Path(scratch) / "chosen" / "out.tif"]
        for output, cache in zip(outputs, ("64", None), strict=True):
            output.parent.mkdir()
            extract(server, [file.name for file in files], output, cache)
        equal = outputs[0].read_bytes() == outputs[1].read_bytes()
        print(f"outputs {'equal' if equal else 'DIFFER'}")
        server.shutdown()


if __name__ == "__main__":
    main()
