"""When a file that is read counts as another one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deo.bands import BandSet
from deo.errors import SceneError
from deo.scene.inputs import Inputs, read_inputs
from deo.scene.opening import open_scene


def inputs_of(source: Any, **options: Any) -> Inputs:
    with open_scene(source, offset=0, **options) as scene:
        return read_inputs(scene)


@pytest.mark.skipif(os.name == "nt", reason="the time of a touch is not kept there")
def test_inputs__rewritten_under_the_old_size_and_date(scene_file: Callable[..., Path]) -> None:
    path = scene_file()
    inputs, facts = inputs_of(path), path.stat()
    os.link(path, path.with_name("second.tif"))  # a touch that leaves the content alone
    inputs.refuse_changes()
    path.with_name("second.tif").unlink()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert inputs_of(path).digest == inputs.digest
    with pytest.raises(SceneError, match=r"scene_20200102\.tif changed while being read"):
        inputs.refuse_changes()


def test_inputs__of_a_store_are_known_by_what_it_states(
    store: Any, scene_file: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "bucket").mkdir()
    store.headers = {"ETag": '"one"'}
    scene_file(16, 16, bands=BandSet("B04")).rename(tmp_path / "bucket" / "key.tif")
    with open_scene("s3://bucket/key.tif", offset=0) as scene:
        inputs = read_inputs(scene)
        size = (tmp_path / "bucket" / "key.tif").stat().st_size
        assert inputs.record() == [["/vsis3/bucket/key.tif", size, '"one"']]
        inputs.refuse_changes()
        store.headers = {"ETag": '"two"'}
        with pytest.raises(SceneError, match=r"bucket/key\.tif changed while being read"):
            inputs.refuse_changes()
        store.broken = True
        inputs.refuse_changes()


def test_inputs__what_cannot_be_learnt_any_more_is_no_change(
    scene_file: Callable[..., Path],
) -> None:
    path = scene_file()
    inputs = inputs_of(path)
    path.unlink()
    inputs.refuse_changes()
