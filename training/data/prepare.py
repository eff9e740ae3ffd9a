"""From data sets as they lie on disk to a folder of shards: parallel, resumable, with a report.

The work is planned first, as a list of parts (`plan`). Each part writes one shard and, last, its
record (`parts`); a part that has both is not done again. `index.json` appears when every part is
done (`report`).
"""

import json
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray
from tqdm import tqdm

from deo.bands import MODEL_BANDS
from deo.errors import DataError, DeoError, OutputError
from deo.files.lock import claim
from deo.files.publish import make_folder, write_file
from deo.scene.scene import Scene
from deo.training.data.bandstats import BandStatistics
from deo.training.data.cuts import Cut, OpenScenes, cut_scene
from deo.training.data.fmow import Pair
from deo.training.data.fmow_reading import UnusableImageError, read_pair
from deo.training.data.hdf5 import Hdf5Samples
from deo.training.data.parts import (
    Part,
    check_plan,
    is_done,
    load_part,
    part_path,
    remove_unfinished_shards,
)
from deo.training.data.plan import (
    Piece,
    Record,
    Rows,
    Strip,
    digest,
    name_of,
    opened_samples,
    plan_parts,
)
from deo.training.data.preparation import Preparation
from deo.training.data.report import PreparationReport, finish
from deo.training.data.shards import ShardWriter
from deo.training.data.stored import StoredSample, formula
from deo.training.data.tars import TarStream


def prepare(
    settings: Preparation, output: str | Path, *, workers: int = 1, progress: bool = False
) -> PreparationReport:
    """Make a folder of shards, or finish one that was begun with the same settings.

    Raises:
        DataError: the source holds nothing usable.
        OutputError: the folder cannot be written or was begun with other settings.
        BusyError: another preparation is writing there now.
    """
    folder = make_folder(Path(output))
    with claim(make_folder(folder / "parts")):
        remove_unfinished_shards(folder)
        opened_samples.cache_clear()  # the source may have changed since
        parts = plan_parts(settings)
        check_plan(folder, settings.record() | {"jobs": digest(parts)})
        # a part's record is written after its shard: what has both is whole
        todo = [number for number in range(len(parts)) if not is_done(folder, number)]
        done = len(parts) - len(todo)
        with tqdm(total=len(parts), initial=done, unit="shard", disable=not progress) as bar:
            for _ in _run([(folder, settings, number, parts[number]) for number in todo], workers):
                bar.update()
        opened_samples.cache_clear()
        made = [load_part(folder, number) for number in range(len(parts))]
        return finish(folder, made, source=str(settings.source))


class MadeSample(NamedTuple):
    """What became of one sample: its origin, and itself or why it cannot be used."""

    origin: str
    sample: StoredSample | DeoError


def read_piece(settings: Preparation, piece: Piece, scenes: OpenScenes) -> Iterator[MadeSample]:
    """Samples of one piece.

    Raises:
        DeoError: the piece's file cannot be used.
    """
    if isinstance(piece, Record):
        pair = Pair(piece.key, Path(piece.sentinel), Path(piece.aerial) if piece.aerial else None)
        if pair.aerial is None and settings.aerial is not None and settings.unpaired == "skip":
            raise UnusableImageError("no aerial image of this record")
        sample = read_pair(pair, settings.size, scale=settings.scale, offset=settings.offset)
        yield MadeSample(f"{piece.key}{'+aerial' if pair.aerial else ''}", sample)
    elif isinstance(piece, Rows):
        samples = opened_samples(piece.source, settings.scale, settings.offset)
        for number in range(piece.start, piece.stop):
            yield MadeSample(f"{Path(piece.source).name}:{number}", _one_of(samples, number))
    else:
        scene = scenes[Path(piece.scene)]
        described = formula(scene.radiometry)
        for cut in _cuts(settings, piece, scene):
            yield MadeSample(
                f"{Path(piece.scene).name}:{cut.row}:{cut.col}", StoredSample(cut.values, described)
            )


def _one_of(samples: Hdf5Samples | TarStream, number: int) -> StoredSample | DeoError:
    """A sample, or the error that costs it alone."""
    try:
        return samples.read(number)
    except DeoError as error:
        return error


def _cuts(settings: Preparation, strip: Strip, scene: Scene) -> Iterator[Cut]:
    if min(scene.height, scene.width) < settings.size:
        raise DataError(
            f"{scene.height} x {scene.width} pixels; wanted at least {settings.size} each way"
        )
    rows = range(strip.row, strip.row + 1)
    return cut_scene(
        scene,
        bands=MODEL_BANDS,
        size=settings.size,
        stride=settings.step,
        valid=settings.valid,
        rows=rows,
    )


def make_part(arguments: tuple[Path, Preparation, int, list[Piece]]) -> None:
    """Write one shard and, last, its part file."""
    folder, settings, number, pieces = arguments
    origins: list[str] = []
    skipped: list[tuple[str, str]] = []
    radiometry: Counter[str] = Counter()
    statistics = BandStatistics.empty(len(MODEL_BANDS))
    writer: ShardWriter | None = None
    scenes = OpenScenes(limit=1, **settings.scene_options)
    with ExitStack() as stack:
        stack.callback(scenes.close)
        for piece in pieces:
            try:
                for origin, sample in read_piece(settings, piece, scenes):
                    try:
                        values, made = _usable(sample)
                        writer = writer or stack.enter_context(_writer(folder, number, values))
                        writer.append(values)
                    except OutputError:
                        raise
                    except DeoError as error:
                        skipped.append((origin, str(error)))
                    else:
                        origins.append(origin)
                        radiometry[made] += 1
                        statistics = statistics.plus(values)
            except OutputError:
                raise
            except DeoError as error:
                skipped.append((name_of(piece), str(error)))
    part = Part(
        shard=writer.shard if writer else None,
        shape=writer.shape if writer else None,
        dtype=writer.dtype.name if writer else None,
        origins=origins,
        skipped=skipped,
        radiometry=dict(radiometry),
        statistics=statistics.record(),
    )
    write_file(part_path(folder, number), json.dumps(asdict(part)))


def _usable(sample: StoredSample | DeoError) -> StoredSample:
    if isinstance(sample, DeoError):
        raise sample
    if not sample.values.any():
        raise DataError("every pixel is 0 or missing")
    return sample


def _writer(folder: Path, number: int, first: NDArray[Any]) -> ShardWriter:
    channels, height, width = first.shape
    path = folder / f"shard-{number:05d}.bin"
    return ShardWriter(path, shape=(channels, height, width), dtype=first.dtype.name)


def _run(
    arguments: list[tuple[Path, Preparation, int, list[Piece]]], workers: int
) -> Iterator[None]:
    if workers <= 1 or len(arguments) <= 1:
        yield from map(make_part, arguments)
        return
    # spawned, not forked: GDAL's handles and threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = [pool.submit(make_part, argument) for argument in arguments]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
