"""Rearrange splits: take a share of the labels, hold out a validation part, name test samples."""

from collections.abc import Mapping, Sequence

import numpy as np

from deo.errors import ConfigError, DataError
from deo.training.tasks.dataset import Split

SHARE = 0.15
"""Of the training samples, held out where there is no validation part."""


def first_part(splits: Mapping[str, Split]) -> Split:
    """The samples that statistics may be measured on: the training part, or all unsplit data."""
    return splits["train"] if "train" in splits else splits["all"]


def tested_part(splits: Mapping[str, Split]) -> Split:
    """The samples that are scored: the test part, or all unsplit data, each in its turn."""
    return splits["test"] if "test" in splits else splits["all"]


def require_test(splits: Mapping[str, Split]) -> None:
    """Check that there is a test part, or unsplit data to make one of.

    Raises:
        DataError: there is neither.
    """
    if "all" not in splits and "test" not in splits:
        raise DataError(
            f"these data have the parts {', '.join(splits)} and no test part, and scores are those "
            "of a test part: add `test`, or put all samples into one folder without parts"
        )


def divide(
    splits: Mapping[str, Split],
    *,
    test: Sequence[str] = (),
    share: float = 1.0,
    valid: float = SHARE,
    least: int = 1,
    seed: int = 0,
) -> dict[str, Split]:
    """Train, valid and test parts of data whose authors leave some of them out.

    Of unsplit data, the samples named in `test`, or the last one, are the test part. A missing
    validation part is drawn from the training samples, after their share is: its labels count, too.

    Args:
        test: names of test samples; only for unsplit data.
        share: of the training samples that is used, see `fraction`.
        valid: share of those in a validation part that is drawn; 0: draw none.
        least: samples; a part that would have fewer is not drawn.
        seed: of the draw.

    Raises:
        ConfigError: the share is not in [0, 1).
        DataError: a name is unknown, `test` names samples of data with splits, or no sample is
            left to train on.
    """
    if not 0 <= valid < 1:
        raise ConfigError(f"a validation part of {valid} of the samples; wanted a share in [0, 1)")
    parts = dict(splits)
    if "all" in parts:
        whole = parts.pop("all")
        names = tuple(test) or whole.names[-1:]
        unknown = [name for name in names if name not in whole.names]
        if unknown:
            raise DataError(f"no sample {', '.join(unknown)}; there are {', '.join(whole.names)}")
        tested = [whole.names.index(name) for name in names]
        rest = [index for index in range(len(whole)) if index not in tested]
        parts = {"train": whole.subset(rest), "test": whole.subset(tested)}
    elif test:
        raise DataError("test samples can be named only for data without splits")
    train = parts["train"] = fraction(parts["train"], share, seed=seed)
    if "valid" not in parts and valid > 0 and len(train) > 1:
        order = np.random.default_rng(seed).permutation(len(train))
        # at least one sample on either side, however small the part or the share
        count = min(max(1, round(valid * len(train))), len(train) - 1)
        if count >= least:
            parts["valid"] = train.subset(sorted(order[:count].tolist()))
            parts["train"] = train.subset(sorted(order[count:].tolist()))
    if not len(parts["train"]):
        raise DataError("no sample is left to train on")
    return parts


def fraction(samples: Split, share: float, *, seed: int) -> Split:
    """A random part of a split. Where each sample has one class, every class keeps its proportion.

    At least one sample of each class, or one in all, remains.

    Raises:
        DataError: the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise DataError(f"fraction {share} is not in (0, 1]")
    if share == 1:
        return samples
    rng = np.random.default_rng(seed)
    first = samples[0].target
    # masks and multi-hot labels have no class to be drawn within: one group of all
    groups = samples.targets() if first.ndim == 0 else np.zeros(len(samples), np.int64)
    chosen: list[int] = []
    for value in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == value))
        chosen += members[: max(1, round(share * len(members)))].tolist()
    return samples.subset(sorted(chosen))
