"""How scenes become maps, whatever model looks at them: read, cut into tiles, computed."""

import contextlib
import functools
import os
import pickle
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from deo.bands import BandSet
from deo.errors import ConfigError, did_you_mean
from deo.maps.cache import gdal_settings
from deo.maps.job import Job
from deo.maps.make import make_outputs, refuse_existing
from deo.maps.runner import PRECISIONS
from deo.maps.worklist import Item
from deo.scene.mask import Mask
from deo.scene.opening import open_scene
from deo.scene.scene import Scene

_PLANS_KEPT = 2
"""Plans that a worker keeps with their models: the one at work and the one before it."""

_reading = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Plan(ABC):
    """Settings that are the same for any number of scenes; the model is loaded once.

    Threads may share a plan. A pickled one holds the settings alone. A process that reads equal
    ones gets one plan, which loads its model once, however many scenes it is sent with.

    Args:
        bands: as in `open_scene`.
        scale, offset, resolution: as in `open_scene`.
        nodata, crs, transform: of an array, as in `open_scene`.
        mask, mask_classes: what takes pixels out, as in `open_scene`.
        tile, overlap: in pixels; None: what the model is best at.
        batch_size: tiles per call; None: 32 on CUDA, else 4.
        precision: fp32, bf16 or fp16.
        device: as torch names it; None: `cuda` where there is one, else `cpu`.
    """

    bands: BandSet | None = None
    scale: float | None = None
    offset: float | None = None
    resolution: float | None = None
    nodata: float | None = None
    crs: Any = None
    transform: Any = None
    mask: str | os.PathLike[str] | Mask | None = None
    mask_classes: tuple[int, ...] | None = None
    tile: int | None = None
    overlap: int | None = None
    batch_size: int | None = None
    precision: str = "fp32"
    device: str | None = None
    _loading: threading.Lock = field(
        default_factory=threading.Lock, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"unknown precision {self.precision!r}; choose one of {', '.join(PRECISIONS)}"
            )
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch size {self.batch_size} is below 1; leave it out")

    def __reduce__(self) -> tuple[Any, ...]:
        settings = {each.name: getattr(self, each.name) for each in fields(self) if each.init}
        stamps = [_stamp(value) for value in settings.values()]
        return _from_settings, (type(self), pickle.dumps((settings, stamps)))

    @abstractmethod
    def check(self, item: Item) -> list[Path]:
        """Refuse before a model is loaded what cannot be; the files that say whether all is done.

        Raises:
            DeoError: an output cannot be written, or the item's scenes do not fit the model.
        """

    @abstractmethod
    def job_of(self, scenes: Sequence[Scene], item: Item) -> Job:
        """Everything that a run on the open scenes of an item will do, checked but not begun."""

    def open(self, source: Any) -> Scene:
        """The scene as this plan reads it."""
        return open_scene(
            source,
            bands=self.bands,
            scale=self.scale,
            offset=self.offset,
            resolution=self.resolution,
            nodata=self.nodata,
            crs=self.crs,
            transform=self.transform,
            mask=self.mask,
            mask_classes=self.mask_classes,
        )

    @contextlib.contextmanager
    def prepared(self, item: Item) -> Iterator[Job]:
        """The job of an item, whose scenes are open meanwhile; a `Scene` that is given stays so."""
        with gdal_settings(), contextlib.ExitStack() as stack:
            scenes = [
                source if isinstance(source, Scene) else stack.enter_context(self.open(source))
                for source in item.sources
            ]
            yield self.job_of(scenes, item)


@functools.lru_cache(maxsize=_PLANS_KEPT)
def _only(kind: type[Plan], pickled: bytes) -> Plan:
    settings, _ = pickle.loads(pickled)
    return kind(**settings)


def _from_settings(kind: type[Plan], pickled: bytes) -> Plan:
    with _reading:  # two threads of a worker that read at once would get a plan each
        return _only(kind, pickled)


def _stamp(value: Any) -> tuple[int, int] | None:
    """What tells a file from another of its name; None for a setting that names none.

    A worker may live for days: weights that were replaced meanwhile are other settings.
    """
    if isinstance(value, (str, os.PathLike)):
        with contextlib.suppress(OSError, ValueError):
            facts = os.stat(value)
            return facts.st_mtime_ns, facts.st_size
    return None


def refuse_unknown(kind: type[Plan], settings: Mapping[str, Any]) -> None:
    """Refuse settings that a kind of plan does not have.

    Raises:
        ConfigError: there is one; the message names the nearest.
    """
    known = [each.name for each in fields(kind) if each.init]
    for name in settings:
        if name not in known:
            raise ConfigError(f"there is no setting {name!r}; {did_you_mean(name, known)}")


def make_map(
    plan: Plan,
    item: Item,
    *,
    stac: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Make the map of one item.

    Args:
        stac: also describe the outputs and the model beside them.
        overwrite: replace what is there.
        resume: keep what is complete, and go on with what a killed run left.
        progress: told (tiles dealt with, tiles in all).

    Returns:
        The files that hold the map.

    Raises:
        DeoError: one of its children says what was wrong and what to do.
    """
    refuse_existing(plan.check(item), overwrite=overwrite, resume=resume)
    with plan.prepared(item) as job:
        return make_outputs(
            job,
            preview=item.preview,
            stac=stac,
            overwrite=overwrite,
            resume=resume,
            progress=progress,
        )
