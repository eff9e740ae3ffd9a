"""The named bands of a source with what is known about each, before a scene is made of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from rasterio.enums import ColorInterp

from deo.bands import MODEL_BANDS, RGB_BANDS, BandSet
from deo.errors import BandError, SceneError
from deo.files.junk import is_junk
from deo.scene.formats import RASTER_SUFFIXES, Door
from deo.scene.origins import evident, origin
from deo.scene.raster import RasterSource
from deo.scene.sources import Source, is_floating
from deo.sensors.evidence import Evidence
from deo.sensors.names import file_band, is_ancillary, is_classification, raster_bands
from deo.sensors.registry import DEFAULT_SENSOR, sensor_of, sensors


@dataclass(frozen=True, kw_only=True, eq=False)
class Asset:
    """One band of a source.

    Args:
        band: canonical name.
        source, index: where its stored numbers are; indexes count from 1.
        evidence: what is known of its scale and offset.
        zero_is_nodata: its sensor's products store 0 where nothing was measured.
        fill: a stored number that marks missing pixels without the file saying so.
    """

    band: str
    source: Source
    index: int
    evidence: tuple[Evidence, ...]
    zero_is_nodata: bool = False
    fill: float | None = None

    @property
    def dtype(self) -> str:
        return self.source.dtypes[self.index - 1]

    @property
    def floating(self) -> bool:
        return is_floating(self.dtype)


class ClassLayer(NamedTuple):
    """Where a scene classification lies: a file, its band (from 1), and how the file came in."""

    path: str
    band: int
    door: Door


class Inventory(NamedTuple):
    """Assets of a source, where their names came from, and what was left aside.

    documents: files that say what the assets are, such as a STAC item.
    """

    name: str
    assets: tuple[Asset, ...]
    names_source: str
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    classification: ClassLayer | None = None
    documents: tuple[str, ...] = ()


@contextmanager
def closed_on_error(opened: list[RasterSource]) -> Iterator[None]:
    """Close what has been opened so far when something fails."""
    try:
        yield
    except BaseException:
        for source in opened:
            source.close()
        raise


def shown_name(path: str) -> str:
    """The last part of a path or URL that names it."""
    return PurePosixPath(path.split("?")[0].rstrip("/")).name or path


def raster_assets(
    path: str,
    *,
    door: Door,
    bands: BandSet | None = None,
    overruled: bool = False,
) -> Inventory:
    """The bands of one raster file.

    Args:
        door: how the file came in.
        bands: names of its bands in file order, for a file that says none.
        overruled: the caller gives scale and offset.

    Raises:
        SceneError, BandError, RadiometryError
    """
    source = RasterSource.open(path, door=door)
    with closed_on_error([source]):
        return _assets_of(source, bands=bands, overruled=overruled, product=None)


def _assets_of(
    source: RasterSource,
    *,
    bands: BandSet | None,
    overruled: bool,
    product: Mapping[str, tuple[Evidence, ...]] | None,
) -> Inventory:
    path = source.path
    spectral = [i for i, colour in enumerate(source.colours) if colour != ColorInterp.alpha]
    if any(source.colours[i] == ColorInterp.palette for i in spectral):
        raise BandError(
            f"{source.label} stores indices into a colour table, not measurements; "
            f"give a raster of reflectance or digital numbers"
        )
    behind = origin(source)
    naming = raster_bands(
        source.descriptions, source.band_tags, source.tags, path, behind=behind.files[1:]
    )
    named = {i: naming.names[i] for i in spectral if naming.names[i] is not None}
    names_source = naming.source
    if not named:
        named = dict(zip(spectral, _told(source, spectral, bands, naming.doubt), strict=True))
        names_source = "the caller, in file order"
    indexes = {band: i for i, band in named.items() if band is not None}
    facts = evident(source, behind, indexes, product=product, overruled=overruled)
    assets = tuple(
        Asset(
            band=band,
            source=source,
            index=i + 1,
            evidence=facts.by_band[band],
            zero_is_nodata=facts.own_image and sensor_of(band).zero_is_missing,
        )
        for band, i in indexes.items()
    )
    ignored = tuple(_label(source, i) for i in range(len(source.dtypes)) if i not in named)
    classes = [i for i in spectral if i not in named and _is_classes(source.descriptions[i])]
    layer = ClassLayer(path, classes[0] + 1, source.handle.door) if classes else None
    return Inventory(shown_name(path), assets, names_source, ignored=ignored, classification=layer)


def _is_classes(description: str | None) -> bool:
    return description is not None and is_classification(description)


def _label(source: RasterSource, i: int) -> str:
    text = source.descriptions[i] or source.colours[i].name
    return f"{shown_name(source.path)} band {i + 1} ({text})"


def _told(
    source: RasterSource, spectral: Sequence[int], bands: BandSet | None, doubt: str | None
) -> tuple[str, ...]:
    """Names from the caller, for a file whose own names are missing or not believed."""
    count = len(spectral)
    if bands is None:
        described = ", ".join(sorted({str(text) for text in source.descriptions if text})[:6])
        picture = ColorInterp.red in source.colours and ColorInterp.blue in source.colours
        why = f"; not believed, since {doubt}" if doubt else ""
        raise BandError(
            f"{source.label} does not name its {count} band{'s' if count > 1 else ''} as "
            f"{DEFAULT_SENSOR.name} bands (descriptions: {described or 'none'}{why}). "
            f"{_how_to_tell(count, picture=picture)} (bands=... in Python)"
        )
    if len(bands) != count:
        raise BandError(
            f"{source.label} has {count} band{'s' if count > 1 else ''} without names and --bands "
            f"gives {len(bands)} ({bands}); name every band of the file, in file order"
        )
    return bands.names


def _how_to_tell(count: int, *, picture: bool) -> str:
    """What --bands would have to say for so many bands, as far as it can be guessed."""
    if count > len(DEFAULT_SENSOR.bands):
        return (
            f"--bands names each band once and there are {len(DEFAULT_SENSOR.bands)}: cut out "
            f"those that {DEFAULT_SENSOR.name} has (gdal_translate -b), and name them in file order"
        )
    examples = {
        **DEFAULT_SENSOR.listings,
        1: RGB_BANDS[0],
        3: "red,green,blue for this RGB picture"
        if picture
        else f"{RGB_BANDS} for red, green, blue",
        10: f"{MODEL_BANDS} for the order of the models",
    }
    example = f", for instance --bands {examples[count]}" if count in examples else ""
    what = "what it is" if count == 1 else f"what all {count} are in file order"
    return f"Say {what} with --bands{example}"


def file_assets(
    paths: Iterable[str],
    *,
    door: Door,
    bands: BandSet | None = None,
    overruled: bool = False,
    product: Mapping[str, tuple[Evidence, ...]] | None = None,
) -> Inventory:
    """The bands of several files. A band at several resolutions is there several times.

    Args:
        door: how the files came in.
        bands: names of the files' bands in the order of the files, when these name none.
        product: evidence by band from the product they belong to; None: look for one.

    Raises:
        SceneError, BandError, RadiometryError
    """
    files = list(paths)
    spectral = [path for path in files if not is_ancillary(path)]
    if not spectral:
        raise SceneError(
            f"none of these files holds a spectral band: {', '.join(files) or 'no files'}"
        )
    by_order = bands is not None and not any(file_band(path) for path in spectral)
    opened: list[RasterSource] = []
    inventories: list[Inventory] = []
    with closed_on_error(opened):
        for position, path in enumerate(spectral):
            source = RasterSource.open(path, door=door)
            opened.append(source)
            name = None
            if by_order and bands is not None:
                _check_order(path, source, spectral, bands)
                name = BandSet([bands[position]])
            inventories.append(_assets_of(source, bands=name, overruled=overruled, product=product))
    layers = [ClassLayer(path, 1, door) for path in sorted(files) if is_classification(path)]
    layers += [one.classification for one in inventories if one.classification is not None]
    return Inventory(
        name=_files_name(spectral),
        assets=tuple(asset for one in inventories for asset in one.assets),
        names_source=" and ".join(dict.fromkeys(one.names_source for one in inventories)),
        ignored=(
            *(shown_name(path) for path in files if path not in spectral),
            *(label for one in inventories for label in one.ignored),
        ),
        classification=layers[0] if layers else None,
    )


def _files_name(files: Sequence[str]) -> str:
    """One file's name, or that of the folder where the first of several lies."""
    if len(files) == 1:
        return shown_name(files[0])
    return PurePosixPath(files[0].split("?")[0]).parent.name or shown_name(files[0])


def _check_order(path: str, source: RasterSource, files: Sequence[str], bands: BandSet) -> None:
    if len(source.dtypes) == 1 and len(files) == len(bands):
        return
    raise BandError(
        f"--bands names {len(bands)} bands ({bands}) for {len(files)} files, and {source.label} "
        f"holds {len(source.dtypes)}; give one single-band file for each, in the same order"
    )


def folder_files(folder: Path) -> list[str]:
    """Raster files of a folder, and of those that products have in it, that are of use: each
    names a spectral band, or is a scene classification.

    Raises:
        SceneError: there is none.
    """
    inside = dict.fromkeys(name for sensor in sensors() for name in sensor.folders)
    places = [folder, *(folder / name for name in inside)]
    files = [
        str(file)
        for place in places
        if place.is_dir()
        for file in sorted(place.iterdir())
        if file.suffix.lower() in RASTER_SUFFIXES and not is_junk(file.name)
    ]
    named = [file for file in files if file_band(file)]
    if not named:
        raise SceneError(
            f"{folder} is not a .SAFE product, and none of its {len(files)} raster files names "
            f"a band (as in {DEFAULT_SENSOR.file_example} or B02.tif); give one file, or a list of "
            f"files with --bands"
        )
    return [*named, *(file for file in files if is_classification(file))]


def choose(
    inventory: Inventory, wanted: BandSet | None, resolution: float | None
) -> tuple[Asset, ...]:
    """One asset for each band: the one at `resolution`, else the finest.

    Args:
        wanted: bands to use, in order; None: all, as they come.

    Raises:
        BandError: a wanted band is missing, or one is there twice at the same pixel size.
    """
    names = tuple(dict.fromkeys(asset.band for asset in inventory.assets))
    if wanted is not None:
        try:
            wanted.positions_in(names)
        except BandError as error:
            raise BandError(
                f"{inventory.name}: {error} (names from {inventory.names_source})"
            ) from None
    chosen = []
    for band in wanted or names:
        same = [asset for asset in inventory.assets if asset.band == band]
        sizes = [asset.source.grid.pixel[0] for asset in same]
        size = resolution if resolution in sizes else min(sizes)
        best = [asset for asset, side in zip(same, sizes, strict=True) if side == size]
        if len(best) > 1:
            raise BandError(
                f"{inventory.name}: band {band} occurs {len(best)} times: "
                f"{', '.join(asset.source.label for asset in best)}; give it once"
            )
        chosen.append(best[0])
    return tuple(chosen)
