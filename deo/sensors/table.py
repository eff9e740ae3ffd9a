"""What one sensor's files mean, as a table: its bands, its names, and what its metadata say."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from deo.errors import BandError
from deo.sensors.evidence import Evidence

_NO_FILE = re.compile(r"(?!)")  # matches nothing


@dataclass(frozen=True, kw_only=True)
class Band:
    """One spectral band.

    Args:
        name: canonical name, unique among all sensors, e.g. `B02` or `B8A` of Sentinel-2.
        common_name: STAC common name, e.g. `blue`.
        wavelength: centre, in nanometres.
        resolution: native pixel size in metres.
        mean, std: statistics in digital numbers (reflectance x 10 000, no offset).
        aliases: further spellings that mean this band on their own, in lower case.
        words: lower-case words that may describe it after its name (`red`, `edge`).
    """

    name: str
    common_name: str
    wavelength: float
    resolution: int
    mean: float
    std: float
    aliases: tuple[str, ...] = ()
    words: frozenset[str] = frozenset()


def _silent(path: str) -> tuple[Evidence, ...]:
    return ()


def _silent_tags(tags: Mapping[str, str]) -> tuple[Evidence, ...]:
    return ()


def _silent_archive(
    paths: Sequence[str], tags: Sequence[Mapping[str, str]]
) -> tuple[Evidence, ...]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """What the files of one sensor mean.

    Args:
        name: for people, e.g. `Sentinel-2`.
        bands: in the order of its products.
        sign: recognises its products in the names of files and folders and in tags that name a
            platform or instrument.
        spelling: what looks like one of its band names at the start of a text, whether or not
            there is such a band.
        words: lower-case words that may follow the name of any of its bands.
        ancillary: upper-case parts of file names that mark what is no spectral band.
        classification: upper-case part of a file name, or a band name, that marks a scene
            classification: a class of ground, cloud or fault for each pixel.
        cloud_classes: of its classes, those that are no clear view of the ground.
        own_image: recognises by its path an image that the maker of the products wrote.
        zero_is_missing: a stored 0 means no measurement, in the maker's images and wherever a
            negative offset is owed, since no measurement is then stored as 0.
        assumption: what is taken for granted where nothing tells the offset, for people.
        folders: names of folders inside a product's folder that hold images.
        file_example, listings: how a file name spells a band, and by number of bands what
            `--bands` may say, for error messages.
        path_evidence: what the names in a path or URL say of scale and offset.
        tag_evidence: what the tags of a dataset or band say of them.
        archive_evidence: what belonging to an archive that rescaled its sources says of them,
            from paths and tags; it overrules what other metadata advertise.
    """

    name: str
    bands: tuple[Band, ...]
    sign: re.Pattern[str]
    spelling: re.Pattern[str]
    words: frozenset[str] = frozenset()
    ancillary: frozenset[str] = frozenset()
    classification: str = ""
    cloud_classes: tuple[int, ...] = ()
    own_image: re.Pattern[str] = _NO_FILE
    zero_is_missing: bool = False
    assumption: str = "whether its numbers carry an offset; taken as without one"
    folders: tuple[str, ...] = ()
    file_example: str = ""
    listings: Mapping[int, str] = field(default_factory=dict)
    path_evidence: Callable[[str], tuple[Evidence, ...]] = _silent
    tag_evidence: Callable[[Mapping[str, str]], tuple[Evidence, ...]] = _silent_tags
    archive_evidence: Callable[
        [Sequence[str], Sequence[Mapping[str, str]]], tuple[Evidence, ...]
    ] = _silent_archive

    def __post_init__(self) -> None:
        names = [band.name for band in self.bands]
        if not names or len(set(names)) < len(names):
            raise BandError(f"{self.name} needs bands with one name each, got {names or 'none'}")

    @cached_property
    def spellings(self) -> Mapping[str, Band]:
        """Lower-case text -> the band that it means on its own."""
        return {
            text: band
            for band in self.bands
            for text in (band.name.lower(), band.common_name, *band.aliases)
        }

    @cached_property
    def begins(self) -> re.Pattern[str]:
        """A text that begins with what looks like a band name: that name, and the rest."""
        return re.compile(
            rf"\s*({self.spelling.pattern})(?![A-Za-z0-9])(.*)", re.DOTALL | re.IGNORECASE
        )

    @cached_property
    def band_words(self) -> frozenset[str]:
        """Words that describe any of its bands."""
        return frozenset().union(*(band.words for band in self.bands))

    def band(self, text: str) -> Band | None:
        """The band that a text means on its own, in any case, with space around it."""
        return self.spellings.get(text.strip().lower())
