"""Which band is which, read from descriptions, tags and file names."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from deo.bands import canonical_name
from deo.documents import parse_json
from deo.errors import BandError

ANCILLARY = frozenset(
    [
        *("AOT", "WVP", "SCL", "TCI", "PVI"),
        *("CLD", "SNW", "CLDPRB", "SNWPRB", "DETFOO", "QUALIT", "CLASSI", "CLOUDS"),
    ]
)
"""Parts of file names that mark what is no spectral band in ESA's products."""

_NAME_TAGS = ("name", "band", "band_name", "bandname", "common_name", "eo:common_name")
_LIST_TAGS = ("bands", "eo:bands")
_SPELT = re.compile(r"[Bb](\d{1,2}|\d?8[Aa])")
# Landsat, MODIS, VIIRS and HLS from Landsat count other bands under the same names
_OTHER_SENSOR = re.compile(
    r"^(L[CETMO]0[1-9]_|HLS\.L30|M[OY]D\d\d|VNP\d\d|S2._OPER_PRD_MSIL2A_)", re.IGNORECASE
)


class Names(NamedTuple):
    """Canonical band name of each raster band (None: no spectral band known), and their origin."""

    names: tuple[str | None, ...]
    source: str


def described_band(text: str | None) -> str | None:
    """The band that a description means.

    It is a name alone (`B02`, `blue`), or begins with a spelt name (`B4, central wavelength
    665 nm`, `B02_10m`, `B8A (nir08)`).
    """
    if not text:
        return None
    name = canonical_name(text)
    if name is not None or text.strip().isdigit():
        return name if not text.strip().isdigit() else None
    first = re.match(r"\s*([Bb]\d{1,2}|[Bb]\d?8[Aa])(?=[\s,;:_(\-])", text)
    return canonical_name(first[1]) if first else None


def file_band(path: str) -> str | None:
    """The band that the name of a single-band file means, e.g. `T33TUL_..._B02_10m.jp2`.

    A spelt name (`B02`) goes before a common name (`red.tif`); two different ones say nothing.
    """
    file = PurePosixPath(path.split("?")[0]).name
    if _OTHER_SENSOR.match(file):
        return None
    parts = [part for part in re.split(r"[._\-\s]+", file) if part]
    if ANCILLARY & {part.upper() for part in parts}:
        return None
    spelt = {canonical_name(part) for part in parts if _SPELT.fullmatch(part)} - {None}
    common = {canonical_name(part) for part in parts if part.isalnum() and not part[0].isdigit()}
    found = spelt or common - {None}
    return found.pop() if len(found) == 1 else None


def is_ancillary(path: str) -> bool:
    """Whether a file of an ESA product holds no spectral band (SCL, AOT, TCI, ...)."""
    file = PurePosixPath(path).name.upper()
    return bool(ANCILLARY & set(re.split(r"[._\-\s]+", file)))


def raster_bands(
    descriptions: Sequence[str | None],
    band_tags: Sequence[Mapping[str, str]],
    tags: Mapping[str, str],
    path: str,
) -> Names:
    """Name the bands of one raster file from all that it says.

    Raises:
        BandError: two places contradict each other, or two bands have one name.
    """
    listed = _listed(tags, len(descriptions))
    places = {
        "descriptions": [described_band(text) for text in descriptions],
        "band tags": [_tagged(own) for own in band_tags],
        "dataset tag": listed,
        "file name": [file_band(path)] if len(descriptions) == 1 else [None] * len(descriptions),
    }
    names: list[str | None] = []
    used: dict[str, None] = {}
    for index in range(len(descriptions)):
        said = {place: own for place, found in places.items() if (own := found[index])}
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


def _tagged(tags: Mapping[str, str]) -> str | None:
    """The band that a raster band's tags name."""
    lower = {key.lower(): value for key, value in tags.items()}
    for key in _NAME_TAGS:
        name = described_band(lower.get(key))
        if name is not None:
            return name
    return None


def _listed(tags: Mapping[str, str], count: int) -> list[str | None]:
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
                else described_band(str(entry))
                for entry in entries
            ]
    return [None] * count


def _each_once(names: Sequence[str | None], path: str) -> None:
    for index, name in enumerate(names):
        if name is not None and name in names[:index]:
            raise BandError(
                f"{path}: bands {names.index(name) + 1} and {index + 1} are both named {name}; "
                f"each band has to be there once"
            )
