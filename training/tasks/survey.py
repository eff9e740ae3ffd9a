"""One look at every example before a network is tuned on them."""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deo.errors import DataError
from deo.training.data.identity import named_identity, sample_checksum
from deo.training.tasks.patches import Examples
from deo.training.tasks.scores import IGNORE
from deo.training.tasks.splits import SHARE
from deo.training.tasks.task import Benchmark, Task

log = logging.getLogger(__name__)

_SHOWN = 5


class Survey(NamedTuple):
    """What examples hold.

    Args:
        identity: of the inputs and labels, see `deo.training.data.identity`.
        counts: (classes,) labels of each class.
    """

    identity: Mapping[str, Any]
    counts: NDArray[np.int64]


def survey(examples: Examples, benchmark: Benchmark) -> Survey:
    """Read every example once.

    Raises:
        DataError: inputs are not finite; the samples are named.
    """
    counts = np.zeros(benchmark.class_count, np.int64)
    broken: list[str] = []
    checksums: dict[str, str] = {}
    for name, (image, target) in zip(examples.split.names, examples, strict=True):
        if not np.isfinite(image).all():
            broken.append(name)
        checksums[name] = sample_checksum(image, target)
        counts += class_counts(target, benchmark)
    if broken:
        raise DataError(
            f"samples with pixels that are not finite: {listed(broken)} below "
            f"{examples.split.root}; declare them as nodata, or leave these samples out"
        )
    return Survey(named_identity(checksums), counts)


def class_counts(labels: NDArray[np.int64], benchmark: Benchmark) -> NDArray[np.int64]:
    """(classes,) how often each occurs in class numbers of any shape, or in multi-hot (..., K)."""
    if benchmark.task is Task.MULTILABEL:
        return np.asarray(labels.reshape(-1, benchmark.class_count).sum(0))
    return np.bincount(labels[labels != IGNORE].ravel(), minlength=benchmark.class_count)


def say_parts(parts: Mapping[str, Examples], benchmark: Benchmark) -> None:
    """Say how many samples and labels of each class the parts hold, and which is too small."""
    for name, examples in parts.items():
        counts = np.zeros(benchmark.class_count, np.int64)
        for _, target in examples:
            counts += class_counts(target, benchmark)
        shown = ", ".join(
            f"{label} {count}" for label, count in zip(benchmark.class_names, counts, strict=True)
        )
        what = "tiles" if benchmark.task in (Task.CLASSIFY, Task.MULTILABEL) else "pixels"
        log.info("%s: %d samples; labelled %s: %s", name, len(examples), what, shown)
    warn_of_few(parts, benchmark)


def least_valid(benchmark: Benchmark) -> int:
    """Samples that a validation part needs for an epoch to be chosen by it.

    Below thirty tiles the score of one epoch differs from that of the next by chance, by more than
    networks do: its standard error is near nine points. A mask holds many blocks, but of one place.
    """
    return 30 if benchmark.task in (Task.CLASSIFY, Task.MULTILABEL) else 5


def warn_of_few(parts: Mapping[str, Examples], benchmark: Benchmark) -> None:
    """Say where the validation part is too small to choose an epoch by, or where there is none."""
    count, least = len(parts["valid"]) if "valid" in parts else 0, least_valid(benchmark)
    if not count:
        log.info(
            "no validation part: the last pass counts (with %d training samples, 15 %% of them are "
            "%s to choose by)",
            len(parts["train"]),
            "too few" if SHARE * len(parts["train"]) < least else "enough",
        )
    elif count < least:
        log.warning(
            "the validation part holds %d sample(s), too few to choose an epoch by (wanted %d or "
            "more); hold none out (--valid 0), and the last epoch counts",
            count,
            least,
        )


def warn_of_unseen(counts: NDArray[np.int64], benchmark: Benchmark) -> None:
    """Say which classes have no training sample: no network can learn them."""
    unseen = [name for name, count in zip(benchmark.class_names, counts, strict=True) if count == 0]
    if unseen:
        log.warning("no training sample shows %s; it cannot be learned", listed(unseen))


def listed(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
