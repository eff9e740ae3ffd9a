"""Features a person can look at: true colour beside the first three principal components."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from deo.bands import RGB_BANDS, BandSet
from deo.errors import OutputError
from deo.files.publish import check_folder, disk_errors, refuse_folder, write_file
from deo.maps.class_map import NODATA, colours, labels
from deo.maps.components import fit_components, project
from deo.maps.metadata import MapInfo
from deo.maps.picture import PANEL, Panel, compose, png
from deo.maps.rows import RowReader
from deo.scene.earth import metres_per_unit
from deo.scene.grid import Turn, upright
from deo.scene.scene import Scene
from deo.scene.thumbnail import stretch

_NAMED = 6  # classes in the key of a picture
_CHANNEL_COLOURS = ((214, 60, 60), (60, 160, 70), (60, 90, 214))


def check_picture(path: Path) -> None:
    """Refuse before anything is computed.

    Raises:
        OutputError: the name does not end in `.png`, it is a folder's, or its folder cannot be
            written to.
    """
    if path.suffix.lower() != ".png":
        raise OutputError(f"cannot write {path}: previews are PNG files, name it *.png")
    check_folder(path)
    refuse_folder(path)


def draw_preview(path: Path, scene: Scene, rows: RowReader, info: MapInfo) -> None:
    """Write the picture of one layer's map, north up where the scene's rows or columns allow it."""
    with disk_errors(path):
        left = _true_colour(scene)
        _write(path, scene, [left, _components(rows, info, scene, left.image[..., 3] > 0)])


def draw_classes(path: Path, scene: Scene, rows: RowReader, info: MapInfo) -> None:
    """Write the picture of a class map, as `draw_preview` does that of features.

    Args:
        rows: probabilities, a channel for each of the classes `info.names`; or one channel with
            their numbers, as a finished class map holds them.
    """
    with disk_errors(path):
        _write(path, scene, [_true_colour(scene), _classes(rows, info, scene)])


def _write(path: Path, scene: Scene, panels: list[Panel]) -> None:
    turn = upright(scene.transform) if scene.grid.georeferenced else Turn()
    across = metres_across(
        scene.crs, scene.transform, height=scene.height, width=scene.width, turn=turn
    )
    write_picture(compose(panels, metres_across=across, turn=turn), path)


def write_picture(page: Any, path: Path) -> None:
    """Write a picture; a folder of its name is refused, a link replaced."""
    with disk_errors(path):
        write_file(path, png(page))


def metres_across(
    crs: Any, transform: Affine, *, height: int, width: int, turn: Turn | None = None
) -> float | None:
    """Width on the ground of a raster, once turned; None when nothing says it."""
    t = transform
    metres = metres_per_unit(crs, y=t.f + (t.d * width + t.e * height) / 2)
    if metres is None:
        return None
    x, y = (t.b * height, t.e * height) if turn and turn.swap else (t.a * width, t.d * width)
    return math.hypot(x * metres.x, y * metres.y)


def _true_colour(scene: Scene) -> Panel:
    if all(band in scene.bands for band in RGB_BANDS):
        bands, title = RGB_BANDS, "True colour"
    else:
        bands = BandSet(scene.bands.names[:1])
        title = f"Band {bands}"
    values, valid = scene.sample(bands, size=PANEL)
    colours: NDArray[np.float32] = np.broadcast_to(
        values.transpose(1, 2, 0), (*valid.shape, 3)
    ).astype(np.float32)
    return Panel(image=stretch(colours, valid, gamma=0.75), title=title, notes=(scene.name,))


def _components(rows: RowReader, info: MapInfo, scene: Scene, shown: NDArray[np.bool_]) -> Panel:
    components = fit_components(rows)
    step = -(-max(rows.shape.height, rows.shape.width) // PANEL)
    values = project(rows, components, step=step)
    key = [
        (colour, f"PC {number}: {100 * share:.0f} %")
        for number, (colour, share) in enumerate(
            zip(_CHANNEL_COLOURS, components.share, strict=True), start=1
        )
    ]
    size = f"{rows.shape.channels} features, one cell = {info.stride} pixels"
    return Panel(
        image=stretch(values, np.isfinite(values[..., 0])),
        title="Features: first three principal components",
        cells=(scene.width / info.stride / step, scene.height / info.stride / step),
        mask=shown,
        key=key,
        notes=(f"{info.tags['DEO_MODEL']}, layer {info.layer}: {size}",),
    )


def _classes(rows: RowReader, info: MapInfo, scene: Scene) -> Panel:
    step = -(-max(rows.shape.height, rows.shape.width) // PANEL)
    lines = []
    for row in range(0, rows.shape.height, step):
        values = rows.values(row, row + 1)[..., ::step]
        stored = rows.shape.channels == 1 and len(info.names) > 1
        lines.append(values[:, 0].astype(np.uint8) if stored else labels(values))
    numbers = np.concatenate(lines)
    # large cells are drawn as squares: smoothed, two colours would give that of a third class
    grow = max(1, PANEL // max(numbers.shape))
    table = np.zeros((256, 4), np.uint8)
    palette = colours(len(info.names))
    for label, colour in palette.items():
        table[label] = colour
    # the most frequent classes have their names beside the picture, as far as there is room
    counts = np.bincount(numbers[numbers != NODATA], minlength=len(info.names))
    named = sorted(np.argsort(-counts, kind="stable")[:_NAMED].tolist())
    key = [(palette[label][:3], info.names[label]) for label in named if counts[label]]
    return Panel(
        image=table[numbers].repeat(grow, axis=0).repeat(grow, axis=1),
        title="Classes",
        cells=(
            grow * scene.width / info.stride / step,
            grow * scene.height / info.stride / step,
        ),
        key=key,
        notes=(f"{info.tags['DEO_MODEL']}: {len(info.names)} classes",),
    )
