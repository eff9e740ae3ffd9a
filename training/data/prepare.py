"""From data sets as they lie on disk to a folder of shards: parallel, resumable, with a report.

The work is planned first, as a list of parts that depends on the source and the settings alone.
Each part writes one shard and, last, `parts/<number>.json`; a part that has both is not done
again. `index.json` appears when every part is done.
"""

import hashlib
import json
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray
from tqdm import tqdm

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import ConfigError, DataError, DeoError, OutputError
from deo.files.disk import make_folder, write_file
from deo.files.lock import claim
from deo.scene.scene import Scene, open_scene
from deo.training.data import fmow
from deo.training.data.archives import Hdf5Samples, TarStream
from deo.training.data.bandstats import BandStatistics
from deo.training.data.report import (
    Part,
    Report,
    check_plan,
    finish,
    is_done,
    load_part,
    part_path,
    remove_unfinished,
)
from deo.training.data.samples import (
    Cut,
    OpenScenes,
    cut_rows,
    cut_scene,
    find_scenes,
    find_tars,
    list_scenes,
    open_samples,
    scene_door,
)
from deo.training.data.shards import ShardWriter
from deo.training.data.stored import Stored, formula

Kind = Literal["fmow", "scenes", "samples"]
_SHARD_BYTES = 256 * 2**20
_PARTS_WANTED = 32


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Everything that decides what the shards will hold.

    Args:
        source: fMoW-Sentinel's root, a folder of scenes, an HDF5 file, or tars.
        kind: what the source is; see `recognise`.
        aerial: fMoW-RGB's root; its images take the red, green and blue slots.
        unpaired: what happens to records without an aerial image: `keep` Sentinel-2's own
            colours, or `skip`.
        splits: fMoW splits to take; all when empty.
        size: edge of a sample in pixels. fMoW images are resampled to it, scenes are cut.
        stride: step between cuts of a scene; the size when None.
        valid: part of a cut that must hold data.
        pattern: which file names of a folder of scenes are taken.
        bands: bands a scene's file holds, when it does not name them.
        scale, offset: digital number = stored x scale + offset, above all evidence.
    """

    source: Path
    kind: Kind
    aerial: Path | None = None
    unpaired: Literal["keep", "skip"] = "keep"
    splits: tuple[str, ...] = ()
    size: int = 96
    stride: int | None = None
    valid: float = 0.9
    pattern: str = "*"
    bands: BandSet | None = None
    scale: float | None = None
    offset: float | None = None

    def __post_init__(self) -> None:
        if self.size < 1 or (self.stride is not None and self.stride < 1):
            raise ConfigError(f"size {self.size} and stride {self.stride} must be at least 1")
        if not 0 <= self.valid <= 1:
            raise ConfigError(f"the valid part is {self.valid}; wanted 0 to 1")
        if self.aerial is not None and self.kind != "fmow":
            raise ConfigError("aerial images can be paired with fMoW-Sentinel only")

    @property
    def step(self) -> int:
        return self.stride or self.size

    @property
    def scene_options(self) -> dict[str, Any]:
        """What `open_scene` is told."""
        door = scene_door(self.source)
        return {"bands": self.bands, "scale": self.scale, "offset": self.offset, "door": door}


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


Job = Strip | Rows | Record


def recognise(source: Path) -> Kind:
    """What a source is, by what stands in it.

    Raises:
        DataError: it does not exist.
    """
    if not source.exists():
        raise DataError(f"{source} does not exist")
    if find_tars(source) or (source.is_file() and not find_scenes(source)):
        return "samples"
    if source.is_dir() and fmow.looks_like_fmow(source):
        return "fmow"
    return "scenes"


def prepare(
    plan: Preparation, output: str | Path, *, workers: int = 1, progress: bool = False
) -> Report:
    """Make a folder of shards, or finish one that was begun with the same settings.

    Raises:
        DataError: the source holds nothing usable.
        OutputError: the folder cannot be written or was begun with other settings.
        BusyError: another preparation is writing there now.
    """
    folder = make_folder(Path(output))
    with claim(make_folder(folder / "parts")):
        remove_unfinished(folder)
        _opened.cache_clear()  # the source may have changed since
        parts = group(list_jobs(plan), budget=_SHARD_BYTES // (20 * plan.size**2))
        digest = hashlib.sha256(repr(parts).encode()).hexdigest()
        ours = {name: _plain(value) for name, value in asdict(plan).items()} | {"jobs": digest}
        check_plan(folder, ours)
        todo = [number for number in range(len(parts)) if not is_done(folder, number)]
        done = len(parts) - len(todo)
        with tqdm(total=len(parts), initial=done, unit="shard", disable=not progress) as bar:
            for _ in _run([(folder, plan, number, parts[number]) for number in todo], workers):
                bar.update()
        _opened.cache_clear()
        made = [load_part(folder, number) for number in range(len(parts))]
        return finish(folder, made, source=str(plan.source))


def list_jobs(plan: Preparation) -> list[tuple[Job, int]]:
    """Every job of the plan, in order, with the number of samples it can give at most."""
    if plan.kind == "fmow":
        aerial = fmow.find_aerial(plan.aerial, plan.splits) if plan.aerial else {}
        pairs = fmow.pair(fmow.find_sentinel(plan.source, plan.splits), aerial)
        return [
            (Record(key, str(sentinel), str(image) if image else None), 1)
            for key, sentinel, image in pairs
        ]
    if plan.kind == "samples":
        count = len(_opened(str(plan.source), plan.scale, plan.offset))
        return [
            (Rows(str(plan.source), start, min(start + 16, count)), min(16, count - start))
            for start in range(0, count, 16)
        ]
    return list(_strips(plan))


def _strips(plan: Preparation) -> Iterator[tuple[Strip, int]]:
    scenes = list_scenes(plan.source, plan.pattern)
    if not scenes:
        raise DataError(f"{plan.source} holds no scene whose name matches {plan.pattern!r}")
    for path in scenes:
        try:
            with open_scene(path, **plan.scene_options) as scene:
                rows = cut_rows(scene, size=plan.size, stride=plan.step)
                across = max(0, (scene.width - plan.size) // plan.step + 1)
        except DeoError:
            rows, across = range(1), 0  # the worker meets the same error and lists it
        for row in rows or range(1):  # one too small gets one job too, which says so
            yield Strip(str(path), row), max(1, across)


def group(jobs: Sequence[tuple[Job, int]], *, budget: int) -> list[list[Job]]:
    """Neighbouring jobs together, so that about 32 parts come out, of at most `budget` samples."""
    total = sum(size for _, size in jobs)
    wanted = max(1, min(budget, -(-total // _PARTS_WANTED)))
    parts: list[list[Job]] = []
    filled = wanted
    for job, size in jobs:
        if filled >= wanted:
            parts.append([])
            filled = 0
        parts[-1].append(job)
        filled += size
    return parts


@lru_cache(maxsize=1)
def _opened(source: str, scale: float | None, offset: float | None) -> Hdf5Samples | TarStream:
    """Samples that a process opens once: the headers of a tar are read from end to end."""
    told: dict[str, Any] = {"scale": scale, "offset": offset}
    samples = open_samples(source, **{name: one for name, one in told.items() if one is not None})
    assert isinstance(samples, Hdf5Samples | TarStream), "what `recognise` calls samples"
    return samples


class Made(NamedTuple):
    """What became of one sample: its origin, and itself or why it cannot be used."""

    origin: str
    sample: Stored | DeoError


def read_job(plan: Preparation, job: Job, scenes: OpenScenes) -> Iterator[Made]:
    """Samples of one job.

    Raises:
        DeoError: the job's file cannot be used.
    """
    if isinstance(job, Record):
        pair = fmow.Pair(job.key, Path(job.sentinel), Path(job.aerial) if job.aerial else None)
        if pair.aerial is None and plan.aerial is not None and plan.unpaired == "skip":
            raise fmow.UnusableImageError("no aerial image of this record")
        sample = fmow.read_pair(pair, plan.size, scale=plan.scale, offset=plan.offset)
        yield Made(f"{job.key}{'+aerial' if pair.aerial else ''}", sample)
    elif isinstance(job, Rows):
        samples = _opened(job.source, plan.scale, plan.offset)
        for number in range(job.start, job.stop):
            yield Made(f"{Path(job.source).name}:{number}", _one_of(samples, number))
    else:
        scene = scenes[Path(job.scene)]
        made = formula(scene.radiometry)
        for cut in _cuts(plan, job, scene):
            yield Made(f"{Path(job.scene).name}:{cut.row}:{cut.col}", Stored(cut.values, made))


def _one_of(samples: Hdf5Samples | TarStream, number: int) -> Stored | DeoError:
    """A sample, or the error that costs it alone."""
    try:
        return samples.read(number)
    except DeoError as error:
        return error


def _cuts(plan: Preparation, strip: Strip, scene: Scene) -> Iterator[Cut]:
    if min(scene.height, scene.width) < plan.size:
        raise DataError(
            f"{scene.height} x {scene.width} pixels; wanted at least {plan.size} each way"
        )
    rows = range(strip.row, strip.row + 1)
    return cut_scene(
        scene, bands=MODEL_BANDS, size=plan.size, stride=plan.step, valid=plan.valid, rows=rows
    )


def make_part(arguments: tuple[Path, Preparation, int, list[Job]]) -> None:
    """Write one shard and, last, its part file."""
    folder, plan, number, jobs = arguments
    origins: list[str] = []
    skipped: list[tuple[str, str]] = []
    radiometry: Counter[str] = Counter()
    statistics = BandStatistics.empty(len(MODEL_BANDS))
    writer: ShardWriter | None = None
    scenes = OpenScenes(limit=1, **plan.scene_options)
    with ExitStack() as stack:
        stack.callback(scenes.close)
        for job in jobs:
            try:
                for origin, sample in read_job(plan, job, scenes):
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
                skipped.append((_name(job), str(error)))
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


def _usable(sample: Stored | DeoError) -> Stored:
    if isinstance(sample, DeoError):
        raise sample
    if not sample.values.any():
        raise DataError("every pixel is 0 or missing")
    return sample


def _writer(folder: Path, number: int, first: NDArray[Any]) -> ShardWriter:
    channels, height, width = first.shape
    path = folder / f"shard-{number:05d}.bin"
    return ShardWriter(path, shape=(channels, height, width), dtype=first.dtype.name)


def _run(arguments: list[tuple[Path, Preparation, int, list[Job]]], workers: int) -> Iterator[None]:
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


def _name(job: Job) -> str:
    if isinstance(job, Record):
        return str(job.key)
    if isinstance(job, Rows):
        return f"{job.source}:{job.start}-{job.stop}"
    return f"{job.scene}:{job.row}"


def _plain(value: Any) -> Any:
    if isinstance(value, BandSet):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value
