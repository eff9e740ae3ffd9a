"""What is learned, by which networks, from which views: the sections that a run's method reads.

`deo.training.config` joins them with those of the run itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from deo.errors import ConfigError


def require(section: str, **checks: tuple[Any, bool, str]) -> None:
    """Refuse the first value whose condition is false, saying what was wanted."""
    for name, (value, fine, wanted) in checks.items():
        if not fine:
            raise ConfigError(f"{section}.{name} is {value!r}; it must be {wanted}")


@dataclass(frozen=True, kw_only=True)
class Model:
    """The student and its heads.

    Args:
        name: a `deo_*` backbone.
        options: passed to `timm.create_model`, e.g. `img_size`, `patch_size`, `window_size`.
        input: what the student and its EMA teacher agree about: all ten bands (`ms`) or red, green
            and blue alone (`rgb`). With `ms`, an optical teacher adds the RGB stem.
        drop_path: stochastic depth of the last block, growing from 0 in the first.
        head_hidden: width inside every projection head.
        z: width of the embedding that the coding rate sees.
        checkpointing: recompute activations in the backward pass: less memory, a third slower.
        weights: a file whose backbone the student starts from, as `deo export` writes it, with
            every stem that the run needs.
    """

    name: str = "deo_swin_t"
    options: Mapping[str, Any] = field(default_factory=dict)
    input: Literal["ms", "rgb"] = "ms"
    drop_path: float = 0.0
    head_hidden: int = 2048
    z: int = 256
    checkpointing: bool = False
    weights: str | None = None

    def __post_init__(self) -> None:
        require(
            "model",
            drop_path=(self.drop_path, 0 <= self.drop_path < 1, "in 0..1, below 1"),
            head_hidden=(self.head_hidden, self.head_hidden > 0, "positive"),
            z=(self.z, self.z > 1, "at least 2"),
        )


@dataclass(frozen=True, kw_only=True)
class Optical:
    """The frozen optical teacher.

    Args:
        name: a row of `deo.training.method.optical_table.OPTICAL_TEACHERS`, a timm model, a
            `deo_*` backbone, or `none` for self-distillation alone.
        weights: a file for a `deo_*` teacher, as `deo export` writes it.
        pretrained: False leaves the teacher at random: for tests and dry runs.
        options: passed to `timm.create_model`, e.g. `img_size`.
        precision: of the teacher's weights and arithmetic.
    """

    name: str = "none"
    weights: str | None = None
    pretrained: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    precision: Literal["auto", "bf16", "fp32"] = "auto"


@dataclass(frozen=True, kw_only=True)
class Views:
    """Two global views and several local ones; see `deo.training.method.views`.

    Args:
        global_size, local_size: side in pixels.
        local_crops: number of local views.
        global_area, local_area: smallest and largest part of the image that a crop covers.
        vertical_flip: probability; the published run flips horizontally only.
        common_gain, band_gain: random gains of the bands other than RGB, jointly and one by one.
        colour: strength of the operations on red, green and blue, a part of the published.
    """

    global_size: int = 224
    local_size: int = 96
    local_crops: int = 10
    global_area: tuple[float, float] = (0.4, 1.0)
    local_area: tuple[float, float] = (0.05, 0.4)
    vertical_flip: float = 0.0
    common_gain: float = 0.0
    band_gain: float = 0.0
    colour: float = 1.0

    def __post_init__(self) -> None:
        def share(area: tuple[float, float]) -> bool:
            return len(area) == 2 and 0 < area[0] <= area[1] <= 1

        require(
            "views",
            global_size=(self.global_size, self.global_size > 0, "positive"),
            local_size=(self.local_size, self.local_size > 0, "positive"),
            local_crops=(self.local_crops, self.local_crops >= 0, "0 or more"),
            global_area=(self.global_area, share(self.global_area), "two shares, 0 < a <= b <= 1"),
            local_area=(self.local_area, share(self.local_area), "two shares, 0 < a <= b <= 1"),
            vertical_flip=(self.vertical_flip, 0 <= self.vertical_flip <= 1, "in 0..1"),
            colour=(self.colour, 0 <= self.colour <= 1, "in 0..1"),
        )


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Terms of the objective: -coeff comp - expansion expa - alpha (patch + cls).

    Args:
        eps: distortion that the coding rate allows.
        coeff: weight of the agreement with the EMA teacher.
        expansion: weight of the coding rate; 0 lets the embedding collapse.
        student_only: expand the student's embedding, not its mean with the teacher's.
        alpha: weight of the optical distillation; .5 is what the published run has.
    """

    eps: float = 0.05
    coeff: float = 1.0
    expansion: float = 1.0
    student_only: bool = False
    alpha: float = 0.5

    def __post_init__(self) -> None:
        require(
            "loss",
            eps=(self.eps, self.eps > 0, "positive"),
            coeff=(self.coeff, self.coeff >= 0, "0 or more"),
            expansion=(self.expansion, self.expansion >= 0, "0 or more"),
            alpha=(self.alpha, self.alpha >= 0, "0 or more"),
        )


@dataclass(frozen=True, kw_only=True)
class Direct:
    """Direct distillation in the place of the published one; see `deo.training.method.direct`.

    Both stems answer, through linear heads, and the optical teacher sees whole samples without
    augmentation: a view is compared with the part on which it lies. Off in both presets.

    Args:
        maximum: digital numbers that are white to the optical teacher; 0 switches all of this off.
        enlarge: the optical teacher sees samples so many times as large.
        keep: hold the optical teacher's maps of every sample in memory after the first pass.
        finer: the stages before the last two answer, not the last two.
        similarity: weight of the similarities between views.
        statistics: weight of the band statistics.
    """

    maximum: float = 0.0
    enlarge: float = 2.0
    keep: bool = False
    finer: bool = False
    similarity: float = 0.0
    statistics: float = 0.0

    def __post_init__(self) -> None:
        require(
            "direct",
            maximum=(self.maximum, self.maximum >= 0, "0 or more"),
            enlarge=(self.enlarge, self.enlarge > 0, "positive"),
            similarity=(self.similarity, self.similarity >= 0, "0 or more"),
            statistics=(self.statistics, self.statistics >= 0, "0 or more"),
        )


@dataclass(frozen=True, kw_only=True)
class Switches:
    """Departures and faults of the published training code: True does as the original did.

    `docs/method.md` says of each what it does and why one would mend it.

    Args:
        swapped_layers: ViT's late map is compared with the optical teacher's middle layer and its
            middle map with the last one.
        teacher_drop_path: the EMA teacher runs with stochastic depth.
        optical_view_statistics: the optical teacher sees the student's normalisation, not its own.
        subset_per_rank: every rank draws its own part of the data; some is seen twice, some never.
        equal_draws: every rank draws the same augmentation, by place in the batch.
        local_gram: each process expands its own samples, divided by the number of processes.
        gram_autocast: the Gram matrix is rounded like the network's activations.
        clip_per_parameter: each parameter's gradient is clipped by its own norm.
        decay_tables: relative position tables, positional embeddings and class tokens are decayed.
        ignore_alpha: `loss.alpha` is read nowhere; the weight is .5.
        cls_other_views: the class distillation leaves out pairs of the same view (the paper's
            objective, so True in both presets).
    """

    swapped_layers: bool = False
    teacher_drop_path: bool = False
    optical_view_statistics: bool = False
    subset_per_rank: bool = False
    equal_draws: bool = False
    local_gram: bool = False
    gram_autocast: bool = False
    clip_per_parameter: bool = False
    decay_tables: bool = False
    ignore_alpha: bool = False
    cls_other_views: bool = True

    @classmethod
    def preset(cls, name: str) -> "Switches":
        """All switches as the published code has them (`original`), or mended (`default`).

        Raises:
            ConfigError: there is no such preset.
        """
        if name == "default":
            return cls()
        if name == "original":
            return cls(**dict.fromkeys(cls.__dataclass_fields__, True))
        raise ConfigError(f"unknown preset {name!r} of the switches; it is default or original")
