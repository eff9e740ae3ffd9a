"""What `deo prepare` is told: the source, what it is, and how samples are made of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from deo.bands import BandSet
from deo.errors import ConfigError, DataError
from deo.scene.formats import Door
from deo.training.data import fmow
from deo.training.data.cuts import find_scenes, scene_door
from deo.training.data.samples import find_tars

SourceKind = Literal["fmow", "scenes", "samples"]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Everything that decides what the shards will hold.

    Args:
        source: fMoW-Sentinel's root, a folder of scenes, an HDF5 file, or tars.
        kind: what the source is; see `recognise_source`.
        further: more scenes, and folders of them, where the source is scenes too.
        aerial: fMoW-RGB's root; its images take the red, green and blue slots.
        unpaired: what happens to records without an aerial image: `keep` Sentinel-2's own
            colours, or `skip`.
        splits: fMoW splits to take; all when empty.
        size: edge of a sample in pixels. fMoW images are resampled to it, scenes are cut.
        stride: step between cuts of a scene; the size when None.
        valid: part of a cut that must hold data.
        pattern: which file names of a folder of scenes are taken.
        bands: bands a scene's file holds, when it does not name them.
        scale, offset: digital number = stored x scale + offset, above all evidence.
    """

    source: Path
    kind: SourceKind
    further: tuple[Path, ...] = ()
    aerial: Path | None = None
    unpaired: Literal["keep", "skip"] = "keep"
    splits: tuple[str, ...] = ()
    size: int = 96
    stride: int | None = None
    valid: float = 0.9
    pattern: str = "*"
    bands: BandSet | None = None
    scale: float | None = None
    offset: float | None = None

    def __post_init__(self) -> None:
        if self.size < 1 or (self.stride is not None and self.stride < 1):
            raise ConfigError(f"size {self.size} and stride {self.stride} must be at least 1")
        if not 0 <= self.valid <= 1:
            raise ConfigError(f"the valid part is {self.valid}; wanted 0 to 1")
        for path in self.further:
            kind = recognise_source(path)
            if (self.kind, kind) != ("scenes", "scenes"):
                raise ConfigError(
                    f"{self.source} ({self.kind}) and {path} ({kind}) cannot be prepared together; "
                    "only scenes and folders of scenes can"
                )
        if self.aerial is not None and self.kind != "fmow":
            raise ConfigError("aerial images can be paired with fMoW-Sentinel only")

    @property
    def step(self) -> int:
        return self.stride or self.size

    @property
    def scene_options(self) -> dict[str, Any]:
        """What `open_scene` is told."""
        doors = {scene_door(path) for path in (self.source, *self.further)}
        door = doors.pop() if len(doors) == 1 else Door.FOUND  # the one that admits less
        return {"bands": self.bands, "scale": self.scale, "offset": self.offset, "door": door}

    def record(self) -> dict[str, Any]:
        """The settings in JSON's own types."""
        settings = {name: _plain(value) for name, value in asdict(self).items()}
        if not self.further:
            del settings["further"]
        return settings


def recognise_source(source: Path) -> SourceKind:
    """What a source is, by what stands in it.

    Raises:
        DataError: it does not exist.
    """
    if not source.exists():
        raise DataError(f"{source} does not exist")
    if find_tars(source) or (source.is_file() and not find_scenes(source)):
        return "samples"
    if source.is_dir() and fmow.looks_like_fmow(source):
        return "fmow"
    return "scenes"


def _plain(value: Any) -> Any:
    if isinstance(value, BandSet):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
