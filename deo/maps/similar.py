"""Cosine similarity of every place in a feature map to one chosen place."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deo.errors import OutputError
from deo.files.publish import check_folder, disk_errors, publish, scratch_folder
from deo.maps.cog import write_cog
from deo.maps.cosine import compare_file, compare_held
from deo.maps.memory import MapArray
from deo.maps.metadata import MapInfo
from deo.maps.picture import PANEL, Panel, compose, ramp
from deo.maps.preview import check_picture, metres_across, write_picture
from deo.maps.rows import CellRows
from deo.maps.sinks import check_apart
from deo.scene.earth import Place, check_proj, parse_place
from deo.scene.grid import upright


def similar(
    features: str | os.PathLike[str] | MapArray,
    place: tuple[float, float],
    output: str | os.PathLike[str] | None = None,
    *,
    preview: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> MapArray:
    """Compare every cell of a map of features with one place: `deo.similar`.

    Args:
        features: a GeoTIFF that `deo extract` wrote, or what `deo.extract` returned.
        place: longitude, in -180..180 or 0..360, and latitude in degrees.
        output: a `.tif` to write, one band, on the same grid; None: nothing is written.
        preview: a `.png` to draw.
        overwrite: replace an output that is there.

    Returns:
        A map of one channel: the cosine of the features of each cell and those of the place, from
        -1 to 1; NaN where there are no features.

    Raises:
        SceneError: `features` cannot be read or has no position on the Earth; `place` is outside or
            on nodata.
        OutputError: something cannot be written, or exists and may not be replaced.

    Example:
        >>> likeness = deo.similar("features.tif", (11.35, 44.49), "map.tif")  # doctest: +SKIP
    """
    target = None if output is None else Path(output)
    picture = None if preview is None else Path(preview)
    read = [] if isinstance(features, MapArray) else [features]
    _check(target, picture, read, overwrite=overwrite)
    sought = parse_place(*place)
    check_proj()
    if isinstance(features, MapArray):
        similarity, info, cell = compare_held(features, sought)
    else:
        similarity, info, cell = compare_file(features, sought)
    rows = CellRows(similarity[None])
    if target is not None:
        _write(rows, info, target)
    if picture is not None:
        _draw(picture, similarity, info, sought, cell)
    return MapArray(
        array=similarity[None],
        valid=rows.valid(0, len(similarity)),
        transform=info.transform,
        crs=info.crs,
        names=info.names,
        tags=info.tags,
    )


def map_similarity(
    features: Path, place: Place, output: Path, *, preview: Path | None = None
) -> float:
    """Write the map of `similar`, over one that is there.

    Returns:
        The share of valid cells with a similarity above 0.9.
    """
    likeness = similar(features, place, output, preview=preview, overwrite=True).array
    return float((likeness > 0.9).sum() / max(np.isfinite(likeness).sum(), 1))


def _check(
    target: Path | None,
    picture: Path | None,
    read: Sequence[str | os.PathLike[str]],
    *,
    overwrite: bool,
) -> None:
    """Refuse before anything is computed what cannot be written, or may not be replaced."""
    if target is not None:
        if target.suffix.lower() not in (".tif", ".tiff"):
            raise OutputError(f"cannot write {target}: similarity maps are GeoTIFFs, name it *.tif")
        check_folder(target)
    if picture is not None:
        check_picture(picture)
    check_apart([path for path in (target, picture) if path is not None], read)
    if target is not None and target.exists() and not overwrite:
        raise OutputError(f"{target} exists; use --overwrite (overwrite=True) to replace it")


def _write(rows: CellRows, info: MapInfo, target: Path) -> None:
    with disk_errors(target), scratch_folder(target.parent) as scratch:
        write_cog(rows, info, scratch / target.name, scratch / f".{target.name}")
        publish(scratch / target.name, target)


def _draw(
    path: Path,
    similarity: NDArray[np.float32],
    info: MapInfo,
    place: Place,
    cell: tuple[int, int],
) -> None:
    height, width = similarity.shape
    step = -(-max(height, width) // PANEL)
    shown = similarity[::step, ::step]
    known = similarity[np.isfinite(similarity)]
    low, high = float(np.percentile(known, 2)), float(known.max())
    colours = ramp(np.linspace(low, high, 128, dtype=np.float32)[None], low, high)[0]
    panel = Panel(
        image=ramp(shown, low, high),
        title=f"Similarity to {place.longitude:.5f}, {place.latitude:.5f}",
        ramp=(colours, f"{low:.2f} or less", f"{high:.2f}"),
        notes=(f"cosine of features, {info.tags['DEO_MODEL']}, layer {info.layer}", info.source),
        mark=((cell[1] + 0.5) / width, (cell[0] + 0.5) / height),
    )
    turn = upright(info.transform)
    across = metres_across(info.crs, info.transform, height=height, width=width, turn=turn)
    write_picture(compose([panel], metres_across=across, turn=turn), path)
