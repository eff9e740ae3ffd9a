"""The DEO backbones as timm models."""
