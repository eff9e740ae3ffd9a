"""What the hrefs of a STAC item may name, and where that lies."""

import os
import posixpath
from urllib.parse import unquote, urljoin, urlsplit

from deo.errors import SceneError
from deo.scene.formats import SOURCES_VARIABLE
from deo.scene.gdal import is_remote

_SCHEMES = ("http://", "https://", "s3://", "gs://", "az://")


def locate(href: str, *, place: str | None, name: str) -> str:
    """The path or address that an href means.

    An item may come from anywhere, so of local files it may name those alone that lie below its
    own folder, or below what the user allows.

    Args:
        place: path or address of the item; None in memory.
        name: of the item, for messages.

    Raises:
        SceneError: it may not be read.
    """
    if href.startswith(_SCHEMES):
        return href
    local = _plain(href)
    if href.startswith(("/vsi", "<")) or local is None:
        raise SceneError(
            f"{name}: {href[:120]} is neither a path nor an address of http, https, s3, gs or az"
        )
    if place is not None and is_remote(place) and not os.path.isabs(local):
        return _beside_address(place, local)
    folder = None if place is None else os.path.dirname(os.path.abspath(place))
    path = local if folder is None else os.path.join(folder, local)
    below = os.environ.get(SOURCES_VARIABLE, "").split()
    if folder is not None and not is_remote(str(place)):
        below.append(folder)
    if ".." in path.split("/") or not any(
        path.startswith(above.rstrip("/") + "/") for above in below
    ):
        raise SceneError(
            f"{name} names {href[:120]}, which does not lie below the folder of the item; "
            f"where you trust it, set {SOURCES_VARIABLE} to the folder that may be read below"
        )
    return os.path.normpath(path)


def _plain(href: str) -> str | None:
    """The local path that an href spells; None for an address of another kind."""
    if href.lower().startswith("file://"):
        return unquote(urlsplit(href).path)
    return None if ":" in href.split("/")[0] else href


def _beside_address(place: str, relative: str) -> str:
    parts = urlsplit(place)
    if parts.scheme in ("http", "https"):
        return urljoin(place, relative)
    folder = posixpath.dirname(place)
    return f"{parts.scheme}://{posixpath.normpath(folder.partition('://')[2] + '/' + relative)}"
