"""The layers of a backbone as extraction takes them."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from deo.bands import MODEL_BANDS, BandSet
from deo.errors import ConfigError, ModelError
from deo.maps.runner import FeatureModel
from deo.models.devices import choose_device
from deo.models.registry import spec_of
from deo.models.weights import LoadedBackbone, load_backbone


class Loaded(NamedTuple):
    """A model for extraction, what users call its layers, and the contract it came with."""

    model: FeatureModel
    layers: tuple[int, ...]
    contract: dict[str, Any] | None


def parse_layer(value: int | str | None) -> int | None:
    """A layer as users write it: a number, `last`, or `all`, which is None.

    Raises:
        ConfigError: it is something else.
    """
    if value is None or value == "all":
        return None
    try:
        return -1 if value == "last" else int(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"layer {value!r} is neither a number nor 'last' nor 'all'; 0 is the finest"
        ) from error


def feature_model(
    name: str,
    *,
    weights: Path | None = None,
    untrained: bool = False,
    bands: BandSet = MODEL_BANDS,
    layer: int | None = -1,
    precision: str = "fp32",
    device: str | None = None,
) -> Loaded:
    """Load a backbone as extraction takes it: one layer, or all of them with `layer=None`.

    Raises:
        ModelError: there is no such backbone or layer.
        ConfigError: the device cannot be used.
        WeightsError: there are no weights, or they do not fit.
    """
    spec = spec_of(name)
    layers = _layers(name, len(spec.out_indices), layer)
    backbone = load_backbone(
        name,
        weights=weights,
        untrained=untrained,
        bands=bands,
        seed=0,
        out_indices=tuple(spec.out_indices[index] for index in layers),
    )
    where = choose_device(device)
    network = backbone.model.to(where).eval()
    info: Any = network.feature_info
    model = FeatureModel(
        call=network,
        channels=tuple(info.channels()),
        reductions=tuple(info.reduction()),
        bands=backbone.bands,
        multiple=spec.patch_size * (8 * spec.window_size if spec.window_size else 1),
        device=where,
        precision=precision,
        identity={
            "model": backbone.weights.model,
            "weights": backbone.weights.source,
            "weights_sha256": backbone.weights.sha256 or _hash_parameters(backbone),
        },
    )
    return Loaded(model, layers, backbone.weights.contract)


def _layers(name: str, count: int, layer: int | None) -> tuple[int, ...]:
    if layer is None:
        return tuple(range(count))
    if not -count <= layer < count:
        raise ModelError(f"{name} has the layers 0 (finest) to {count - 1} (coarsest), got {layer}")
    return (layer % count,)


def _hash_parameters(backbone: LoadedBackbone) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(backbone.model.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
