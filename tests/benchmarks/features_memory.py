"""Peak memory of `deo.features` over a large lazy scene of synthetic numbers.

    python tests/benchmarks/features_memory.py --side 20000 --rows 3

computes the first rows of blocks of the map (0: all of it) with the micro model, untrained, and
prints the largest resident size of the process, which does not depend on how many there are.
"""

import argparse
import resource
import time

import dask
import dask.array
import numpy as np
from rasterio.crs import CRS
from rasterio.transform import from_origin

import deo
from deo import MODEL_BANDS
from deo.scene.xarray_grid import data_array


def synthetic(side: int, chunk: int) -> dask.array.Array:
    """(10, side, side) uint16, made when it is asked for."""
    random = dask.array.random.default_rng(1)
    return random.integers(
        200, 4000, (len(MODEL_BANDS), side, side), dtype=np.uint16, chunks=(1, chunk, chunk)
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--chunk", type=int, default=2048)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--contract", default="scene")
    asked = parser.parse_args()
    data = data_array(
        synthetic(asked.side, asked.chunk),
        MODEL_BANDS.names,
        dimension="band",
        crs=CRS.from_epsg(32633),
        transform=from_origin(300_000, 5_000_000, 10, 10),
        attributes={},
    )
    began = time.monotonic()
    features = deo.features(
        data, model="test_deo_swin", untrained=True, contract=asked.contract, offset=0
    )
    opened = time.monotonic()
    blocks = features.data.blocks[:, : asked.rows or None]
    with dask.config.set(scheduler="threads", num_workers=asked.workers):
        computed = blocks.compute()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{asked.side} x {asked.side} pixels in chunks of {asked.chunk}, {asked.workers} threads: "
        f"opened in {opened - began:.0f} s, {computed.shape} of {features.shape} computed in "
        f"{time.monotonic() - opened:.0f} s, peak {peak:.2f} GiB"
    )


if __name__ == "__main__":
    main()
