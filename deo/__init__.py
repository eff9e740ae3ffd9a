"""Features from Sentinel-2 with the DEO backbones.

Importing `deo` registers the backbones with timm and does no other work.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from deo import models as models
from deo.bands import MODEL_BANDS, RGB_BANDS, BandSet, Pixels
from deo.errors import DeoError
from deo.sensors.table import Band

if TYPE_CHECKING:
    from deo.api import extract, open_scene

__version__ = version("deo")

__all__ = [
    "MODEL_BANDS",
    "RGB_BANDS",
    "Band",
    "BandSet",
    "DeoError",
    "Pixels",
    "__version__",
    "extract",
    "open_scene",
]

_LATE = {"extract": "deo.api", "open_scene": "deo.api"}


def __getattr__(name: str) -> Any:
    """Import what needs rasterio only when it is asked for."""
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module 'deo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
