"""Arranging splits: a share of the labels, a validation part, test samples by name."""

from collections.abc import Mapping, Sequence

import numpy as np

from deo.errors import ConfigError, DataError
from deo.training.tasks.dataset import Split


def first_part(splits: Mapping[str, Split]) -> Split:
    """What may be looked at for statistics: the training part, or everything unsplit."""
    return splits["train"] if "train" in splits else splits["all"]


def require_test(splits: Mapping[str, Split]) -> None:
    """Refuse to score data whose splits hold no test part.

    Raises:
        DataError: there is none.
    """
    if "all" not in splits and "test" not in splits:
        raise DataError(
            f"these data have the parts {', '.join(splits)} and no test part, and scores are those "
            "of a test part: add `test`, or put all samples into one folder without parts"
        )


def divide(
    splits: Mapping[str, Split], *, test: Sequence[str] = (), valid: float = 0.15, seed: int = 0
) -> dict[str, Split]:
    """Train, valid and test, where the authors left one out.

    Unsplit data are tested on the samples named, or on the last one. A missing validation part
    is drawn from the training samples.

    Args:
        valid: its share of the training samples; 0: there will be none.

    Raises:
        ConfigError: the share is not in [0, 1).
        DataError: a name is unknown, or nothing is left to train on.
    """
    if not 0 <= valid < 1:
        raise ConfigError(f"a validation part of {valid} of the samples; wanted one in [0, 1)")
    parts = dict(splits)
    if "all" in parts:
        whole = parts.pop("all")
        names = tuple(test) or whole.names[-1:]
        unknown = [name for name in names if name not in whole.names]
        if unknown:
            raise DataError(f"no sample {', '.join(unknown)}; there are {', '.join(whole.names)}")
        chosen = [whole.names.index(name) for name in names]
        rest = [index for index in range(len(whole)) if index not in chosen]
        parts = {"train": whole.subset(rest), "test": whole.subset(chosen)}
    elif test:
        raise DataError("test samples can be named for data without splits only")
    train = parts["train"]
    if "valid" not in parts and valid > 0 and len(train) > 1:
        order = np.random.default_rng(seed).permutation(len(train))
        held = min(max(1, round(valid * len(train))), len(train) - 1)
        parts["valid"] = train.subset(sorted(order[:held].tolist()))
        parts["train"] = train.subset(sorted(order[held:].tolist()))
    if not len(parts["train"]):
        raise DataError("no sample is left to train on")
    return parts


def fraction(samples: Split, share: float, *, seed: int) -> Split:
    """A random part of a split, at least one sample, classes in proportion where there are any.

    Raises:
        DataError: the share is not in 0 .. 1.
    """
    if not 0 < share <= 1:
        raise DataError(f"fraction {share} is not in (0, 1]")
    if share == 1:
        return samples
    rng = np.random.default_rng(seed)
    first = samples[0].target
    groups = samples.targets() if first.ndim == 0 else np.zeros(len(samples), np.int64)
    chosen: list[int] = []
    for value in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == value))
        chosen += members[: max(1, round(share * len(members)))].tolist()
    return samples.subset(sorted(chosen))
