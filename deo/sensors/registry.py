"""All sensors whose files are understood, found by looking into `deo.sensors.known`.

Adding a module there that defines `SENSOR` adds a sensor; no list has to be edited.
"""

import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module

from deo.errors import BandError
from deo.sensors import known
from deo.sensors.evidence import Evidence
from deo.sensors.known import sentinel2
from deo.sensors.table import Band, Sensor

DEFAULT_SENSOR = sentinel2.SENSOR
"""The sensor of files that do not say whose they are: published backbones were trained on it."""


@cache
def sensors() -> tuple[Sensor, ...]:
    """`DEFAULT_SENSOR`, then the others in the order of their modules' names.

    Raises:
        BandError: two sensors have a band of the same name.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(known.__path__))
    tables = [import_module(f"{known.__name__}.{name}").SENSOR for name in names]
    every = (DEFAULT_SENSOR, *(sensor for sensor in tables if sensor is not DEFAULT_SENSOR))
    owners: dict[str, Sensor] = {}
    for sensor in every:
        for band in sensor.bands:
            owner = owners.setdefault(band.name, sensor)
            if owner is not sensor:
                raise BandError(f"{owner.name} and {sensor.name} both have a band {band.name}")
    return every


@cache
def bands_by_name() -> Mapping[str, Band]:
    """Canonical name -> band, of all sensors."""
    return {band.name: band for sensor in sensors() for band in sensor.bands}


@cache
def sensor_of(band: str) -> Sensor:
    """The sensor that has a band of this canonical name."""
    return next(sensor for sensor in sensors() if any(each.name == band for each in sensor.bands))


def canonical_name(text: str) -> str | None:
    """The canonical name meant by `text` (`b2`, `B02`, `blue`, `8A`, ...), or None.

    Case, surrounding space and a missing zero or B do not matter; any other text does. What
    several sensors call alike, such as `blue`, is the band of the first of them.
    """
    return next((band.name for sensor in sensors() if (band := sensor.band(text))), None)


def path_evidence(path: str) -> tuple[Evidence, ...]:
    """What the names in a path or URL say, of a product or the public archive that it is in."""
    return tuple(fact for sensor in sensors() for fact in sensor.path_evidence(path))


def tag_evidence(tags: Mapping[str, str]) -> tuple[Evidence, ...]:
    """What a dataset's or a band's metadata tags say (any sensor's spellings, any case)."""
    return tuple(fact for sensor in sensors() for fact in sensor.tag_evidence(tags))


def archive_evidence(*paths: str, tags: Sequence[Mapping[str, str]]) -> tuple[Evidence, ...]:
    """What belonging to an archive says that has taken the offset of its sources away."""
    return tuple(fact for sensor in sensors() for fact in sensor.archive_evidence(paths, tags))
