"""The files that a scene is read from, and what tells each from another of the same name.

A file on disk is known by its last name, size and time: another mount path is the same file. A
remote one is known by its address without query and credentials, which differ from one signature
to the next, and by the ETag or date and the length that its server states.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from deo.errors import SceneError
from deo.files.junk import is_junk
from deo.scene.formats import Door, open_raster
from deo.scene.gdal import gdal_path, is_remote
from deo.scene.plane_source import PlaneSource
from deo.scene.raster import RasterSource
from deo.scene.safe import enclosing_metadata
from deo.scene.scene import Scene
from deo.scene.sources import ArraySource
from deo.scene.stamps import LAYOUT, InputFile, block_layout, learn, rewritten

_SIDECARS = (".aux.xml", ".ovr", ".msk", ".msk.ovr")
_ARCHIVE = re.compile(r"/vsi(?:zip|tar|gzip|7z|rar)/")


@dataclass(frozen=True)
class Inputs:
    """The files of one or more scenes, as they were when they were opened.

    documents: files that say what those are. They are no part of the record: a search writes a new
        one of the same items each time, and what they say of the pixels is in the settings.
    """

    files: tuple[InputFile, ...]
    documents: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        """Of those on disk."""
        read = [file.address for file in self.files]
        return [path for path in (*read, *self.documents) if os.path.exists(path)]

    def record(self) -> list[list[Any]]:
        """Name, size and stamp of each, in JSON's types; no address, signature or credentials."""
        return sorted(([f.name, f.size, f.stamp] for f in self.files), key=json.dumps)

    @property
    def known(self) -> bool:
        """Whether something is known of the content of each."""
        return all((file.size, file.stamp) != (None, None) for file in self.files)

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that change with any of them."""
        return hashlib.sha256(json.dumps(self.record()).encode()).hexdigest()[:32]

    def refuse_changes(self) -> None:
        """Look at the files again. What can no longer be learnt counts as unchanged.

        Raises:
            SceneError: one is not what it was.
        """
        before = Inputs(tuple(file for file in self.files if file.address))  # arrays have none
        now = Inputs(tuple(learn(file.address for file in before.files).values()))
        changed = changed_files(before.record(), now.record()) or [
            old.name
            for old, new in zip(before.files, now.files, strict=True)
            if rewritten(old.status, new.status)
        ]
        if changed:
            raise SceneError(
                f"{', '.join(changed[:3])} changed while being read, so that the result would mix "
                "two inputs; nothing was written. Run again once the input stays as it is"
            )


def changed_files(before: Any, now: Sequence[Sequence[Any]]) -> list[str]:
    """Names of the files that two records of `Inputs` do not have in common.

    A size or stamp that one of them does not know, or that is of another sort, tells nothing.

    Args:
        before: as read from a file, so of any form.
    """
    if not isinstance(before, list) or not all(isinstance(e, list) and len(e) == 3 for e in before):
        return [name for name, _, _ in now]
    old = [tuple(entry) for entry in before]
    changed = []
    for name, size, stamp in now:
        same = [entry for entry in old if entry[0] == name and _agree(entry, (name, size, stamp))]
        if same:
            old.remove(same[0])
        else:
            changed.append(name)
    return list(dict.fromkeys((*changed, *(str(entry[0]) for entry in old))))


def _agree(one: Sequence[Any], other: Sequence[Any]) -> bool:
    sizes, stamps = (one[1], other[1]), (one[2], other[2])
    comparable = None not in stamps and len({str(s).startswith(LAYOUT) for s in stamps}) == 1
    return (None in sizes or sizes[0] == sizes[1]) and (not comparable or stamps[0] == stamps[1])


def read_inputs(*scenes: Scene) -> Inputs:
    """Everything that GDAL reads for some scenes: files, the sources of VRTs, sidecars, XML."""
    addresses: dict[str, RasterSource] = {}  # to what reads it
    arrays = []
    sources = {asset.source: None for scene in scenes for asset in scene.assets}
    sources |= dict.fromkeys(raster for scene in scenes for raster in scene.mask_rasters)
    for source in sources:
        if isinstance(source, ArraySource):
            arrays.append(_array(source))
        elif isinstance(source, PlaneSource):
            arrays.append(InputFile("", source.path, source.nbytes, source.digest))
        elif isinstance(source, RasterSource):
            names = source.files or (gdal_path(source.path),)
            addresses |= dict.fromkeys(input_files(names), source)
    known = learn(addresses)
    for address, file in known.items():
        if file.stamp is None and is_remote(address):
            layout = addresses[address].handle.use("read its layout", block_layout)
            known[address] = file._replace(stamp=layout)
    documents = dict.fromkeys(path for scene in scenes for path in scene.documents)
    return Inputs((*arrays, *known.values()), tuple(documents))


def input_files(names: Iterable[str]) -> list[str]:
    """The files and addresses behind names as GDAL has them, each once.

    An archive stands for what is in it and a folder for its files; a VRT's sources, a file's
    sidecars and the XML of its product are added.
    """
    known: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        address = _behind(waiting.pop())
        if address in known:
            continue
        known[address] = None
        if os.path.isdir(address):
            del known[address]
            waiting += _below(address)
        elif os.path.isfile(address):
            waiting += [p for end in _SIDECARS if os.path.exists(p := address + end)]
            metadata = enclosing_metadata(Path(address))
            waiting += [] if metadata is None else [str(metadata)]
        if address.split("?")[0].lower().endswith(".vrt"):
            waiting += _vrt_sources(address)
    return list(known)


def _vrt_sources(address: str) -> list[str]:
    """What a VRT reads; GDAL lists the sources of the outermost one alone."""
    try:
        with open_raster(address, door=Door.NAMED) as vrt:
            return list(vrt.files)
    except SceneError:  # told of by whoever reads it
        return []


def _behind(name: str) -> str:
    """The file on disk, or the remote address, whose bytes are read under a name of GDAL's."""
    text = name.removeprefix("file://") if name.startswith("file://") else name
    archived = False
    while (prefix := _ARCHIVE.match(text)) is not None:
        archived = True
        text = text[prefix.end() :]
        if text.startswith("{"):
            text = text[1:].partition("}")[0]
    if text.startswith("/vsicurl"):
        options = text.removeprefix("/vsicurl")
        if options.startswith("?"):
            text = unquote(options.partition("url=")[2].partition("&")[0])
        else:
            text = options.removeprefix("/")
    if archived and not os.path.exists(text):
        if is_remote(text):
            inner = re.search(r"\.(zip|tar|tgz|tar\.gz|gz)(?=/|$)", text, re.IGNORECASE)
            return text[: inner.end()] if inner else text
        outer = [str(folder) for folder in Path(text).parents if folder.is_file()]
        return outer[0] if outer else text
    return text


def _below(folder: str) -> list[str]:
    """All files in a folder, whose own time of change says nothing about theirs."""
    return sorted(
        os.path.join(place, name)
        for place, _, names in os.walk(folder)
        for name in names
        if not is_junk(name) and os.path.isfile(os.path.join(place, name))
    )


def _array(source: ArraySource) -> InputFile:
    digest = hashlib.sha256(np.ascontiguousarray(source.array).tobytes())
    if source.valid is not None:
        digest.update(source.valid.tobytes())
    return InputFile("", source.path, source.array.nbytes, digest.hexdigest())
