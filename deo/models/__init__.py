"""The DEO backbones as timm models. Importing this registers them."""

from deo.models import entrypoints as entrypoints
