"""Many scenes: which inputs, which output each, and which of them are this process's share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deo.errors import ConfigError, OutputError
from deo.raster.disk import disk_errors

_RANKS = (("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"), ("RANK", "WORLD_SIZE"))
"""Slurm sets a rank and the job's SLURM_NTASKS in a batch script too, where one process runs; only
`srun` sets the number of tasks of a step."""


class Item(NamedTuple):
    """One scene and where its features go; `preview` may be None."""

    source: str
    output: Path
    preview: Path | None


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Every `count`th scene, from number `index` on (both count from 0).

    Raises:
        ConfigError: the index is not below the count.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigError(
                f"shard {self.index}/{self.count} does not exist; shards of {self.count} are "
                f"0/{self.count} to {max(self.count, 1) - 1}/{self.count}"
            )

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """From `i/n`."""
        index, slash, count = text.partition("/")
        if not slash or not index.strip().isdecimal() or not count.strip().isdecimal():
            raise ConfigError(f"shard {text!r} is not of the form i/n, for instance 0/4")
        return cls(index=int(index), count=int(count))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Shard":
        """From what Slurm (`srun`) or torchrun set for this process; all of it without either."""
        for rank, size in _RANKS:
            if rank in environment and size in environment:
                return cls.parse(f"{environment[rank]}/{environment[size]}")
        return cls()

    def of(self, items: Sequence[Item]) -> list[Item]:
        """This process's share."""
        return list(items[self.index :: self.count])


def read_sources(arguments: Sequence[str]) -> list[str]:
    """Inputs as given; `@file` stands for the lines of a text file.

    Empty lines and lines beginning with `#` do not count.

    Raises:
        ConfigError: a list cannot be read, or there is nothing in any of it.
    """
    sources: list[str] = []
    for argument in arguments:
        if not argument.startswith("@"):
            sources.append(argument)
            continue
        try:
            lines = Path(argument[1:]).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the list {argument[1:]} cannot be read: {error}") from error
        stripped = (line.strip() for line in lines)
        sources += [line for line in stripped if line and not line.startswith("#")]
    if not sources:
        raise ConfigError("no scenes given; name files, or @LIST for a text file of them")
    return sources


def pair(
    sources: Sequence[str], output: str, preview: str | None, *, several: bool = False
) -> list[Item]:
    """Give every scene its output.

    Args:
        output: a file for one scene; for any number a folder (the outputs are then `NAME.tif`) or
            a template with `{name}` in it, the scene's name without suffix. Folders are made.
        preview: likewise, with `NAME.png` in a folder.
        several: one scene is the only one of a list, whose output may be a folder to be made.

    Raises:
        OutputError: two scenes would write the same file.
    """
    several = len(sources) > 1 or (several and not Path(output).suffix)
    names = [_name(source) for source in sources]
    outputs = [_place(output, name, ".tif", several) for name in names]
    previews: list[Path | None] = [None] * len(sources)
    if preview is not None:
        previews = [_place(preview, name, ".png", several) for name in names]
    seen: dict[Path, str] = {}
    for source, path in [*zip(sources, outputs, strict=True), *zip(sources, previews, strict=True)]:
        if path is not None and path in seen:
            raise OutputError(
                f"{seen[path]} and {source} would both be written to {path}; give them "
                "folders or names of their own"
            )
        if path is not None:
            seen[path] = source
    return [Item(*each) for each in zip(sources, outputs, previews, strict=True)]


def _name(source: str) -> str:
    """The last part of a path or URL without its suffix."""
    last = source.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
    for suffix in (".SAFE.zip", ".SAFE"):
        if last.upper().endswith(suffix.upper()):
            return last[: -len(suffix)]
    return Path(last).stem or "scene"


def _place(target: str, name: str, suffix: str, several: bool) -> Path:
    if "{name}" in target:
        path = Path(target.replace("{name}", name))
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path
    path = Path(target)
    if target.endswith("/") or (path.is_dir() and path.suffix.lower() != ".zarr") or several:
        if several and path.suffix and not path.is_dir():
            raise OutputError(
                f"several scenes cannot all be written to {target}; give a folder, or a template "
                f"such as {path.with_stem(path.stem + '_{name}')}"
            )
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        return path / f"{name}{suffix}"
    return path
