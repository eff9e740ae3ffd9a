"""Sentinel-2: its bands, how files of ESA and of the public archives are named, their offsets.

From processing baseline 04.00 on, ESA's products store 1000 more than reflectance x 10 000.
Whether a file does is told by its metadata, never by its date, since old scenes are reprocessed
with new baselines.
"""

import re
from collections.abc import Mapping, Sequence

from deo.sensors.evidence import PER_REFLECTANCE, Evidence, finite_number
from deo.sensors.table import Band, Sensor

BASELINE_OFFSET = -1000.0
"""What baselines from 04.00 on say has to be added to stored digital numbers."""

_FIRST_WITH_OFFSET = 4.0
_UNKNOWN_BASELINE = 99.0  # N9999 marks products of test or local processors
_BASELINE = re.compile(r"\d{2}\.\d{2}")
_PRODUCT = re.compile(r"S2[A-D]_MSI(?:L1C|L2A)_\d{8}T\d{6}_N(\d{4})_R\d{3}_T\w{5}_\d{8}T\d{6}")
# paths in the public archives, and the names of their items, e.g. S2A_36QWD_20200701_0_L2A
_HARMONISED = re.compile(
    r"(^|[/.])sentinel-cogs([/.]|$)|/sentinel-s2-l2a-cogs/|S2[A-D]_\d{1,2}[A-Z]{3}_\d{8}_\d+_L2A"
)
# archives whose makers took the offset of their sources away; tags of those may live on
_RESCALED = re.compile(r"HLS[._]?S30|S2(?:_SR|_TOA)?_HARMONIZED", re.IGNORECASE)
_COLLECTION_1 = re.compile(r"/sentinel-2-c1-l2a/|S2[A-D]_T\d{2}[A-Z]{3}_\d{8}T\d{6}_L2A")

_RED_EDGE = ("red", "edge", "rededge", "vegetation", "vre", "re")
_INFRARED = ("nir", "near", "infrared", "infra")
_SHORTWAVE = ("swir", "short", "shortwave", "wave", "infrared")
_FURTHER_NAMES = {"B05": ("rededge071",), "B06": ("rededge075",), "B07": ("rededge078",)}
# what each band is called, which tells it from other sensors' bands of the same number
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


def _band(
    name: str, common_name: str, wavelength: float, resolution: int, mean: float, std: float
) -> Band:
    """A band with its spellings: a missing zero or B does not matter (`B02`, `b2`, `02`, `2`)."""
    number = name[1:].lower()
    numbers = {number, number.lstrip("0"), number.zfill(3) if name == "B8A" else number}
    return Band(
        name=name,
        common_name=common_name,
        wavelength=wavelength,
        resolution=resolution,
        mean=mean,
        std=std,
        aliases=(
            *sorted(numbers),
            *(f"b{text}" for text in sorted(numbers)),
            *_FURTHER_NAMES.get(name, ()),
        ),
        words=_CALLED[name],
    )


SENTINEL2: tuple[Band, ...] = (
    _band("B01", "coastal", 442.5, 60, 1370.19151926, 633.15169573),
    _band("B02", "blue", 492.3, 10, 1184.3824625, 650.2842772),
    _band("B03", "green", 559.4, 10, 1120.77120066, 712.12507725),
    _band("B04", "red", 664.8, 10, 1136.26026392, 965.23119807),
    _band("B05", "rededge1", 704.0, 20, 1263.73947144, 948.9819932),
    _band("B06", "rededge2", 739.8, 20, 1645.40315151, 1108.06650639),
    _band("B07", "rededge3", 781.3, 20, 1846.87040806, 1258.36394548),
    _band("B08", "nir", 832.9, 10, 1762.59530783, 1233.1492281),
    _band("B8A", "nir08", 864.4, 20, 1972.62420416, 1364.38688993),
    _band("B09", "nir09", 944.1, 60, 582.72633433, 472.37967789),
    _band("B10", "cirrus", 1375.2, 60, 14.77112979, 14.3114637),
    _band("B11", "swir16", 1612.1, 20, 1732.16362238, 1310.36996126),
    _band("B12", "swir22", 2194.1, 20, 1247.91870117, 1087.6020813),
)
"""The thirteen bands in order of wavelength, which is also ESA's product order.

Wavelengths are the mean of Sentinel-2A and 2B; statistics are those of fMoW-Sentinel before
baseline 04.00.
"""


def baseline_evidence(baseline: str, *, source: str) -> Evidence:
    """What a processing baseline (`05.09`, `N0509`, `4.0`) says of the offset.

    Args:
        source: where it was found, e.g. `tag s2:processing_baseline`.
    """
    text = baseline.strip().upper().removeprefix("N")
    match = re.fullmatch(r"(\d{2})(\d{2})|(\d{1,2})\.(\d{1,2})", text)
    if match is None:
        return Evidence(fact=f"{source} is {baseline!r}, which is no processing baseline")
    number = float(f"{match[1] or match[3]}.{match[2] or match[4]}")
    label = f"{source}: processing baseline {number:05.2f}"
    if number >= _UNKNOWN_BASELINE:
        return Evidence(fact=f"{label} (not a public one: says nothing)")
    if number >= _FIRST_WITH_OFFSET:
        return Evidence(
            fact=f"{label}, from 04.00 on the offset is {BASELINE_OFFSET:g}",
            offset=BASELINE_OFFSET,
        )
    return Evidence(fact=f"{label}, before 04.00 there is no offset", offset=0.0)


def _path_evidence(path: str) -> tuple[Evidence, ...]:
    """What the names in a path or URL say: the product's name, or the public archive it is in."""
    facts = [
        baseline_evidence(baseline, source=f"product name {name}")
        for name, baseline in dict.fromkeys(
            (match[0], match[1]) for match in _PRODUCT.finditer(path)
        )
    ]
    if _HARMONISED.search(path):
        facts.append(
            Evidence(
                fact="path of the sentinel-cogs archive, whose pixels have the offset applied "
                "whatever their metadata advertise",
                offset=0.0,
                applied=True,
            )
        )
    elif _COLLECTION_1.search(path):
        facts.append(
            Evidence(
                fact=f"path of the Collection-1 archive (baseline 05.00 or later), offset "
                f"{BASELINE_OFFSET:g}",
                offset=BASELINE_OFFSET,
            )
        )
    return tuple(facts)


def _tag_evidence(tags: Mapping[str, str]) -> tuple[Evidence, ...]:
    """What a dataset's or a band's metadata tags say (STAC, ESA and GDAL spellings, any case)."""
    facts: list[Evidence] = []
    for key, value in tags.items():
        name = key.lower().removeprefix("s2:").removeprefix("earthsearch:")
        # STAC's processing:version is of any software; Sentinel-2's baselines have four digits
        generic = name == "processing:version" and _BASELINE.fullmatch(value.strip())
        if name == "processing_baseline" or generic:
            facts.append(baseline_evidence(value, source=f"tag {key}"))
        elif name == "boa_offset_applied" and value.strip().lower() in ("true", "1", "yes"):
            facts.append(
                Evidence(
                    fact=f"tag {key} is {value}: the offset is in the pixels already",
                    offset=0.0,
                    applied=True,
                )
            )
        elif name in ("boa_add_offset", "radio_add_offset"):
            offset = finite_number(value)
            if offset is not None and 0 < abs(offset) <= 1:  # in units of reflectance
                offset *= PER_REFLECTANCE
            facts.append(Evidence(fact=f"tag {key} is {value}", offset=offset))
        elif match := _PRODUCT.match(value.strip()):
            facts.append(baseline_evidence(match[1], source=f"tag {key}: product {match[0]}"))
    return tuple(facts)


def _archive_evidence(
    paths: Sequence[str], tags: Sequence[Mapping[str, str]]
) -> tuple[Evidence, ...]:
    """What belonging to an archive says that has taken the offset of its sources away.

    HLS from Sentinel-2 and Earth Engine's harmonised collections carry tags of ESA's products
    that they were made of; none of those is about their numbers.
    """
    signs = [match[0] for path in paths if (match := _RESCALED.search(path))]
    for each in tags:
        for key, value in each.items():
            if match := _RESCALED.search(value):
                signs.append(f"tag {key}: {match[0]}")
            elif key.lower().startswith("hls_"):
                signs.append(f"tag {key}")
    if not signs:
        return ()
    return (
        Evidence(
            fact=f"{signs[0]}: made without the offset, whatever tags of its sources say",
            offset=0.0,
            applied=True,
        ),
    )


SENSOR = Sensor(
    name="Sentinel-2",
    bands=SENTINEL2,
    sign=re.compile(
        r"sentinel[-_ ]?2|HLS[._]?S30"
        r"|(?<![A-Za-z0-9])(?:S2[A-D]?(?![A-Za-z0-9])|S2[A-D]_|MSI(?![A-Za-z0-9]))",
        re.IGNORECASE,
    ),
    spelling=re.compile(r"b(?:\d{1,2}|\d?8a)", re.IGNORECASE),
    words=frozenset(
        ["sentinel", "sentinel2", "s2", "s2a", "s2b", "s2c", "s2d", "msi", "l1c", "l2a", "esa"]
    ),
    ancillary=frozenset(
        [
            *("AOT", "WVP", "SCL", "TCI", "PVI"),
            *("CLD", "SNW", "CLDPRB", "SNWPRB", "DETFOO", "QUALIT", "CLASSI", "CLOUDS"),
        ]
    ),
    classification="SCL",
    # no data, saturated, cloud shadow, clouds of medium and high probability, cirrus, snow
    cloud_classes=(0, 1, 3, 8, 9, 10, 11),
    own_image=re.compile(r"_?T\d{2}[A-Z]{3}_\d{8}T\d{6}_(B\d\w)(_\d0m)?\.(jp2|tiff?)$"),
    zero_is_missing=True,
    assumption=(
        "whether its numbers carry the offset of processing baseline 04.00; taken as without one "
        "(--offset -1000 if they do)"
    ),
    folders=("R10m", "R20m", "R60m"),
    file_example="T33TUL_20230823T095559_B02_10m.jp2",
    listings={
        4: "B04,B03,B02,B08 for red, green, blue, near infrared",
        12: "B01,B02,B03,B04,B05,B06,B07,B08,B8A,B09,B11,B12 for the order of L2A",
        13: "B01,B02,B03,B04,B05,B06,B07,B08,B09,B10,B11,B12,B8A if this is EuroSAT",
    },
    path_evidence=_path_evidence,
    tag_evidence=_tag_evidence,
    archive_evidence=_archive_evidence,
)
