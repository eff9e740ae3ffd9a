"""The embedded `deo_swin_n`, trained again from a folder of scenes in one command.

`python -m deo.training.embedded SCENES OUTPUT [--seed N]`: shards, the RGB model by
self-distillation, the dual-teacher run with that model as optical teacher, half precision.
"""

from pathlib import Path

import click
from safetensors import safe_open
from safetensors.torch import save_file

from deo.training import settings
from deo.training.data.preparation import Preparation, recognise_source
from deo.training.data.prepare import prepare
from deo.training.recipes import recipe
from deo.training.run.export import export
from deo.training.run.pretraining import pretrain

SIZE, STRIDE, VALID = 64, 32, 0.95


def train(scenes: Path, output: Path, *, seed: int = 0, pattern: str = "*_[12]_*.tif") -> Path:
    """Run both stages, or what is left of them, and return the half-precision weights.

    Args:
        scenes: folder of Sentinel-2 scenes that name their bands.
        output: the shards, both runs and the weights go here.
        pattern: which files of the folder are scenes; the default takes the two dates of each
            city of the Onera data set and leaves its change masks.
    """
    shards = output / "shards"
    plan = Preparation(
        source=scenes,
        kind=recognise_source(scenes),
        size=SIZE,
        stride=STRIDE,
        valid=VALID,
        pattern=pattern,
    )
    prepare(plan, shards, progress=True)
    common = [f"run.seed={seed}", f'data.source="{shards}"']
    teacher = output / "rgb.safetensors"
    pretrain(settings.override(recipe("embedded_rgb"), common), output=output / "rgb")
    export(output / "rgb", teacher, overwrite=True)
    pretrain(
        settings.override(recipe("embedded"), [*common, f'optical.weights="{teacher}"']),
        output=output / "dual",
    )
    whole = export(output / "dual", output / "dual.safetensors", overwrite=True)
    return halve(whole.weights, output / "deo_swin_n.safetensors")


def halve(weights: Path, output: Path) -> Path:
    """Write weights in half precision, with the same metadata."""
    with safe_open(weights, framework="pt") as file:
        tensors = {name: file.get_tensor(name).half() for name in file.keys()}  # noqa: SIM118
        save_file(tensors, output, metadata=file.metadata())
    return output


@click.command()
@click.argument("scenes", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--pattern", default="*_[12]_*.tif", show_default=True, help="File names of scenes.")
def main(scenes: Path, output: Path, seed: int, pattern: str) -> None:
    """Train deo_swin_n on SCENES into OUTPUT. The same command again resumes."""
    click.echo(train(scenes, output, seed=seed, pattern=pattern))


if __name__ == "__main__":
    main()
