"""What a VRT names: its sources, after everything else that a VRT can do has been refused.

A VRT is a program as much as a picture: raw bands read the bytes of any file, pixel functions
run Python, and a source may be another description, an address on the network, or a chain of
GDAL's virtual file systems. A mosaic, a stack, a crop, a rescaling or a warp needs none of that.
"""

import re
from typing import Any, NamedTuple
from xml.etree import ElementTree

from deo.errors import SceneError

LARGEST_VRT = 64 * 2**20
"""Bytes; a mosaic of 50 000 tiles has some 30 MiB."""

_FILES = frozenset(["SourceFilename", "SourceDataset"])
_KINDS = frozenset(
    ["VRTWarpedDataset", "VRTSourcedRasterBand", "VRTWarpedRasterBand", "", "VRTDataset"]
)
_DOMAINS = frozenset(["", "IMAGE_STRUCTURE", "RPC", "STATISTICS", "IMAGERY"])
_ELEMENTS = _FILES | set(
    re.findall(
        r"\w+",
        """
    VRTDataset SRS GeoTransform GCPList GCP Metadata MDI MaskBand OverviewList VRTRasterBand
    BlockXSize BlockYSize Description UnitType Offset Scale CategoryNames Category ColorInterp
    ColorTable Entry NoDataValue HideNoDataValue Histograms HistItem HistMin HistMax BucketCount
    IncludeOutOfRange Approximate HistCounts Overview SourceBand SourceProperties SrcRect DstRect
    SimpleSource ComplexSource AveragedSource NoDataFromMaskSource KernelFilteredSource
    NODATA UseMaskBand ScaleOffset ScaleRatio SrcMin SrcMax DstMin DstMax Exponent Clamp LUT
    ColorTableComponent MaskValueThreshold RemappedValue Kernel Size Coefs OpenOptions OOI
    GDALWarpOptions WarpMemoryLimit ResampleAlg WorkingDataType Option Transformer
    ApproxTransformer MaxError BaseTransformer GenImgProjTransformer SrcGeoTransform
    SrcInvGeoTransform DstGeoTransform DstInvGeoTransform ReprojectTransformer
    ReprojectionTransformer SourceSRS TargetSRS BandList BandMapping SrcNoDataReal SrcNoDataImag
    DstNoDataReal DstNoDataImag SrcAlphaBand DstAlphaBand MultiBand
    GCPTransformer TPSTransformer SrcGCPTransformer DstGCPTransformer SrcTPSTransformer
    DstTPSTransformer Options Order Reversed Refine MinimumGcps Tolerance SrcApproxErrorForward
    SrcApproxErrorReverse DstApproxErrorForward DstApproxErrorReverse ForceTwoSidedness
    """,
    )
)
_ATTRIBUTES = set(
    re.findall(
        r"\w+",
        """
    rasterXSize rasterYSize subClass dataAxisToSRSAxisMapping coordinateEpoch Projection Id Info
    Pixel Line X Y Z domain key dataType band blockXSize blockYSize relativeToVRT shared
    RasterXSize RasterYSize DataType BlockXSize BlockYSize xOff yOff xSize ySize resampling
    normalized c1 c2 c3 c4 name src dst
    """,
    )
)
_PLAIN_SRS = re.compile(r"\s*(\w+\[|EPSG:\d|OGC:\w|\+proj=|$)")  # no file, no address
_OPEN_OPTIONS = frozenset(["NUM_THREADS", "SPARSE_OK", "GEOREF_SOURCES", "USE_TILE_AS_BLOCK"])


class VrtSource(NamedTuple):
    """A raster that a VRT reads, as it is written there."""

    name: str
    relative: bool


def vrt_sources(text: str, label: str) -> tuple[VrtSource, ...]:
    """The distinct rasters that a VRT reads.

    Args:
        text: the whole VRT.
        label: how messages call it.

    Raises:
        SceneError: it is no XML of a VRT, or it holds what can read anything but rasters.
    """
    for mark in ("<!DOCTYPE", "<!ENTITY", "<![CDATA["):
        if mark in text:
            raise SceneError(f"{label} holds {mark}, which no VRT needs; write it again: {_REMEDY}")
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    try:
        parser.feed(text)
        root = parser.close()
    except (ElementTree.ParseError, ValueError) as error:
        raise SceneError(f"{label} is not readable XML of a VRT: {error}") from error
    if root.tag != "VRTDataset":
        raise SceneError(f"{label} is {str(root.tag)[:60]} in XML, not a VRTDataset")
    named: dict[VrtSource, None] = {}
    for element in root.iter():
        tag: Any = element.tag
        if tag is ElementTree.Comment:
            continue
        _check(element, label)
        if element.tag in _FILES:
            named[_source(element, label)] = None
    return tuple(named)


_REMEDY = "gdalbuildvrt or gdal_translate -of VRT makes what can be read"


def _check(element: ElementTree.Element, label: str) -> None:
    """Refuse what is not known to be harmless; GDAL ignores case in names, this does not."""
    tag, said = element.tag, element.attrib
    odd = sorted(set(said) - _ATTRIBUTES)
    if tag not in _ELEMENTS or odd:
        what = tag if tag not in _ELEMENTS else f"{odd[0]} of {tag}"
        raise SceneError(f"{label} holds {what[:60]}, which is not read here; {_REMEDY}")
    kind, domain = said.get("subClass", ""), said.get("domain", "")
    if kind not in _KINDS:
        raise SceneError(
            f"{label} holds a {kind[:60]}, which can read files that are not rasters, or run code; "
            f"if you trust it, make a GeoTIFF of it: gdal_translate {label} plain.tif"
        )
    if tag == "Metadata" and domain not in _DOMAINS:
        raise SceneError(f"{label} holds metadata of the domain {domain[:60]}; {_REMEDY}")
    if tag == "OOI" and said.get("key", "") not in _OPEN_OPTIONS:
        raise SceneError(f"{label} opens a source with {said.get('key', '')[:60]}; {_REMEDY}")
    if tag == "Option" and said.get("name", "").upper().endswith(("_DEM", "_ARRAY")):
        raise SceneError(f"{label} warps with {said['name'][:60]}; {_REMEDY}")
    if tag.endswith("SRS") and not _PLAIN_SRS.match(element.text or ""):
        raise SceneError(
            f"{label} names its reference system by {(element.text or '')[:60]!r}; "
            f"WKT, EPSG:... or a PROJ string is needed"
        )


def _source(element: ElementTree.Element, label: str) -> VrtSource:
    name = element.text or ""
    if not name or len(element) or name != name.strip() or not name.isprintable():
        raise SceneError(
            f"{label} has a {element.tag} that is not a plain file name: {name[:60]!r}"
        )
    return VrtSource(name, element.get("relativeToVRT", "0") != "0")
