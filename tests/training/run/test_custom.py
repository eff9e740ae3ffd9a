"""What identifies a teacher and a view maker of one's own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deo.training.method.layers import Widths
from deo.training.run.custom import Custom


class Teacher(nn.Module):
    widths, licence = Widths(3, 4, 5), "toy licence"

    def __init__(self, value: float = 0.0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.register_buffer("basis", torch.full((2, 2), value, dtype=dtype))


def views(images: Tensor, keys: Tensor, epoch: int) -> Sequence[Tensor]:
    return [images]


class Views:
    __call__ = staticmethod(views)


def test_record__is_empty_where_all_is_as_configured() -> None:
    assert Custom().record() == {}


def test_record__names_functions_and_classes() -> None:
    for maker, name in ((views, "views"), (Views(), "Views"), (Views, "Views")):
        assert Custom(views=maker).record() == {"views": {"name": f"{__name__}.{name}"}}


def test_record__a_teacher_by_widths_licence_and_weights() -> None:
    record = Custom(optical=Teacher()).record()["optical"]
    assert record["name"] == f"{__name__}.Teacher"
    assert (record["widths"], record["licence"]) == ([3, 4, 5], "toy licence")
    assert Custom(optical=Teacher()).record()["optical"] == record
    assert Custom(optical=Teacher(1.0)).record()["optical"]["weights"] != record["weights"]
    half = Custom(optical=Teacher(1.0, torch.bfloat16)).record()["optical"]["weights"]
    assert half != record["weights"]
