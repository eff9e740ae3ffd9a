"""What is known of the content of an input file without reading it, asked anew each time."""

import base64
import contextlib
import hashlib
import http.client
import json
import logging
import os
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from deo.errors import SceneError
from deo.scene.gdal import gdal, gdal_path, is_remote, public
from deo.scene.vsi import headers

log = logging.getLogger(__name__)

LAYOUT = "layout:"
"""What a stamp begins with that stands for the places of blocks."""

_TIMEOUT = 10  # seconds to learn what a server says of a file that GDAL has opened already
_AT_ONCE = 8


class InputFile(NamedTuple):
    """One file: where it is, its public name, and what is known of its content.

    `stamp` is the time of change in nanoseconds, the server's ETag or date, `layout:` with a digest
    of where the blocks lie, or an array's checksum; it and `size` are None where they cannot be
    learnt. `status` is of a file on disk, and tells only while it is read: another mount or a copy
    has another one.
    """

    address: str
    name: str
    size: int | None
    stamp: int | str | None
    status: "Status | None" = None


class Status(NamedTuple):
    """When a file on disk was last touched in any way, in nanoseconds, and all but its content
    that a touch may have changed. No program can set the time back.
    """

    touched: int
    beside: tuple[int, ...]


def rewritten(before: Status | None, now: Status | None) -> bool:
    """Whether a file of the same size and date has been written in place: only its content can
    account for the touch.
    """
    if before is None or now is None or os.name == "nt":  # where the time is that of creation
        return False
    return now.beside == before.beside and now.touched != before.touched


def learn(addresses: Iterable[str]) -> dict[str, InputFile]:
    """What is known of files now, by address; remote ones are asked side by side."""
    known = dict.fromkeys(addresses, None)
    remote = [address for address in known if is_remote(address)]
    stated: Iterator[InputFile] = iter(())
    if remote:
        with ThreadPoolExecutor(min(_AT_ONCE, len(remote))) as pool:
            stated = iter(list(pool.map(_stated, remote)))
    return {a: next(stated) if is_remote(a) else _on_disk(a) for a in known}


def _on_disk(path: str) -> InputFile:
    name = os.path.basename(path)
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return InputFile(path, name, None, None)
    beside = (facts.st_dev, facts.st_ino, facts.st_nlink, facts.st_mode, facts.st_uid, facts.st_gid)
    status = Status(facts.st_ctime_ns, beside)
    return InputFile(path, name, facts.st_size, facts.st_mtime_ns, status)


def _stated(address: str) -> InputFile:
    """What a server states: by the first byte, since a signature for reading may forbid HEAD."""
    shown = public(address)
    nothing = InputFile(address, shown, None, None)
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https"):
        return _stored(address, shown)
    try:
        bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
        request = urllib.request.Request(bare, headers={"Range": "bytes=0-0"})
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            request.add_header("Authorization", f"Basic {base64.b64encode(pair).decode()}")
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            headers = answer.headers
    except (OSError, ValueError, http.client.HTTPException) as error:
        log.debug("nothing is known of %s: %s", shown, type(error).__name__)
        return nothing
    total = (headers.get("Content-Range") or "").rpartition("/")[2]
    length = total if total.isdigit() else headers.get("Content-Length") or ""
    size = int(length) if length.isdigit() else None
    return InputFile(address, shown, size, headers.get("ETag") or headers.get("Last-Modified"))


def _stored(address: str, shown: str) -> InputFile:
    """What an object store (s3, gs, az) states, asked with GDAL's own credentials."""
    stated: Mapping[str, str] = {}
    with contextlib.suppress(SceneError), gdal(address, "ask for its headers"):
        stated = headers(gdal_path(address))
    length = stated.get("content-length", "")
    size = int(length) if length.isdigit() else None
    return InputFile(address, shown, size, stated.get("etag") or stated.get("last-modified"))


def block_layout(dataset: Any) -> str | None:
    """Where a GeoTIFF keeps its last blocks: it moves when any compressed block before changes.

    It stands in for the date of what a server says nothing about.
    """
    if dataset.driver != "GTiff":
        return None
    height, width = dataset.block_shapes[-1]
    last = f"{(dataset.width - 1) // width}_{(dataset.height - 1) // height}"
    items = [
        dataset.get_tag_item(f"BLOCK_{what}_{block}", "TIFF", bidx=band)
        for band in {1, dataset.count}
        for block in {"0_0", last}
        for what in ("OFFSET", "SIZE")
    ]
    text = json.dumps([dataset.height, dataset.width, dataset.count, sorted(map(str, items))])
    return f"{LAYOUT}{hashlib.sha256(text.encode()).hexdigest()[:32]}"
