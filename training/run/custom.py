"""Custom optical teachers and view makers in a run, and what identifies them."""

from typing import Any, NamedTuple

import torch
from torch import nn

from deo.training.data.identity import sample_checksum
from deo.training.method.optical import OpticalTeacher
from deo.training.run.state import ViewMaker


class Custom(NamedTuple):
    """What takes the place of a configured part of the run; None: as configured."""

    optical: OpticalTeacher | None = None
    views: ViewMaker | None = None

    def record(self) -> dict[str, Any]:
        """What identifies them, as plain values; empty where all is as configured.

        An object is known by the name of its class and a function by its own; a teacher by its
        widths and licence as well, and by its weights where it is a `torch.nn.Module`.
        """
        record: dict[str, Any] = {}
        if self.optical is not None:
            record["optical"] = {
                "name": _name(self.optical),
                "widths": list(self.optical.widths),
                "licence": self.optical.licence,
            }
            if isinstance(self.optical, nn.Module):
                record["optical"]["weights"] = _weights_checksum(self.optical)
        if self.views is not None:
            record["views"] = {"name": _name(self.views)}
        return record


def _name(part: Any) -> str:
    named = part if hasattr(part, "__qualname__") else type(part)
    return f"{named.__module__}.{named.__qualname__}"


def _weights_checksum(module: nn.Module) -> str:
    # NumPy has no bfloat16: the bytes are compared
    tensors = [tensor.detach().cpu().contiguous() for tensor in module.state_dict().values()]
    return sample_checksum(*(tensor.view(-1).view(torch.uint8).numpy() for tensor in tensors))
