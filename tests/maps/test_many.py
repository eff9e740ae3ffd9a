import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.api import Extraction
from deo.errors import BusyError, ConfigError, OutputError
from deo.maps import many
from deo.maps.many import items_of, make_item, make_many
from deo.maps.plan import Plan
from deo.maps.worklist import Item

PLAN = Extraction(model="test_deo_swin", untrained=True)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each call of `make_map` was told; a scene whose name is an error's raises it."""
    calls = list[dict[str, Any]]()

    def make_map(plan: Plan, item: Item, **options: Any) -> list[Path]:
        progress = options.pop("progress")
        calls.append({"source": item.source, **options})
        if item.source == "busy":
            raise BusyError("elsewhere")
        progress(1, 2)
        progress(2, 2)
        return [item.output]

    monkeypatch.setattr(many, "make_map", make_map)
    return calls


def test_make_many__takes_up_what_was_begun_unless_told_to_begin_anew(
    made: list[dict[str, Any]],
) -> None:
    items = [Item("a", Path("a.tif")), Item("b", Path("b.tif"))]
    told = list[tuple[str, int, int]]()
    results = list(make_many(PLAN, items, stac=True, progress=lambda *facts: told.append(facts)))
    assert [(result.state, result.tiles) for result in results] == [("done", 2), ("done", 2)]
    assert told == [("a", 1, 2), ("a", 2, 2), ("b", 1, 2), ("b", 2, 2)]
    assert made[0] == {"source": "a", "stac": True, "overwrite": False, "resume": True}
    list(make_many(PLAN, items[:1], overwrite=True))
    assert made[-1] == {"source": "a", "stac": False, "overwrite": True, "resume": False}


def test_make_item__is_told_by_its_result(made: list[dict[str, Any]]) -> None:
    assert make_item(Item("busy", Path("a.tif")), plan=PLAN).state == "busy"
    assert make_item(Item("a", Path("a.tif")), plan=PLAN).outputs == (Path("a.tif"),)
    assert pickle.loads(pickle.dumps(PLAN)) == PLAN


def test_make_many__shows_bars(
    made: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    list(make_many(PLAN, [Item("a", Path("a.tif"))], progress=True))
    assert "a: 100%" in capsys.readouterr().err


def test_items_of__paths_tuples_and_items(tmp_path: Path) -> None:
    own = Item("c", tmp_path / "c.tif")
    scenes = [Path("a.tif"), ("b.tif", tmp_path / "else.tif", None), own]
    first, second, third = items_of([own, *scenes[:2]], tmp_path)
    assert first is own
    assert second == Item("a.tif", tmp_path / "a.tif")
    assert third == Item("b.tif", tmp_path / "else.tif")


def test_items_of__two_dates_and_probabilities(tmp_path: Path) -> None:
    shares = tmp_path / "shares" / "{name}_p.tif"
    (item,) = items_of([("a.tif", "b.tif")], tmp_path, probabilities=shares, dates=2)
    assert item.sources == ("a.tif", "b.tif")
    assert item.output == tmp_path / "a.tif"
    assert item.probabilities == tmp_path / "shares" / "a_p.tif"
    with pytest.raises(ConfigError, match=r"'a.tif' is not two scenes"):
        items_of(["a.tif"], tmp_path, dates=2)
    with pytest.raises(OutputError, match="would be written over"):
        items_of([("a.tif", tmp_path / "b.tif", tmp_path / "b.tif")], None, dates=2)


def test_items_of__refuses_arrays(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither a path nor an address"):
        items_of([np.zeros((10, 8, 8))], tmp_path)
