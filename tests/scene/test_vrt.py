"""What the text of a VRT names, without opening anything."""

import pytest

from deo.errors import SceneError
from deo.scene.vrt import VrtSource, vrt_sources


def band(inside: str) -> str:
    return f"<VRTDataset><VRTRasterBand>{inside}</VRTRasterBand></VRTDataset>"


def test_vrt_sources__each_once_as_written() -> None:
    source = '<SimpleSource><SourceFilename relativeToVRT="{}">{}</SourceFilename></SimpleSource>'
    text = band(source.format(1, "a.tif") + source.format(0, "/b.tif") + source.format(1, "a.tif"))
    assert vrt_sources(text, "x.vrt") == (VrtSource("a.tif", True), VrtSource("/b.tif", False))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<VRTDataset", "not readable XML"),
        ("<GDAL_WMS/>", "GDAL_WMS in XML, not a VRTDataset"),
        ("<!DOCTYPE x><VRTDataset/>", "holds <!DOCTYPE"),
        (band("<PixelFunctionCode/>"), "holds PixelFunctionCode"),
        (band('<SimpleSource href="x"/>'), "holds href of SimpleSource"),
        (band("<SourceFilename> a.tif</SourceFilename>"), "not a plain file name"),
        ('<VRTDataset><VRTRasterBand subClass="VRTRawRasterBand"/></VRTDataset>', "VRTRawRaster"),
        ("<VRTDataset><SRS>/etc/passwd</SRS></VRTDataset>", "names its reference system by"),
    ],
)
def test_vrt_sources__refuse(text: str, says: str) -> None:
    with pytest.raises(SceneError, match=says):
        vrt_sources(text, "x.vrt")
