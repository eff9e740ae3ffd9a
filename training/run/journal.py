"""Where metrics go: `metrics.jsonl` always, TensorBoard and Weights & Biases when asked."""

import json
import logging
import math
import secrets
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Protocol

from deo.errors import DataError, OutputError, require
from deo.files.atomic import open_unlinked
from deo.files.publish import write_file

log = logging.getLogger(__name__)

METRICS_NAME, WANDB_ID_NAME = "metrics.jsonl", "wandb-id.txt"
Record = Mapping[str, Any]


class Sink(Protocol):
    """A place for records; each has a `step`, the other values are numbers, texts or None."""

    def write(self, record: Record) -> None: ...

    def close(self) -> None: ...


class JsonLines:
    """One JSON object per line. Lines of steps after `resume_at` are dropped on opening:
    they belong to a stretch that a resumed run walks again.

    Args:
        counter: the value of a record that `resume_at` is compared with.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path, *, resume_at: int, counter: str = "step") -> None:
        try:
            if path.exists():
                records = read_records(path, counter=counter)
                kept = [record for record in records if record[counter] <= resume_at]
                write_file(path, "".join(f"{_line(record)}\n" for record in kept))
            self._file = TextIOWrapper(open_unlinked(path, append=True), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error

    def write(self, record: Record) -> None:
        self._file.write(f"{_line(record)}\n")
        self._file.flush()  # what is recorded survives a kill of the process

    def close(self) -> None:
        self._file.close()


class TensorBoard:
    """Event files in a folder."""

    def __init__(self, folder: Path, *, resume_at: int) -> None:
        require("tensorboard", extra="train")
        from torch.utils.tensorboard import SummaryWriter

        # hides what a resumed run walks again; event files themselves can only grow
        self._writer = SummaryWriter(folder, purge_step=resume_at + 1)

    def write(self, record: Record) -> None:
        for name, value in _numbers(record):
            self._writer.add_scalar(name, value, record["step"])

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run on Weights & Biases, under the name of its folder. Its id is drawn once and kept there,
    so that folders of one name do not merge and a resumed run goes on.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        wandb = require("wandb", extra="wandb")
        kept = folder / WANDB_ID_NAME
        if not kept.exists():
            write_file(kept, secrets.token_hex(16) + "\n")
        self._run = wandb.init(
            project="deo",
            name=folder.name,
            id=kept.read_text().strip(),
            dir=folder,
            config=config,
            resume="allow",
        )

    def write(self, record: Record) -> None:
        self._run.log(dict(_numbers(record)), step=record["step"])

    def close(self) -> None:
        self._run.finish()


class Journal:
    """Writes every record to every sink."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks

    def write(self, record: Record) -> None:
        for sink in self._sinks:
            sink.write(record)

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Records of a `metrics.jsonl`, see `read_records`.

    Raises:
        DataError: the file does not exist, or cannot be read.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; is this the output folder of `deo pretrain`?")
    return read_records(path, counter="step")


def read_records(path: Path, *, counter: str) -> list[dict[str, Any]]:
    """Records of a journal: objects of numbers, texts and None that count by a whole number.

    A last line that a kill cut short is left out. So is any other line that is no record, and a
    warning says so: a journal describes a run, and nothing that is computed depends on it.

    Args:
        counter: the value that every record has, such as `step`.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    records, damaged = [], []
    for number, line in enumerate(lines, start=1):
        record = _record(line, counter)
        if record is not None:
            records.append(record)
        elif line.strip() and number < len(lines):  # a whole line ends with a newline
            damaged.append(number)
    if damaged:
        log.warning(
            "%s: %d damaged line(s) left out, the first is line %d", path, len(damaged), damaged[0]
        )
    return records


def _record(line: bytes, counter: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or type(record.get(counter)) is not int:
        return None
    plain = all(isinstance(value, str | int | float | None) for value in record.values())
    return record if plain else None


def as_number(value: Any) -> float | None:
    """A value of a record as a number, those that JSON lacks too; None where it is none."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def _numbers(record: Record) -> list[tuple[str, float]]:
    return [
        (name, value)
        for name, value in record.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    ]


def _line(record: Record) -> str:
    # JSON has no NaN: a value that is not finite is written as its name
    plain = {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }
    return json.dumps(plain)
