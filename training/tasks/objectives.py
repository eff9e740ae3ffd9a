"""What a tuned network minimises: losses that skip unknown pixels, and weights of classes."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from deo.training.tasks.scores import IGNORE


def cross_entropy(scores: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Softmax cross-entropy: (B, K, ...) scores, (B, ...) labels, `IGNORE` skipped.

    As torch's own mean, but 0 instead of NaN where no label is known, as in a patch at the edge.
    """
    every = F.cross_entropy(scores, targets, weight=weights, ignore_index=IGNORE, reduction="none")
    seen = targets != IGNORE
    share = seen if weights is None else weights[targets.clamp(min=0)] * seen
    return every.sum() / share.sum().clamp(min=1e-6)


def one_hot_bce(scores: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Binary cross-entropy on every class: labels one-hot, or multi-hot (B, K) as they are."""
    if targets.ndim == scores.ndim:
        return F.binary_cross_entropy_with_logits(scores, targets.to(scores.dtype), weights)
    seen = targets != IGNORE
    hot = F.one_hot(targets.clamp(min=0), scores.shape[1]).movedim(-1, 1).to(scores.dtype)
    shape = (1, -1) + (1,) * (scores.ndim - 2)
    weighed = None if weights is None else weights.view(shape)
    every = F.binary_cross_entropy_with_logits(scores, hot, weighed, reduction="none")
    return (every.mean(1) * seen).sum() / seen.sum().clamp(min=1)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "bce": one_hot_bce,
    "ce": cross_entropy,
}


def class_weights(counts: NDArray[np.int64]) -> Tensor:
    """(classes,) inverse square roots of the label counts, 1 on average."""
    weights = 1 / np.sqrt(np.maximum(counts, 1))
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)


BALANCE = ("auto", "on", "off")
_UNEVEN = 10


def balanced(balance: str, counts: NDArray[np.int64]) -> bool:
    """Whether classes are to be weighed: one of `BALANCE`, and (classes,) label counts.

    `auto` weighs where one class has ten times as many labels as another that occurs. Networks
    learn to leave such a class out: where 3 % of the pixels changed, "nothing changed" is right for
    97 %.
    """
    if balance != "auto":
        return balance == "on"
    seen = counts[counts > 0]
    return bool(len(seen)) and int(seen.max()) >= _UNEVEN * int(seen.min())
