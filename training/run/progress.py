"""A line about a run that people can watch: live on a terminal, plain in a log file."""

import datetime
import sys
from typing import TextIO

from tqdm import tqdm

from deo.training.run.journal import Record


class Progress:
    """A sink that shows each record; on a terminal as one live line with the time left.

    Args:
        done, steps: steps finished and in all.
        stream: where to; standard error when None.
    """

    def __init__(self, *, done: int, steps: int, stream: TextIO | None = None) -> None:
        self._stream, self._steps = stream or sys.stderr, steps
        live = self._stream.isatty()
        self._bar = tqdm(
            total=steps, initial=done, unit="step", file=self._stream, disable=not live
        )
        self._live = live

    def write(self, record: Record) -> None:
        text = describe(record)
        if self._live:
            self._bar.update(record["step"] - self._bar.n)
            self._bar.set_postfix_str(text)
            return
        left = datetime.timedelta(seconds=round(record["eta_seconds"]))
        self._stream.write(f"step {record['step']}/{self._steps}  {text}  {left} left\n")
        self._stream.flush()

    def close(self) -> None:
        self._bar.close()


def describe(record: Record) -> str:
    """The few numbers that say whether a run is well."""
    parts = [
        f"loss {record['loss']:.3f}",
        f"cos {record['head_cosine']:.2f}",
        f"rank {record['effective_rank']:.1f}",
        f"grad {record['grad_norm']:.2f}",
        f"{record['samples_per_second']:.1f} samples/s",
        f"wait {record['wait_share']:.1%}",
    ]
    if record.get("probe") is not None:
        parts.append(f"kNN {record['probe']:.1%}")
    if record.get("skipped"):
        parts.append(f"{record['skipped']} skipped")
    return "  ".join(parts)
