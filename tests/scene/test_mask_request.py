"""What can be asked for as a mask, and what cannot."""

import numpy as np
import pytest

from deo.errors import ConfigError, SceneError
from deo.scene.opening import open_scene
from deo.scene.window import Window

GROUND = np.full((1, 8, 8), 900, np.uint16)


def test_classes__need_a_raster() -> None:
    class Nothing:
        source = "nothing"

        def valid(self, window: Window) -> np.ndarray:
            return np.ones((window.height, window.width), bool)

    with pytest.raises(ConfigError, match="no mask is given"):
        open_scene(GROUND, bands="B04", mask_classes=(1,), offset=0)
    with pytest.raises(ConfigError, match="the mask given is none"):
        open_scene(GROUND, bands="B04", mask=Nothing(), mask_classes=(1,), offset=0)
    with pytest.raises(ConfigError, match="name at least one"):
        open_scene(GROUND, bands="B04", mask="clouds", mask_classes=(), offset=0)
    with open_scene(GROUND, bands="B04", mask=Nothing(), offset=0) as scene:
        assert scene.record()["masks"] == [{"name": "nothing"}]


def test_clouds__without_a_classification() -> None:
    with pytest.raises(SceneError, match=r"needs a scene classification \(SCL\) beside the bands"):
        open_scene(GROUND, bands="B04", mask="clouds", offset=0)
