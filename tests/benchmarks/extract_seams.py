"""Differences between neighbouring cells across the edges of tiles against those elsewhere.

    python tests/benchmarks/extract_seams.py --model deo_swin_n

Each scene is cropped at several offsets, so that the same ground lies now on an edge and now
inside a tile. Wanted: a ratio of at most 1.05. `--overlap 0` shows what blending is for.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from repeated_scene import SCENES

import deo
from deo import MODEL_BANDS, open_scene
from deo.api import Extraction
from deo.maps.windows import Axis
from deo.scene.window import Window

NAMES = ["mumbai_1_20151130.tif", "rio_1_20160424.tif", "valencia_1_20160730.tif"]


def steps(
    features: NDArray[np.float32], axis: Axis, stride: int
) -> tuple[list[float], list[float]]:
    """Mean differences of neighbouring rows of cells: on edges of tiles, elsewhere."""
    edges = {start // stride for start in axis.starts[1:]}
    edges |= {(start + axis.tile) // stride for start in axis.starts[:-1]}
    sizes = np.linalg.norm(np.diff(features, axis=1), axis=0).mean(axis=1)
    on = [float(size) for row, size in enumerate(sizes, start=1) if row in edges]
    off = [float(size) for row, size in enumerate(sizes, start=1) if row not in edges]
    return on, off


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="deo_swin_n")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--untrained", action="store_true")
    parser.add_argument("--layer", type=int, default=-1)
    parser.add_argument("--tile", type=int)
    parser.add_argument("--overlap", type=int)
    parser.add_argument("--shifts", type=int, default=4)
    parser.add_argument("--scenes", nargs="+", default=NAMES)
    options = parser.parse_args()
    plan = Extraction(
        model=options.model, weights=options.weights, untrained=options.untrained,
        layer=options.layer, tile=options.tile, overlap=options.overlap, bands=MODEL_BANDS,
        scale=1, offset=0,
    )  # fmt: skip
    for name in options.scenes:
        on: list[float] = []
        off: list[float] = []
        with open_scene(SCENES / name, offset=0) as scene:
            whole = Window(row=24, col=24, height=scene.height - 48, width=scene.width - 48)
            values = scene.read(whole, MODEL_BANDS).values
        for shift in range(options.shifts):
            crop = values[:, 32 * shift :, 32 * shift :]
            crop = crop[:, : crop.shape[1] // 32 * 32, : crop.shape[2] // 32 * 32]
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "out.tif"
                deo.extract(crop, out, extraction=plan)
                with rasterio.open(out) as file:
                    features, stride = file.read(), int(file.tags()["DEO_STRIDE"])
            with plan.open(crop) as opened:
                tiling = plan.job(opened, out).tiling
            for axis, turned in ((tiling.rows, features), (tiling.cols, features.swapaxes(1, 2))):
                edge, inside = steps(turned, axis, stride)
                on += edge
                off += inside
        if not on:
            print(f"{name}: one tile covers it")
            continue
        print(
            f"{name}: tile {tiling.rows.tile}, overlap {tiling.overlap}, {len(on)} edges, "
            f"ratio {np.mean(on) / np.mean(off):.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
