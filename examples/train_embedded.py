"""Train the embedded `deo_swin_n` again from a folder of scenes; a killed run is resumed.

    python examples/train_embedded.py SCENES OUTPUT --seed 0

Shards, an RGB model by self-distillation, the dual-teacher run with that model as optical teacher,
and its weights in half precision. Needs: pip install "deo[train]"
"""

import argparse
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

import deo.training
from deo.training import settings
from deo.training.data.preparation import Preparation, recognise_source
from deo.training.data.prepare import prepare
from deo.training.recipes import recipe


def halve(weights: Path, output: Path) -> None:
    """Write weights in half precision, with the same metadata."""
    with safe_open(weights, framework="pt") as file:
        tensors = {name: file.get_tensor(name).half() for name in file.keys()}  # noqa: SIM118
        save_file(tensors, output, metadata=file.metadata())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=Path, help="scenes that name their bands")
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    # the two dates of each city of the Onera data set, without its change masks
    parser.add_argument("--pattern", default="*_[12]_*.tif")
    parser.add_argument("--set", action="append", default=[], help="any setting of both runs")
    chosen = parser.parse_args()

    shards, teacher = chosen.output / "shards", chosen.output / "rgb.safetensors"
    kind = recognise_source(chosen.scenes)
    cut = {"size": 64, "stride": 32, "valid": 0.95, "pattern": chosen.pattern}
    prepare(Preparation(source=chosen.scenes, kind=kind, **cut), shards)

    common = [f"run.seed={chosen.seed}", f'data.source="{shards}"', *chosen.set]
    first = settings.override(recipe("embedded_rgb"), common)
    deo.training.pretrain(first, output=chosen.output / "rgb")
    deo.training.export(chosen.output / "rgb", teacher, overwrite=True)

    common.append(f'optical.weights="{teacher}"')
    second = settings.override(recipe("embedded"), common)
    deo.training.pretrain(second, output=chosen.output / "dual")
    whole = deo.training.export(
        chosen.output / "dual", chosen.output / "dual.safetensors", overwrite=True
    )
    halve(whole.weights, chosen.output / "deo_swin_n.safetensors")
    print(chosen.output / "deo_swin_n.safetensors")


if __name__ == "__main__":
    main()
