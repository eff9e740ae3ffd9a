"""The five-minute tour: a scene, its features, a picture of them, and what resembles a place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deo.api import extract, open_scene
from deo.errors import OutputError, SceneError
from deo.files.atomic import written
from deo.files.publish import disk_errors
from deo.maps.similar import map_similarity
from deo.scene.earth import Ground, Place
from deo.scene.scene import SAMPLE_SIZE, Scene
from deo.synthetic import CLASSES, SyntheticScene, write_scene

LAYER = 0
"""The finest layer makes the best picture: cells of 40 m with the embedded model."""


class Tour(NamedTuple):
    """What `take_tour` wrote, and the place that the similarity map compares with.

    `what` says in words what is at `place`.
    """

    scene: Path
    features: Path
    preview: Path
    similarity: Path
    similarity_preview: Path
    place: Place
    what: str


def take_tour(
    folder: Path,
    *,
    scene: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Tour:
    """Extract features of a scene, draw them, and map what resembles one place.

    Args:
        folder: where to write; made if absent.
        scene: None synthesises one.
        overwrite: replace an earlier tour.
        settings: as for `deo.extract`: model, weights, untrained, ...

    Raises:
        OutputError: the folder cannot be written, or holds a tour already.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error
    features, preview = folder / "features.tif", folder / "preview.png"
    similarity, similarity_preview = folder / "similar.tif", folder / "similar.png"
    made = folder / "scene.tif"
    written = [features, preview, similarity, similarity_preview, *([] if scene else [made])]
    if not overwrite and (present := [path.name for path in written if path.exists()]):
        raise OutputError(f"{folder} holds {', '.join(present)}; use --overwrite or another folder")
    synthetic = _write_scene(made) if scene is None else None
    scene = scene or made
    with open_scene(scene) as opened:
        place, what = _somewhere(opened, synthetic)
    extract(
        scene,
        features,
        preview=preview,
        overwrite=overwrite,
        progress=progress,
        **{"layer": LAYER, **settings},
    )
    map_similarity(features, place, similarity, preview=similarity_preview)
    return Tour(scene, features, preview, similarity, similarity_preview, place, what)


def _write_scene(path: Path) -> SyntheticScene:
    with disk_errors(path), written(path) as new:
        return write_scene(new)


def _somewhere(scene: Scene, synthetic: SyntheticScene | None) -> tuple[Place, str]:
    """A valid place worth comparing with: the river, or what is nearest to the middle."""
    if synthetic is None:
        candidates, what = scene.sample(size=SAMPLE_SIZE).valid, "the middle of the scene"
    else:
        water = synthetic.classes == CLASSES.index("water")
        candidates, what = water & (synthetic.pixels > 0).all(0), "the river"
    cells = np.argwhere(candidates)
    if len(cells) == 0:
        raise SceneError(f"{scene.name} has no valid pixel to compare with")
    middle = np.array(candidates.shape) / 2
    cell = cells[np.abs(cells - middle).sum(1).argmin()] + 0.5
    row, column = cell * (scene.height, scene.width) / candidates.shape
    ground = Ground(name=scene.name, crs=scene.crs, transform=scene.transform)
    longitude, latitude = ground.degrees(np.array([column]), np.array([row]))
    return Place(longitude=float(longitude[0]), latitude=float(latitude[0])), what
