"""Features from Sentinel-2 with the DEO backbones.

Importing `deo` registers the backbones with timm, before or after timm itself is imported. It loads
neither timm nor torch nor rasterio: each name below brings what it needs when it is first used.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from deo.bands import MODEL_BANDS, RGB_BANDS, BandSet, Pixels
from deo.errors import DeoError
from deo.registration import register_with_timm
from deo.sensors.table import Band

if TYPE_CHECKING:
    from deo.api import Extraction, extract, extract_many, open_scene
    from deo.contracts import Contract, fit_contract
    from deo.explorer.serve import explore
    from deo.labelled import features
    from deo.maps.classify import Classification, classify
    from deo.maps.fitted import load_contract
    from deo.maps.similar import similar
    from deo.models.weights import load_backbone
    from deo.training.tasks.predict import predict, predict_many

__version__ = version("deo")

__all__ = [
    "MODEL_BANDS",
    "RGB_BANDS",
    "Band",
    "BandSet",
    "Classification",
    "Contract",
    "DeoError",
    "Extraction",
    "Pixels",
    "__version__",
    "classify",
    "explore",
    "extract",
    "extract_many",
    "features",
    "fit_contract",
    "load_backbone",
    "load_contract",
    "open_scene",
    "predict",
    "predict_many",
    "similar",
]

_LATE = {
    "Classification": "deo.maps.classify",
    "Extraction": "deo.api",
    "classify": "deo.maps.classify",
    "explore": "deo.explorer.serve",
    "extract": "deo.api",
    "extract_many": "deo.api",
    "Contract": "deo.contracts",
    "features": "deo.labelled",
    "fit_contract": "deo.contracts",
    "load_backbone": "deo.models.weights",
    "load_contract": "deo.maps.fitted",
    "open_scene": "deo.scene.opening",
    "predict": "deo.training.tasks.predict",
    "predict_many": "deo.training.tasks.predict",
    "similar": "deo.maps.similar",
}


def __getattr__(name: str) -> Any:
    """Import what needs rasterio or torch only when it is asked for."""
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module 'deo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


register_with_timm()
