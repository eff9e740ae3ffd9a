"""What a view is, in plain numbers, and the table of the published ones."""

from dataclasses import dataclass, replace

from deo.errors import ConfigError
from deo.training.method import config


@dataclass(frozen=True, kw_only=True)
class ViewSpec:
    """One view: crop, flips, colour. Defaults are the published local view without blur.

    Args:
        size: edge of the square result, in pixels.
        area: least and greatest part of the source's area.
        aspect: least and greatest width / height of the crop.
        horizontal_flip, vertical_flip: probabilities.
        jitter: probability that the next four act, in random order.
        brightness, contrast, saturation: factors are drawn from 1 - value .. 1 + value.
        hue: shifts are drawn from -value .. value, in turns.
        grayscale, blur, solarize: probabilities, in order of application.
        blur_kernel: taps, odd.
        blur_sigma: least and greatest standard deviation, in pixels of the view.
        common_gain: bands other than RGB are multiplied by one number in 1 - value .. 1 + value.
        band_gain: likewise, one number for each of these bands.

    Raises:
        ConfigError: a value lies outside its range.
    """

    size: int
    area: tuple[float, float] = (0.05, 0.4)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    horizontal_flip: float = 0.5
    vertical_flip: float = 0.0
    jitter: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    grayscale: float = 0.2
    blur: float = 0.0
    blur_kernel: int = 23
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize: float = 0.0
    common_gain: float = 0.0
    band_gain: float = 0.0

    def __post_init__(self) -> None:
        for name in ("horizontal_flip", "vertical_flip", "jitter", "grayscale", "blur", "solarize"):
            self._require(name, 0 <= getattr(self, name) <= 1, "a probability, 0 to 1")
        for name in ("brightness", "contrast", "saturation", "common_gain", "band_gain"):
            self._require(name, 0 <= getattr(self, name) <= 1, "0 to 1")
        self._require("hue", 0 <= self.hue <= 0.5, "0 to 0.5")
        self._require("size", self.size >= 1, "at least 1")
        self._require("area", 0 < self.area[0] <= self.area[1] <= 1, "least, greatest in 0 to 1")
        self._require("aspect", 0 < self.aspect[0] <= self.aspect[1], "least, greatest above 0")
        self._require("blur_kernel", self.blur_kernel % 2 == 1, "odd")
        low, high = self.blur_sigma
        self._require("blur_sigma", 0 < low <= high, "least, greatest above 0")
        if self.blur > 0:
            limit = self.size > self.blur_kernel // 2
            self._require("blur_kernel", limit, f"below {2 * self.size} for views of {self.size}")

    def _require(self, name: str, fine: bool, wanted: str) -> None:
        if not fine:
            raise ConfigError(f"view {name} is {getattr(self, name)}; it must be {wanted}")


def published_views(
    global_size: int = 224, local_size: int = 96, n_local: int = 10
) -> tuple[ViewSpec, ...]:
    """The two global and `n_local` local views of the published pretraining, in this order."""
    wide = (0.4, 1.0)
    return (
        ViewSpec(size=global_size, area=wide, blur=1.0),
        ViewSpec(size=global_size, area=wide, blur=0.1, solarize=0.2),
        *(ViewSpec(size=local_size, blur=0.5) for _ in range(n_local)),
    )


def view_specs(views: config.Views) -> tuple[ViewSpec, ...]:
    """Two global views and the local ones, as a configuration has them.

    Raises:
        ConfigError: a view cannot be made so.
    """
    published = published_views(views.global_size, views.local_size, views.local_crops)
    areas = (views.global_area,) * 2 + (views.local_area,) * views.local_crops
    return tuple(
        replace(
            spec,
            area=area,
            vertical_flip=views.vertical_flip,
            brightness=views.colour * spec.brightness,
            contrast=views.colour * spec.contrast,
            saturation=views.colour * spec.saturation,
            hue=views.colour * spec.hue,
            grayscale=views.colour * spec.grayscale,
            blur=views.colour * spec.blur,
            solarize=views.colour * spec.solarize,
            common_gain=views.common_gain,
            band_gain=views.band_gain,
        )
        for spec, area in zip(published, areas, strict=True)
    )
