import numpy as np
import pytest

from deo.maps.progress import Bars, shown, tile_bar


@pytest.mark.parametrize(("quiet", "terminal", "wanted"), [
    (None, True, True), (None, False, False), (False, False, True), (True, True, False),
])  # fmt: skip
def test_tile_bar__on_a_terminal_always_or_never(
    quiet: bool | None,
    terminal: bool,
    wanted: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    with tile_bar("scene.tif", quiet=quiet) as show:
        for done in (1, 2, 5):
            show(done, 5)
    assert ("scene.tif: 100%" in capsys.readouterr().err) is wanted


def test_shown__a_bar_a_function_or_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    told = list[tuple[int, int]]()

    def tell(done: int, total: int) -> None:
        told.append((done, total))

    with shown(tell, "scene") as chosen:
        assert chosen is tell
    with shown(None, "scene") as chosen:
        assert chosen is None
    with shown(True, "scene") as chosen:
        assert chosen is not None
        chosen(*np.array([3, 3]).tolist())
    assert "scene: 100%" in capsys.readouterr().err


def test_bars__one_for_each_scene(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars(name_of=str.upper) as bars:
        for scene in ("a", "b"):
            for done in (1, 2):
                bars(scene, done, 2)
    said = capsys.readouterr().err
    assert said.count("A: 100%") == said.count("B: 100%") == 1
