"""Which band is which, read from descriptions, tags and file names."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from deo.bands import SENTINEL2, canonical_name
from deo.errors import BandError
from deo.files.documents import parse_json
from deo.sensors.others import other_sensor, sensor_in_path

ANCILLARY = frozenset(
    [
        *("AOT", "WVP", "SCL", "TCI", "PVI"),
        *("CLD", "SNW", "CLDPRB", "SNWPRB", "DETFOO", "QUALIT", "CLASSI", "CLOUDS"),
    ]
)
"""Parts of file names that mark what is no spectral band in ESA's products."""

_JUNK = frozenset(["__macosx", "thumbs.db", "desktop.ini", "@eadir"])

_NAME_TAGS = ("name", "band", "band_name", "bandname", "common_name", "eo:common_name")
_WAVELENGTH_TAGS = ("center_wavelength", "eo:center_wavelength", "wavelength")
_LIST_TAGS = ("bands", "eo:bands")
_SPELT = re.compile(r"[Bb](\d{1,2}|\d?8[Aa])")
_BEGINS = re.compile(r"\s*([Bb]\d{1,2}|[Bb]\d?8[Aa])(?![A-Za-z0-9])(.*)", re.DOTALL)
_BETWEEN = re.compile(r"[\s,;:_()\[\]|/=\-]+")

# words that may follow a band's name: what the numbers are of any band, ...
_PLAIN = frozenset(
    [
        *("band", "central", "centre", "center", "wavelength", "resolution", "width", "bandwidth"),
        *("native", "spectral", "reflectance", "refl", "surface", "bottom", "top", "of", "the"),
        *("at", "atmosphere", "toa", "boa", "sr", "msi", "sentinel", "sentinel2", "s2", "s2a"),
        *("s2b", "s2c", "s2d", "l1c", "l2a", "digital", "number", "numbers", "dn", "value"),
        *("values", "esa", "x", "10000", "m", "nm", "um", "µm", "μm", "meter", "meters"),
        *("metre", "metres", "nanometers", "nanometres", "micrometers", "micrometres"),
    ]
)
# ... and what it is called, which tells Sentinel-2's from other sensors' of the same number
_RED_EDGE = ("red", "edge", "rededge", "vegetation", "vre", "re")
_INFRARED = ("nir", "near", "infrared", "infra")
_SHORTWAVE = ("swir", "short", "shortwave", "wave", "infrared")
_CALLED: Mapping[str, frozenset[str]] = {
    "B01": frozenset(["coastal", "aerosol", "aerosols", "ultra", "blue", "violet", "visible"]),
    "B02": frozenset(["blue", "visible"]),
    "B03": frozenset(["green", "visible"]),
    "B04": frozenset(["red", "visible"]),
    "B05": frozenset([*_RED_EDGE, "1", "rededge1", "re1", "vre1"]),
    "B06": frozenset([*_RED_EDGE, "2", "rededge2", "re2", "vre2"]),
    "B07": frozenset([*_RED_EDGE, "3", "rededge3", "re3", "vre3"]),
    "B08": frozenset([*_INFRARED, "wide", "broad", "vnir", "1", "nir1"]),
    "B8A": frozenset(
        [*_RED_EDGE, *_INFRARED, "narrow", "nnir", "vnir", "2", "4", "nir2", "nir08", "rededge4"]
    ),
    "B09": frozenset([*_INFRARED, "water", "vapour", "vapor", "nir09"]),
    "B10": frozenset([*_SHORTWAVE, "cirrus"]),
    "B11": frozenset([*_SHORTWAVE, "1", "swir1", "swir16"]),
    "B12": frozenset([*_SHORTWAVE, "2", "swir2", "swir22"]),
}
_COLOURS = frozenset(
    ["yellow", "pan", "panchromatic", "mir", "mwir", "lwir", "tir", "tirs", "thermal", "swir3"]
).union(*_CALLED.values())
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


class _Description(NamedTuple):
    """What a description says: the band it means, and whether it is some other sensor's.

    band: canonical name, or None.
    foreign: it gives a number of Sentinel-2's to another colour or wavelength (`B5 (NIR)`).
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


def described_band(text: str | None) -> str | None:
    """The band that a description means.

    It is a name alone (`B02`, `blue`), or a spelt name followed by nothing but what describes it:
    `B4, central wavelength 665 nm`, `B02_10m`, `B8A (nir08)`, `B04: red`. Statistics, indices,
    angles and differences (`B2_stdDev`, `B8-B4`) begin like a band and mean none.
    """
    return _described(text).band


def _described(text: str | None) -> _Description:
    if not text or text.strip().isdigit():
        return _Description(None)
    if (name := canonical_name(text)) is not None:
        return _Description(name)
    first = _BEGINS.fullmatch(text)
    band = canonical_name(first[1]) if first else None
    if first is None or band is None:
        return _Description(None)
    words = _BETWEEN.split(_UNIT.sub(r"\1\2", first[2].lower()))
    words = [word.strip(".") for word in words if word.strip(".")]
    fits = [_fits(word, band) for word in words]
    if None in fits:
        derived = any(_DERIVED.fullmatch(word) or _SPELT.fullmatch(word) for word in words)
        return _Description(None, derived=derived)
    return _Description(None if False in fits else band, foreign=False in fits)


def _fits(word: str, band: str) -> bool | None:
    """Whether a word describes a band; False: it describes another one, None: something else."""
    if word in _PLAIN or word in _CALLED[band] or _PIXELS.fullmatch(word) or _DATE.fullmatch(word):
        return True
    if number := _WAVELENGTH.fullmatch(word):
        if _is_near(float(number[1]), band):
            return True
        return False if number[2] else None
    if _WIDTH.fullmatch(word):
        return True
    return False if word in _COLOURS and word[0].isalpha() else None


def _is_near(wavelength: float, band: str) -> bool:
    """Whether a wavelength, in nanometres or micrometres, is a band's."""
    (centre,) = (own.wavelength for own in SENTINEL2 if own.name == band)
    return abs(wavelength * (1000 if wavelength < 100 else 1) - centre) <= _NEAR


def file_band(path: str) -> str | None:
    """The band that the name of a single-band file means, e.g. `T33TUL_..._B02_10m.jp2`.

    A spelt name (`B02`) goes before a common name (`red.tif`); two different ones say nothing, nor
    do names of other sensors' products and of what is derived from a band (`B04_stdDev.tif`).
    """
    file = PurePosixPath(path.split("?")[0]).name
    if sensor_in_path(path) is not None:
        return None
    parts = [part for part in re.split(r"[._\-\s]+", file) if part]
    if ANCILLARY & {part.upper() for part in parts} or any(map(_DERIVED.fullmatch, parts)):
        return None
    spelt = {canonical_name(part) for part in parts if _SPELT.fullmatch(part)} - {None}
    common = {canonical_name(part) for part in parts if part.isalnum() and not part[0].isdigit()}
    found = spelt or common - {None}
    return found.pop() if len(found) == 1 else None


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is left behind by a system, never data."""
    return name.startswith(".") or name.lower() in _JUNK


def is_ancillary(path: str) -> bool:
    """Whether a file of an ESA product holds no spectral band (SCL, AOT, TCI, ...)."""
    file = PurePosixPath(path).name.upper()
    return bool(ANCILLARY & set(re.split(r"[._\-\s]+", file)))


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
    if (sign := other_sensor([path, *behind], tags, descriptions)) is not None:
        return nothing._replace(doubt=f"{sign} tells of another sensor")
    places = {
        "descriptions": [_described(text) for text in descriptions],
        "band tags": [_tagged(own) for own in band_tags],
        "dataset tag": _listed(tags, len(descriptions)),
        "file name": [
            _Description(file_band(path) if len(descriptions) == 1 else None) for _ in descriptions
        ],
    }
    if any(text.foreign for found in places.values() for text in found):
        return nothing._replace(doubt="their colours or wavelengths are another sensor's")
    names: list[str | None] = []
    used: dict[str, None] = {}
    for index in range(len(descriptions)):
        if any(found[index].derived for found in places.values()):
            names.append(None)
            continue
        said = {place: own for place, found in places.items() if (own := found[index].band)}
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


def _tagged(tags: Mapping[str, str]) -> _Description:
    """The band that a raster band's tags name, all that say something together."""
    lower = {key.lower(): value for key, value in tags.items()}
    said = [_described(lower[key]) for key in _NAME_TAGS if key in lower]
    names = {own.band for own in said} - {None}
    foreign = len(names) > 1 or any(own.foreign for own in said)
    for key in _WAVELENGTH_TAGS:
        if number := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:nm|um|µm|μm)?\s*", lower.get(key, "")):
            foreign |= any(not _is_near(float(number[1]), name) for name in names if name)
    return _Description(None if foreign else next(iter(names), None), foreign=foreign)


def _listed(tags: Mapping[str, str], count: int) -> list[_Description]:
    """Names from a STAC list of bands in a dataset tag, when it has an entry for each band."""
    lower = {key.lower(): value for key, value in tags.items()}
    for key in _LIST_TAGS:
        try:
            entries = parse_json(lower.get(key, ""), key)
        except ValueError:
            continue
        if isinstance(entries, list) and len(entries) == count:
            return [
                _tagged({str(k): str(v) for k, v in entry.items()})
                if isinstance(entry, dict)
                else _described(str(entry))
                for entry in entries
            ]
    return [_Description(None)] * count


def _each_once(names: Sequence[str | None], path: str) -> None:
    for index, name in enumerate(names):
        if name is not None and name in names[:index]:
            raise BandError(
                f"{path}: bands {names.index(name) + 1} and {index + 1} are both named {name}; "
                f"each band has to be there once"
            )
