"""Whose sensor's a raster is: one whose files are understood, or a stranger's.

`B5` of a Landsat file is not Sentinel-2's, so that the names of bands mean nothing before their
sensor is known.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from deo.sensors.registry import DEFAULT_SENSOR, sensors
from deo.sensors.table import Sensor

_EDGE, _END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
# names of products, wherever they stand in a text
_PRODUCT = re.compile(
    rf"{_EDGE}(?:"
    r"L[CETMO]0[1-9]_(?:L1|L2|CU|AK|HI|\d{6})"  # Landsat's collections and ARD, Earth Engine's ids
    r"|L[CETMO][1-9]\d{13}"  # Landsat's former scene ids
    r"|HLS[._]?L30"
    r"|M[OYC]D\d\d[A-Z]{0,3}\d?\."  # MODIS
    r"|(?:VNP|VJ[12])\d\d[A-Z]{0,3}\d?\."  # VIIRS
    r"|S3[AB]_(?:OL|SL|SY)_"
    r"|PSScene|\d{8}_\d{6}_(?:\w+_)?\w{4}_3B_"  # PlanetScope
    r"|AST_(?:L1|0[57])|WV0[1-4]_|PHR1[AB]|CBERS_?\d|GF[1-7]_"
    r")",
    re.IGNORECASE,
)
# what a tag that names the platform or instrument may say
_NAME = re.compile(
    rf"{_EDGE}(?:landsat\w*|l[cetmo]0[1-9]\w*|l[4-9](?:oli|etm|tm)|oli[12]?|oli_?tirs|etm\+?"
    r"|modis|m[oyc]d\d\d\w*|terra|aqua|viirs|vnp\d\d\w*|vj[12]\d\d\w*|snpp|suomi[- ]?npp|noaa-?\d*"
    r"|aster|avhrr|goes-?\w*|himawari-?\d*|abi|proba-?v|olci|slstr|sentinel-?[135][abp]?"
    r"|planet\w*|psscene\w*|(?:super)?dove\w*|skysat\w*|rapideye\w*|worldview-?\d*|wv0[1-4]"
    r"|geoeye-?\d*|quickbird-?\d*|ikonos|pleiades\w*|phr\w*|spot-?[1-7]|cbers-?\w*|gaofen-?\d*|gf-?[1-7]"
    rf"|resourcesat-?\d*|prisma|enmap|hyperion|desis|naip){_END}",
    re.IGNORECASE,
)
# what a file's name may say
_IN_FILE_NAME = re.compile(
    r"landsat|modis|viirs|planetscope|psscene|analyticms|skysat|rapideye|worldview"
    rf"|{_EDGE}(?:l[cetmo]0[1-9]{_END}|l[5789]_|m[oyc]d\d\d|vnp\d\d|aster{_END}"
    r"|S2._OPER_PRD_MSIL2A_)",
    re.IGNORECASE,
)
_PLATFORM_TAGS = frozenset(
    [
        *("satellite", "satellite_name", "satelliteid", "platform", "eo:platform", "spacecraft"),
        *("spacecraft_id", "spacecraft_name", "spacecraftname", "mission", "sensor", "sensor_id"),
        *("sensor_name", "instrument", "instruments", "eo:instrument", "constellation"),
        *("eo:constellation", "platformname", "instrumentname", "shortname", "collection"),
        *("associatedplatformshortname", "associatedsensorshortname"),
    ]
)
# bands that stand beside "B4" in files of other sensors only
_BAND = re.compile(
    r"(?:SR_B\d+|ST_B\d+|BQA|QA_PIXEL|QA_RADSAT|QA_AEROSOL|SR_QA_AEROSOL|B6_VCID_[12]"
    r"|sur_refl_b\d\d|Nadir_Reflectance_Band\d|sur_refl_qc_\w+)",
    re.IGNORECASE,
)
_LONGEST = 300  # characters of a tag that may be a product's name


class Recognised(NamedTuple):
    """Whose a raster is.

    sensor: None for a sensor whose files are not understood.
    sign: what tells of that one, for people.
    """

    sensor: Sensor | None
    sign: str | None = None


def recognise_sensor(
    paths: Iterable[str], tags: Mapping[str, str], descriptions: Sequence[str | None]
) -> Recognised:
    """The sensor whose a file is; `DEFAULT_SENSOR` where nothing tells of any other.

    Args:
        paths: of the file, and of those that it reads if it is virtual.
    """
    parts = [_named_parts(path) for path in paths]
    platforms = {key: tags[key] for key in tags if key.lower() in _PLATFORM_TAGS}
    texts = [part for file in parts for part in file] + [*platforms.values()]
    named = [text for text in descriptions if text and DEFAULT_SENSOR.band(text) is None]
    for sensor in sensors()[1:]:
        if any(map(sensor.sign.search, texts)) or any(map(sensor.band, named)):
            return Recognised(sensor)
    sign = next(filter(None, map(_strange_path, parts)), None) or _strange_tags(
        tags, platforms, descriptions
    )
    return Recognised(None, sign) if sign else Recognised(DEFAULT_SENSOR)


def recognise_path(path: str) -> Recognised:
    """As `recognise_sensor`, by the name of a file, or of the product's folder that it is in."""
    return recognise_sensor([path], {}, ())


def _named_parts(path: str) -> tuple[str, ...]:
    """The last two parts of a path or URL: the folder's name may be the product's."""
    return PurePosixPath(path.split("?")[0]).parts[-2:]


def _strange_path(parts: Sequence[str]) -> str | None:
    for part in reversed(parts):
        if match := _PRODUCT.search(part):
            return f"the name {part} ({match[0]})"
    if (
        parts
        and (match := _IN_FILE_NAME.search(parts[-1]))
        and not DEFAULT_SENSOR.sign.search(parts[-1])
    ):
        return f"the name {parts[-1]} ({match[0]})"
    return None


def _strange_tags(
    tags: Mapping[str, str], platforms: Mapping[str, str], descriptions: Sequence[str | None]
) -> str | None:
    if any(map(DEFAULT_SENSOR.sign.search, platforms.values())):
        return None
    for key, value in tags.items():
        if key.lower().startswith(("landsat_", "modis_")):
            return f"tag {key}"
        named = key in platforms and _NAME.search(value)
        if named or (len(value) <= _LONGEST and _PRODUCT.search(value)):
            return f"tag {key} ({value[:60]})"
    for text in descriptions:
        if text and (_BAND.fullmatch(text.strip()) or _PRODUCT.search(text)):
            return f"band {text.strip()[:60]}"
    return None
