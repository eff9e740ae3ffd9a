"""Dual-teacher pretraining and everything downstream of it; imported as `deo.training`.

    config = deo.training.Config(run=Run(steps=2000))
    deo.training.pretrain(config, data="shards", output="runs/a")
    deo.training.export("runs/a", "a.safetensors")
    deo.training.evaluate("knn", dataset="eurosat-ms", data="EuroSAT_MS", weights="a.safetensors")
    deo.training.finetune("segment", dataset="folder", data="fields", output="runs/fields")

Each name loads what it needs when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deo.models.forking import compute_alone_when_forked

if TYPE_CHECKING:
    from deo.training.config import Config
    from deo.training.run.export import export
    from deo.training.run.pretraining import pretrain
    from deo.training.tasks.evaluate import evaluate
    from deo.training.tasks.finetune import finetune

__all__ = ["Config", "evaluate", "export", "finetune", "pretrain"]

_LATE = {
    "Config": "deo.training.config",
    "evaluate": "deo.training.tasks.evaluate",
    "export": "deo.training.run.export",
    "finetune": "deo.training.tasks.finetune",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name == "pretrain":  # a module that can be called, whichever way it is imported
        return import_module("deo.training.pretrain")
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module 'deo.training' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


compute_alone_when_forked()  # baselines and probes compute without a model of ours
