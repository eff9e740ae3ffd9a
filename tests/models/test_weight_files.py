"""Weight files on disk: read without trust, written whole or not at all."""

import argparse
import pickle
import struct
from pathlib import Path

import pytest
import torch

from deo.errors import WeightsError
from deo.models import weight_files, weights


class Malice:
    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple:
        return Path.touch, (self.flag,)


@pytest.mark.parametrize("legacy", [False, True])
def test_from_file__a_pickled_object_never_lives(
    name: str, released: Path, legacy: bool, tmp_path: Path
) -> None:
    flag = tmp_path / "executed"
    state = torch.load(released, weights_only=True) | {"epoch": Malice(flag)}
    torch.save(state, released, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match=r"holds more than tensors .*pickled \S*(Path|getattr)"):
        weights.load_backbone(name, weights=released)
    assert not flag.exists()


def test_read__namespace_is_the_only_object_allowed(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"args": argparse.Namespace(lr=1e-3)}, path)
    assert weight_files.read(path).content["args"].lr == 1e-3
    assert argparse.Namespace not in torch.serialization.get_safe_globals()
    torch.save({"args": Path("x")}, path)
    with pytest.raises(WeightsError, match="PosixPath"):
        weight_files.read(path)


@pytest.mark.parametrize("content", [torch.zeros(2), [1, 2], {1: torch.zeros(2)}, None])
def test_read__anything_but_named_tensors_is_an_error(tmp_path: Path, content: object) -> None:
    path = tmp_path / "x.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match="not tensors under names"):
        weight_files.read(path)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"a": 1}),
        b"\x80\x02",
        b"PK\x03\x04" + b"\0" * 40,
        struct.pack("<Q", 10**9) + b"{}",
        struct.pack("<Q", 2) + b"{]",
        b"<html></html>",
    ],
)
def test_read__what_is_no_weights_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.pth"):
        weight_files.read(path)


@pytest.mark.parametrize("place", ["absent.pth", "."])
def test_read__absent_file_is_an_error(tmp_path: Path, place: str) -> None:
    with pytest.raises(WeightsError, match="cannot read weights"):
        weight_files.read(tmp_path / place)


def test_model_named_in__reads_the_metadata_alone(tmp_path: Path) -> None:
    weight_files.write({"a": torch.zeros(1)}, tmp_path / "a.safetensors", {"model": "deo_swin_b"})
    weight_files.write({"a": torch.zeros(1)}, tmp_path / "b.safetensors", {})
    torch.save({"a": torch.zeros(1)}, tmp_path / "c.pt")
    names = ("a.safetensors", "b.safetensors", "c.pt", "missing")
    named = [weight_files.model_named_in(tmp_path / name) for name in names]
    assert named == ["deo_swin_b", None, None, None]
