"""Which band is which, read from descriptions, tags and file names."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from deo.errors import BandError
from deo.files.documents import parse_json
from deo.sensors.recognise import recognise_path, recognise_sensor
from deo.sensors.registry import DEFAULT_SENSOR
from deo.sensors.table import Band, Sensor

_NAME_TAGS = ("name", "band", "band_name", "bandname", "common_name", "eo:common_name")
_WAVELENGTH_TAGS = ("center_wavelength", "eo:center_wavelength", "wavelength")
_LIST_TAGS = ("bands", "eo:bands")
_BETWEEN = re.compile(r"[\s,;:_()\[\]|/=\-]+")

# words that may follow the name of any band of any sensor
_PLAIN = frozenset(
    [
        *("band", "central", "centre", "center", "wavelength", "resolution", "width", "bandwidth"),
        *("native", "spectral", "reflectance", "refl", "surface", "bottom", "top", "of", "the"),
        *("at", "atmosphere", "toa", "boa", "sr", "digital", "number", "numbers", "dn", "value"),
        *("values", "x", "10000", "m", "nm", "um", "µm", "μm", "meter", "meters"),
        *("metre", "metres", "nanometers", "nanometres", "micrometers", "micrometres"),
    ]
)
# words that describe bands which the sensor at hand may not have
_COLOURS = frozenset(
    ["yellow", "pan", "panchromatic", "mir", "mwir", "lwir", "tir", "tirs", "thermal", "swir3"]
)
_PIXELS = re.compile(r"(10|20|60)(\.0)?m?")
_DATE = re.compile(r"(19|20)\d{6}(t\d{6}z?)?")
_WAVELENGTH = re.compile(r"(\d{3,4}(?:\.\d+)?|\d\.\d+)(nm|um|µm|μm)?")
_UNIT = re.compile(r"(\d)\s+(nm|um|µm|μm|m)\b")
_WIDTH = re.compile(r"\d{1,3}(\.\d+)?nm")
_NEAR = 30  # nanometres that centres of one band differ between tables and satellites, amply

# parts of file names that say that a band's measurements are not what is stored
_DERIVED = re.compile(
    r"std\w*|stdev|sd|var|variance|count|counts|n?obs|\w*azimuth\w*|\w*zenith\w*|\w*angles?"
    r"|uncertaint\w*|unc|errors?|err|sigma|masks?|qa|qc|quality|flags?|nd|ndvi|index|ratio"
    r"|diff|difference|minus|slope|trend|anomaly|min|max|minimum|maximum|range|sum|amplitude|phase"
    r"|entropy|contrast|correlation|homogeneity|dissimilarity|asm|savg|texture|residuals?|rmse",
    re.IGNORECASE,
)


class DescribedBand(NamedTuple):
    """What a description says: the band it means, and whether it is some other sensor's.

    band: canonical name, or None.
    foreign: it gives a number of this sensor to another colour or wavelength (`B5 (NIR)`).
    derived: it says that something computed from a band is stored (`B04_stdDev`).
    """

    band: str | None
    foreign: bool = False
    derived: bool = False


class Names(NamedTuple):
    """Canonical band name of each raster band (None: no spectral band known), and their origin.

    doubt: why names that are there are not believed, for people.
    """

    names: tuple[str | None, ...]
    source: str
    doubt: str | None = None


def describe_band(text: str | None, sensor: Sensor) -> DescribedBand:
    """What a description says of a sensor's bands.

    A band's name alone (`B02`, `blue`), or a spelt name followed by nothing but what describes it:
    `B4, central wavelength 665 nm`, `B02_10m`, `B8A (nir08)`, `B04: red`. Statistics, indices,
    angles and differences (`B2_stdDev`, `B8-B4`) begin like a band and mean none.
    """
    if not text or text.strip().isdigit():
        return DescribedBand(None)
    if (named := sensor.band(text)) is not None:
        return DescribedBand(named.name)
    begins = sensor.begins.fullmatch(text)
    band = sensor.band(begins[1]) if begins else None
    if begins is None or band is None:
        return DescribedBand(None)
    words = _BETWEEN.split(_UNIT.sub(r"\1\2", begins[2].lower()))
    words = [word.strip(".") for word in words if word.strip(".")]
    fits = [_fits(word, band, sensor) for word in words]
    if None in fits:
        derived = any(_DERIVED.fullmatch(word) or sensor.spelling.fullmatch(word) for word in words)
        return DescribedBand(None, derived=derived)
    return DescribedBand(None if False in fits else band.name, foreign=False in fits)


def _fits(word: str, band: Band, sensor: Sensor) -> bool | None:
    """Whether a word describes a band; False: it describes another one, None: something else."""
    if word in _PLAIN or word in sensor.words or word in band.words:
        return True
    if _PIXELS.fullmatch(word) or _DATE.fullmatch(word):
        return True
    if number := _WAVELENGTH.fullmatch(word):
        if _is_near(float(number[1]), band):
            return True
        return False if number[2] else None
    if _WIDTH.fullmatch(word):
        return True
    another = word in _COLOURS or word in sensor.band_words
    return False if another and word[0].isalpha() else None


def _is_near(wavelength: float, band: Band) -> bool:
    """Whether a wavelength, in nanometres or micrometres, is a band's."""
    return abs(wavelength * (1000 if wavelength < 100 else 1) - band.wavelength) <= _NEAR


def file_band(path: str) -> str | None:
    """The band that the name of a single-band file means, e.g. `T33TUL_..._B02_10m.jp2`.

    A spelt name (`B02`) goes before a common name (`red.tif`); two different ones say nothing, nor
    do names of unknown sensors' products and of what is derived from a band (`B04_stdDev.tif`).
    """
    file = PurePosixPath(path.split("?")[0]).name
    sensor = recognise_path(path).sensor
    if sensor is None:
        return None
    parts = [part for part in re.split(r"[._\-\s]+", file) if part]
    if sensor.ancillary & {part.upper() for part in parts} or any(map(_DERIVED.fullmatch, parts)):
        return None
    spelt = {sensor.band(part) for part in parts if sensor.spelling.fullmatch(part)} - {None}
    common = {sensor.band(part) for part in parts if part.isalnum() and not part[0].isdigit()}
    meant = spelt or common - {None}
    band = meant.pop() if len(meant) == 1 else None
    return None if band is None else band.name


def is_ancillary(path: str) -> bool:
    """Whether a file of a product holds no spectral band (SCL, AOT, TCI, ... of ESA's)."""
    sensor = recognise_path(path).sensor or DEFAULT_SENSOR
    file = PurePosixPath(path).name.upper()
    return bool(sensor.ancillary & set(re.split(r"[._\-\s]+", file)))


def is_classification(name: str) -> bool:
    """Whether a file, or a band by its description, is a product's scene classification (SCL)."""
    sensor = recognise_path(name).sensor or DEFAULT_SENSOR
    parts = re.split(r"[._\-\s]+", PurePosixPath(name.partition("?")[0]).name.upper())
    return bool(sensor.classification) and sensor.classification in parts


def raster_bands(
    descriptions: Sequence[str | None],
    band_tags: Sequence[Mapping[str, str]],
    tags: Mapping[str, str],
    path: str,
    *,
    behind: Iterable[str] = (),
) -> Names:
    """Name the bands of one raster file from all that it says.

    Args:
        behind: paths of the files that a virtual raster reads.

    Raises:
        BandError: two places contradict each other, or two bands have one name.
    """
    nothing = Names((None,) * len(descriptions), "nothing")
    sensor, sign = recognise_sensor([path, *behind], tags, descriptions)
    if sensor is None:
        return nothing._replace(doubt=f"{sign} belongs to another sensor")
    places = {
        "descriptions": [describe_band(text, sensor) for text in descriptions],
        "band tags": [_tagged(tags, sensor) for tags in band_tags],
        "dataset tag": _listed(tags, len(descriptions), sensor),
        "file name": [
            DescribedBand(file_band(path) if len(descriptions) == 1 else None) for _ in descriptions
        ],
    }
    if any(text.foreign for texts in places.values() for text in texts):
        return nothing._replace(doubt="their colours or wavelengths belong to another sensor")
    names: list[str | None] = []
    used: dict[str, None] = {}
    for index in range(len(descriptions)):
        if any(texts[index].derived for texts in places.values()):
            names.append(None)
            continue
        said = {place: texts[index].band for place, texts in places.items() if texts[index].band}
        if len(set(said.values())) > 1:
            facts = ", ".join(f"the {place} say{_s(place)} {name}" for place, name in said.items())
            raise BandError(
                f"{path}: band {index + 1} has contradictory names: {facts}. Correct the file "
                f"(rio edit-info, gdal_edit) or pass its pixels as an array"
            )
        names.append(next(iter(said.values()), None))
        used |= dict.fromkeys(said)
    _each_once(names, path)
    return Names(tuple(names), " and ".join(used) or "nothing")


def _s(place: str) -> str:
    return "" if place.endswith("s") else "s"


def _tagged(tags: Mapping[str, str], sensor: Sensor) -> DescribedBand:
    """The band that a raster band's tags name, all that say something together."""
    lower = {key.lower(): value for key, value in tags.items()}
    said = [describe_band(lower[key], sensor) for key in _NAME_TAGS if key in lower]
    names = {one.band for one in said} - {None}
    foreign = len(names) > 1 or any(one.foreign for one in said)
    for key in _WAVELENGTH_TAGS:
        if number := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:nm|um|µm|μm)?\s*", lower.get(key, "")):
            foreign |= any(
                not _is_near(float(number[1]), band) for band in sensor.bands if band.name in names
            )
    return DescribedBand(None if foreign else next(iter(names), None), foreign=foreign)


def _listed(tags: Mapping[str, str], count: int, sensor: Sensor) -> list[DescribedBand]:
    """Names from a STAC list of bands in a dataset tag, when it has an entry for each band."""
    lower = {key.lower(): value for key, value in tags.items()}
    for key in _LIST_TAGS:
        try:
            entries = parse_json(lower.get(key, ""), key)
        except ValueError:
            continue
        if isinstance(entries, list) and len(entries) == count:
            return [
                _tagged({str(k): str(v) for k, v in entry.items()}, sensor)
                if isinstance(entry, dict)
                else describe_band(str(entry), sensor)
                for entry in entries
            ]
    return [DescribedBand(None)] * count


def _each_once(names: Sequence[str | None], path: str) -> None:
    for index, name in enumerate(names):
        if name is not None and name in names[:index]:
            raise BandError(
                f"{path}: bands {names.index(name) + 1} and {index + 1} are both named {name}; "
                f"each band may occur only once"
            )
