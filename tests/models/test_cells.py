"""Cells: cover the map once, follow the windows, carry the padding's weight."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from deo.models import cells


@given(size=st.integers(1, 200), window=st.integers(1, 13), shifted=st.booleans())
def test_runs__cover_the_axis_once_and_respect_windows(
    size: int, window: int, shifted: bool
) -> None:
    shift = window // 2 if shifted else 0
    covered: list[int] = []
    for run in cells.runs(size, window, shift):
        assert 0 < run.size <= run.extent <= window
        covered += range(run.start, run.start + run.length)
        if run.number > 1:
            assert run.size == run.extent
    assert covered == list(range(size))
    if size <= window:
        assert len(cells.runs(size, window, shift)) == 1


def test_runs__follow_the_rolled_windows() -> None:
    assert cells.runs(14, 12, 6) == [(0, 1, 6, 6), (6, 1, 8, 12)]
    assert cells.runs(14, 12, 0) == [(0, 1, 12, 12), (12, 1, 2, 12)]
    assert cells.runs(21, 7, 3) == [(0, 1, 3, 3), (3, 2, 7, 7), (17, 1, 4, 4)]


@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    window=st.integers(1, 7),
    shifted=st.booleans(),
)
def test_scatter__is_the_inverse_of_gather(
    height: int, width: int, window: int, shifted: bool
) -> None:
    shift = window // 2 if shifted else 0
    cut = cells.layout((height, width), (window, window), (shift, shift))
    x = torch.arange(2 * height * width * 3.0).reshape(2, height, width, 3)
    parts = cells.gather(x, cut)
    for kind, part in zip(cut.kinds, parts, strict=True):
        assert part.shape[1] == kind.tokens
        assert not kind.has_padding or not part[:, -1].any()
    assert torch.equal(cells.scatter(parts, cut, 2), x)


def test_gather__a_cell_holds_one_window_of_one_image() -> None:
    cut = cells.layout((4, 6), (2, 3), (0, 0))
    x = torch.arange(2 * 4 * 6).reshape(2, 4, 6, 1)
    (part,) = cells.gather(x, cut)
    assert torch.equal(part[5, :, 0], x[1, :2, 3:, 0].flatten())


def test_bias__one_key_weighs_as_much_as_all_padding() -> None:
    torch.manual_seed(0)
    full = torch.randn(2, 3, 4, 3, 4, dtype=torch.float64)
    kind = cells.Kind(2, 3, 3, 4, ((0, 0),))
    found = cells.bias(full, kind)
    assert found.shape == (2, 7, 7)
    keys = full[:, :2, :3]
    assert torch.equal(found[:, :6, :6], keys[..., :2, :3].reshape(2, 6, 6))
    weight = keys.exp().sum((-1, -2)) - keys[..., :2, :3].exp().sum((-1, -2))
    torch.testing.assert_close(found[:, :6, 6].exp(), weight.reshape(2, 6))
