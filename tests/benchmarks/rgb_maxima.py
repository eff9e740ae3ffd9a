"""Joint maxima of red, green and blue in crops of real scenes: what contract `fixed` is set by.

    python tests/benchmarks/rgb_maxima.py SCENE.tif ...

Crops lie side by side from the upper left corner; those that are half nodata are left out. The
99.9th percentile of each scene, which is the maximum of contract `scene`, is printed beside them.
"""

import argparse
import logging
from pathlib import Path

import numpy as np

import deo
from deo.bands import RGB_BANDS, Pixels
from deo.contracts import FIXED_MAXIMUM, fit_contract

SIDES = (64, 224, 448)


def crop_maxima(pixels: Pixels, side: int) -> list[float]:
    """Of every whole crop of `side` pixels with enough valid ones."""
    height, width = pixels.valid.shape
    maxima = []
    for row in range(0, height - side + 1, side):
        for col in range(0, width - side + 1, side):
            part = slice(row, row + side), slice(col, col + side)
            valid = pixels.valid[part]
            if valid.mean() >= 0.5:
                maxima.append(float(pixels.values[:, *part][:, valid].max()))
    return maxima


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=Path, nargs="+")
    paths = parser.parse_args().scenes
    logging.disable(logging.WARNING)  # one line a scene that nothing tells its offset
    maxima: dict[int, list[float]] = {side: [] for side in SIDES}
    robust = []
    for path in paths:
        with deo.open_scene(path) as scene:
            whole = scene.whole
            pixels = scene.read(whole, RGB_BANDS)
            robust.append(fit_contract("scene", bands=RGB_BANDS, scene=scene).rgb_maximum)
        for side in SIDES:
            maxima[side] += crop_maxima(pixels, side)
    print(f"{len(paths)} scenes; `fixed` divides by {FIXED_MAXIMUM:g}")
    print("| crops of | number | 5 % | 25 % | median | 75 % | 95 % |")
    print("|---" * 7 + "|")
    for side, numbers in maxima.items():
        levels = np.percentile(numbers, (5, 25, 50, 75, 95)) if numbers else []
        print(f"| {side} | {len(numbers)} | " + " | ".join(f"{each:.0f}" for each in levels) + " |")
    measured = [each for each in robust if each is not None]
    print(f"maximum of contract `scene`: median {np.median(measured):.0f}", end=", ")
    print(f"{min(measured):.0f} to {max(measured):.0f}")


if __name__ == "__main__":
    main()
