"""What deo understands of a scene: `deo info`."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from deo.bands import MODEL_BANDS, RGB_BANDS, BandSet
from deo.cli.options import RESOLUTION, SCALING, bands, contract, with_options
from deo.contracts import (
    DEFAULT_CONTRACT,
    RGB_PERCENTILE,
    Contract,
    fit_contract,
    model_bands,
)
from deo.errors import BandError
from deo.scene.opening import open_scene
from deo.scene.scene import SAMPLE_SIZE, Scene


@click.command()
@click.argument("scene")
@bands("Bands to use. A file that names none needs all of its bands, in order.")
@contract("fixed", "pretrain", "scene", "s2", default=DEFAULT_CONTRACT)
@with_options(*SCALING, RESOLUTION)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(
    scene: str,
    bands: BandSet | None,
    contract: str | None,
    scale: float | None,
    offset: float | None,
    resolution: float | None,
    as_json: bool,
) -> None:
    """Say what deo understands of SCENE.

    It also says how a model would be fed with the scene.

    SCENE is a raster file or URL, a .SAFE folder or zip, or a folder of single-band files.
    """
    with (
        _notes_silenced(),
        open_scene(scene, bands=bands, scale=scale, offset=offset, resolution=resolution) as opened,
    ):
        record = _understood(opened, contract or DEFAULT_CONTRACT, chosen=bands is not None)
    if as_json:
        click.echo(json.dumps(record, indent=2))
    else:
        click.echo("\n".join(_lines(record)))


@contextmanager
def _notes_silenced() -> Iterator[None]:
    """Keep what `info` prints itself from being logged as well."""
    logger = logging.getLogger("deo.scene.opening")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _understood(scene: Scene, contract: str, *, chosen: bool) -> dict[str, Any]:
    """The scene's record with what a model would miss and the contract it would get.

    Args:
        chosen: the bands were named, so that a model takes fewer than ten.
    """
    record = scene.record()
    try:
        usable = model_bands(scene.name, scene.bands, chosen=chosen, unnamed=scene.unnamed)
    except BandError as error:  # as `deo extract` would say
        record["notes"].append(str(error))
        usable = BandSet([b for b in MODEL_BANDS if b in scene.bands] or scene.bands)
    fitted = fit_contract(contract, bands=usable, scene=scene)
    return record | {
        "radiometry_text": f"digital number = {scene.radiometry}",
        "missing_for_multispectral": [b for b in MODEL_BANDS if b not in scene.bands],
        "missing_for_rgb": [b for b in RGB_BANDS if b not in scene.bands],
        "valid_share": float(scene.sample(usable, size=SAMPLE_SIZE).valid.mean()),
        "contract": fitted.record(),
    }


def _lines(record: dict[str, Any]) -> Iterator[str]:
    """The record as text for a terminal."""
    across, down = record["pixel_size"]
    x, y = record["transform"][2], record["transform"][5]
    yield record["name"]
    yield from _entry("bands", [f"{' '.join(record['bands'])} (named by {record['names_source']})"])
    yield from _entry("models", [_reach(record)])
    yield from _entry(
        "grid",
        [
            f"{record['width']} x {record['height']} pixels (width x height) of "
            f"{across:g} x {down:g}, {record['crs'] or 'no CRS'}",
            f"upper left corner {x:.10g}, {y:.10g}; "
            f"transform {', '.join(f'{number:.10g}' for number in record['transform'])}",
            *_kernels(record["kernels"]),
        ],
    )
    yield from _entry(
        "valid", [f"{record['valid_share']:.1%} of a sample; known by: {record['mask_source']}"]
    )
    radiometry = record["radiometry"]
    yield from _entry("radiometry", [record["radiometry_text"], *radiometry["evidence"]])
    yield from _entry("contract", _contract(Contract.from_record(record["contract"])))
    yield from _entry("ignored", record["ignored"])
    yield from _entry("notes", record["notes"])


def _entry(title: str, lines: list[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f"  {title if number == 0 else '':<11} {line}"


def _reach(record: dict[str, Any]) -> str:
    """Which models the bands suffice for."""
    told = []
    for model, missing in (
        ("ten bands", record["missing_for_multispectral"]),
        ("red, green, blue", record["missing_for_rgb"]),
    ):
        told.append(f"{model}: {'missing ' + ' '.join(missing) if missing else 'all there'}")
    return "; ".join(told)


def _kernels(kernels: dict[str, str]) -> list[str]:
    return [
        f"{' '.join(band for band in kernels if kernels[band] == kernel)}: resampled ({kernel})"
        for kernel in ("bilinear", "average")
        if kernel in kernels.values()
    ]


def _contract(contract: Contract) -> list[str]:
    rgb = [contract.bands[i] for i in contract.rgb_positions]
    lines = [f"{contract.name} on {contract.bands}"]
    if contract.rgb_maximum is not None:
        why = (
            "the same for every scene"
            if contract.name == "fixed"
            else f"the {RGB_PERCENTILE:g}th percentile of the scene"
        )
        lines.append(f"{' '.join(rgb)} divided by {contract.rgb_maximum:g}, {why}, clamped to 0..1")
    elif contract.name == "scene" and rgb:
        lines.append(f"no valid pixel to measure the maximum of {' '.join(rgb)} on")
    elif contract.name == "pretrain" and rgb:
        lines.append(f"{' '.join(rgb)} divided by their joint maximum, clamped to 0..1")
    pairs = zip(contract.bands, contract.mean, contract.std, strict=True)
    lines.append("(x - mean) / std: " + ", ".join(f"{b} {m:.4g}/{s:.4g}" for b, m, s in pairs))
    return lines
