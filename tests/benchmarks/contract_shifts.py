"""How far features move under each contract when the place stays the same.

    python tests/benchmarks/contract_shifts.py FOLDER [--model deo_swin_n]

FOLDER holds two dates of several places, `<place>_1_<date>.tif` and `<place>_2_<date>.tif`. Prints
median cosines over places: of the same cells in two overlapping crops, on the two dates, and before
and after a white patch is pasted in, away from it; and of cells of different places.
"""

import argparse
import itertools
import logging
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import deo
from deo.bands import MODEL_BANDS, BandSet, Pixels
from deo.contracts import fit_contract
from deo.scene.window import Window

CONTRACTS = ("fixed", "pretrain", "scene", "s2")
SIDE, CROP, PATCH, SHIFT, AWAY, EDGE = 288, 224, 32, 64, 96, 32
WHITE = 7000  # digital numbers of a thick cloud
Maps = list[NDArray[np.float32]]


class InMemory:
    """A scene that a contract can be fitted on."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels

    def sample(self, bands: BandSet) -> Pixels:
        positions = list(bands.positions_in(MODEL_BANDS.names))
        return self.pixels._replace(values=self.pixels.values[positions])


def read(path: Path) -> Pixels:
    with deo.open_scene(path) as scene:
        whole = Window(row=0, col=0, height=scene.height, width=scene.width)
        return scene.read(whole, MODEL_BANDS)


def cut(pixels: Pixels, row: int, col: int, side: int = SIDE) -> Pixels:
    part = slice(row, row + side), slice(col, col + side)
    return Pixels(pixels.values[:, *part].copy(), pixels.valid[part].copy())


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each cell of (C, ...) maps."""
    lengths = np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0)
    return np.asarray((one * other).sum(0) / lengths, np.float32)


def shifts(model: Any, contract: str, first: Pixels, second: Pixels) -> dict[str, list[Any]]:
    """Per layer: the cosines of one place, and some of its cells."""

    @torch.inference_mode()
    def maps(scene: Pixels, row: int, col: int, side: int = SIDE) -> Maps:
        fitted = fit_contract(contract, bands=MODEL_BANDS, scene=InMemory(scene))
        image = torch.from_numpy(fitted.apply(cut(scene, row, col, side)))
        return [layer[0].numpy() for layer in model(image[None])]

    row, col = ((side - SIDE) // 2 // 32 * 32 for side in first.valid.shape)
    values = first.values.copy()
    values[:, row : row + PATCH, col : col + PATCH] = WHITE
    before, after = maps(first, row, col), maps(Pixels(values, first.valid), row, col)
    later = maps(second, row, col)
    crops = maps(first, row, col, CROP), maps(first, row + SHIFT, col + SHIFT, CROP)
    rng = np.random.default_rng(0)
    found: dict[str, list[Any]] = defaultdict(list)
    for layer, stride in enumerate((4, 8, 16, 32)):
        away, step, edge = AWAY // stride, SHIFT // stride, EDGE // stride
        inside = slice(edge, CROP // stride - step - edge)
        one, other = crops[0][layer][:, step:, step:], crops[1][layer][:, :-step, :-step]
        found["crops"].append(np.median(cosine(one, other)[inside, inside]))
        found["dates"].append(np.median(cosine(before[layer], later[layer])))
        found["cloud"].append(np.median(cosine(before[layer], after[layer])[away:, away:]))
        cells = before[layer].reshape(len(before[layer]), -1)
        found["cells"].append(cells[:, rng.integers(0, cells.shape[1], 40)])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="deo_swin_n")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # one line a scene that nothing tells its offset
    model = deo.load_backbone(arguments.model).model.eval()
    names = sorted({path.name.split("_")[0] for path in arguments.folder.glob("*_1_*.tif")})
    pairs = [
        [read(next(arguments.folder.glob(f"{name}_{date}_*.tif"))) for date in (1, 2)]
        for name in names
    ]
    print(f"{len(names)} places | layer | crops | dates | cloud | worst | between places")
    for contract in CONTRACTS:
        places = [shifts(model, contract, first, second) for first, second in pairs]
        for layer in range(4):
            crops, dates, cloud = (
                [place[what][layer] for place in places] for what in ("crops", "dates", "cloud")
            )
            cells = [place["cells"][layer] for place in places]
            apart = [cosine(one, other) for one, other in itertools.combinations(cells, 2)]
            print(
                f"{contract} | {layer} | {np.median(crops):.3f} | {np.median(dates):.3f} | "
                f"{np.median(cloud):.4f} | {min(cloud):.4f} | {np.median(np.stack(apart)):.3f}"
            )


if __name__ == "__main__":
    main()
