"""A rectangle of pixels."""

import numpy as np
import pytest

from deo.errors import ConfigError
from deo.scene.window import Window


def test_slices__cut_the_window_out() -> None:
    window = Window(row=1, col=2, height=2, width=3)
    assert np.arange(40).reshape(5, 8)[window.slices].tolist() == [[10, 11, 12], [18, 19, 20]]


def test_clip__keeps_the_part_inside() -> None:
    window = Window(row=3, col=2, height=9, width=3)
    assert window.clip(height=5, width=8) == Window(row=3, col=2, height=2, width=3)
    with pytest.raises(ConfigError, match="empty"):
        window.clip(height=3, width=8)


@pytest.mark.parametrize("change", [{"row": -1}, {"col": -1}, {"height": 0}, {"width": 0}])
def test_window__bounds_are_checked_when_it_is_made(change: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="not a window"):
        Window(**({"row": 0, "col": 0, "height": 1, "width": 1} | change))
