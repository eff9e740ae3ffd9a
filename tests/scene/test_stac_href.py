"""What hrefs may name."""

from functools import partial
from pathlib import Path

import pytest

from deo.errors import SceneError
from deo.scene.stac_href import locate

lost = partial(locate, place=None, name="it")


def test_locate__local_files_below_the_item_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = partial(locate, place=str(tmp_path / "a" / "item.json"), name="it")
    assert mine("B04.tif") == str(tmp_path / "a" / "B04.tif")
    assert mine("./x/B04.tif") == str(tmp_path / "a" / "x" / "B04.tif")
    assert mine(f"file://{tmp_path}/a/B%2004.tif") == f"{tmp_path}/a/B 04.tif"
    for href in ("../B04.tif", "/etc/passwd", f"{tmp_path}/ab/B04.tif", f"file://{tmp_path}/x.tif"):
        with pytest.raises(SceneError, match="does not lie below the folder of the item"):
            mine(href)
        with pytest.raises(SceneError, match="does not lie below the folder of the item"):
            lost(href)
    for href in (
        "/vsicurl/http://x/y.tif",
        "vrt:/vsicurl/http://x/y.tif",
        "NETCDF:x.nc",
        "ftp://x/y.tif",
        "<VRTDataset/>",
    ):
        with pytest.raises(SceneError, match="neither a path nor an address"):
            mine(href)
    monkeypatch.setenv("DEO_VRT_SOURCES", str(tmp_path / "ab"))
    assert mine(f"{tmp_path}/ab/B04.tif") == f"{tmp_path}/ab/B04.tif"
    assert lost(f"{tmp_path}/ab/B04.tif") == f"{tmp_path}/ab/B04.tif"


def test_locate__addresses() -> None:
    assert lost("https://x/y.tif?sig=1") == "https://x/y.tif?sig=1"
    assert lost("s3://bucket/y.tif") == "s3://bucket/y.tif"
    assert locate("../y.tif", place="https://x/a/item.json", name="it") == "https://x/y.tif"
    assert locate("../y.tif", place="s3://bucket/a/item.json", name="it") == "s3://bucket/y.tif"
