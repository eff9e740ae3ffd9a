"""Peak memory of extraction from a large raster against a small one, each in its own process.

    python tests/benchmarks/extract_memory.py --sizes 2048 8192

The smallest raster is computed whole. By default the others hold data in two rows of tiles, about
as many tiles as 2048 x 2048 has, and nodata below, read but not computed: buffers, caches and
outputs are those of the whole raster, the time is not. `--full` computes all.
Wanted: at most 1.1 times, and under 2.5 GiB with deo_swin_b.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from repeated_scene import write_repeated

RUN = """
import resource, sys, deo
deo.extract(sys.argv[1], sys.argv[2], model=sys.argv[3], untrained=True, offset=0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="deo_swin_b")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2048, 8192])
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    peaks = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            scene, out = Path(folder) / "scene.tif", Path(folder) / "out.tif"
            whole = options.full or size == min(options.sizes)
            write_repeated(scene, size, valid_rows=None if whole else 300)
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", RUN, scene, out, options.model],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            peaks.append(int(done.stdout) / 2**20)
            written = out.stat().st_size / 2**20
        print(
            f"{size} x {size} x 10: peak {peaks[-1]:.2f} GiB, output {written:.0f} MiB", flush=True
        )
    print(f"ratio {peaks[-1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
