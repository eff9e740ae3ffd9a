"""Input contracts: named ways from digital numbers to what a model takes. Numpy only.

`fixed`     red, green, blue divided by one number that is the same for every image, clamped to
            0..1, z-scored with aerial statistics; the other bands z-scored in digital numbers.
`pretrain`  the same with the joint maximum of this image, as in the published pretraining.
`scene`     the same with one robust maximum for a whole scene, so that tiles show no seams.
`s2`        every band z-scored in digital numbers with Sentinel-2 statistics.
`stats`     every band z-scored in digital numbers with the caller's mean and standard deviation.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deo.bands import AERIAL_MEAN, AERIAL_STD, MODEL_BANDS, RGB_BANDS, BandSet, Pixels
from deo.errors import BandError, ConfigError, DataError
from deo.files.documents import load_json
from deo.files.publish import write_file

CONTRACTS = ("fixed", "pretrain", "scene", "s2", "stats")
CONSTANT = ("fixed", "s2", "stats")
"""Contracts that treat a pixel alike in every image, so that their features can be compared."""

DEFAULT_CONTRACT = "fixed"
"""Of maps, of networks that are tuned, and of everything that compares places or dates."""

FIXED_MAXIMUM = 5000.0
"""What `fixed` divides red, green and blue by, in digital numbers.

Pretraining divided each image by its joint maximum, so the constant is what that maximum usually
is: over 72 crops of 224 pixels of 27 real scenes its median is 4982 (quartiles 4034 and 9474).
`tests/benchmarks/rgb_maxima.py` prints these numbers.
"""

RGB_PERCENTILE = 99.9
"""Share of the red, green and blue values of a scene that its robust maximum covers."""

SMALLEST_MAXIMUM = 1e-6
"""Below this a maximum divides nothing, as in the published training code."""


class InputContract(Protocol):
    """What turns pixels into a model's input: a `Contract`, or one that is made for each image."""

    @property
    def bands(self) -> BandSet: ...

    @property
    def per_image(self) -> bool:
        """Whether the result depends on more of the image than the pixel itself."""

    def apply(self, pixels: Pixels) -> NDArray[np.float32]: ...

    def record(self) -> dict[str, Any]: ...


class Sampled(Protocol):
    """What a scene offers for measuring it: an evenly spread sample of its pixels.

    It holds no valid pixel only where the scene has none.
    """

    def sample(self, bands: BandSet) -> Pixels: ...


@dataclass(frozen=True, kw_only=True)
class Contract:
    """How digital numbers of `bands` become a tensor.

    Args:
        name: one of `CONTRACTS`.
        bands: the channels, in order.
        mean, std: one number per band. For red, green and blue under `fixed`, `pretrain` and
            `scene` they apply to values in 0..1, in all other cases to digital numbers.
        rgb_maximum: what red, green and blue are divided by, in digital numbers; only under
            `fixed` and `scene`, and only when there is such a band. None under `scene`: no valid
            pixel was met to measure it on, and none can be normalised.

    Raises:
        ConfigError: the numbers do not fit the name and the bands.
    """

    name: str
    bands: BandSet
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rgb_maximum: float | None = None

    def __post_init__(self) -> None:
        if self.name not in CONTRACTS:
            raise ConfigError(f"no contract {self.name!r}; choose one of {', '.join(CONTRACTS)}")
        for what, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) != len(self.bands) or not all(map(math.isfinite, numbers)):
                raise ConfigError(
                    f"{what} must hold one finite number for each of {self.bands} "
                    f"({len(self.bands)}), got {', '.join(map(str, numbers)) or 'none'}"
                )
        if min(self.std) <= 0:
            raise ConfigError(f"std must be above 0, got {', '.join(map(str, self.std))}")
        if self.rgb_maximum is not None and not self._has_maximum:
            raise ConfigError(
                f"contract {self.name!r} for {self.bands} takes no rgb_maximum, got "
                f"{self.rgb_maximum}"
            )
        if self.rgb_maximum is None and self.name == "fixed" and self.rgb_positions:
            raise ConfigError(f"contract 'fixed' for {self.bands} needs an rgb_maximum")
        if self.rgb_maximum is not None and not 0 < self.rgb_maximum < math.inf:
            raise ConfigError(f"rgb_maximum must be above 0 and finite, got {self.rgb_maximum}")

    @property
    def _has_maximum(self) -> bool:
        return self.name in ("fixed", "scene") and bool(self.rgb_positions)

    @property
    def per_image(self) -> bool:
        """Whether red, green and blue are divided by the maximum of the image at hand."""
        return self.name == "pretrain" and bool(self.rgb_positions)

    @property
    def rgb_positions(self) -> tuple[int, ...]:
        """Channels that are red, green or blue."""
        return tuple(i for i, name in enumerate(self.bands) if name in RGB_BANDS)

    def apply(self, pixels: Pixels) -> NDArray[np.float32]:
        """Normalise `pixels`, whose channels are `bands`, into a new array.

        Returns:
            (C, H, W) float32; 0, the mean, where pixels are not valid.

        Raises:
            ConfigError: the number of channels is another, or there are valid pixels where none
                was met to measure `rgb_maximum` on.
        """
        values, valid = pixels
        if values.ndim != 3 or len(values) != len(self.bands):
            raise ConfigError(
                f"contract {self.name!r} takes {len(self.bands)} channels ({self.bands}), "
                f"got an array of shape {values.shape}"
            )
        out = np.empty(values.shape, np.float32)
        every = bool(valid.all())
        rgb = self.rgb_positions if self.name not in ("s2", "stats") else ()
        divisor = self._divisor(values, valid if not every else None)
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            plane = out[channel]
            if channel in rgb:
                np.divide(values[channel], np.float32(divisor), out=plane)
                # the statistics are of values in 0..1, but corrected dark pixels may be negative
                # and clouds exceed a robust maximum
                np.clip(plane, 0, 1, out=plane)
                np.subtract(plane, np.float32(mean), out=plane)
            else:
                np.subtract(values[channel], np.float32(mean), out=plane)
            np.divide(plane, np.float32(std), out=plane)
        if not every:
            out[:, ~valid] = 0  # after z-scoring 0 is the mean: the least surprising value
        return out

    def _divisor(
        self, values: NDArray[np.float32], valid: NDArray[np.bool_] | None
    ) -> float | np.float32:
        """What red, green and blue are divided by; `valid` None means everywhere."""
        if self.rgb_maximum is not None:
            return self.rgb_maximum
        if self._has_maximum and (valid is None or valid.any()):
            raise ConfigError(
                "contract 'scene' has no RGB maximum: none of the pixels that were looked at is "
                "valid, but some are; choose contract 'fixed' or 's2', or cut out the part "
                "that holds data (gdal_translate -projwin)"
            )
        if self.name != "pretrain":
            return 1.0
        maximum = np.float32(0)
        for channel in self.rgb_positions:
            where = values[channel] if valid is None else values[channel][valid]
            maximum = max(maximum, where.max(initial=np.float32(0)))
        return maximum if maximum > SMALLEST_MAXIMUM else 1.0

    def record(self) -> dict[str, Any]:
        """The contract as JSON-able values; `from_record` reads them back."""
        record: dict[str, Any] = {
            "name": self.name,
            "bands": list(self.bands),
            "mean": list(self.mean),
            "std": list(self.std),
        }
        if self._has_maximum:
            record["rgb_maximum"] = self.rgb_maximum
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Contract":
        """The contract that wrote `record`.

        Raises:
            ConfigError: fields are missing, unknown or of the wrong kind.
        """
        wanted = {"name", "bands", "mean", "std"}
        if not wanted <= set(record) <= wanted | {"rgb_maximum"}:
            raise ConfigError(
                f"a contract's record has the fields {', '.join(sorted(wanted))} and perhaps "
                f"rgb_maximum, got {', '.join(sorted(map(str, record))) or 'none'}"
            )
        maximum = record.get("rgb_maximum")
        try:
            contract = cls(
                name=str(record["name"]),
                bands=BandSet(record["bands"]),
                mean=tuple(float(number) for number in record["mean"]),
                std=tuple(float(number) for number in record["std"]),
                rgb_maximum=None if maximum is None else float(maximum),
            )
            if contract._has_maximum and "rgb_maximum" not in record:
                raise ConfigError(f"the record of contract 'scene' lacks rgb_maximum: {record}")
            return contract
        except (TypeError, ValueError, AttributeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"a contract's record cannot be read: {error}") from error

    def select(self, bands: BandSet) -> "Contract":
        """The same contract for some of its bands, in their order.

        Raises:
            ConfigError: it has no numbers for one of them.
        """
        missing = [band for band in bands if band not in self.bands]
        if missing:
            raise ConfigError(
                f"the contract {self} has no numbers for {', '.join(missing)}; leave it out of "
                "--bands, or choose another --contract"
            )
        positions = bands.positions_in(self.bands.names)
        visible = set(bands) & set(RGB_BANDS)
        return Contract(
            name=self.name,
            bands=bands,
            mean=tuple(self.mean[position] for position in positions),
            std=tuple(self.std[position] for position in positions),
            rgb_maximum=self.rgb_maximum if visible else None,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the contract as JSON, to be given again: `load`, `--contract FILE.json`.

        Raises:
            ConfigError: the name does not end with .json.
            OutputError: it cannot be written there.
        """
        if Path(path).suffix.lower() != ".json":
            raise ConfigError(f"cannot save a contract as {path}; give a name with .json")
        write_file(Path(path), json.dumps(self.record(), indent=2) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Contract":
        """The contract that `save` wrote.

        Raises:
            ConfigError: there is no such file, or it holds no contract.
        """
        try:
            record = load_json(Path(path))
        except (OSError, ValueError, DataError) as error:
            raise ConfigError(f"{path} holds no contract that can be read: {error}") from error
        if not isinstance(record, dict):
            raise ConfigError(f"{path} holds no contract: it is not what Contract.save writes")
        return cls.from_record(record)

    def __str__(self) -> str:
        maximum = "" if self.rgb_maximum is None else f", RGB maximum {self.rgb_maximum:g}"
        return f"{self.name} ({self.bands}{maximum})"


def model_bands(scene: str, present: BandSet, *, chosen: bool, unnamed: int = 0) -> BandSet:
    """The bands a model is to take from a scene that holds `present`, and `unnamed` ones.

    All ten when they are there, red, green and blue when nothing else is, and otherwise only what
    the caller chose by name: a model fed fewer bands than it was pretrained on is a decision.

    Raises:
        BandError: some are missing and the caller did not choose.
    """
    known = [band for band in MODEL_BANDS if band in present]
    if len(known) == len(MODEL_BANDS):
        return MODEL_BANDS
    if known == list(RGB_BANDS) and (chosen or not (len(present) > len(known) or unnamed)):
        return RGB_BANDS
    if known and chosen:
        return BandSet(known)
    missing = [band for band in MODEL_BANDS if band not in present]
    raise BandError(
        f"{scene} lacks {', '.join(missing)} of the model's ten bands; it holds {present}"
        f"{f' and {unnamed} without a known name' if unnamed else ''}. "
        + (
            f"To go on with fewer, name them: --bands {','.join(known)}"
            if known
            else "None of them is one of the ten"
        )
    )


def fit_contract(
    name: str,
    *,
    bands: BandSet,
    scene: Sampled | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Contract:
    """The contract `name` for `bands`, with everything measured that it needs.

    Args:
        scene: under `scene`, measured for its robust RGB maximum.
        mean, std: under `stats`, one number per band in digital numbers.

    Raises:
        ConfigError: something is missing, or given where it would be ignored.
    """
    if (name == "stats") != (mean is not None and std is not None) or (mean is None) != (
        std is None
    ):
        raise ConfigError(
            f"mean and std go with contract 'stats', and both are needed; got contract "
            f"{name!r}, mean {mean}, std {std}"
        )
    if mean is not None and std is not None:
        return Contract(name=name, bands=bands, mean=tuple(mean), std=tuple(std))
    if name == "s2":
        return Contract(name=name, bands=bands, mean=bands.mean, std=bands.std)
    aerial = dict(zip(RGB_BANDS, zip(AERIAL_MEAN, AERIAL_STD, strict=True), strict=True))
    measured = zip(bands.mean, bands.std, strict=True)
    numbers = [aerial.get(band, pair) for band, pair in zip(bands, measured, strict=True)]
    maximum = None
    if name == "fixed" and set(bands) & set(RGB_BANDS):
        maximum = FIXED_MAXIMUM
    elif name == "scene":
        maximum = _scene_maximum(bands, scene)
    return Contract(
        name=name,
        bands=bands,
        mean=tuple(mean for mean, _ in numbers),
        std=tuple(std for _, std in numbers),
        rgb_maximum=maximum,
    )


def _scene_maximum(bands: BandSet, scene: Sampled | None) -> float | None:
    """Robust joint maximum of a scene's red, green and blue; None without one or valid pixels."""
    rgb = [name for name in bands if name in RGB_BANDS]
    if not rgb:
        return None
    if scene is None:
        raise ConfigError("contract 'scene' is measured on a scene; pass scene=, or choose 'fixed'")
    values, valid = scene.sample(BandSet(rgb))
    seen = values[:, valid]
    if not seen.size:
        return None
    # a percentile, since a single glint would darken the whole scene
    maximum = float(np.percentile(seen, RGB_PERCENTILE))
    return maximum if maximum > SMALLEST_MAXIMUM else 1.0
