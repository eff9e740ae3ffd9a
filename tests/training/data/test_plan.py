"""The plan of a preparation."""

import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from deo.training.data import plan as planning
from deo.training.data.fmow import Key
from deo.training.data.preparation import Preparation
from deo.training.data.prepare import prepare
from deo.training.data.samples import Samples, open_samples
from deo.training.data.shards import Shards


@pytest.mark.parametrize("name", ["a.h5", "a.tar"])
def test_prepare__a_file_of_samples_is_opened_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.arange(100 * 10 * 4, dtype=np.uint16).reshape(100, 10, 2, 2)
    path = tmp_path / name
    if name.endswith(".h5"):
        with h5py.File(path, "w") as file:
            file["images"] = images
    else:
        with tarfile.open(path, "w") as tar:
            for number, image in enumerate(images):
                np.save(tmp_path / "one.npy", image)
                tar.add(tmp_path / "one.npy", f"{number:03d}.npy")
    opened: list[str] = []

    def counting(source: str) -> Samples:
        opened.append(source)
        return open_samples(source)

    monkeypatch.setattr(planning, "open_samples", counting)
    plan = Preparation(source=path, kind="samples", size=2)
    prepare(plan, tmp_path / "out")
    shards = Shards(tmp_path / "out")
    assert np.array_equal(np.stack([shards[number] for number in range(100)]), images)
    assert opened == [str(path)]


def test_group__neighbours_together_within_the_budget() -> None:
    pieces = [(planning.Strip("a.tif", row), 3) for row in range(100)]
    parts = planning.group(pieces, budget=1000)
    assert [piece for part in parts for piece in part] == [piece for piece, _ in pieces]
    assert {len(part) for part in parts[:-1]} == {4}  # 300 samples in 32 parts: 10 or more in each
    assert len(planning.group(pieces, budget=3)) == 100


def test_digest__changes_with_any_piece() -> None:
    one, other = planning.Rows("a.h5", 0, 16), planning.Rows("a.h5", 0, 15)
    assert planning.digest([[one]]) == planning.digest([[one]])
    assert planning.digest([[one]]) != planning.digest([[other]])


def test_name_of__every_kind_of_piece() -> None:
    key = Key("train", "airport", 1, 2)
    pieces = (
        planning.Strip("a.tif", 8),
        planning.Rows("a.h5", 0, 16),
        planning.Record(key, "x", None),
    )
    assert [planning.name_of(piece) for piece in pieces] == [
        "a.tif:8",
        "a.h5:0-16",
        "train/airport/airport_1/airport_1_2",
    ]
