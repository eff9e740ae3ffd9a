"""Where metrics go: `metrics.jsonl` always, TensorBoard and Weights & Biases when asked."""

import json
import math
import uuid
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Protocol

from deo.atomic import open_unlinked
from deo.documents import parse_json
from deo.errors import DataError, OutputError, require
from deo.training.shards import write_text

METRICS_NAME, WANDB_ID_NAME = "metrics.jsonl", "wandb-id.txt"
Record = Mapping[str, Any]


class Sink(Protocol):
    """A place for records; each has a `step`, the other values are numbers, texts or None."""

    def write(self, record: Record) -> None: ...

    def close(self) -> None: ...


class JsonLines:
    """One JSON object per line. Lines of steps after `resume_at` are dropped on opening:
    they belong to a stretch that a resumed run walks again.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path, *, resume_at: int) -> None:
        try:
            if path.exists():
                kept = [record for record in read_metrics(path) if record["step"] <= resume_at]
                write_text(path, "".join(f"{_line(record)}\n" for record in kept))
            self._file = TextIOWrapper(open_unlinked(path, append=True), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error

    def write(self, record: Record) -> None:
        self._file.write(f"{_line(record)}\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class TensorBoard:
    """Event files in a folder."""

    def __init__(self, folder: Path, *, resume_at: int) -> None:
        require("tensorboard", extra="train")
        from torch.utils.tensorboard import SummaryWriter

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
            write_text(kept, uuid.uuid4().hex + "\n")
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
    """Records of a `metrics.jsonl`. A last line that a kill cut short is left out.

    Raises:
        DataError: the file does not exist, or a line before the last is not JSON.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; is this the output folder of `deo pretrain`?")
    records, lines = [], path.read_text().splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            records.append(parse_json(line, f"{path}, line {number}"))
        except DataError:
            if number < len(lines):
                raise
    return records


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
