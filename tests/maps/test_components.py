from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deo.maps.components import fit_components, project, project_rows

Make = Callable[..., Any]


def features(height: int = 40, width: int = 50, channels: int = 8) -> NDArray[np.float32]:
    rng = np.random.default_rng(5)
    mixing = rng.normal(size=(channels, channels)) * np.logspace(1, -1, channels)
    cells = rng.normal(size=(height * width, channels)) @ mixing.T + rng.normal(size=channels)
    data = cells.reshape(height, width, channels).transpose(0, 2, 1).astype(np.float32)
    data[:10, :, :15] = np.nan
    return data


def test_fit_components__equals_sklearn(hold: Make) -> None:
    from sklearn.decomposition import PCA

    rows = hold(features())
    cells = rows.data.transpose(0, 2, 1).reshape(-1, 8)
    cells = cells[np.isfinite(cells[:, 0])]
    oracle = PCA(3, svd_solver="full").fit(cells)
    fitted = fit_components(rows)
    np.testing.assert_allclose(fitted.mean, oracle.mean_, rtol=1e-5)
    np.testing.assert_allclose(fitted.share, oracle.explained_variance_ratio_, rtol=1e-4)
    np.testing.assert_allclose(
        np.abs((fitted.axes * oracle.components_.T).sum(axis=0)), 1, atol=1e-5
    )
    assert (fitted.axes.max(axis=0) == np.abs(fitted.axes).max(axis=0)).all()
    projected = project(rows, fitted)
    assert projected.shape == (40, 50, 3)
    known = np.isfinite(projected[..., 0])
    np.testing.assert_array_equal(known, np.isfinite(rows.data[:, 0]))
    wanted = np.abs(oracle.transform(cells))
    np.testing.assert_allclose(np.abs(projected[known]), wanted, atol=1e-3)
    np.testing.assert_array_equal(project(rows, fitted, step=3), projected[::3, ::3])


@pytest.mark.parametrize("channels", [1, 2])
def test_fit_components__fewer_channels_than_colours(hold: Make, channels: int) -> None:
    components = fit_components(hold(features(channels=8)[:, :channels]))
    assert components.axes.shape == (channels, 3)
    assert (components.share[channels:] == 0).all()


def test_fit_components__nothing_valid_or_no_variance(hold: Make) -> None:
    for fill in (np.nan, 3.0):
        components = fit_components(hold(np.full((4, 5, 6), fill, np.float32)))
        assert (components.share == 0).all()
        assert np.isfinite(components.axes).all()


def test_project_rows__are_finished_rows(hold: Make, tmp_path: Path) -> None:
    rows = hold(features())
    components = fit_components(rows, 2)
    reduced = project_rows(rows, components, tmp_path / "rows")
    assert reduced.shape == (2, 40, 50)
    wanted = project(rows, components).transpose(0, 2, 1)
    np.testing.assert_allclose(reduced.values(0, 40), wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(reduced.valid(3, 40), rows.fraction[3:])
