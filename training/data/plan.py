"""The plan of a preparation: the source in pieces, and pieces that lie side by side in parts.

It depends on the source and the settings alone, so that a run that was stopped finds its parts.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from deo.errors import DataError, DeoError
from deo.scene.opening import open_scene
from deo.training.data import fmow
from deo.training.data.cuts import cut_rows, list_scenes
from deo.training.data.hdf5 import Hdf5Samples
from deo.training.data.preparation import Preparation
from deo.training.data.samples import open_samples
from deo.training.data.tars import TarStream

_SHARD_BYTES = 256 * 2**20
_BYTES_PER_PIXEL = 20  # ten bands of uint16
_PARTS_WANTED = 32
_ROWS = 16


class Strip(NamedTuple):
    """One row of cuts of a scene, from pixel row `row` down."""

    scene: str
    row: int


class Rows(NamedTuple):
    """Samples `start` to `stop` of a file that already holds samples."""

    source: str
    start: int
    stop: int


class Record(NamedTuple):
    """One fMoW pair, as text so that a plan can be hashed and sent to a worker."""

    key: fmow.Key
    sentinel: str
    aerial: str | None


Piece = Strip | Rows | Record
"""What one call of `deo.training.data.prepare.read_piece` reads."""


def plan_parts(settings: Preparation) -> list[list[Piece]]:
    """The pieces of each part; a part becomes one shard."""
    return group(
        list_pieces(settings), budget=_SHARD_BYTES // (_BYTES_PER_PIXEL * settings.size**2)
    )


def digest(parts: list[list[Piece]]) -> str:
    """Changes with any piece. Names of classes are in it: renaming one makes every plan another."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def list_pieces(settings: Preparation) -> list[tuple[Piece, int]]:
    """Every piece of the source, in order, with the number of samples it can give at most."""
    if settings.kind == "fmow":
        aerial = fmow.find_aerial(settings.aerial, settings.splits) if settings.aerial else {}
        pairs = fmow.pair_records(fmow.find_sentinel(settings.source, settings.splits), aerial)
        return [
            (Record(key, str(sentinel), str(image) if image else None), 1)
            for key, sentinel, image in pairs
        ]
    if settings.kind == "samples":
        count = len(opened_samples(str(settings.source), settings.scale, settings.offset))
        return [
            (
                Rows(str(settings.source), start, min(start + _ROWS, count)),
                min(_ROWS, count - start),
            )
            for start in range(0, count, _ROWS)
        ]
    return list(_strips(settings))


def _strips(settings: Preparation) -> Iterator[tuple[Strip, int]]:
    sources = (settings.source, *settings.further)
    named = [path for source in sources for path in list_scenes(source, settings.pattern)]
    scenes = list({path.absolute(): path for path in named}.values())  # each once
    if not scenes:
        raise DataError(f"{settings.source} holds no scene whose name matches {settings.pattern!r}")
    for path in scenes:
        try:
            with open_scene(path, **settings.scene_options) as scene:
                rows = cut_rows(scene, size=settings.size, stride=settings.step)
                across = max(0, (scene.width - settings.size) // settings.step + 1)
        except DeoError:
            rows, across = range(1), 0  # the worker meets the same error and lists it
        for row in rows or range(1):  # one too small gets one piece too, which says so
            yield Strip(str(path), row), max(1, across)


def group(pieces: Sequence[tuple[Piece, int]], *, budget: int) -> list[list[Piece]]:
    """Neighbouring pieces together, so that about 32 parts of at most `budget` samples result."""
    total = sum(size for _, size in pieces)
    wanted = max(1, min(budget, -(-total // _PARTS_WANTED)))
    parts: list[list[Piece]] = []
    filled = wanted
    for piece, size in pieces:
        if filled >= wanted:
            parts.append([])
            filled = 0
        parts[-1].append(piece)
        filled += size
    return parts


@lru_cache(maxsize=1)
def opened_samples(
    source: str, scale: float | None, offset: float | None
) -> Hdf5Samples | TarStream:
    """Samples that a process opens once: the headers of a tar are read from end to end."""
    told: dict[str, Any] = {"scale": scale, "offset": offset}
    samples = open_samples(source, **{name: one for name, one in told.items() if one is not None})
    assert isinstance(samples, Hdf5Samples | TarStream), "what `recognise_source` calls samples"
    return samples


def name_of(piece: Piece) -> str:
    """What a list of skipped samples calls a piece that gave nothing."""
    if isinstance(piece, Record):
        return str(piece.key)
    if isinstance(piece, Rows):
        return f"{piece.source}:{piece.start}-{piece.stop}"
    return f"{piece.scene}:{piece.row}"
