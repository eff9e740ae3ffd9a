"""A full Sentinel-2 tile, made by repeating a real scene, through the whole program.

    python tests/benchmarks/full_tile.py            # 10980 x 10980 x 10, micro model

Prints time, peak memory and the size of the output.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from repeated_scene import write_repeated

import deo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=10_980)
    parser.add_argument("--model", default="test_deo_swin")
    parser.add_argument("--layer", type=int, default=-1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scene, out = Path(folder) / "scene.tif", Path(folder) / "out.tif"
        write_repeated(scene, options.size)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"input {scene.stat().st_size / 2**20:.0f} MiB, memory so far {before:.2f} GiB")
        began, cpu = time.perf_counter(), time.process_time()
        deo.extract(
            scene, out, model=options.model, untrained=True, layer=options.layer, offset=0,
            preview=Path(folder) / "out.png",
        )  # fmt: skip
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        wall, busy = time.perf_counter() - began, time.process_time() - cpu
        print(
            f"{wall:.0f} s ({busy:.0f} s of processor), "
            f"peak {peak:.2f} GiB, output {out.stat().st_size / 2**20:.0f} MiB"
        )


if __name__ == "__main__":
    main()
