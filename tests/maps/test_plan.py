import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo import MODEL_BANDS
from deo.api import Extraction
from deo.errors import ConfigError, OutputError
from deo.maps.plan import make_map, refuse_unknown
from deo.maps.worklist import Item
from deo.scene.opening import open_scene

MICRO: dict[str, Any] = {"model": "test_deo_swin", "untrained": True}


def test_plan__refuses_settings_that_cannot_work() -> None:
    with pytest.raises(ConfigError, match="unknown precision 'fp8'; choose one of fp32"):
        Extraction(precision="fp8")
    with pytest.raises(ConfigError, match="batch size 0 is below 1"):
        Extraction(batch_size=0)
    with pytest.raises(ConfigError, match="no setting 'lyaer'; did you mean 'layer'"):
        refuse_unknown(Extraction, {"lyaer": 0})
    refuse_unknown(Extraction, {"layer": 0, "tile": 64})


def test_plan__is_pickled_as_its_settings() -> None:
    plan = Extraction(**MICRO, layer="all", bands=MODEL_BANDS)
    copy = pickle.loads(pickle.dumps(plan))
    assert copy == plan
    assert copy.layer is None
    assert isinstance(copy._loading, type(threading.Lock()))


def test_plan__equal_ones_that_a_worker_reads_are_one(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"first")
    plan = Extraction(model="test_deo_swin", weights=weights, tile=96)
    sent = pickle.dumps(plan)
    assert len(sent) < 2000
    first = pickle.loads(sent)
    assert pickle.loads(pickle.dumps(plan)) is first
    assert pickle.loads(pickle.dumps(Extraction(**MICRO, tile=96))) is not first
    weights.write_bytes(b"replaced")
    assert pickle.loads(pickle.dumps(plan)) is not first


def test_prepared__leaves_a_scene_open_that_was_given(tmp_path: Path) -> None:
    array = np.full((10, 64, 64), 900, np.uint16)
    plan = Extraction(**MICRO)
    with open_scene(array, bands=MODEL_BANDS, offset=0) as scene:
        with plan.prepared(Item(scene, tmp_path / "out.tif")) as job:
            assert job.scene is scene
        assert scene.sample().valid.all()


def test_make_map__refuses_an_output_before_a_model_is_loaded(tmp_path: Path) -> None:
    plan = Extraction(**MICRO)
    (tmp_path / "out.tif").touch()
    with pytest.raises(OutputError, match="use --overwrite"):
        make_map(plan, Item("missing.tif", tmp_path / "out.tif"))
    with pytest.raises(ConfigError, match="one scene at a time, got two dates"):
        make_map(plan, Item("a.tif", tmp_path / "new.tif", second="b.tif"))
    assert not plan._loaded
