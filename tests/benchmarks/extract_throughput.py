"""End-to-end extraction against the bare model on the same tiles, in turns.

    python tests/benchmarks/extract_throughput.py --size 2048 --rounds 2

Prints, per round, the time of the bare model on batches held in memory and that of `deo.extract`
(reading, normalising, blending and writing the COG included), and the ratio: wall clock, and
processor time, which other work on the machine disturbs less. Wanted: at least 0.95.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from repeated_scene import write_repeated

import deo
from deo.api import Extraction
from deo.maps.stream import _read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="deo_swin_b")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scene, out = Path(folder) / "scene.tif", Path(folder) / "out.tif"
        write_repeated(scene, options.size)
        plan = Extraction(model=options.model, untrained=True, offset=0)
        with plan.open(scene) as opened:
            job = plan.job(opened, out)
            batches = [
                batch.images
                for batch in _read(opened, job.model, job.contract, job.tiling, job.batch_size, 0)
                if batch.images is not None
            ]
        tiles = sum(map(len, batches))
        print(f"{options.model}, {options.size} pixels, {tiles} tiles of {batches[0].shape[2:]}")
        with torch.inference_mode():
            job.model.call(batches[0][:1])
        for _ in range(options.rounds):
            bare, bare_cpu = time.perf_counter(), time.process_time()
            with torch.inference_mode():
                for images in batches:
                    job.model.call(images)
            bare, bare_cpu = time.perf_counter() - bare, time.process_time() - bare_cpu
            whole, whole_cpu = time.perf_counter(), time.process_time()
            deo.extract(scene, out, extraction=plan, overwrite=True)
            whole, whole_cpu = time.perf_counter() - whole, time.process_time() - whole_cpu
            print(
                f"bare {bare:.1f} s, end to end {whole:.1f} s, ratio {bare / whole:.3f}; "
                f"processor {bare_cpu:.1f} s and {whole_cpu:.1f} s, "
                f"ratio {bare_cpu / whole_cpu:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
