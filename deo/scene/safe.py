"""ESA's .SAFE products, as folders and zips: which images they hold and what their XML says.

Both layouts are read: the compact one (since December 2016, one granule, `MTD_MSIL2A.xml`) and
the older one (`S2A_OPER_MTD_SAFL1C_*.xml`, often several granules).
"""

import os
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree

from deo.bands import BandSet
from deo.errors import SceneError
from deo.files.junk import is_junk
from deo.sensors.evidence import PER_REFLECTANCE, Evidence
from deo.sensors.known.sentinel2 import SENTINEL2, baseline_evidence
from deo.sensors.names import file_band, is_classification
from deo.sensors.registry import canonical_name

_METADATA = re.compile(
    r"(MTD_MSIL(1C|2A)|S2[A-D]_(OPER|USER)_MTD_(SAF|DMP)L(1C|2A)_.+)\.xml", re.IGNORECASE
)
_IMAGE = re.compile(r"(.*/)?IMG_DATA/.*\.(jp2|tiff?)", re.IGNORECASE)
_LARGEST_XML = 8 * 2**20
_NATIVE = {band.name: band.resolution for band in SENTINEL2}


class Tree(NamedTuple):
    """The files of a product, wherever they are.

    label: for messages.
    files: paths relative to the product's root, with slashes.
    read: contents of one of them.
    locate: one of them as GDAL names it.
    """

    label: str
    files: tuple[str, ...]
    read: Callable[[str], bytes]
    locate: Callable[[str], str]


class Image(NamedTuple):
    """One band's image: its canonical name, pixel size in metres, and place."""

    band: str
    resolution: int
    path: str
    granule: str


@dataclass(frozen=True, kw_only=True)
class SafeProduct:
    """A product: its images, and by band the evidence of scale and offset in its XML.

    classes: its scene classifications, as images without a band.
    """

    name: str
    images: tuple[Image, ...]
    classes: tuple[Image, ...]
    evidence: Mapping[str, tuple[Evidence, ...]]

    def select(
        self, *, granule: str | None, bands: BandSet | None, resolution: float | None
    ) -> list[Image]:
        """One image per band: the one with pixels of `resolution` metres, else the finest.

        Args:
            granule: folder name under GRANULE; needed when the product holds several.

        Raises:
            SceneError: there is none, or several granules to choose from.
        """
        granules = sorted({image.granule for image in self.images})
        if granule is None and len(granules) > 1:
            raise SceneError(
                f"{self.name} holds {len(granules)} granules; give the folder of one: "
                f"{', '.join(f'GRANULE/{name}' for name in granules)}"
            )
        chosen: dict[str, Image] = {}
        for image in sorted(self.images, key=lambda image: (image.resolution, image.path)):
            if granule is not None and image.granule != granule:
                continue
            if bands is not None and image.band not in bands:
                continue
            if image.band not in chosen or image.resolution == resolution:
                chosen[image.band] = image
        return [chosen[band] for band in _NATIVE if band in chosen]


def folder_tree(root: Path) -> Tree:
    """The files of a product's folder."""
    files = tuple(
        sorted(
            (Path(place) / name).relative_to(root).as_posix()
            for place, folders, names in os.walk(root)
            for name in _of_use(folders, names)
        )
    )
    return Tree(str(root), files, lambda name: _bounded(root / name), lambda name: str(root / name))


def _of_use(folders: list[str], names: list[str]) -> list[str]:
    """Names of files without what systems leave behind; such folders are not entered."""
    folders[:] = [name for name in folders if not is_junk(name)]
    return [name for name in names if not is_junk(name)]


def _bounded(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_XML + 1)
        if len(content) > _LARGEST_XML:
            raise SceneError(f"{path} is too large for a product's metadata")
        return content
    except OSError as error:
        raise SceneError(f"{path} cannot be read: {error.strerror}") from error


def zip_tree(path: Path) -> Tree:
    """The files of a zipped product.

    Raises:
        SceneError: it is no zip, damaged, or holds no product or several.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if not name.endswith("/")]
    except Exception as error:  # a damaged directory may raise anything in zipfile
        raise SceneError(f"{path} cannot be read as a zip: {error}") from error
    for name in members:
        if ".." in PurePosixPath(name).parts or name.startswith("/"):
            raise SceneError(f"{path} holds {name[:120]!r}, a name that leads outside the archive")
    names = [name for name in members if not any(map(is_junk, PurePosixPath(name).parts))]
    roots = sorted(
        {
            str(PurePosixPath(name).parent)
            for name in names
            if _METADATA.fullmatch(PurePosixPath(name).name)
            and "GRANULE" not in PurePosixPath(name).parts
        }
    )
    if len(roots) != 1:
        raise SceneError(
            f"{path} holds {len(roots) or 'no'} Sentinel-2 product{'s' if roots else ''}; "
            f"give a zip that holds one .SAFE product"
        )
    prefix = "" if roots[0] == "." else f"{roots[0]}/"

    def read(name: str) -> bytes:
        try:
            with zipfile.ZipFile(path) as archive:
                return _bounded_member(archive, prefix + name)
        except SceneError as error:
            raise SceneError(f"{path}: {error}") from error
        except Exception as error:  # a damaged member may raise anything in zipfile
            raise SceneError(f"{path}: {name} cannot be unpacked: {error}") from error

    return Tree(
        f"{path}/{prefix}".rstrip("/"),
        tuple(name.removeprefix(prefix) for name in names if name.startswith(prefix)),
        read,
        lambda name: f"/vsizip/{{{path.resolve()}}}/{prefix}{name}",
    )


def _bounded_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's bytes, unpacked up to the size of metadata, whatever size the archive states."""
    if archive.getinfo(name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SceneError(f"{name} is neither stored nor deflated; pack the product again")
    with archive.open(name) as member:
        content = member.read(_LARGEST_XML + 1)
    if len(content) > _LARGEST_XML:
        raise SceneError(f"{name} is too large for a product's metadata")
    return content


def product_root(path: Path) -> Path | None:
    """The product's folder that `path` is or lies in, None when it is in none."""
    for folder in (path, *path.parents[:6]):
        if _metadata(folder):
            return folder
    return None


def product_evidence(root: Path) -> Mapping[str, tuple[Evidence, ...]]:
    """By band, what the XML of the product in a folder says.

    Raises:
        SceneError: the XML is unreadable.
    """
    metadata = root / _metadata(root)[0]
    return _read_xml(_bounded(metadata), str(metadata)).evidence


def enclosing_metadata(path: Path) -> Path | None:
    """The XML of the product that a file lies in, None outside of one."""
    root = product_root(path)
    return None if root is None else root / _metadata(root)[0]


def _metadata(folder: Path) -> tuple[str, ...]:
    """Names of the product metadata files directly in a folder, none where there is no folder."""
    try:
        return _listed(folder, folder.stat().st_mtime_ns)
    except OSError:
        return ()


@lru_cache(maxsize=256)
def _listed(folder: Path, changed: int) -> tuple[str, ...]:
    """As `_metadata`; listed again when the folder has changed: it may hold thousands of chips."""
    with os.scandir(folder) as entries:
        return tuple(sorted(e.name for e in entries if _METADATA.fullmatch(e.name) and e.is_file()))


def read_product(tree: Tree) -> SafeProduct:
    """Read a product's XML and list the images that are there.

    Raises:
        SceneError: the XML is missing or unreadable, or there is no image.
    """
    metadata = [name for name in tree.files if _METADATA.fullmatch(name)]
    if len(metadata) != 1:
        raise SceneError(
            f"{tree.label} has {len(metadata) or 'no'} product metadata file"
            f"{'s' if metadata else ''}; there must be one, such as MTD_MSIL2A.xml"
        )
    facts = _read_xml(tree.read(metadata[0]), f"{tree.label}/{metadata[0]}")
    images = tuple(image for name in tree.files if (image := _image(tree, name)) is not None)
    classes = tuple(
        _place(tree, name, "", 0)
        for name in tree.files
        if _IMAGE.fullmatch(name) and is_classification(name)
    )
    if not images:
        raise SceneError(
            f"{tree.label} has metadata but no pixels: none of the {facts.listed} images that "
            f"its XML lists is there; download the whole product"
        )
    return SafeProduct(
        name=PurePosixPath(tree.label).name,
        images=images,
        classes=classes,
        evidence=facts.evidence,
    )


def _image(tree: Tree, name: str) -> Image | None:
    if not _IMAGE.fullmatch(name):
        return None
    band = file_band(name)
    return None if band is None else _place(tree, name, band, _NATIVE[band])


def _place(tree: Tree, name: str, band: str, native: int) -> Image:
    """A file as an image; `native` is its pixel size where its name says none."""
    size = re.search(r"_(\d\d)m\.\w+$", name)
    parts = PurePosixPath(name).parts
    granule = parts[parts.index("GRANULE") + 1] if "GRANULE" in parts[:-2] else ""
    return Image(band, int(size[1]) if size else native, tree.locate(name), granule)


class _Facts(NamedTuple):
    evidence: Mapping[str, tuple[Evidence, ...]]
    listed: int


def _read_xml(content: bytes, label: str) -> _Facts:
    """Quantification value, offset per band, baseline and name from a product's XML."""
    if b"<!DOCTYPE" in content.replace(b"\0", b""):  # also as UTF-16
        raise SceneError(f"{label} declares a DOCTYPE, which the metadata of a product never do")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise SceneError(f"{label} is not readable XML: {error}") from error
    by_tag: dict[str, list[ElementTree.Element]] = {}
    for element in root.iter():
        by_tag.setdefault(str(element.tag).rsplit("}", 1)[-1], []).append(element)
    file = PurePosixPath(label).name
    quantification = _quantification(by_tag, label)
    offsets = _offsets(by_tag, label)
    baseline = [
        baseline_evidence(element.text or "", source=f"PROCESSING_BASELINE in {file}")
        for element in by_tag.get("PROCESSING_BASELINE", [])[:1]
    ]
    evidence = {}
    for band in _NATIVE:
        stated = f"{offsets[band]:g}" if band in offsets else "not listed"
        stated_facts = Evidence(
            fact=f"{file}: offset {stated}, quantification value {quantification:g}",
            scale=PER_REFLECTANCE / quantification,
            offset=offsets.get(band, 0.0) * PER_REFLECTANCE / quantification,
        )
        evidence[band] = (stated_facts, *baseline)
    images = ("IMAGE_FILE", "IMAGE_FILE_2A", "IMAGE_ID", "IMAGE_ID_2A")
    return _Facts(evidence, sum(len(by_tag.get(tag, [])) for tag in images))


def _quantification(by_tag: Mapping[str, list[ElementTree.Element]], label: str) -> float:
    """Stored units per unit of reflectance."""
    names = ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
    for name in names:
        for element in by_tag.get(name, []):
            return _positive(element.text, f"{label}: {name}")
    raise SceneError(
        f"{label} has no {' or '.join(names)}; it does not look like the metadata "
        f"of a Sentinel-2 product"
    )


def _positive(text: str | None, label: str) -> float:
    value = _number(text, label)
    if value <= 0:
        raise SceneError(f"{label} is {text!r}; it must be a number above 0")
    return value


def _number(text: str | None, label: str) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise SceneError(f"{label} is {text!r}; it must be a number") from None


def _offsets(by_tag: Mapping[str, list[ElementTree.Element]], label: str) -> dict[str, float]:
    """Offset by band; XML counts bands by a number that it explains itself."""
    by_id = {str(position): band for position, band in enumerate(_NATIVE)}
    for element in by_tag.get("Spectral_Information", []):
        name = canonical_name(element.get("physicalBand", ""))
        if name is not None:
            by_id[element.get("bandId", "")] = name
    offsets = {}
    for tag in ("RADIO_ADD_OFFSET", "BOA_ADD_OFFSET"):
        for element in by_tag.get(tag, []):
            band = by_id.get(element.get("band_id", ""))
            if band is not None:
                offsets[band] = _number(element.text, f"{label}: {tag} of {band}")
    return offsets
