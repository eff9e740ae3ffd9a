"""The student, its EMA teacher, and the averaging that ties them, by parameter name."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple, cast

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deo.bands import MODEL_BANDS, RGB_BANDS
from deo.errors import ModelError
from deo.models.registry import spec_of
from deo.models.swin import DeoSwin
from deo.training import config
from deo.training.method.losses import GLOBAL_VIEWS
from deo.training.method.teachers import Features, Widths


class Layers(NamedTuple):
    """Which stages (Swin) or blocks (ViT) are meant by mid and late."""

    mid: int
    late: int


class Embedded(NamedTuple):
    """What a trunk makes of views: pooled (n * B, width), maps (2 * B, width, h, w) or None."""

    pooled: Tensor
    mid: Tensor | None = None
    late: Tensor | None = None


class Predictions(NamedTuple):
    """What the student says, L2-normalised along dimension 1.

    Args:
        z: (n * B, z) of all views.
        optical: its answers to the optical teacher, where there is one: class features of all
            views, maps of the global ones.
    """

    z: Tensor
    optical: Features | None


class Head(nn.Module):
    """Three linear layers with GELU between, then L2 normalisation, along the last dimension."""

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, out),
        )
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mlp(x)
        return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)


class Trunk(nn.Module):
    """A `deo_*` backbone that takes views of several sizes and names its layers.

    Args:
        model: backbone's name, options and stochastic depth.
        in_chans: None builds both stems.

    Raises:
        ModelError: the name is not that of a backbone of deo; those are listed.
    """

    def __init__(self, model: config.Model, *, in_chans: int | None) -> None:
        super().__init__()
        spec_of(model.name)
        args: dict[str, Any] = {"in_chans": in_chans, "drop_path_rate": model.drop_path}
        self.net = cast(Any, timm.create_model(model.name, num_classes=0, **args, **model.options))
        self.net.set_grad_checkpointing(model.checkpointing)
        self.layers = named_layers(self.net)

    @property
    def widths(self) -> Widths:
        """Of the pooled embedding and of the two named maps."""
        channels = [info["num_chs"] for info in self.net.feature_info]
        return Widths(self.net.num_features, channels[self.layers.mid], channels[self.layers.late])

    @property
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks, first to last."""
        if isinstance(self.net, DeoSwin):
            stages: Any = self.net.layers
            return [block for stage in stages for block in stage.blocks]
        return list(self.net.blocks)

    def forward(self, views: Sequence[Tensor], *, maps: bool = False) -> Embedded:
        """Embed views (B, C, s, s), those of equal size in one pass.

        Args:
            maps: return the named layers' outputs for the global views, before the final norm.
        """
        pooled, mid, late = [], None, None
        for first, x in _by_size(views):
            if maps and first:
                x, (mid, late) = self._with_maps(x, GLOBAL_VIEWS * views[0].shape[0])
            else:
                x = self.net.forward_features(x)
            pooled.append(self.net.forward_head(x, pre_logits=True))
        return Embedded(torch.cat(pooled), mid, late)

    def _with_maps(self, x: Tensor, kept: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Final features, and the two named maps of the first `kept` images."""
        wanted = sorted(self.layers)
        final, maps = self.net.forward_intermediates(x, indices=wanted, norm=False)
        by_layer = dict(zip(wanted, maps, strict=True))
        return final, (by_layer[self.layers.mid][:kept], by_layer[self.layers.late][:kept])


def named_layers(net: Any) -> Layers:
    """Mid and late: the last two stages of a Swin; block d/2 and the last of a ViT of depth d."""
    if isinstance(net, DeoSwin):
        return Layers(mid=len(net.layers) - 2, late=len(net.layers) - 1)
    depth = len(net.blocks)
    return Layers(mid=depth // 2 - 1, late=depth - 1)


def _by_size(views: Sequence[Tensor]) -> Iterator[tuple[bool, Tensor]]:
    """Neighbouring views of equal size, concatenated; True with the first of them."""
    for index, (_, group) in enumerate(groupby(views, key=lambda view: view.shape[-1])):
        yield index == 0, torch.cat(list(group))


class Student(nn.Module):
    """Trunk and heads: `head_z`, and where there is an optical teacher `head_cls, _mid, _late`.

    Args:
        model: the student's section of the configuration.
        optical: widths of the optical teacher's features, or None without one.
        swapped: a ViT answers the optical teacher's middle layer with its late one and the other
            way round, as the published code.
    """

    def __init__(
        self, model: config.Model, *, optical: Widths | None, swapped: bool = False
    ) -> None:
        super().__init__()
        self.input = model.input
        self.trunk = Trunk(model, in_chans=_channels(model, both=optical is not None))
        self.swapped = swapped and not isinstance(self.trunk.net, DeoSwin)
        widths, hidden = self.trunk.widths, model.head_hidden
        self.head_z = Head(widths.cls, hidden, model.z)
        self.answers = optical is not None
        if optical is not None:
            self.head_cls = Head(widths.cls, hidden, optical.cls)
            self.head_mid = Head(widths.mid, hidden, optical.mid)
            self.head_late = Head(widths.late, hidden, optical.late)

    def forward(self, views: Sequence[Tensor]) -> Predictions:
        """Predict from normalised views (B, 10, s, s) or (B, 3, s, s), the two global ones first.

        The RGB stem sees the first three channels.
        """
        rgb = [view[:, : len(RGB_BANDS)] for view in views]
        if self.input == "rgb":
            seen = own = self.trunk(rgb, maps=self.answers)
        else:
            own = self.trunk(views)
            seen = self.trunk(rgb, maps=True) if self.answers else own
        return Predictions(self.head_z(own.pooled), self._answer(seen) if self.answers else None)

    def _answer(self, seen: Embedded) -> Features:
        assert seen.mid is not None
        assert seen.late is not None
        mid = self.head_mid(seen.mid.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        late = self.head_late(seen.late.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        if self.swapped:
            mid, late = late, mid
        return Features(self.head_cls(seen.pooled), mid, late)


def _channels(model: config.Model, *, both: bool) -> int | None:
    if model.input == "rgb":
        return len(RGB_BANDS)
    return None if both else len(MODEL_BANDS)


class EmaTeacher(nn.Module):
    """The average of the student's past: its trunk with one stem, and `head_z`. No gradients.

    Args:
        model: the student's section of the configuration.
        stochastic: run with the student's stochastic depth, as the published code.
    """

    def __init__(self, model: config.Model, *, stochastic: bool = False) -> None:
        super().__init__()
        self.input = model.input
        self.trunk = Trunk(model, in_chans=_channels(model, both=False))
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
        by_position: pair by place in the published order of parameters instead, as the published
            code; names are not looked at.

    Raises:
        ModelError: a name is missing in the student, or a shape differs.
    """

    def __init__(
        self, teacher: nn.Module, student: nn.Module, *, by_position: bool = False
    ) -> None:
        own, source = dict(teacher.named_parameters()), dict(student.named_parameters())
        if by_position:
            places = (sorted(names, key=published_place) for names in (own, source))
            pairs = dict(zip(*places, strict=False))
        else:
            pairs = {name: name for name in own}
        if missing := [name for name in pairs.values() if name not in source]:
            raise ModelError(
                f"the EMA teacher has {len(missing)} parameters that the student has not: "
                f"{', '.join(missing[:5])}"
            )
        for name, other in pairs.items():
            if own[name].shape != source[other].shape:
                raise ModelError(
                    f"{name} is {tuple(own[name].shape)} in the EMA teacher and "
                    f"{tuple(source[other].shape)} in the student"
                )
        self.teacher: list[Tensor] = [own[name] for name in pairs]
        self.student: list[Tensor] = [source[other] for other in pairs.values()]

    @torch.no_grad()
    def update(self, momentum: float) -> None:
        """teacher = momentum * teacher + (1 - momentum) * student; 0 copies."""
        torch._foreach_lerp_(self.teacher, self.student, 1.0 - momentum)


def published_place(name: str) -> int:
    """Where the published student registers the module of a parameter.

    Trunk, z head, multispectral stem, RGB stem, the other heads.
    """
    if name.startswith("trunk.net.patch_embed."):
        return 2 if name.startswith("trunk.net.patch_embed.ms") else 3
    if name.startswith("trunk."):
        return 0
    return 1 if name.startswith("head_z") else 4
