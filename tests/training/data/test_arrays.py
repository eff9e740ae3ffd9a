"""Files of strangers: what they claim is checked, and they are read from alone."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deo.bands import BandSet
from deo.errors import DataError, DeoError
from deo.training.data.arrays import own_dataset, read_npy
from deo.training.data.hdf5 import Hdf5Samples
from deo.training.data.tars import TarStream
from deo.training.tasks.benchmarks.geobench import GeoBench
from deo.training.tasks.results import read_json

h5py = pytest.importorskip("h5py")

BLUE = BandSet(["B02"])
DEEP = '{"a":' * 5000 + "1" + "}" * 5000


def npy(array: Any, **options: Any) -> bytes:
    held = io.BytesIO()
    np.save(held, array, **options)
    return held.getvalue()


def header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(10 + len(text) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["uint16", ">f4", "int8"])
def test_read_npy__equals_numpy(tmp_path: Path, order: str, dtype: str) -> None:
    array = np.asarray(np.arange(60).reshape(3, 4, 5), dtype, order=order)  # type: ignore[call-overload]
    (tmp_path / "a.npy").write_bytes(npy(array))
    for source in (npy(array), tmp_path / "a.npy"):
        found = read_npy(source, label="a")
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no npy",
        header("(1000000, 1000, 1000)") + bytes(64),
        header("(-1, 4)") + bytes(64),
        header("(4, 4)") + bytes(63),
        header("(2, 2)", "'|O'") + bytes(64),
        header("(2, 2)", "[('a', '<f4')]") + bytes(64),
        header("(2, 2)", "(" * 3000) + bytes(64),
        header("('a',)") + bytes(64),
        npy(np.array([{}], object), allow_pickle=True),
        npy(np.zeros((2, 2)))[:-1],
    ],
)
def test_read_npy__what_it_claims_is_checked(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    for source in (data, tmp_path / "a.npy"):
        with pytest.raises(DataError, match="the label cannot be read"):
            read_npy(source, label="the label")


def hdf5(path: Path, kind: str) -> Path:
    """A file whose `images` lie elsewhere, or are not what samples are."""
    other = path.with_name("other.h5")
    with h5py.File(other, "w") as file:
        file["images"] = np.zeros((2, 10, 4, 4), np.uint16)
    raw = path.with_name("raw.bin")
    raw.write_bytes(bytes(640))
    with h5py.File(path, "w") as file:
        if kind == "external link":
            file["images"] = h5py.ExternalLink("other.h5", "/images")
        elif kind == "soft link":
            file["far"] = h5py.ExternalLink("other.h5", "/")
            file["images"] = h5py.SoftLink("/far/images")
        elif kind == "external storage":
            file.create_dataset("images", (2, 10, 4, 4), np.uint16, external=[(str(raw), 0, 640)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((2, 10, 4, 4), np.uint16)
            layout[:] = h5py.VirtualSource(str(other), "images", (2, 10, 4, 4))
            file.create_virtual_dataset("images", layout)
        elif kind == "group":
            file.create_group("images")
        elif kind == "text":
            file["images"] = np.full((2, 10, 4, 4), b"a")
        elif kind == "huge sample":
            file.create_dataset("images", (2, 10, 2**20, 2**20), np.uint16, chunks=(1, 1, 64, 64))
        elif kind == "empty":
            file["images"] = h5py.Empty("f4")
    return path


KINDS = (
    "external link", "soft link", "external storage", "virtual", "group", "text", "huge sample",
    "empty",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_hdf5__from_that_file_alone(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match=r"a\.h5"):
        Hdf5Samples(hdf5(tmp_path / "a.h5", kind))


@pytest.mark.parametrize("kind", KINDS[:6])
def test_geobench__from_that_file_alone(tmp_path: Path, kind: str) -> None:
    hdf5(tmp_path / "a.h5", kind)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.move("images", "02 - Blue")
        file.attrs["label"] = 1
    (tmp_path / "a.h5").rename(tmp_path / "a.hdf5")
    layout = GeoBench(name="m-x", bands=BLUE, classes=2)
    with pytest.raises(DataError, match=r"a\.hdf5"):
        layout.read(tmp_path, "a")


def test_own_dataset__sound(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = np.ones((2, 3))
        assert own_dataset(file, "images").shape == (2, 3)


def tar_of(path: Path, **members: bytes) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name.replace("__", "."))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_tar__a_member_that_claims_more(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", a__npy=npy(np.zeros((10, 4, 4), np.uint16)))
    raw = bytearray(path.read_bytes())
    raw[124:136] = b"77777777777\0"  # 8 GiB
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"a\.tar"):
        TarStream([path])


def test_tar__npy_and_links(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", a__npy=header("(10, 1000000, 100000)"), b__npy=b"")
    samples = TarStream([path])
    for number in range(len(samples)):
        with pytest.raises(DataError, match=r"\.npy in"):
            samples[number]
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        link = tarfile.TarInfo("a.npy")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(DataError, match="hold no"):
        TarStream([tmp_path / "b.tar"])


def test_tar__headers_without_end(tmp_path: Path) -> None:
    pax = tarfile.TarInfo("p")
    pax.type, pax.size = tarfile.XHDTYPE, 12
    block = pax.tobuf() + b"12 path=abc\n".ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(block * 3000)
    with pytest.raises(DeoError):
        TarStream([tmp_path / "a.tar"])


def test_deep_json__in_what_evaluation_reads(tmp_path: Path) -> None:
    layout = GeoBench(name="m-x", bands=BLUE, classes=2)
    for name in ("default_partition.json", "band_stats.json", "label_map.json", "result.json"):
        (tmp_path / name).write_text(DEEP)
    with pytest.raises(DataError, match="default_partition"):
        layout.splits(tmp_path)
    with pytest.raises(DataError, match="band_stats"):
        layout.statistics(tmp_path)
    with pytest.raises(DataError, match=r"result\.json"):
        read_json(tmp_path / "result.json")
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["02 - Blue"] = np.ones((2, 2))
    with pytest.raises(DataError, match="label_map"):
        layout.read(tmp_path, "a")
