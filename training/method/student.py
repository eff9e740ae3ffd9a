"""The student: one trunk, a head for the EMA teacher, and heads for the optical teacher."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deo.bands import RGB_BANDS
from deo.models.swin import DeoSwin
from deo.training.method import config
from deo.training.method.direct import Answers, DirectHeads
from deo.training.method.layers import Widths, finer_layers
from deo.training.method.losses import GLOBAL_VIEWS
from deo.training.method.optical import OpticalFeatures
from deo.training.method.trunk import Embedded, Head, Trunk, stem_channels


class Predictions(NamedTuple):
    """What the student predicts, L2-normalised along dimension 1.

    Args:
        z: (n * B, z) of all views, for the EMA teacher.
        optical: its answers to the optical teacher, where there is one: class features of all
            views, maps of the global ones.
        direct: in their place, the answers of both stems under direct distillation, which are not
            normalised: of the global views and, through the RGB stem, of the first one.
    """

    z: Tensor
    optical: OpticalFeatures | None
    direct: tuple[Answers, Answers] | None = None


class Student(nn.Module):
    """Trunk and heads: `head_z`, and where there is an optical teacher `head_cls, _mid, _late`, or
    `heads_direct` under direct distillation.

    Args:
        model: the student's section of the configuration.
        optical: widths of the optical teacher's features, or None without one.
        swapped: a ViT answers the optical teacher's middle layer with its late one and the other
            way round, as the published code did.
        direct: of the configuration; None: the published distillation.
    """

    def __init__(
        self,
        model: config.Model,
        *,
        optical: Widths | None,
        swapped: bool = False,
        direct: config.Direct | None = None,
    ) -> None:
        super().__init__()
        self.input = model.input
        self.trunk = Trunk(model, in_chans=stem_channels(model, both=optical is not None))
        self.swapped = swapped and not isinstance(self.trunk.net, DeoSwin)
        widths, hidden = self.trunk.widths, model.head_hidden
        self.head_z = Head(widths.cls, hidden, model.z)
        self.answers = optical is not None and direct is None
        self.direct_layers: tuple[int, ...] = ()
        if optical is not None and direct is not None:
            net = self.trunk.net
            named = finer_layers(net) if direct.finer else self.trunk.layers
            self.direct_layers = (0, *named, self.trunk.layers.late)
            channels = [net.feature_info[layer]["num_chs"] for layer in self.direct_layers]
            self.heads_direct = DirectHeads(channels, optical=optical)
        elif optical is not None:
            self.head_cls = Head(widths.cls, hidden, optical.cls)
            self.head_mid = Head(widths.mid, hidden, optical.mid)
            self.head_late = Head(widths.late, hidden, optical.late)

    def forward(self, views: Sequence[Tensor]) -> Predictions:
        """Predict from normalised views (B, 10, s, s) or (B, 3, s, s), the two global ones first.

        The RGB stem sees the first three channels.
        """
        if self.direct_layers:
            return self._directly(views)
        rgb = [view[:, : len(RGB_BANDS)] for view in views]
        if self.input == "rgb":
            of_rgb = of_all = self.trunk(rgb, maps=self.answers)
        else:
            of_all = self.trunk(views)
            of_rgb = self.trunk(rgb, maps=True) if self.answers else of_all
        # the optical teacher sees red, green and blue alone, so the RGB stem answers it
        answer = self._answer(of_rgb) if self.answers else None
        return Predictions(z=self.head_z(of_all.pooled), optical=answer)

    def _directly(self, views: Sequence[Tensor]) -> Predictions:
        seen, first = views[:GLOBAL_VIEWS], views[0][:, : len(RGB_BANDS)]
        of_ms = self.trunk.with_layers(torch.cat(list(seen)), self.direct_layers)
        of_rgb = self.trunk.with_layers(first, self.direct_layers)
        pooled = [of_ms.pooled]
        if local := views[GLOBAL_VIEWS:]:
            pooled.append(self.trunk(local).pooled)
        answers = (self.heads_direct(of_ms.maps), self.heads_direct(of_rgb.maps))
        return Predictions(z=self.head_z(torch.cat(pooled)), optical=None, direct=answers)

    def _answer(self, of_rgb: Embedded) -> OpticalFeatures:
        assert of_rgb.mid is not None
        assert of_rgb.late is not None
        # heads act on the last dimension: channels go there and back
        mid = self.head_mid(of_rgb.mid.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        late = self.head_late(of_rgb.late.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        if self.swapped:
            mid, late = late, mid
        return OpticalFeatures(self.head_cls(of_rgb.pooled), mid, late)
