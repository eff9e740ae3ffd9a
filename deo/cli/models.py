"""Commands about the backbones themselves and their weights."""

from pathlib import Path

import click

from deo.cli.options import OVERWRITE, PATH, TEACHER, with_options
from deo.errors import OutputError


@click.command()
def models() -> None:
    """List the backbones and where their weights come from."""
    from deo.models.registry import SPECS, parameters

    rows = [("NAME", "PARAMETERS", "STEMS", "ATTENTION", "WEIGHTS", "LICENCE")]
    for spec in SPECS.values():
        window = f", window {spec.window_size}" if spec.window_size else ""
        rows.append(
            (
                spec.name,
                f"{parameters(spec) / 1e6:.1f} M",
                ", ".join(f"{name} {width}" for name, width in spec.stems.items()),
                f"patch {spec.patch_size}{window}",
                spec.source,
                spec.licence if spec.source != "none public" else "-",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


@click.command()
@click.argument("checkpoint", type=PATH)
@click.argument("out", type=PATH)
@click.option("--model", required=True, help="Backbone that the weights are for.")
@with_options(TEACHER, OVERWRITE)
def convert(checkpoint: Path, out: Path, model: str, teacher: bool, overwrite: bool) -> None:
    """Write the backbone in CHECKPOINT as a safetensors file.

    CHECKPOINT is a released file, a training checkpoint, or a file that deo wrote. OUT is the file
    to write; nothing is written unless CHECKPOINT holds a whole backbone of that name.
    """
    from deo.models import sources, weight_files, weights
    from deo.models.registry import spec_of

    spec = spec_of(model)
    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists; pass --overwrite to replace it, or name another file")
    backbone = sources.from_file(checkpoint, spec, teacher=teacher)
    origin = {"source": backbone.record.source, "source_sha256": backbone.record.sha256 or ""}
    weights.write_backbone(backbone, out, metadata=origin)
    click.echo(f"read    {checkpoint} ({backbone.layout})")
    click.echo(f"sha256  {backbone.record.sha256}")
    click.echo(
        f"used    {len(backbone.tensors)} tensors of {spec.name}, "
        f"dropped {len(backbone.dropped)} (projection heads, index buffers)"
    )
    click.echo(f"wrote   {out}")
    click.echo(f"sha256  {weight_files.sha256(out)}")
