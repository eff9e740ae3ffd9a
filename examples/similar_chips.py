"""Search chips by example: features of a scene in GeoParquet, the nearest to one of them.

    python examples/similar_chips.py SCENE.tif --chip 64 --row 3

Needs: pip install "deo[geo]"
"""

import argparse
from pathlib import Path

import geopandas as gpd
import numpy as np

import deo
from deo.training.tasks.knn import cosine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--model", default="deo_swin_n")
    parser.add_argument("--untrained", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("chips.parquet"))
    parser.add_argument("--chip", type=int, default=64, help="side of a chip, in pixels")
    parser.add_argument("--row", type=int, default=0, help="the example, a row of the table")
    parser.add_argument("--count", type=int, default=5)
    chosen = parser.parse_args()

    deo.extract(
        chosen.scene,
        chosen.output,
        model=chosen.model,
        untrained=chosen.untrained,
        chip=chosen.chip,
        overwrite=True,
    )
    chips = gpd.read_parquet(chosen.output)
    vectors = np.stack(chips["embedding"].to_numpy())
    vectors = vectors - vectors.mean(0)  # what all chips of a scene share tells none apart
    chips["similarity"] = cosine(vectors[chosen.row : chosen.row + 1], vectors)[0]
    found = chips.sort_values("similarity", ascending=False).head(chosen.count + 1)
    print(
        f"{len(chips)} chips of {vectors.shape[1]} features; most like {chips['id'][chosen.row]}:"
    )
    for _, chip in found.iloc[1:].iterrows():
        x, y = chip.geometry.centroid.coords[0]
        print(f"  {chip['id']}: {chip['similarity']:.3f} at {y:.5f} N, {x:.5f} E")


if __name__ == "__main__":
    main()
