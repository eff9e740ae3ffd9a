"""The EMA teacher, and the averaging that moves it towards the student, by parameter name."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from deo.bands import RGB_BANDS
from deo.errors import ModelError
from deo.training.method import config
from deo.training.method.trunk import Embedded, Head, Trunk, stem_channels


class EmaTeacher(nn.Module):
    """The average of the student's past: its trunk with one stem, and `head_z`. No gradients.

    Args:
        model: the student's section of the configuration.
        stochastic: run with the student's stochastic depth, as the published code did.
    """

    def __init__(self, model: config.Model, *, stochastic: bool = False) -> None:
        super().__init__()
        self.input = model.input
        self.trunk = Trunk(model, in_chans=stem_channels(model, both=False))
        self.head_z = Head(self.trunk.widths.cls, model.head_hidden, model.z)
        self.requires_grad_(False).train(stochastic)

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """Embed the global views (B, C, s, s) to (2 * B, z), L2-normalised."""
        if self.input == "rgb":
            views = [view[:, : len(RGB_BANDS)] for view in views]
        z: Tensor = self.head_z(self.trunk(views).pooled)
        return z

    def embed(self, images: Tensor) -> Tensor:
        """The trunk's pooled features (B, width) of images (B, C, s, s) of its own bands."""
        return cast(Embedded, self.trunk([images])).pooled


class Average:
    """Moves a teacher's parameters towards the student's of the same name.

    Args:
        teacher, student: the teacher's parameters must be among the student's.

    Raises:
        ModelError: a name is missing in the student, or a shape differs.
    """

    def __init__(self, teacher: nn.Module, student: nn.Module) -> None:
        averaged, source = dict(teacher.named_parameters()), dict(student.named_parameters())
        if missing := [name for name in averaged if name not in source]:
            raise ModelError(
                f"the EMA teacher has {len(missing)} parameters that the student lacks: "
                f"{', '.join(missing[:5])}"
            )
        for name, parameter in averaged.items():
            if parameter.shape != source[name].shape:
                raise ModelError(
                    f"{name} is {tuple(parameter.shape)} in the EMA teacher and "
                    f"{tuple(source[name].shape)} in the student"
                )
        self.teacher: list[Tensor] = list(averaged.values())
        self.student: list[Tensor] = [source[name] for name in averaged]

    @torch.no_grad()
    def update(self, momentum: float) -> None:
        """teacher = momentum * teacher + (1 - momentum) * student; 0 copies."""
        # one kernel for all parameters; with the weight 1 lerp returns its end, so that momentum 0
        # copies to the bit
        torch._foreach_lerp_(self.teacher, self.student, 1.0 - momentum)
