"""The files of a scene read side by side."""

from collections.abc import Callable
from pathlib import Path

from deo.maps.cache import reading
from deo.scene.opening import open_scene


def test_reading__a_local_scene_gets_no_threads(
    band_files: Callable[..., list[str]], tmp_path: Path
) -> None:
    names = band_files(tmp_path, height=128, width=128, block=128)
    with (
        open_scene([tmp_path / name for name in names], offset=0) as scene,
        reading([scene], 64) as readable,
    ):
        assert readable is scene
